//! The server on tokio: the endpoint at `/mcp`, and two probes.

use std::{io, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use mcp_session_core::{Endpoint, Runtime, ShutdownReport};
use mcp_session_tokio::{McpService, TokioRuntime, serve_app, terminate_signal};
use tokio::net::TcpListener;

use crate::{args::Args, handler::Everything, say};

/// Serves until SIGTERM or Ctrl-C, and tells what the shutdown found.
pub(crate) async fn on_tokio(args: &Args) -> io::Result<ShutdownReport> {
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::current());
    let endpoint = Endpoint::with_config(Arc::clone(&runtime), Everything::new(runtime), args.config());
    let probed = endpoint.clone();
    let routes = Router::new()
        .route_service("/mcp", McpService::new(endpoint.clone()))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { ready(&probed) }));

    let listener = TcpListener::bind(args.bind).await.map_err(|error| {
        let why = format!("cannot listen on {}: {error}; choose another with --bind", args.bind);
        io::Error::new(error.kind(), why)
    })?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let server =
        serve_app(listener, endpoint, routes).with_shutdown(terminate_signal).with_policy(args.policy());
    say(&url); // the last thing before serving: whoever reads it may use it, or send a signal
    server.await
}

/// What a load balancer goes by: 503 from the first moment of the shutdown.
fn ready(endpoint: &Endpoint) -> (StatusCode, &'static str) {
    if endpoint.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    }
}
