//! [`Input`]: reads a socket ahead, so that a client that leaves is noticed while it is being answered, and returns heads
//! and bodies, one request at a time.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use async_std::net::TcpStream;
use bytes::{Buf, Bytes};
use futures::channel::mpsc;
use futures::io::{self, AsyncBufRead, AsyncRead, AsyncWrite};
use futures::{FutureExt, Stream, StreamExt, stream};

use super::framing::Framing;
use super::head::{Head, Malformed, Section};

/// The maximum size of one read, in bytes.
const READ: usize = 8 * 1024;

/// How many reads to be ahead. If a client sends more before it is answered, its leaving is noticed only once the server
/// has processed enough of it.
const AHEAD: usize = 4;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The input of a connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Input(Arc<Mutex<State>>);

struct State {
    socket: TcpStream,
    ahead: mpsc::Receiver<Bytes>,
    /// Taken from `ahead` but not used yet.
    piece: Bytes,
    /// The number of the current request. Bodies of earlier requests are over, even if they still exist.
    request: u64,
    framing: Framing,
    /// To be written before the body is read.
    interim: &'static [u8],
    /// The client has closed its sending half or is gone.
    ended: bool,
}

impl Input {
    /// Creates the input of this socket, and a future that reads it ahead. The future must be polled before anything that
    /// reads from the input; it ends when the client has closed its sending half or is gone.
    pub(crate) fn new(socket: TcpStream) -> (Self, impl Future<Output = ()>) {
        let (sender, ahead) = mpsc::channel(AHEAD);
        let framing = Framing::Length(0);
        let state = State {
            socket: socket.clone(),
            ahead,
            piece: Bytes::new(),
            request: 0,
            framing,
            interim: b"",
            ended: false,
        };
        let input = Self(Arc::new(Mutex::new(state)));
        let reads = stream::poll_fn(move |cx| {
            let mut bytes = [0; READ]; // here, so that a waiting connection holds no buffer
            let length = ready!(Pin::new(&mut &socket).poll_read(cx, &mut bytes)).unwrap_or(0);
            Poll::Ready((length > 0).then(|| Ok(Bytes::copy_from_slice(&bytes[..length]))))
        });
        let end = input.clone();
        (input, reads.forward(sender).map(move |_| end.lock().ended = true))
    }

    /// Returns `true` if the client has closed its sending half or is gone. Earlier bytes may still be unread.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Waits for input. Returns `false` at its end.
    pub(crate) async fn is_there(&self) -> bool {
        poll_fn(|cx| self.lock().poll_piece(cx)).await
    }

    /// Reads the next head, of at most `limit` bytes. Returns `None` if the input ends first.
    pub(crate) async fn head(&self, limit: usize) -> Result<Option<Head>, Malformed> {
        let mut section = Section::default();
        while self.is_there().await {
            if let Some(head) = Head::read(&mut section, &mut self.lock().piece, limit)? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// Returns the body that follows a head.
    pub(crate) fn body(&self, framing: Framing, expects_continue: bool) -> RequestBody {
        let mut state = self.lock();
        state.request += 1;
        state.interim = if expects_continue && !framing.is_over() { CONTINUE } else { b"" };
        state.framing = framing;
        RequestBody { input: self.clone(), request: state.request, data: Bytes::new() }
    }

    /// Returns `true` if all of the current body was read.
    pub(crate) fn body_is_over(&self) -> bool {
        self.lock().framing.is_over()
    }

    /// Returns `true` if the current body is malformed, so that its end is unknown.
    pub(crate) fn body_is_broken(&self) -> bool {
        matches!(self.lock().framing, Framing::Broken(_))
    }

    /// The number of bytes left of the current body, if it is known and they are certain to come: a client that did not
    /// get `100 Continue` need not send them.
    pub(crate) fn body_left(&self) -> Option<u64> {
        let state = self.lock();
        state.framing.length().filter(|_| state.interim.is_empty())
    }

    /// Called before a response is written: from now on, nothing else writes. Returns the bytes to write first.
    pub(crate) fn end_interim(&self) -> &'static [u8] {
        let interim = std::mem::take(&mut self.lock().interim);
        if interim.len() == CONTINUE.len() { b"" } else { interim }
    }

    /// Returns `true` if some input was read but not used.
    pub(crate) fn has_more(&self) -> bool {
        let mut state = self.lock();
        state.poll_piece(&mut Context::from_waker(std::task::Waker::noop())) == Poll::Ready(true)
    }

    /// Reads and discards the rest of the current body.
    pub(crate) async fn skip_body(&self) -> io::Result<()> {
        while !poll_fn(|cx| self.lock().poll_body(cx)).await?.is_empty() {}
        Ok(())
    }

    /// Discards the input that was read, and returns its size in bytes.
    pub(crate) fn skip(&self) -> u64 {
        std::mem::take(&mut self.lock().piece).len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ready with `true` once there is a piece, and with `false` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.piece.is_empty() {
            self.piece = ready!(Pin::new(&mut self.ahead).poll_next(cx)).unwrap_or_default();
        }
        Poll::Ready(!self.piece.is_empty())
    }

    /// Returns the next bytes of the current body, or none at its end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        while !self.framing.is_over() {
            let data = self.framing.read(&mut self.piece);
            if let Some(data) =
                data.map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?
            {
                return Poll::Ready(Ok(data));
            }
            if !self.framing.is_over() && !ready!(self.poll_piece(cx)) {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(Bytes::new()))
    }
}

/// The body of a request.
pub(crate) struct RequestBody {
    input: Input,
    request: u64,
    data: Bytes,
}

impl AsyncBufRead for RequestBody {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.data.is_empty() {
            let mut state = this.input.lock();
            if state.request != this.request {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            while !state.interim.is_empty() {
                let written = ready!(Pin::new(&mut &state.socket).poll_write(cx, state.interim))?;
                state.interim = &state.interim[written..];
            }
            this.data = ready!(state.poll_body(cx))?;
        }
        Poll::Ready(Ok(&this.data))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.data.advance(amount);
    }
}

impl AsyncRead for RequestBody {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let data = ready!(self.as_mut().poll_fill_buf(cx))?;
        let length = data.len().min(to.len());
        to[..length].copy_from_slice(&data[..length]);
        self.consume(length);
        Poll::Ready(Ok(length))
    }
}
