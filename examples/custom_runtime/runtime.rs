//! [`PoolRuntime`]: a runtime that has no name. Tasks run on the thread pool of `futures`, `async-io` keeps the time.

use std::{io, panic::AssertUnwindSafe, time::Instant};

use async_io::Timer;
use futures::{FutureExt, executor::ThreadPool};
use mcp_session_core::{BoxFuture, Runtime};

/// As many threads as the machine has; one more, which `async-io` starts when it is first needed, waits for timers and
/// sockets.
#[derive(Debug, Clone)]
pub(crate) struct PoolRuntime(ThreadPool);

impl PoolRuntime {
    /// A new pool. Its threads end when the last handle and the last task are gone.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(ThreadPool::builder().name_prefix("pool-").create()?))
    }
}

impl Runtime for PoolRuntime {
    fn now(&self) -> Instant {
        Instant::now() // the clock of `async-io`
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Timer::at(deadline).map(|_| ()).boxed()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        // The pool does not catch: it would lose a thread to each panic.
        self.0.spawn_ok(AssertUnwindSafe(task).catch_unwind().map(|_| ()));
    }
}
