//! On async-std, with routes by tide.

use std::{io, net::TcpListener};

use mcp_session_async_std::{AsyncStdRuntime, McpEndpoint, serve_app, terminate_signal};
use mcp_session_core::{Endpoint, ShutdownReport};
use tide::{Response, Server};

use crate::args::Args;

pub(super) fn run(listener: TcpListener, args: &Args) -> io::Result<ShutdownReport> {
    async_std::task::block_on(async {
        let address = listener.local_addr()?;
        let endpoint = super::endpoint(AsyncStdRuntime, args)?;
        let server = serve_app(listener.into(), endpoint.clone(), routes(endpoint));
        super::serve(server.with_graceful_shutdown(terminate_signal), address, args).await
    })
}

fn routes(endpoint: Endpoint) -> Server<()> {
    let mut app = tide::new();
    app.at("/mcp").all(McpEndpoint::new(endpoint.clone()));
    app.at("/healthz").get(async |_| Ok(super::HEALTHY));
    app.at("/readyz").get(move |_| {
        let (status, text) = super::ready(&endpoint);
        async move { Ok(Response::builder(status.as_u16()).body(text).build()) }
    });
    app
}
