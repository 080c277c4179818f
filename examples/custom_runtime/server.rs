//! Sockets for any runtime whose I/O has the traits of `futures`: here `async-io`'s.

use std::{
    io,
    net::{TcpListener, TcpStream},
};

use async_io::Async;
use futures::stream;
use mcp_session_core::{Connect, Endpoint, Serve};
use mcp_session_hyper::{McpService, configure_socket, serve_connection};
use smol_hyper::rt::FuturesIo;

/// Serves the endpoint over HTTP/1.1 and HTTP/2 until it was shut down.
pub(crate) fn serve(listener: TcpListener, endpoint: Endpoint) -> io::Result<Serve> {
    let listener = Async::new(listener)?;
    let service = McpService::new(endpoint.clone());
    let connect = move |socket: Async<TcpStream>| -> Connect {
        let service = service.clone();
        Box::new(move |context| {
            configure_socket(&socket, &context);
            Box::pin(serve_connection(FuturesIo::new(socket), service, context))
        })
    };
    let incoming = stream::unfold((listener, connect), async |(listener, connect)| {
        let accepted = listener.accept().await;
        Some((accepted.map(|(socket, _)| connect(socket)), (listener, connect)))
    });
    Ok(Serve::new(endpoint, incoming))
}
