//! [`Listener`]: what a server accepts connections from.

use std::io;
#[cfg(unix)]
use std::os::fd::AsFd as AsSocket;
#[cfg(windows)]
use std::os::windows::io::AsSocket;

use futures::{AsyncRead, AsyncWrite, Stream, stream};
#[cfg(unix)]
use smol::net::unix::{UnixListener, UnixStream};
use smol::net::{TcpListener, TcpStream};

/// What a server accepts connections from: a `TcpListener`, on Unix also a `UnixListener`, or a listener of your own, for
/// example one that wraps these to refuse some clients.
pub trait Listener: Send + 'static {
    /// An accepted socket. Its `poll_close` must shut down the sending side (`SHUT_WR`), as those of `smol::net` do.
    type Socket: AsyncRead + AsyncWrite + AsSocket + Unpin + Send + 'static;

    /// Accepts the next socket. An error is logged, and accepting continues, after a pause if it is not the client's.
    ///
    /// # Cancel safety
    ///
    /// Must be safe: if dropped, no socket is lost.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Socket>> + Send;
}

impl Listener for TcpListener {
    type Socket = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        Self::accept(self).await.map(|(socket, _)| socket)
    }
}

/// Requests have no [`PeerAddr`](mcp_session_core::PeerAddr). Everybody who may write to the path may connect: set the
/// permissions of its directory.
#[cfg(unix)]
impl Listener for UnixListener {
    type Socket = UnixStream;

    async fn accept(&mut self) -> io::Result<UnixStream> {
        Self::accept(self).await.map(|(socket, _)| socket)
    }
}

pub(crate) fn accepted<L: Listener>(
    listener: L,
) -> impl Stream<Item = io::Result<L::Socket>> + Send + 'static {
    stream::unfold(listener, async |mut listener| Some((listener.accept().await, listener)))
}
