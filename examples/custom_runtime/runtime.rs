//! [`PoolRuntime`]: a custom runtime. Tasks run on the thread pool of `futures`; `async-io` provides timers.

use std::{io, panic::AssertUnwindSafe, time::Instant};

use async_io::Timer;
use futures::{FutureExt, executor::ThreadPool};
use mcp_session_core::{BoxFuture, Runtime};

/// A pool with one thread per core. `async-io` starts one more thread on first use, which waits for timers and sockets.
#[derive(Debug, Clone)]
pub(crate) struct PoolRuntime(ThreadPool);

impl PoolRuntime {
    /// Creates a pool. Its threads end when the last handle and the last task are gone.
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
        // The pool does not catch panics: each panic would end one of its threads.
        self.0.spawn_ok(AssertUnwindSafe(task).catch_unwind().map(|_| ()));
    }
}
