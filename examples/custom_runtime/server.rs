//! Serves sockets on any runtime whose I/O implements the traits of `futures`: here that of `async-io`.

use std::{io, net::TcpListener};

use async_io::Async;
use async_net::TcpStream;
use futures::stream;
use mcp_session_core::{Endpoint, Serve};
use mcp_session_hyper::{McpService, serve_app};
use smol_hyper::rt::FuturesIo;

/// Serves the endpoint over HTTP/1.1 and HTTP/2 until it is shut down.
pub(crate) fn serve(listener: TcpListener, endpoint: Endpoint) -> io::Result<Serve> {
    let accepted = stream::unfold(Async::new(listener)?, async |listener| {
        let accepted = listener.accept().await;
        // Not a plain `Async`, whose `poll_close` leaves the sending side open.
        Some((accepted.map(|(socket, _)| TcpStream::from(socket)), listener))
    });
    let app = McpService::new(endpoint.clone());
    Ok(serve_app(accepted, FuturesIo::new, endpoint, app))
}
