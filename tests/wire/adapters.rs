//! The wire suite on every adapter.

use std::{net::TcpListener, sync::Arc};

use mcp_session_core::{Endpoint, Runtime, Serve};
use mcp_session_testkit::{wire::ServeHarness, wire_suite};
use mcp_session_tokio::TokioRuntime;
use tokio::runtime;

/// Several threads, of a runtime of its own for each test.
struct Tokio(runtime::Runtime);

impl Tokio {
    fn new() -> Self {
        let mut builder = runtime::Builder::new_multi_thread();
        Self(builder.worker_threads(2).enable_all().build().expect("a runtime"))
    }
}

impl ServeHarness for Tokio {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(TokioRuntime::from(self.0.handle().clone()))
    }

    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        mcp_session_tokio::serve(listener, endpoint)
    }
}

wire_suite!(on_tokio, Tokio::new());
