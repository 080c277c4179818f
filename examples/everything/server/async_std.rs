//! On async-std, with routes by tide.

use std::{io, net::TcpListener};

use mcp_session_async_std::{AsyncStdRuntime, McpEndpoint, serve_app, terminate_signal};
use mcp_session_core::ShutdownReport;
use tide::{Response, Server};

use super::Node;
use crate::args::Args;

pub(super) fn run(listener: TcpListener, args: &Args) -> io::Result<ShutdownReport> {
    async_std::task::block_on(async {
        let address = listener.local_addr()?;
        let node = Node::new(AsyncStdRuntime, args)?;
        let server = serve_app(listener.into(), node.endpoint.clone(), routes(node));
        super::serve(server.with_graceful_shutdown(terminate_signal), address, args).await
    })
}

fn routes(node: Node) -> Server<()> {
    let mut app = tide::new();
    app.at("/mcp").all(McpEndpoint::new(node.endpoint.clone()));
    app.at("/healthz").get(async |_| Ok(super::HEALTHY));
    app.at("/readyz").get(move |_| {
        let (status, text) = node.ready();
        async move { Ok(Response::builder(status.as_u16()).body(text).build()) }
    });
    app
}
