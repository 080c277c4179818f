//! Tokio.

use std::sync::Arc;

use mcp_session_core::Runtime;
use mcp_session_testkit::TestBed;
use mcp_session_tokio::TokioRuntime;

pub(crate) struct TokioBed(tokio::runtime::Runtime);

impl TokioBed {
    /// One thread, with tokio's clock paused: it jumps when nothing is left to do.
    pub(crate) fn paused() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        Self(builder.enable_all().start_paused(true).build().expect("a runtime"))
    }

    /// Several threads and the real clock: where races would show.
    pub(crate) fn threads() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(builder.worker_threads(4).enable_all().build().expect("a runtime"))
    }
}

impl TestBed for TokioBed {
    fn name(&self) -> &str {
        "tokio"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(TokioRuntime::from(self.0.handle().clone()))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}
