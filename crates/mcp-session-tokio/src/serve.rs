//! [`bind`], [`serve`] and [`serve_app`].

use std::{io, net::ToSocketAddrs};

use futures::stream;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use mcp_session_core::{Endpoint, Endpoints, Serve};
use mcp_session_hyper::{BoxError, McpService};
use tokio::net::TcpListener;
use tower_service::Service;

/// Binds a listener for [`serve`], with a backlog of 4,096, or as many as the system allows, and on Unix with
/// `SO_REUSEADDR`. When a server is replaced, all its clients connect to the next one at once; the backlog of
/// `TcpListener::bind` is 1,024. Names are resolved on this thread.
///
/// # Errors
///
/// If there is no such address, it is in use, or the process may not listen on it.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    TcpListener::from_std(mcp_session_hyper::bind(address)?)
}

/// Serves the endpoint on this listener, on every path, over HTTP/1.1 and HTTP/2, until the endpoint has shut down.
///
/// Configure it with the methods of [`Serve`], then `.await` it. Sockets get `TCP_NODELAY` and a bounded send buffer;
/// request heads have a deadline. Connections run as tasks of the endpoint's runtime.
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// use mcp_session_core::{Endpoint, Router};
/// use mcp_session_tokio::{TokioRuntime, bind, serve, terminate_signal};
///
/// let endpoint = Endpoint::new(TokioRuntime::current(), Router::new("greeter", "0.1.0"));
/// let listener = bind("127.0.0.1:8000")?;
/// let report = serve(listener, endpoint).with_graceful_shutdown(terminate_signal).await?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
pub fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
    let service = McpService::new(endpoint.clone());
    start(listener, endpoint, service)
}

/// Like [`serve`], for an app that has an [`McpService`] of this endpoint among its routes, such as an
/// `axum::Router`. The server ends when the endpoint has shut down. Several endpoints, `[a, b]`, stop together, with one
/// report.
///
/// Each request carries the client's address as an extension: as [`PeerAddr`](mcp_session_core::PeerAddr), and with the
/// feature `axum`, which is on by default, also as axum's `ConnectInfo<SocketAddr>`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::routing::get;
/// use mcp_session_core::{Endpoint, Router, ShutdownPolicy};
/// use mcp_session_tokio::{McpService, TokioRuntime, bind, serve_app};
///
/// let endpoint = Endpoint::new(TokioRuntime::current(), Router::new("greeter", "0.1.0"));
/// let app = axum::Router::new()
///     .route_service("/mcp", McpService::new(endpoint.clone()))
///     .route("/healthz", get(|| async { "ok" }));
/// let listener = bind("127.0.0.1:0")?;
/// let server = serve_app(listener, endpoint.clone(), app);
/// endpoint.shutdown(ShutdownPolicy::default());
/// assert!(server.await?.is_clean());
/// # Ok(())
/// # }
/// ```
pub fn serve_app<S, B>(listener: TcpListener, endpoints: impl Into<Endpoints>, app: S) -> Serve
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    #[cfg(feature = "axum")]
    let app = crate::connect_info::WithConnectInfo(app);
    start(listener, endpoints, app)
}

fn start<S, B>(listener: TcpListener, endpoints: impl Into<Endpoints>, app: S) -> Serve
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let accepted = stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await;
        Some((accepted.map(|(socket, _)| socket), listener))
    });
    mcp_session_hyper::serve_app(accepted, TokioIo::new, endpoints, app)
}
