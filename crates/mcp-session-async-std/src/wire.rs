//! [`Wire`]: a socket that is read ahead, so that a client that leaves is noticed while it is being answered, and that
//! is handed out one request at a time, so that the next one is not lost.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use async_std::net::TcpStream;
use bytes::{Buf, BytesMut};
use futures::io::{self, AsyncRead, AsyncWrite, AsyncWriteExt};

/// How far to read ahead. A client that sends more than that before it is answered is noticed when it leaves only after
/// the server has read so far.
const AHEAD: usize = 8 * 1024;

/// A socket as `async_h1` decodes requests from it. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    socket: TcpStream,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    part: Part,
    /// What is left of a body that told its length.
    length: u64,
    ahead: BytesMut,
    ended: bool,
    reader: Option<Waker>,
    pump: Option<Waker>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    Body,
    Response,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, state: Arc::default() }
    }

    /// The address of the client.
    pub(crate) fn peer(&self) -> Option<String> {
        self.socket.peer_addr().map(|address| address.to_string()).ok()
    }

    /// What comes next is a head.
    pub(crate) fn begin_head(&self) {
        self.with(|state| state.part = Part::Head);
    }

    /// What comes next is a body of this length, or of chunks or nothing if it is zero.
    pub(crate) fn begin_body(&self, length: u64) {
        self.with(|state| (state.part, state.length) = (Part::Body, length));
    }

    /// Writes a piece of a response.
    pub(crate) async fn respond(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| state.part = Part::Response);
        (&self.socket).write_all(bytes).await
    }

    /// Reads ahead; ready when the client has left. Only this reads from the socket: it has one place for a waker.
    pub(crate) fn poll_pump(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|state| {
            while !state.ended {
                if state.ahead.len() >= AHEAD {
                    state.pump = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                let mut bytes = [0; AHEAD];
                match ready!(Pin::new(&mut &self.socket).poll_read(cx, &mut bytes)) {
                    Ok(0) | Err(_) => state.ended = true,
                    Ok(length) => state.ahead.extend_from_slice(&bytes[..length]),
                }
                // A reader in the same task is polled after this anyway.
                if let Some(reader) = state.reader.take().filter(|reader| !reader.will_wake(cx.waker())) {
                    reader.wake();
                }
            }
            Poll::Ready(())
        })
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// How much of what is there may be handed out. `async_h1` drops what it has buffered beyond a request, so it gets
    /// nothing beyond: a head and a chunked body both end with a line, another body says how long it is.
    fn available(&self) -> usize {
        let all = self.ahead.len();
        if self.length > 0 {
            return all.min(usize::try_from(self.length).unwrap_or(all));
        }
        let line = self.ahead.iter().position(|byte| *byte == b'\n').map_or(all, |end| end + 1);
        // On a head that is not ASCII, `http-types` would panic: as if the client had left.
        if self.part == Part::Head && !self.ahead[..line].is_ascii() { 0 } else { line }
    }

    fn take(&mut self, to: &mut [u8]) -> usize {
        let length = self.available().min(to.len());
        self.ahead.copy_to_slice(&mut to[..length]);
        self.length = self.length.saturating_sub(length as u64);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new(); // an idle connection holds no buffer
        }
        if let Some(pump) = self.pump.take() {
            pump.wake();
        }
        length
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        self.with(|state| {
            if state.ahead.is_empty() && !state.ended {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Ok(state.take(to)))
        })
    }
}

/// `async_h1` writes only `100 Continue` here, from a task of its own: it must not come after the response has begun.
impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|state| match state.part {
            Part::Body => Pin::new(&mut &self.socket).poll_write(cx, from),
            Part::Head | Part::Response => Poll::Ready(Ok(from.len())),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &self.socket).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &self.socket).poll_close(cx)
    }
}
