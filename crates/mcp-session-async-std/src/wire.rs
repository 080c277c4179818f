//! [`Wire`]: a socket that is read ahead, so that a client that leaves is noticed while it is being answered, and that
//! is handed out one request at a time, so that the next one is not lost.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use async_std::net::TcpStream;
use bytes::Bytes;
use futures::io::{self, AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt};
use futures::{FutureExt, StreamExt, TryStreamExt, channel::mpsc, stream};

/// The most that one read takes.
const READ: usize = 8 * 1024;

/// How many reads to be ahead. A client that sends more before it is answered is noticed when it leaves only once the
/// server has come so far.
const AHEAD: usize = 4;

/// A socket as `async_h1` decodes requests from it. Clones share it.
#[derive(Clone)]
pub(crate) struct Wire(pub(crate) TcpStream, Arc<Mutex<Input>>);

struct Input {
    ahead: Box<dyn AsyncBufRead + Send + Unpin>,
    /// A head has been read, and its response has not begun.
    in_body: bool,
    /// What is left of a body that told its length.
    length: usize,
}

impl Wire {
    /// The socket, and what reads it ahead: it has to be polled, and ends when the client has left.
    pub(crate) fn new(socket: TcpStream) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let ahead = Box::new(receiver.map(Ok).into_async_read());
        let input = Input { ahead, in_body: false, length: 0 };
        let wire = Self(socket.clone(), Arc::new(Mutex::new(input)));
        let reads = stream::poll_fn(move |cx| {
            let mut bytes = [0; READ]; // here, so that a connection that waits holds none
            let length = ready!(Pin::new(&mut &socket).poll_read(cx, &mut bytes)).unwrap_or(0);
            Poll::Ready((length > 0).then(|| Ok(Bytes::copy_from_slice(&bytes[..length]))))
        });
        (wire, reads.forward(sender).map(drop))
    }

    /// What comes next is a body of this length; of chunks, or none, if it is zero.
    pub(crate) fn begin_body(&self, length: usize) {
        let mut input = self.lock();
        (input.in_body, input.length) = (true, length);
    }

    /// Writes a piece of a response.
    pub(crate) async fn respond(&self, bytes: &[u8]) -> io::Result<()> {
        self.lock().in_body = false;
        (&self.0).write_all(bytes).await
    }

    fn lock(&self) -> MutexGuard<'_, Input> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `async_h1` drops what it has buffered beyond a request, so it gets nothing beyond: a head and a chunked body both
/// end with a line, another body says how long it is.
impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut input = self.lock();
        let Input { ahead, in_body, length: left } = &mut *input;
        let piece = ready!(Pin::new(&mut *ahead).poll_fill_buf(cx))?;
        let line = piece.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let length = match *left {
            // On a head that is not ASCII, `http-types` would panic: as if the client had left.
            0 if !*in_body && !line.is_ascii() => 0,
            0 => line.len().min(to.len()),
            left => piece.len().min(to.len()).min(left),
        };
        to[..length].copy_from_slice(&piece[..length]);
        Pin::new(ahead).consume(length);
        *left = left.saturating_sub(length);
        Poll::Ready(Ok(length))
    }
}

/// `async_h1` writes only `100 Continue` here, from a task of its own: it must not come into the midst of a response.
impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self.lock().in_body {
            true => Pin::new(&mut &self.0).poll_write(cx, from),
            false => Poll::Ready(Ok(from.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
