//! [`serve`] and [`serve_app`].

use async_std::net::{TcpListener, TcpStream};
use futures::stream;
use mcp_session_core::{Connect, Endpoint, Serve};

use crate::{McpEndpoint, http1::serve_connection};

/// Serves the endpoint on this listener, whatever the path, over HTTP/1.1, until it was shut down.
///
/// Set more with the methods of [`Serve`], then `.await` it. Sockets get `TCP_NODELAY` and a bounded send buffer;
/// a request head that drips gets a deadline. Connections run as tasks of the endpoint's runtime.
///
/// ```no_run
/// # async_std::task::block_on(async {
/// use mcp_session_async_std::{AsyncStdRuntime, serve, terminate_signal};
/// use mcp_session_core::{Endpoint, Router};
///
/// let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("greeter", "0.1.0"));
/// let listener = async_std::net::TcpListener::bind("127.0.0.1:8000").await?;
/// let report = serve(listener, endpoint).with_shutdown(terminate_signal).await?;
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

/// Like [`serve`], for an app that has an [`McpEndpoint`] of this endpoint among its routes. The endpoint decides when
/// the server ends.
///
/// ```
/// # async_std::task::block_on(async {
/// use mcp_session_async_std::{AsyncStdRuntime, McpEndpoint, serve_app};
/// use mcp_session_core::{Endpoint, Router, ShutdownPolicy};
///
/// let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("greeter", "0.1.0"));
/// let mut app = tide::new();
/// app.at("/mcp").all(McpEndpoint::new(endpoint.clone()));
/// app.at("/healthz").get(async |_| Ok("ok"));
/// let listener = async_std::net::TcpListener::bind("127.0.0.1:0").await?;
/// let server = serve_app(listener, endpoint.clone(), app);
/// endpoint.shutdown(ShutdownPolicy::default());
/// assert!(server.await?.is_clean());
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub fn serve_app<State>(listener: TcpListener, endpoint: Endpoint, app: tide::Server<State>) -> Serve
where
    State: Clone + Send + Sync + 'static,
{
    let connect = move |socket: TcpStream| -> Connect {
        let app = app.clone();
        Box::new(move |context| Box::pin(serve_connection(socket, app, context)))
    };
    let incoming = stream::unfold((listener, connect), async |(listener, connect)| {
        let accepted = listener.accept().await;
        Some((accepted.map(|(socket, _)| connect(socket)), (listener, connect)))
    });
    Serve::new(endpoint, incoming)
}
