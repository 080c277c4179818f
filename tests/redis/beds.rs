//! A bed for async-std.

#[cfg(feature = "async-std")]
use std::sync::Arc;

#[cfg(feature = "async-std")]
use mcp_session_core::Runtime;
#[cfg(feature = "async-std")]
use mcp_session_testkit::TestBed;

/// Its executor is the global one.
#[cfg(feature = "async-std")]
pub(crate) struct AsyncStdBed;

#[cfg(feature = "async-std")]
impl TestBed for AsyncStdBed {
    fn name(&self) -> &str {
        "async-std"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(mcp_session_async_std::AsyncStdRuntime)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        async_std::task::block_on(future)
    }
}
