//! [`serve_app`] and [`serve_app_over`]: a server for the sockets that a runtime's listener accepts.

use std::{
    io,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt};
use http::{Extensions, Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
};
use mcp_session_core::{ConnectionContext, Endpoints, Serve, ServeConnection};
use socket2::SockRef;
use tower_service::Service;

use crate::{BoxError, configure_socket, drive::Drive, serve_connection};

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
            let context = prepare(&socket, context);
            Box::pin(serve_connection(io(socket), app, context))
        })
    };
    Serve::new(endpoints, accepted.map(move |accepted| accepted.map(&connect)))
}

/// Like [`serve_app`], for connections that are opened before HTTP begins, such as by a TLS handshake.
///
/// `open` gets an accepted socket, already configured, and returns what hyper reads and writes, with extensions that each
/// request of the connection carries: for example the client's certificate. It runs in the task of its connection, so that a
/// slow client delays nobody. It has as long as a request head
/// ([`Serve::with_header_timeout`](mcp_session_core::Serve::with_header_timeout)), and is dropped when connections must
/// close; if it fails, the socket is closed.
///
/// What is said of `poll_shutdown` there holds here too. An error of `poll_read` counts as a client that has left, the end of
/// the input as one that may still read: answers that are ready within a second are written only after the latter.
pub fn serve_app_over<T, I, O, F, S, B>(
    accepted: impl Stream<Item = io::Result<T>> + Send + 'static,
    open: O,
    endpoints: impl Into<Endpoints>,
    app: S,
) -> Serve
where
    T: Send + 'static,
    for<'s> SockRef<'s>: From<&'s T>,
    O: Fn(T) -> F + Clone + Send + 'static,
    F: Future<Output = io::Result<(I, Extensions)>> + Send + 'static,
    I: Read + Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let connect = move |socket: T| -> ServeConnection {
        let (app, open) = (app.clone(), open.clone());
        Box::new(move |context| {
            Box::pin(async move {
                let context = prepare(&socket, context);
                let opened = Drive::new(context.clone()).in_time(open(socket)).await;
                // If it fails, there is no client to answer.
                if let Some(Ok((io, extensions))) = opened {
                    serve_connection(io, WithExtensions { app, extensions }, context).await;
                }
            })
        })
    };
    Serve::new(endpoints, accepted.map(move |accepted| accepted.map(&connect)))
}

/// Configures an accepted socket, and notes its peer.
fn prepare<T>(socket: &T, context: ConnectionContext) -> ConnectionContext
where
    for<'s> SockRef<'s>: From<&'s T>,
{
    configure_socket(socket, &context);
    let peer = SockRef::from(socket).peer_addr().ok().and_then(|peer| peer.as_socket());
    context.with_peer_addr(peer)
}

/// An app whose requests carry the extensions of their connection.
#[derive(Debug, Clone)]
struct WithExtensions<S> {
    app: S,
    extensions: Extensions,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for WithExtensions<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if !self.extensions.is_empty() {
            request.extensions_mut().extend(self.extensions.clone());
        }
        self.app.call(request)
    }
}
