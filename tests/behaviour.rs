//! The behaviour suite and the laws of a runtime, on every runtime there is an adapter for.

use std::sync::Arc;

use mcp_session_core::Runtime;
use mcp_session_testkit::{TestBed, behaviour_suite, runtime_contract};
use mcp_session_tokio::TokioRuntime;

/// Tokio, entered from a synchronous test.
struct TokioBed(tokio::runtime::Runtime);

impl TokioBed {
    /// One thread, with tokio's clock paused: it jumps when nothing is left to do.
    fn paused() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        Self(builder.enable_all().start_paused(true).build().expect("a runtime"))
    }

    /// Several threads and the real clock: where races would show.
    fn threads() -> Self {
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

runtime_contract!(tokio_paused_laws, TokioBed::paused());
runtime_contract!(tokio_threads_laws, TokioBed::threads());
behaviour_suite!(tokio_paused, TokioBed::paused());
behaviour_suite!(tokio_threads, TokioBed::threads());
