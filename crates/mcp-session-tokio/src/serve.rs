//! [`bind`], [`serve`], [`serve_app`] and [`serve_app_over`].

use std::{io, net::ToSocketAddrs};

use http::{Extensions, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use mcp_session_core::{Endpoint, Endpoints, Serve};
use mcp_session_hyper::{BoxError, McpService};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tower_service::Service;

use crate::listener::{Listener, accepted};

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
pub fn serve(listener: impl Listener, endpoint: Endpoint) -> Serve {
    let service = McpService::new(endpoint.clone());
    start(listener, endpoint, service)
}

/// Like [`serve`], for an app that has an [`McpService`] of this endpoint among its routes, such as an
/// `axum::Router`. The server ends when the endpoint has shut down. Several endpoints, `[a, b]`, stop together, with one
/// report.
///
/// Over TCP, each request carries the client's address as an extension: as [`PeerAddr`](mcp_session_core::PeerAddr), and with the
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
pub fn serve_app<S, B>(listener: impl Listener, endpoints: impl Into<Endpoints>, app: S) -> Serve
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    #[cfg(feature = "axum")]
    let app = crate::connect_info::WithConnectInfo(app);
    start(listener, endpoints, app)
}

/// Like [`serve_app`], for connections that are opened before HTTP begins, such as by a TLS handshake.
///
/// `open` gets an accepted socket and returns the stream that HTTP is spoken on, with extensions that each request of the
/// connection carries: for example the client's certificate. It runs in the task of its connection, so that a slow client
/// delays nobody. It has as long as a request head ([`Serve::with_header_timeout`]), and is dropped when connections must
/// close; if it fails, the socket is closed.
///
/// The stream's `poll_shutdown` must shut down the sending side of the socket, and an error of its `poll_read` counts as a
/// client that has left, as with `tokio-rustls`:
///
/// ```no_run
/// # async fn example(endpoint: mcp_session_core::Endpoint, config: tokio_rustls::rustls::ServerConfig) -> std::io::Result<()> {
/// use http::Extensions;
/// use mcp_session_tokio::{McpService, bind, serve_app_over, terminate_signal};
/// use std::sync::Arc;
/// use tokio_rustls::TlsAcceptor;
///
/// let tls = TlsAcceptor::from(Arc::new(config)); // with `alpn_protocols` h2 and http/1.1
/// let open = move |socket| {
///     let handshake = tls.accept(socket);
///     async move { Ok((handshake.await?, Extensions::new())) }
/// };
/// let app = McpService::new(endpoint.clone());
/// let server = serve_app_over(bind("0.0.0.0:8443")?, open, endpoint, app);
/// println!("{}", server.with_graceful_shutdown(terminate_signal).await?);
/// # Ok(())
/// # }
/// ```
pub fn serve_app_over<L, O, F, I, S, B>(
    listener: L,
    open: O,
    endpoints: impl Into<Endpoints>,
    app: S,
) -> Serve
where
    L: Listener,
    O: Fn(L::Socket) -> F + Clone + Send + 'static,
    F: Future<Output = io::Result<(I, Extensions)>> + Send + 'static,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    #[cfg(feature = "axum")]
    let app = crate::connect_info::WithConnectInfo(app);
    let open = move |socket| {
        let opened = open(socket);
        async move { opened.await.map(|(io, extensions)| (TokioIo::new(io), extensions)) }
    };
    mcp_session_hyper::serve_app_over(accepted(listener), open, endpoints, app)
}

fn start<S, B>(listener: impl Listener, endpoints: impl Into<Endpoints>, app: S) -> Serve
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    mcp_session_hyper::serve_app(accepted(listener), TokioIo::new, endpoints, app)
}
