//! [`AsyncStdRuntime`].

use std::time::Instant;

use async_io::Timer;
use futures::FutureExt;
use mcp_session_core::{BoxFuture, Runtime};

/// Async-std as a [`Runtime`]. The process has a single one, which starts by itself.
///
/// ```
/// use std::time::Duration;
/// use futures::FutureExt;
/// use mcp_session_async_std::AsyncStdRuntime;
/// use mcp_session_core::Runtime;
///
/// async_std::task::block_on(async {
///     let begin = AsyncStdRuntime.now();
///     assert!(AsyncStdRuntime.sleep_until(begin).now_or_never().is_some()); // past: ready at once
///     let deadline = begin + Duration::from_millis(5);
///     AsyncStdRuntime.sleep_until(deadline).await;
///     assert!(AsyncStdRuntime.now() >= deadline);
/// });
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "users name it: it has no state")]
pub struct AsyncStdRuntime;

impl Runtime for AsyncStdRuntime {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        // Async-std's own sleep takes a duration and starts at its first poll.
        Box::pin(Timer::at(deadline).map(drop))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        // Dropping the handle detaches the task. The loop of the executor's thread catches panics and continues.
        drop(async_std::task::spawn(task));
    }
}
