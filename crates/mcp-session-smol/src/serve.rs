//! [`bind`], [`serve`], [`serve_app`] and [`serve_app_over`].

use std::{io, net::ToSocketAddrs};

use futures::{AsyncRead, AsyncWrite};
use http::{Extensions, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use mcp_session_core::{Endpoint, Endpoints, Serve};
use mcp_session_hyper::{BoxError, McpService};
use smol::net::TcpListener;
use tower_service::Service;

use crate::{
    io::Io,
    listener::{Listener, accepted},
};

/// Binds a listener for [`serve`], with a backlog of 4,096, or as many as the system allows, and on Unix with
/// `SO_REUSEADDR`. When a server is replaced, all its clients connect to the next one at once; the backlog of
/// `TcpListener::bind` is 128. Names are resolved on this thread.
///
/// # Errors
///
/// If there is no such address, it is in use, or the process may not listen on it.
pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    mcp_session_hyper::bind(address)?.try_into()
}

/// Serves the endpoint on this listener, on every path, over HTTP/1.1 and HTTP/2, until the endpoint has shut down.
///
/// Configure it with the methods of [`Serve`], then `.await` it. Sockets get `TCP_NODELAY` and a bounded send buffer;
/// request heads have a deadline. Connections run as tasks of the endpoint's runtime.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// # smol::block_on(async {
/// use mcp_session_core::{Endpoint, Router};
/// use mcp_session_smol::{SmolRuntime, bind, serve, terminate_signal};
///
/// let endpoint = Endpoint::new(SmolRuntime::global(), Router::new("greeter", "0.1.0"));
/// let listener = bind("127.0.0.1:8000")?;
/// let report = serve(listener, endpoint).with_graceful_shutdown(terminate_signal).await?;
/// println!("{report}");
/// # Ok(())
/// # })
/// # }
/// ```
pub fn serve(listener: impl Listener, endpoint: Endpoint) -> Serve {
    let service = McpService::new(endpoint.clone());
    serve_app(listener, endpoint, service)
}

/// Like [`serve`], for a tower service that contains an [`McpService`] of this endpoint. The server ends when the endpoint
/// has shut down. Several endpoints, `[a, b]`, stop together, with one report.
///
/// Over TCP, each request carries the client's address as an extension, as [`PeerAddr`](mcp_session_core::PeerAddr). An axum app that
/// needs `ConnectInfo` adds it in a layer: axum has that type only with tokio's sockets.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # smol::block_on(async {
/// use mcp_session_core::{Endpoint, Router, ShutdownPolicy};
/// use mcp_session_smol::{McpService, SmolRuntime, bind, serve_app};
///
/// let endpoint = Endpoint::new(SmolRuntime::global(), Router::new("greeter", "0.1.0"));
/// let app = McpService::new(endpoint.clone()); // with tower's layers around it
/// let listener = bind("127.0.0.1:0")?;
/// let server = serve_app(listener, endpoint.clone(), app);
/// endpoint.shutdown(ShutdownPolicy::default());
/// assert!(server.await?.is_clean());
/// # Ok(())
/// # })
/// # }
/// ```
pub fn serve_app<S, B>(listener: impl Listener, endpoints: impl Into<Endpoints>, app: S) -> Serve
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    mcp_session_hyper::serve_app(accepted(listener), Io::new, endpoints, app)
}

/// Like [`serve_app`], for connections that are opened before HTTP begins, such as by a TLS handshake.
///
/// `open` gets an accepted socket and returns the stream that HTTP is spoken on, with extensions that each request of the
/// connection carries: for example the client's certificate. It runs in the task of its connection, so that a slow client
/// delays nobody. It has as long as a request head ([`Serve::with_header_timeout`]), and is dropped when connections must
/// close; if it fails, the socket is closed.
///
/// The stream's `poll_close` must shut down the sending side of the socket, and an error of its `poll_read` counts as a
/// client that has left, as with `futures-rustls`.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # smol::block_on(async {
/// use http::Extensions;
/// use mcp_session_core::{Endpoint, Router, ShutdownPolicy};
/// use mcp_session_smol::{McpService, SmolRuntime, bind, serve_app_over};
/// use smol::net::TcpStream;
///
/// let endpoint = Endpoint::new(SmolRuntime::global(), Router::new("greeter", "0.1.0"));
/// let app = McpService::new(endpoint.clone());
/// let open = async |socket: TcpStream| Ok((socket, Extensions::new())); // with TLS: `acceptor.accept(socket).await?`
/// let server = serve_app_over(bind("127.0.0.1:0")?, open, endpoint.clone(), app);
/// endpoint.shutdown(ShutdownPolicy::default());
/// assert!(server.await?.is_clean());
/// # Ok(())
/// # })
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
    let open = move |socket| {
        let opened = open(socket);
        async move { opened.await.map(|(io, extensions)| (Io::new(io), extensions)) }
    };
    mcp_session_hyper::serve_app_over(accepted(listener), open, endpoints, app)
}
