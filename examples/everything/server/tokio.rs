//! On tokio, with one thread per core.

use std::{io, net::TcpListener};

use mcp_session_core::ShutdownReport;
use mcp_session_tokio::{TokioRuntime, serve_app, terminate_signal};
use tokio::runtime;

use crate::{args::Args, telemetry::Telemetry};

pub(super) fn run(
    listener: TcpListener,
    args: &Args,
    telemetry: Option<&Telemetry>,
) -> io::Result<ShutdownReport> {
    let runtime = runtime::Runtime::new()?;
    let report = runtime.block_on(async {
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let node = super::Node::new(TokioRuntime::current(), args, address, telemetry)?;
        let server = serve_app(listener, node.endpoint.clone(), super::routes(node));
        super::serve(server.with_graceful_shutdown(terminate_signal), address, args).await
    });
    runtime.shutdown_background(); // a handler that blocks its thread is not waited for
    report
}
