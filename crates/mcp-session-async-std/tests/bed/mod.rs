//! A bed for async-std, with `serve`.

use std::{net::TcpListener, sync::Arc};

use mcp_session_async_std::{AsyncStdRuntime, serve};
use mcp_session_core::{Endpoint, Runtime, Serve};
use mcp_session_testkit::{TestBed, wire::ServeHarness};

/// Its executor is the global one.
pub(crate) struct AsyncStdBed;

impl TestBed for AsyncStdBed {
    fn name(&self) -> &str {
        "async-std"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(AsyncStdRuntime)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        async_std::task::block_on(future)
    }
}

impl ServeHarness for AsyncStdBed {
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        serve(listener.into(), endpoint)
    }
}
