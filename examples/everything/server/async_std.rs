//! On async-std, with routes by tide.

use std::{io, net::TcpListener};

use mcp_session_async_std::{AsyncStdRuntime, McpEndpoint, serve_app, terminate_signal};
use mcp_session_core::ShutdownReport;
use tide::{Request, Response, Server};

use super::Node;
use crate::{args::Args, telemetry::Telemetry};

pub(super) fn run(
    listener: TcpListener,
    args: &Args,
    telemetry: Option<&Telemetry>,
) -> io::Result<ShutdownReport> {
    async_std::task::block_on(async {
        let address = listener.local_addr()?;
        let node = Node::new(AsyncStdRuntime, args, address, telemetry)?;
        let server = serve_app(listener.into(), node.endpoint.clone(), routes(node));
        super::serve(server.with_graceful_shutdown(terminate_signal), address, args).await
    })
}

fn routes(node: Node) -> Server<()> {
    let mut app = tide::new();
    app.at("/mcp").all(McpEndpoint::new(node.endpoint.clone()));
    if let Some(resource) = node.resource.clone() {
        app.at("/.well-known/*").all(move |request: Request<()>| {
            let method = request.method().as_ref().parse().expect("a method");
            let found = resource.respond(&method, request.url().path());
            async move {
                let Some(found) = found else { return Ok(Response::new(404)) };
                let mut response = Response::new(found.status().as_u16());
                for (name, value) in found.headers() {
                    response.insert_header(name.as_str(), value.to_str().unwrap_or_default());
                }
                response.set_body(found.body().to_vec());
                Ok(response)
            }
        });
    }
    if let Some(telemetry) = node.telemetry.clone() {
        app.at("/metrics").get(move |_| {
            let text = telemetry.text();
            async move { Ok(text.map_or_else(|| Response::new(404), Response::from)) }
        });
    }
    app.at("/healthz").get(async |_| Ok(super::HEALTHY));
    app.at("/readyz").get(move |_| {
        let (status, text) = node.ready();
        async move { Ok(Response::builder(status.as_u16()).body(text).build()) }
    });
    app
}
