//! [`ClientStream`]: what the clients of a scenario read and write: TCP, or what an adapter under test puts over it.

use std::{cell::Cell, fmt, io, net::SocketAddr};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
};

use super::within;

/// A byte stream of a client, such as a `TcpStream`.
pub trait ClientStream: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send> ClientStream for S {}

/// See [`ServeHarness::over`](super::ServeHarness::over).
pub(super) type Over = fn(TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ClientStream>>>;

thread_local! {
    /// How the clients of the scenario that runs on this thread connect.
    static OVER: Cell<Option<Over>> = const { Cell::new(None) };
}

/// Sets how the clients of this thread connect. All clients of a scenario run on one thread, and no other scenario does.
pub(super) fn connect_over(over: Over) {
    OVER.set(Some(over));
}

/// Connects, and returns the client's address too.
pub(super) async fn dial(addr: SocketAddr, socket: TcpSocket) -> (Box<dyn ClientStream>, SocketAddr) {
    let socket = within("connecting", socket.connect(addr)).await.expect("a connection");
    socket.set_nodelay(true).expect("an option");
    let own = socket.local_addr().expect("an address");
    let stream = match OVER.get() {
        None => Box::new(socket),
        Some(over) => within("opening a stream", over(socket)).await.expect("a stream"),
    };
    (stream, own)
}
