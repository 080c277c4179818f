//! [`Io`]: the I/O of a connection, as passed to hyper.

use std::{
    io::{self, IoSlice},
    mem::{self, MaybeUninit},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::FutureExt;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use mcp_session_core::{BoxFuture, Runtime};

use crate::activity::Activity;

/// How many bytes to read at a time. They are read into a buffer on the stack, which costs only a copy: if hyper's cursor were
/// passed on to the inner I/O, this code would not learn how many bytes came. hyper has room for 8 KiB at first.
const READ: usize = 16 * 1024;

/// How many bytes to read at a time where hyper has room for more: it makes room while a long body arrives.
const LONG_READ: usize = 64 * 1024;

/// How long the end of the input is held back for an earlier request: enough to process it, and to send answers that are
/// ready at once to a client that only closed its sending half. Such a client looks the same as one that has left, whose
/// streams must not be kept for long.
const GRACE: Duration = Duration::from_secs(1);

/// An I/O that returns the bytes of protocol detection again, and reports the end of the input only after earlier requests
/// were processed: hyper drops a request whose service it has not called yet when it sees the end of the input behind it.
pub(crate) struct Io<I> {
    first: Vec<u8>,
    io: I,
    activity: Arc<Activity>,
    /// Whether bytes between two requests are a head (HTTP/1.1).
    one_at_a_time: bool,
    end: End,
}

enum End {
    Open,
    /// It was read, but is held back.
    Held(Box<Held>),
    Told,
}

struct Held {
    failure: Option<io::Error>,
    grace: BoxFuture<'static, ()>,
    expired: bool,
    runtime: Arc<dyn Runtime>,
}

impl<I> Io<I> {
    pub(crate) fn new(io: I, activity: &Arc<Activity>) -> Self {
        let activity = Arc::clone(activity);
        Self { first: Vec::new(), io, activity, one_at_a_time: false, end: End::Open }
    }

    /// From now on, bytes between two requests are a head.
    pub(crate) fn has_one_at_a_time(&mut self) {
        self.one_at_a_time = true;
    }

    /// The inner I/O, and the bytes that will be read before any of it, to which the protocol detection appends.
    pub(crate) fn beginning(&mut self) -> (&mut I, &mut Vec<u8>) {
        (&mut self.io, &mut self.first)
    }

    /// The inner I/O, if its input has not ended.
    pub(crate) fn open(&mut self) -> Option<&mut I> {
        matches!(self.end, End::Open).then_some(&mut self.io)
    }

    /// Reports the end once no earlier request holds it back, or the grace period is over.
    #[cold]
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let End::Held(held) = &mut self.end {
            if self.activity.holds_end(held.failure.is_some(), cx.waker()) {
                ready!(held.grace.poll_unpin(cx));
                if !held.expired {
                    // On a busy machine, the service may not have run at all in that time.
                    held.expired = true;
                    held.grace = held.runtime.sleep_until(held.runtime.now() + GRACE / 10);
                    continue;
                }
            }
            let failure = held.failure.take();
            self.end = End::Told;
            return Poll::Ready(failure.map_or(Ok(()), Err));
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Read + Unpin> Read for Io<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let rest = this.first.split_off(this.first.len().min(buffer.remaining()));
            buffer.put_slice(&mem::replace(&mut this.first, rest));
            return Poll::Ready(Ok(()));
        }
        if !matches!(this.end, End::Open) {
            return this.poll_end(cx);
        }
        let has_room = buffer.remaining() > 0;
        let read = if buffer.remaining() > READ {
            poll_copy::<LONG_READ>(&mut this.io, cx, &mut buffer)
        } else {
            poll_copy::<READ>(&mut this.io, cx, &mut buffer)
        };
        let failure = match ready!(read) {
            Ok(0) if has_room => None,
            Ok(_) => {
                if this.one_at_a_time {
                    this.activity.heard();
                }
                return Poll::Ready(Ok(()));
            }
            Err(error) => Some(error),
        };
        let runtime = Arc::clone(this.activity.runtime());
        let grace = runtime.sleep_until(runtime.now() + GRACE);
        this.end = End::Held(Box::new(Held { failure, grace, expired: false, runtime }));
        this.poll_end(cx)
    }
}

/// Reads at most `MOST` bytes, and returns how many came. Not inlined: only a long read needs so much of the stack.
#[inline(never)]
fn poll_copy<const MOST: usize>(
    io: &mut (impl Read + Unpin),
    cx: &mut Context<'_>,
    buffer: &mut ReadBufCursor<'_>,
) -> Poll<io::Result<usize>> {
    let mut bytes = [MaybeUninit::uninit(); MOST];
    let room = buffer.remaining().min(MOST);
    let mut bytes = ReadBuf::uninit(&mut bytes[..room]);
    ready!(Pin::new(io).poll_read(cx, bytes.unfilled()))?;
    buffer.put_slice(bytes.filled());
    Poll::Ready(Ok(bytes.filled().len()))
}

impl<I: Write + Unpin> Write for Io<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }
}
