//! The server on each runtime: the endpoint at `/mcp`, and two probes.

#[cfg(feature = "async-std")]
mod async_std;
mod smol;
mod tokio;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse, routing::get};
use mcp_session_core::{Endpoint, Runtime, Serve, ShutdownReport};
use mcp_session_oauth::ResourceServer;
use mcp_session_redis::RedisStore;
use mcp_session_tokio::McpService;

use crate::{
    args::{Args, Executor},
    handler::Everything,
    say,
    telemetry::Telemetry,
};

/// Serves until SIGTERM or Ctrl-C, and returns the shutdown report.
pub(crate) fn run(args: &Args, telemetry: Option<&Telemetry>) -> io::Result<ShutdownReport> {
    let listener = mcp_session_hyper::bind(args.bind).map_err(|error| {
        let why = format!("cannot listen on {}: {error}; choose another with --bind", args.bind);
        io::Error::new(error.kind(), why)
    })?;
    match args.runtime {
        Executor::Tokio => tokio::run(listener, args, telemetry),
        Executor::Smol => smol::run(listener, args, telemetry),
        #[cfg(feature = "async-std")]
        Executor::AsyncStd => async_std::run(listener, args, telemetry),
    }
}

/// What a node is made of.
#[derive(Clone)]
struct Node {
    endpoint: Endpoint,
    store: Option<RedisStore>,
    store_grace: Duration,
    /// Checks the tokens, if they are needed.
    resource: Option<ResourceServer>,
    telemetry: Option<Telemetry>,
}

impl Node {
    /// A store that is away is waited for in the background.
    fn new(
        runtime: impl Runtime,
        args: &Args,
        address: SocketAddr,
        telemetry: Option<&Telemetry>,
    ) -> io::Result<Self> {
        fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
            io::Error::new(io::ErrorKind::InvalidInput, error)
        }
        let runtime: Arc<dyn Runtime> = Arc::new(runtime);
        let mut config = args.config().map_err(invalid)?;
        let store = args.store().map_err(invalid)?;
        let store =
            store.map(|store| RedisStore::start(store, Arc::clone(&runtime)).map_err(invalid)).transpose()?;
        config.store = store.as_ref().map(RedisStore::store);
        let resource = args.oauth.resource_server(address, Arc::clone(&runtime)).map_err(invalid)?;
        config.authenticate = resource.clone().map(|resource| Arc::new(resource) as _);
        let handler = Everything::new(Arc::clone(&runtime));
        let endpoint = match telemetry {
            None => Endpoint::with_config(runtime, handler, config),
            Some(telemetry) => {
                let handler = telemetry.observe(handler, Arc::clone(&runtime));
                telemetry.configure(&mut config);
                let endpoint = Endpoint::with_config(Arc::clone(&runtime), handler, config);
                endpoint.inspect(|endpoint| telemetry.watch(endpoint, &runtime))
            }
        };
        let endpoint = endpoint.map_err(invalid)?;
        let (store_grace, telemetry) = (args.store_grace, telemetry.cloned());
        Ok(Self { endpoint, store, store_grace, resource, telemetry })
    }

    /// For a load balancer: 503 from the start of the shutdown, and while the store is away for longer than its grace, or
    /// was never there.
    fn ready(&self) -> (StatusCode, String) {
        if !self.endpoint.is_ready() {
            return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned());
        }
        let away = self.store.as_ref().filter(|store| {
            store.unreachable_for().is_some_and(|time| time > self.store_grace || !store.was_connected())
        });
        match away {
            None => (StatusCode::OK, "ready\n".to_owned()),
            Some(store) => {
                let trouble = store.trouble().map_or_else(String::new, |trouble| format!(": {trouble}"));
                (StatusCode::SERVICE_UNAVAILABLE, format!("no store{trouble}\n"))
            }
        }
    }
}

/// The routes, as a tower service: independent of the runtime.
fn routes(node: Node) -> Router {
    let (resource, telemetry) = (node.resource.clone(), node.telemetry.clone());
    let metadata = move |request: Request| async move {
        match resource.and_then(|it| it.respond(request.method(), request.uri().path())) {
            Some(response) => response.map(Body::from),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    };
    let metrics = move || async move { telemetry.and_then(|it| it.text()).ok_or(StatusCode::NOT_FOUND) };
    Router::new()
        .fallback(metadata)
        .route("/metrics", get(metrics))
        .route_service("/mcp", McpService::new(node.endpoint.clone()))
        .route("/healthz", get(|| async { HEALTHY }))
        .route("/readyz", get(move || async move { node.ready() }))
}

/// Prints the URL, then serves.
async fn serve(server: Serve, address: SocketAddr, args: &Args) -> io::Result<ShutdownReport> {
    let server = server.with_policy(args.policy());
    say(&format!("http://{address}/mcp")); // last before serving: a reader may connect or send a signal
    server.await
}

const HEALTHY: &str = "ok\n";
