//! The suites of the testkit on async-std: the laws of a runtime, the behaviour of an endpoint, the server on the wire.

use std::{net::TcpListener, sync::Arc};

use mcp_session_async_std::{AsyncStdRuntime, serve};
use mcp_session_core::{Endpoint, Runtime, Serve};
use mcp_session_testkit::{TestBed, behaviour_suite, runtime_contract, wire::ServeHarness, wire_suite};

/// Its executor is the one of the process.
struct AsyncStd;

impl TestBed for AsyncStd {
    fn name(&self) -> &str {
        "async-std"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(AsyncStdRuntime)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        ::async_std::task::block_on(future)
    }
}

impl ServeHarness for AsyncStd {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(AsyncStdRuntime)
    }

    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        serve(listener.into(), endpoint)
    }
}

runtime_contract!(async_std_laws, AsyncStd);
behaviour_suite!(async_std, AsyncStd);
wire_suite!(
    on_async_std,
    AsyncStd,
    without http2: "async-h1 speaks HTTP/1.1 only",
    without chunk_extensions: "async-h1 does not know them: the body counts as broken off",
);
