//! [`SmolRuntime`].

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures::FutureExt;
use mcp_session_core::{BoxFuture, Runtime};
use smol::{Executor, Timer};

/// smol as a [`Runtime`].
///
/// [`SmolRuntime::global`] runs tasks on smol's global executor, which has one thread unless the environment variable
/// `SMOL_THREADS` is larger. Your own executor runs them on the threads that run the executor:
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use mcp_session_core::Runtime;
/// use mcp_session_smol::SmolRuntime;
///
/// let executor = Arc::new(smol::Executor::new());
/// let runtime = SmolRuntime::from(Arc::clone(&executor));
/// let deadline = runtime.now() + Duration::from_millis(1);
/// let sleep = runtime.sleep_until(deadline);
/// runtime.spawn(Box::pin(async { panic!("stays inside its task") }));
/// smol::block_on(executor.run(sleep));
/// assert!(runtime.now() >= deadline);
/// ```
#[derive(Debug, Clone)]
pub struct SmolRuntime(Option<Arc<Executor<'static>>>);

impl SmolRuntime {
    /// Returns the global executor, which `smol::spawn` uses.
    pub fn global() -> Self {
        Self(None)
    }
}

impl From<Arc<Executor<'static>>> for SmolRuntime {
    fn from(executor: Arc<Executor<'static>>) -> Self {
        Self(Some(executor))
    }
}

impl Runtime for SmolRuntime {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Timer::at(deadline).map(drop).boxed()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        // An uncaught panic would propagate out of the executor and end its thread.
        let task = AssertUnwindSafe(task).catch_unwind().map(drop);
        match &self.0 {
            None => smol::spawn(task).detach(),
            Some(executor) => executor.spawn(task).detach(),
        }
    }
}
