//! A custom runtime: that of the example `custom_runtime`, with its server.

use std::{net::TcpListener, sync::Arc};

use mcp_session_core::{Endpoint, Runtime, Serve};
use mcp_session_testkit::{TestBed, wire::ServeHarness};

use runtime::PoolRuntime;

#[path = "../../../examples/custom_runtime/runtime.rs"]
mod runtime;
#[allow(dead_code, reason = "a test makes its own signals")]
#[path = "../../../examples/custom_runtime/server.rs"]
mod server;

/// The pool runs on its own threads; a test only waits.
#[derive(Debug)]
pub struct PoolBed(PoolRuntime);

impl PoolBed {
    /// Creates a new bed.
    #[allow(clippy::new_without_default, reason = "it starts threads")]
    pub fn new() -> Self {
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

impl ServeHarness for PoolBed {
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        server::serve(listener, endpoint).expect("a listener")
    }
}
