//! The server on each runtime: the endpoint at `/mcp`, and two probes.

#[cfg(feature = "async-std")]
mod async_std;
mod smol;
mod tokio;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use mcp_session_core::{Endpoint, Runtime, Serve, ShutdownReport};
use mcp_session_tokio::McpService;

use crate::{
    args::{Args, Executor},
    handler::Everything,
    say,
};

/// Serves until SIGTERM or Ctrl-C, and returns the shutdown report.
pub(crate) fn run(args: &Args) -> io::Result<ShutdownReport> {
    let listener = mcp_session_hyper::bind(args.bind).map_err(|error| {
        let why = format!("cannot listen on {}: {error}; choose another with --bind", args.bind);
        io::Error::new(error.kind(), why)
    })?;
    match args.runtime {
        Executor::Tokio => tokio::run(listener, args),
        Executor::Smol => smol::run(listener, args),
        #[cfg(feature = "async-std")]
        Executor::AsyncStd => async_std::run(listener, args),
    }
}

fn endpoint(runtime: impl Runtime, args: &Args) -> io::Result<Endpoint> {
    let runtime: Arc<dyn Runtime> = Arc::new(runtime);
    let config = args.config().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Endpoint::with_config(Arc::clone(&runtime), Everything::new(runtime), config)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// The routes, as a tower service: independent of the runtime.
fn routes(endpoint: Endpoint) -> Router {
    let probed = endpoint.clone();
    Router::new()
        .route_service("/mcp", McpService::new(endpoint))
        .route("/healthz", get(|| async { HEALTHY }))
        .route("/readyz", get(move || async move { ready(&probed) }))
}

/// Prints the URL, then serves.
async fn serve(server: Serve, address: SocketAddr, args: &Args) -> io::Result<ShutdownReport> {
    let server = server.with_policy(args.policy());
    say(&format!("http://{address}/mcp")); // last before serving: a reader may connect or send a signal
    server.await
}

const HEALTHY: &str = "ok\n";

/// For a load balancer: 503 from the start of the shutdown.
fn ready(endpoint: &Endpoint) -> (StatusCode, &'static str) {
    if endpoint.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    }
}
