//! A runtime of one's own: that of the example `custom_runtime`.

use std::sync::Arc;

use mcp_session_core::Runtime;
use mcp_session_testkit::TestBed;

use runtime::PoolRuntime;

#[path = "../../../examples/custom_runtime/runtime.rs"]
mod runtime;

/// The pool runs by itself; a test only waits.
pub(crate) struct PoolBed(PoolRuntime);

impl PoolBed {
    pub(crate) fn new() -> Self {
        Self(PoolRuntime::new().expect("threads"))
    }
}

impl TestBed for PoolBed {
    fn name(&self) -> &str {
        "custom"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.0.clone())
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        futures::executor::block_on(future)
    }
}
