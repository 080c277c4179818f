//! The server on each runtime: the endpoint at `/mcp`, and two probes.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use mcp_session_core::{Endpoint, Runtime, Serve, ShutdownReport};
use mcp_session_smol::SmolRuntime;
use mcp_session_tokio::{McpService, TokioRuntime};

use crate::{
    args::{Args, Executor},
    handler::Everything,
    say,
};

/// Serves until SIGTERM or Ctrl-C, and tells what the shutdown found.
pub(crate) fn run(args: &Args) -> io::Result<ShutdownReport> {
    match args.runtime {
        Executor::Tokio => tokio::runtime::Runtime::new()?.block_on(on_tokio(args)),
        Executor::Smol => on_smol(args),
        #[cfg(feature = "async-std")]
        Executor::AsyncStd => async_std::task::block_on(on_async_std(args)),
    }
}

async fn on_tokio(args: &Args) -> io::Result<ShutdownReport> {
    let endpoint = endpoint(TokioRuntime::current(), args);
    let listener = tokio::net::TcpListener::bind(args.bind).await.map_err(|error| unusable(args, &error))?;
    let address = listener.local_addr()?;
    let server = mcp_session_tokio::serve_app(listener, endpoint.clone(), routes(endpoint));
    ended(server.with_shutdown(mcp_session_tokio::terminate_signal), address, args).await
}

/// On as many threads as there are cores: smol's global executor has one.
fn on_smol(args: &Args) -> io::Result<ShutdownReport> {
    let executor = Arc::new(smol::Executor::new());
    let endpoint = endpoint(SmolRuntime::from(Arc::clone(&executor)), args);
    let serving = async {
        let listener =
            smol::net::TcpListener::bind(args.bind).await.map_err(|error| unusable(args, &error))?;
        let address = listener.local_addr()?;
        let server = mcp_session_smol::serve_app(listener, endpoint.clone(), routes(endpoint));
        ended(server.with_shutdown(mcp_session_smol::terminate_signal), address, args).await
    };
    let threads = std::thread::available_parallelism()?.get();
    let (end, ending) = smol::channel::bounded::<()>(1);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| smol::block_on(executor.run(ending.recv())));
        }
        let report = smol::block_on(executor.run(serving));
        drop(end);
        report
    })
}

/// Under tide instead of axum.
#[cfg(feature = "async-std")]
async fn on_async_std(args: &Args) -> io::Result<ShutdownReport> {
    use mcp_session_async_std::{AsyncStdRuntime, McpEndpoint, serve_app, terminate_signal};

    let endpoint = endpoint(AsyncStdRuntime, args);
    let listener =
        async_std::net::TcpListener::bind(args.bind).await.map_err(|error| unusable(args, &error))?;
    let address = listener.local_addr()?;
    let mut app = tide::new();
    app.at("/mcp").all(McpEndpoint::new(endpoint.clone()));
    app.at("/healthz").get(async |_| Ok("ok\n"));
    let probed = endpoint.clone();
    app.at("/readyz").get(move |_| {
        let (status, text) = ready(&probed);
        std::future::ready(Ok(tide::Response::builder(status.as_u16()).body(text).build()))
    });
    ended(serve_app(listener, endpoint, app).with_shutdown(terminate_signal), address, args).await
}

fn endpoint(runtime: impl Runtime, args: &Args) -> Endpoint {
    let runtime: Arc<dyn Runtime> = Arc::new(runtime);
    Endpoint::with_config(Arc::clone(&runtime), Everything::new(runtime), args.config())
}

/// A service for tower, which is on no particular runtime.
fn routes(endpoint: Endpoint) -> Router {
    let probed = endpoint.clone();
    Router::new()
        .route_service("/mcp", McpService::new(endpoint))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { ready(&probed) }))
}

async fn ended(server: Serve, address: SocketAddr, args: &Args) -> io::Result<ShutdownReport> {
    let server = server.with_policy(args.policy());
    say(&format!("http://{address}/mcp")); // the last thing before serving: whoever reads it may use it, or send a signal
    server.await
}

fn unusable(args: &Args, error: &io::Error) -> io::Error {
    let why = format!("cannot listen on {}: {error}; choose another with --bind", args.bind);
    io::Error::new(error.kind(), why)
}

/// What a load balancer goes by: 503 from the first moment of the shutdown.
fn ready(endpoint: &Endpoint) -> (StatusCode, &'static str) {
    if endpoint.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    }
}
