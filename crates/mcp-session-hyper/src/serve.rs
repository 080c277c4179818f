//! [`serve_app`]: a server for the sockets that a runtime's listener accepts.

use std::io;

use futures::{Stream, StreamExt};
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
};
use mcp_session_core::{Endpoints, Serve, ServeConnection};
use socket2::SockRef;
use tower_service::Service;

use crate::{BoxError, configure_socket, serve_connection};

/// Serves `app` on the sockets that `accepted` yields. `app` contains an [`McpService`](crate::McpService) of this endpoint,
/// for example as one of its routes. `io` wraps a socket so that hyper can read and write it.
///
/// The `poll_shutdown` of what `io` returns must shut down the sending side of the socket (`SHUT_WR`), and not only flush: a
/// client that still sends when it is refused sees the end of the response by it. Otherwise it waits until
/// [`Serve::with_linger`](mcp_session_core::Serve::with_linger) has passed. `async_io::Async` only flushes; `async-net` shuts down.
///
/// Each request carries the client's [`PeerAddr`](mcp_session_core::PeerAddr) as an extension. Sockets are configured by
/// [`configure_socket`]; connections are served by [`serve_connection`], as tasks of the endpoint's runtime. The server
/// ends when the endpoint has shut down. Several endpoints, `[a, b]`, stop together, with one report.
///
/// ```
/// use std::{io, net::TcpStream};
/// use futures::Stream;
/// use hyper::rt::{Read, Write};
/// use mcp_session_core::{Endpoint, Serve};
/// use mcp_session_hyper::{McpService, serve_app};
///
/// /// `Io` wraps a socket of your runtime, here a `TcpStream`, for hyper.
/// fn serve<Io>(
///     accepted: impl Stream<Item = io::Result<TcpStream>> + Send + 'static,
///     io: fn(TcpStream) -> Io,
///     endpoint: Endpoint,
/// ) -> Serve
/// where
///     Io: Read + Write + Unpin + Send + 'static,
/// {
///     let app = McpService::new(endpoint.clone());
///     serve_app(accepted, io, endpoint, app)
/// }
/// ```
pub fn serve_app<T, I, S, B>(
    accepted: impl Stream<Item = io::Result<T>> + Send + 'static,
    io: fn(T) -> I,
    endpoints: impl Into<Endpoints>,
    app: S,
) -> Serve
where
    T: Send + 'static,
    for<'s> SockRef<'s>: From<&'s T>,
    I: Read + Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let connect = move |socket: T| -> ServeConnection {
        let app = app.clone();
        Box::new(move |context| {
            configure_socket(&socket, &context);
            let peer = SockRef::from(&socket).peer_addr().ok().and_then(|peer| peer.as_socket());
            Box::pin(serve_connection(io(socket), app, context.with_peer_addr(peer)))
        })
    };
    Serve::new(endpoints, accepted.map(move |accepted| accepted.map(&connect)))
}
