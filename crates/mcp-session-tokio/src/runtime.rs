//! [`TokioRuntime`].

use std::time::Instant;

use futures::FutureExt;
use mcp_session_core::{BoxFuture, Runtime};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time,
};

use crate::keeper::keeper;

/// Tokio as a [`Runtime`]. Its clock is tokio's, so `tokio::time::pause` works.
///
/// On a multi-threaded runtime, deadlines and the phases of a shutdown run on a separate thread, and so does
/// [`terminate_signal`](crate::terminate_signal). A handler that blocks a worker does not delay them: the report is there at
/// the ceiling. The remaining workers serve other requests. End the process after the report (`std::process::exit`, or
/// `shutdown_background`): dropping a runtime waits for its blocked workers. On a single-threaded runtime, a blocked thread
/// delays everything.
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
pub struct TokioRuntime {
    handle: Handle,
    /// Runs what must not wait for blocked workers. On a single-threaded runtime it is the runtime itself: only that one
    /// knows about a paused clock.
    keeper: Handle,
}

impl TokioRuntime {
    /// Returns the runtime that this code runs on.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime. Use [`TokioRuntime::from`] with a handle there.
    #[track_caller]
    pub fn current() -> Self {
        Handle::current().into()
    }
}

impl From<Handle> for TokioRuntime {
    fn from(handle: Handle) -> Self {
        let keeper = match handle.runtime_flavor() {
            RuntimeFlavor::CurrentThread => None,
            _ => keeper().cloned(),
        };
        Self { keeper: keeper.unwrap_or_else(|| handle.clone()), handle }
    }
}

impl Runtime for TokioRuntime {
    fn now(&self) -> Instant {
        // Only a single-threaded runtime can pause its clock, and the paused clock is visible only inside the runtime.
        if self.handle.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return Instant::now();
        }
        let _context = self.handle.enter();
        time::Instant::now().into_std()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let _context = self.keeper.enter();
        let deadline = time::Instant::from_std(deadline);
        // Tokio's sleep is pending at its first poll even if the deadline has passed.
        if deadline <= time::Instant::now() {
            return futures::future::ready(()).boxed();
        }
        time::sleep_until(deadline).boxed()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.handle.spawn(task)); // dropping the handle detaches the task
    }

    fn spawn_keeper(&self, task: BoxFuture<'static, ()>) {
        drop(self.keeper.spawn(task));
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

    /// S3: deadlines are kept while all workers are blocked.
    #[test]
    fn s_3_blocked_workers_hold_up_no_deadline() {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let tokio = tokio.expect("a runtime");
        let runtime = TokioRuntime::from(tokio.handle().clone());
        let (blocked, begun) = std::sync::mpsc::channel();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
        for _ in 0..2 {
            let (blocked, gate) = (blocked.clone(), std::sync::Arc::clone(&gate));
            runtime.spawn(Box::pin(async move {
                blocked.send(()).expect("the test waits");
                let _ = gate.lock().map(|gate| gate.recv());
            }));
        }
        begun.recv().and_then(|()| begun.recv()).expect("both workers are blocked");
        let (sender, receiver) = std::sync::mpsc::channel();
        let clone = runtime.clone();
        runtime.spawn_keeper(Box::pin(async move {
            clone.sleep_until(clone.now() + Duration::from_millis(5)).await;
            sender.send(()).expect("the test waits");
        }));
        let kept = receiver.recv_timeout(Duration::from_secs(60));
        drop(open); // before anything can fail: dropping the runtime waits for its workers
        kept.expect("the deadline is kept");
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
