//! tokio.

use std::{net::TcpListener, sync::Arc};

use mcp_session_core::{Endpoint, Runtime, Serve};
use mcp_session_testkit::{TestBed, wire::ServeHarness};
use mcp_session_tokio::TokioRuntime;

/// A separate runtime for each test.
#[derive(Debug)]
pub struct TokioBed(tokio::runtime::Runtime);

impl TokioBed {
    /// A single thread with tokio's clock paused: it jumps when no task is ready.
    pub fn paused() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        Self(builder.enable_all().start_paused(true).build().expect("a runtime"))
    }

    /// Several threads and the real clock, where races can show.
    pub fn threads() -> Self {
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

impl ServeHarness for TokioBed {
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        mcp_session_tokio::serve(listener, endpoint)
    }
}
