//! [`Io`]: a socket, or a stream on top of one, as passed to hyper.

use std::{
    any::Any,
    cell::RefCell,
    io::{self, ErrorKind, Read as _, Write as _},
    mem,
    net::{self, Shutdown},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_io::{ReadableOwned, WritableOwned};
use futures::{AsyncRead, AsyncWrite, FutureExt};
use hyper::rt::{Read, ReadBufCursor, Write};
use smol::{Async, net::TcpStream};
use smol_hyper::rt::FuturesIo;

/// The most bytes to read at a time: as many as `mcp-session-hyper` asks for at most.
const READ: usize = 64 * 1024;

thread_local! {
    /// What a thread reads into. The traits of `std` and `futures` need a buffer of initialized bytes: initializing one for each
    /// read costs more than copying a request out of this one.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// What hyper reads and writes.
pub(crate) enum Io<S> {
    Tcp(Tcp),
    /// Anything else has an empty buffer for each read, so that a wrong count of bytes shows nobody's data.
    Other(FuturesIo<S>),
}

impl<S: 'static> Io<S> {
    pub(crate) fn new(stream: S) -> Self {
        let mut stream = Some(stream);
        let tcp = (&mut stream as &mut dyn Any).downcast_mut::<Option<TcpStream>>();
        match (tcp.and_then(Option::take), stream) {
            (Some(tcp), _) => Self::Tcp(Tcp::from(tcp)),
            (None, stream) => Self::Other(FuturesIo::new(stream.expect("only a `TcpStream` was taken"))),
        }
    }
}

impl<S: AsyncRead + Unpin> Read for Io<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => BUFFER.with_borrow_mut(|bytes| {
                let room = buffer.remaining().min(READ);
                let read = ready!(tcp.poll_read(cx, &mut bytes[..room]))?;
                buffer.put_slice(&bytes[..read]);
                Poll::Ready(Ok(()))
            }),
            Self::Other(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl<S: AsyncWrite + Unpin> Write for Io<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => tcp.poll_write(cx, bytes),
            Self::Other(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) => Poll::Ready(Ok(())), // a socket holds nothing back
            Self::Other(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Poll::Ready(tcp.socket.get_ref().shutdown(Shutdown::Write)),
            Self::Other(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

/// A TCP socket that is not read when it is known to be empty. `async-net` tries to read before it waits, which costs a system
/// call for each request.
pub(crate) struct Tcp {
    socket: Arc<Async<net::TcpStream>>,
    readable: Option<ReadableOwned<net::TcpStream>>,
    writable: Option<WritableOwned<net::TcpStream>>,
    /// The last read left room, so the socket was empty.
    drained: bool,
}

impl From<TcpStream> for Tcp {
    fn from(socket: TcpStream) -> Self {
        Self { socket: socket.into(), readable: None, writable: None, drained: false }
    }
}

impl Tcp {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if !mem::take(&mut self.drained) {
                let read = self.socket.get_ref().read(buffer);
                if !is_blocked(&read) {
                    self.drained = matches!(read, Ok(read) if read > 0 && read < buffer.len());
                    self.readable = None;
                    return Poll::Ready(read);
                }
            }
            // What has arrived since the last read is reported to whoever begins to wait.
            let socket = &self.socket;
            let readable = self.readable.get_or_insert_with(|| Arc::clone(socket).readable_owned());
            let waited = ready!(readable.poll_unpin(cx));
            self.readable = None;
            waited?;
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let written = self.socket.get_ref().write(bytes);
            if !is_blocked(&written) {
                self.writable = None;
                return Poll::Ready(written);
            }
            let socket = &self.socket;
            let writable = self.writable.get_or_insert_with(|| Arc::clone(socket).writable_owned());
            let waited = ready!(writable.poll_unpin(cx));
            self.writable = None;
            waited?;
        }
    }
}

fn is_blocked(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write as _};

    use futures::io::Cursor;
    use hyper::rt::ReadBuf;
    use smol::net::TcpListener;

    use super::*;

    /// Reads once with room for this many bytes.
    async fn read<S: AsyncRead + Unpin>(io: &mut Io<S>, room: usize) -> Vec<u8> {
        let mut bytes = vec![0; room];
        let mut buffer = ReadBuf::new(&mut bytes);
        poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buffer.unfilled())).await.expect("no error");
        buffer.filled().to_vec()
    }

    #[test]
    fn a_drained_socket_waits_first_and_misses_neither_bytes_nor_the_end() {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
            let address = listener.local_addr().expect("an address");
            let mut client = net::TcpStream::connect(address).expect("connected");
            let mut io = Io::new(listener.accept().await.expect("accepted").0);
            client.write_all(b"one two").expect("sent");
            assert_eq!(read(&mut io, 4).await, b"one ");
            let drained = |io: &Io<TcpStream>| matches!(io, Io::Tcp(tcp) if tcp.drained);
            assert!(!drained(&io)); // there may be more
            assert_eq!(read(&mut io, 4).await, b"two");
            assert!(drained(&io));
            // It is there before anybody waits for it.
            client.write_all(b"three").expect("sent");
            assert_eq!(read(&mut io, 100).await, b"three");
            assert!(drained(&io));
            // It comes while somebody waits.
            let (four, ()) = futures::join!(read(&mut io, 100), async {
                client.write_all(b"four").expect("sent");
            });
            assert_eq!(four, b"four");
            client.shutdown(Shutdown::Write).expect("shut down");
            assert_eq!(read(&mut io, 100).await, b"");
            poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await.expect("shut down");
            assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
        });
    }

    #[test]
    fn a_write_waits_until_the_client_has_read() {
        const LENGTH: usize = 16 * 1024 * 1024; // more than the buffers of both sockets
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
            let address = listener.local_addr().expect("an address");
            let mut client = net::TcpStream::connect(address).expect("connected");
            let mut io = Io::new(listener.accept().await.expect("accepted").0);
            let bytes = vec![b'x'; LENGTH];
            let mut written = 0;
            let mut write = poll_fn(|cx| {
                while written < LENGTH {
                    written += ready!(Pin::new(&mut io).poll_write(cx, &bytes[written..]))?;
                }
                Poll::Ready(Ok::<_, io::Error>(()))
            });
            assert!((&mut write).now_or_never().is_none());
            let reads = smol::unblock(move || client.read_exact(&mut vec![0; LENGTH]));
            let (wrote, all) = futures::join!(write, reads);
            wrote.and(all).expect("all is written and read");
        });
    }

    #[test]
    fn what_is_no_socket_is_read_too() {
        smol::block_on(async {
            let mut io = Io::new(Cursor::new(b"text".to_vec()));
            assert!(matches!(io, Io::Other(_)));
            assert_eq!((read(&mut io, 3).await, read(&mut io, 3).await), (b"tex".to_vec(), b"t".to_vec()));
        });
    }
}
