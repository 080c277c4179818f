//! [`bind`], [`serve`] and [`serve_app`].

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use async_std::net::{TcpListener, TcpStream};
use futures::stream;
use mcp_session_core::{Endpoint, Endpoints, Serve, ServeConnection};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{McpEndpoint, http1::serve_connection};

/// How many clients may wait to be accepted: all of them connect at once when a server is replaced. Linux caps it at
/// `net.core.somaxconn`, which is 4,096 by default.
const BACKLOG: i32 = 4096;

/// Binds a listener for [`serve`], with a backlog of 4,096, or as many as the system allows, and on Unix with
/// `SO_REUSEADDR`. When a server is replaced, all its clients connect to the next one at once; the backlog of
/// `TcpListener::bind` is 128. Names are resolved on this thread.
///
/// # Errors
///
/// If there is no such address, it is in use, or the process may not listen on it.
pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut refused = io::Error::new(io::ErrorKind::InvalidInput, "there is no address to listen on");
    for address in address.to_socket_addrs()? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(not(windows))] // there it would take a port away from another process
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(std::net::TcpListener::from(socket).into())
}

/// Serves the endpoint on this listener, on every path, over HTTP/1.1, until the endpoint has shut down.
///
/// Configure it with the methods of [`Serve`], then `.await` it. Sockets get `TCP_NODELAY` and a bounded send buffer;
/// request heads have a deadline. Connections run as tasks of the endpoint's runtime.
///
/// ```no_run
/// # async_std::task::block_on(async {
/// use mcp_session_async_std::{AsyncStdRuntime, bind, serve, terminate_signal};
/// use mcp_session_core::{Endpoint, Router};
///
/// let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("greeter", "0.1.0"));
/// let listener = bind("127.0.0.1:8000")?;
/// let report = serve(listener, endpoint).with_graceful_shutdown(terminate_signal).await?;
/// println!("{report}");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
    let mut app = tide::new();
    let mcp = McpEndpoint::new(endpoint.clone());
    app.at("/").all(mcp.clone()).at("*").all(mcp);
    serve_app(listener, endpoint, app)
}

/// Like [`serve`], for an app that has an [`McpEndpoint`] of this endpoint among its routes. The server ends when the
/// endpoint has shut down. Several endpoints, `[a, b]`, stop together, with one report.
///
/// ```
/// # async_std::task::block_on(async {
/// use mcp_session_async_std::{AsyncStdRuntime, McpEndpoint, bind, serve_app};
/// use mcp_session_core::{Endpoint, Router, ShutdownPolicy};
///
/// let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("greeter", "0.1.0"));
/// let mut app = tide::new();
/// app.at("/mcp").all(McpEndpoint::new(endpoint.clone()));
/// app.at("/healthz").get(async |_| Ok("ok"));
/// let listener = bind("127.0.0.1:0")?;
/// let server = serve_app(listener, endpoint.clone(), app);
/// endpoint.shutdown(ShutdownPolicy::default());
/// assert!(server.await?.is_clean());
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub fn serve_app<State>(
    listener: TcpListener,
    endpoints: impl Into<Endpoints>,
    app: tide::Server<State>,
) -> Serve
where
    State: Clone + Send + Sync + 'static,
{
    let connect = move |socket| serve_socket(socket, app.clone());
    let incoming = stream::unfold((listener, connect), async |(listener, connect)| {
        let accepted = listener.accept().await;
        Some((accepted.map(|(socket, _)| connect(socket)), (listener, connect)))
    });
    Serve::new(endpoints, incoming)
}

/// Serves a socket that is connected: what [`serve_app`] does with each that it accepts. For the fuzz target of the HTTP/1.1
/// stack, which brings both ends of the connection itself.
#[doc(hidden)]
pub fn serve_socket<State>(socket: TcpStream, app: tide::Server<State>) -> ServeConnection
where
    State: Clone + Send + Sync + 'static,
{
    Box::new(move |context| Box::pin(serve_connection(socket, app, context)))
}
