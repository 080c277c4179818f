//! [`TestBed`]: what a runtime must provide to run the suites on it.

use std::sync::Arc;

use mcp_session_core::{Config, Runtime};

use crate::SimRuntime;

/// A runtime under test, and a way for a synchronous `#[test]` to enter it.
///
/// A scenario is written once against `&impl TestBed` and runs on every runtime. The future passed to `block_on`
/// need be neither `Send` nor `'static`, so a scenario can borrow from its test. Any entry point that a runtime
/// offers for `main` works, including a single thread with paused time.
///
/// # The laws
///
/// 1. `runtime` always returns the same runtime. It can be used before, during and after `block_on`.
/// 2. Tasks run and timers fire while `block_on` runs. `block_on` can be called again; tasks stay alive between
///    calls, but need not make progress there.
/// 3. If the future panics, `block_on` panics.
///
/// ```
/// use std::{panic::{AssertUnwindSafe, catch_unwind}, sync::Arc, time::Instant};
/// use mcp_session_core::{BoxFuture, Runtime};
/// use mcp_session_testkit::{SimRuntime, TestBed};
///
/// /// Your runtime; this one borrows the simulation's.
/// #[derive(Debug, Clone)]
/// struct Mine(SimRuntime);
///
/// impl Runtime for Mine {
///     fn now(&self) -> Instant {
///         self.0.now()
///     }
///     fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
///         self.0.sleep_until(deadline)
///     }
///     fn spawn(&self, task: BoxFuture<'static, ()>) {
///         self.0.spawn(task);
///     }
/// }
///
/// struct Bed(SimRuntime);
///
/// impl TestBed for Bed {
///     fn name(&self) -> &str {
///         "mine"
///     }
///     fn runtime(&self) -> Arc<dyn Runtime> {
///         Arc::new(Mine(self.0.clone()))
///     }
///     fn block_on<F: Future>(&self, future: F) -> F::Output {
///         self.0.block_on(future)
///     }
/// }
///
/// let bed = Bed(SimRuntime::new(0));
/// assert_eq!(bed.block_on(async { 6 * 7 }), 42);
/// let failed = catch_unwind(AssertUnwindSafe(|| bed.block_on(async { panic!("a failed assertion") })));
/// assert!(failed.is_err());
/// ```
pub trait TestBed {
    /// The name of the runtime in messages, such as `"sim"` or `"tokio"`.
    fn name(&self) -> &str;

    /// The runtime under test.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// Runs `future` to completion. The tasks and timers of [`runtime`](TestBed::runtime) make progress meanwhile.
    fn block_on<F: Future>(&self, future: F) -> F::Output;

    /// Changes the configuration of each endpoint of the behaviour suite, after its scenario has. Does nothing by default.
    fn configure(&self, config: &mut Config) {
        let _ = config;
    }
}

impl TestBed for SimRuntime {
    fn name(&self) -> &str {
        "sim"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    #[track_caller]
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        SimRuntime::block_on(self, future)
    }
}

impl<B: TestBed> TestBed for &B {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        (**self).runtime()
    }

    #[track_caller]
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        (**self).block_on(future)
    }

    fn configure(&self, config: &mut Config) {
        (**self).configure(config);
    }
}
