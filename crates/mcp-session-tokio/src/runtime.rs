//! [`TokioRuntime`].

use std::time::Instant;

use futures::FutureExt;
use mcp_session_core::{BoxFuture, Runtime};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time,
};

/// Tokio as a [`Runtime`]. Its clock is tokio's, so `tokio::time::pause` works.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
/// use mcp_session_core::Runtime;
/// use mcp_session_tokio::TokioRuntime;
///
/// let runtime = TokioRuntime::current();
/// let begin = runtime.now();
/// runtime.sleep_until(begin + Duration::from_secs(3600)).await; // paused: takes no time
/// assert!(runtime.now() >= begin + Duration::from_secs(3600));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TokioRuntime(Handle);

impl TokioRuntime {
    /// The runtime that this code runs on.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime. There, use [`TokioRuntime::from`] with a handle.
    #[track_caller]
    pub fn current() -> Self {
        Self(Handle::current())
    }
}

impl From<Handle> for TokioRuntime {
    fn from(handle: Handle) -> Self {
        Self(handle)
    }
}

impl Runtime for TokioRuntime {
    fn now(&self) -> Instant {
        // Only a runtime of one thread can pause its clock, and that is seen from inside of it only.
        if self.0.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return Instant::now();
        }
        let _context = self.0.enter();
        time::Instant::now().into_std()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let _context = self.0.enter();
        let deadline = time::Instant::from_std(deadline);
        // Tokio's sleep is pending at its first poll even if the deadline has passed.
        if deadline <= time::Instant::now() {
            return futures::future::ready(()).boxed();
        }
        time::sleep_until(deadline).boxed()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.0.spawn(task)); // dropping the handle detaches the task
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_tokios_and_a_past_deadline_is_ready_at_once() {
        let runtime = TokioRuntime::current();
        let begin = runtime.now();
        assert!(runtime.sleep_until(begin).now_or_never().is_some());
        assert!(runtime.sleep_until(begin + Duration::from_secs(60)).now_or_never().is_none());
        time::advance(Duration::from_secs(60)).await;
        assert_eq!(runtime.now(), begin + Duration::from_secs(60));
    }

    #[test]
    fn it_works_from_a_thread_without_a_runtime() {
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let runtime = TokioRuntime::from(tokio.handle().clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        let sleep = runtime.sleep_until(runtime.now() + Duration::from_millis(5));
        runtime.spawn(Box::pin(async move {
            sleep.await;
            sender.send(()).expect("the test waits");
        }));
        receiver.recv().expect("the task runs to its end");
    }
}
