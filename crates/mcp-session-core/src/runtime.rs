//! [`Runtime`]: the three things core needs from an async runtime.

use std::{fmt::Debug, sync::Arc, time::Instant};

pub use futures::future::BoxFuture;

/// What core needs from an async runtime: a clock, a timer and tasks.
///
/// An adapter crate implements it in a few lines; so can you, for a runtime of your own. An implementation
/// only translates: it decides nothing about the protocol.
///
/// # The laws
///
/// 1. `now` never goes backwards and is the clock that `sleep_until` waits on. It is required, without a
///    default, because a default would break paused and simulated time.
/// 2. `sleep_until` is never early. A deadline in the past is ready at the first poll. Dropping the future
///    cancels the sleep and has no other effect.
/// 3. `spawn` detaches: the task runs to its end although nobody awaits it. A panic stays inside the task.
/// 4. All three may be called from any thread, also from inside a task of another runtime.
///
/// Tasks are `Send`, because a session is reached from whichever thread its next request arrives on.
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use futures::{executor::ThreadPool, FutureExt};
/// use mcp_session_core::{BoxFuture, Runtime};
///
/// #[derive(Debug)]
/// struct Pool(ThreadPool);
///
/// impl Runtime for Pool {
///     fn now(&self) -> Instant {
///         Instant::now()
///     }
///     fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
///         // A real one waits on its reactor; this one occupies a thread.
///         async move { std::thread::sleep(deadline.saturating_duration_since(Instant::now())) }.boxed()
///     }
///     fn spawn(&self, task: BoxFuture<'static, ()>) {
///         self.0.spawn_ok(task);
///     }
/// }
///
/// let runtime = Pool(ThreadPool::new()?);
/// let start = runtime.now();
/// futures::executor::block_on(runtime.sleep_until(start)); // already past: ready at once
/// assert!(runtime.now() >= start);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Runtime: Debug + Send + Sync + 'static {
    /// The current time. Monotonic, and the clock of [`sleep_until`](Runtime::sleep_until).
    fn now(&self) -> Instant;

    /// Waits until `deadline`: never shorter, and cancelled by dropping it.
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()>;

    /// Runs `task` to its end in the background.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

impl<R: Runtime + ?Sized> Runtime for Arc<R> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        (**self).sleep_until(deadline)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        (**self).spawn(task);
    }
}
