//! The wire suite, on async-std.

use std::{net::TcpListener, sync::Arc};

use mcp_session_async_std::{AsyncStdRuntime, serve};
use mcp_session_core::{Endpoint, Runtime, Serve};
use mcp_session_testkit::{wire::ServeHarness, wire_suite};

/// All scenarios share the executor of the process.
struct AsyncStd;

impl ServeHarness for AsyncStd {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(AsyncStdRuntime)
    }

    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        serve(listener.into(), endpoint)
    }
}

wire_suite!(
    on_async_std,
    AsyncStd,
    without http2: "async-h1 speaks HTTP/1.1 only",
    without chunk_extensions: "async-h1 does not know them: the body counts as broken off",
);
