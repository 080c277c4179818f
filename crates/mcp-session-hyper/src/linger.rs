//! [`linger`]: reading on after a response that came before its request was read.

use std::{
    future::poll_fn,
    mem::MaybeUninit,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use futures::FutureExt;
use hyper::rt::{Read, ReadBuf};
use mcp_session_core::ConnectionContext;

/// How long to wait for more of what is discarded: nginx's figure for the same (`lingering_timeout`).
const SILENCE: Duration = Duration::from_secs(5);

/// How long altogether in a shutdown, which nobody should wait for: several round trips.
const STOPPING: Duration = Duration::from_millis(200);

/// How much to read at a time.
const READ: usize = 16 * 1024;

/// Whether the socket has bytes that nobody has read, or whose end nobody has seen.
pub(crate) fn has_unread<I: Read + Unpin>(io: &mut I) -> bool {
    let look = poll_fn(|cx| {
        let mut byte = [0; 1];
        let mut byte = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut *io).poll_read(cx, byte.unfilled()))?;
        Poll::Ready(Ok::<_, std::io::Error>(!byte.filled().is_empty()))
    });
    matches!(look.now_or_never(), Some(Ok(true)))
}

/// Reads and discards until the client closes, so many bytes at the most and
/// [for so long](mcp_session_core::Serve::with_linger). The writing side
/// is shut down already: a socket that is closed with bytes unread is reset, and what was written last is lost with it.
pub(crate) async fn linger<I: Read + Unpin>(io: &mut I, mut bytes: u64, context: &ConnectionContext) {
    let runtime = context.runtime();
    let mut end = runtime.now() + context.linger().0;
    let mut stopping = Some(context.stopping());
    let mut silence = runtime.sleep_until(end.min(runtime.now() + SILENCE));
    let mut heard = false;
    loop {
        let on = poll_fn(|cx| {
            if stopping.as_mut().is_some_and(|stopping| stopping.poll_unpin(cx).is_ready()) {
                stopping = None;
                let now = runtime.now();
                end = end.min(now + STOPPING);
                silence = runtime.sleep_until(end);
            }
            let mut room = [MaybeUninit::uninit(); READ];
            let mut room = ReadBuf::uninit(&mut room);
            match Pin::new(&mut *io).poll_read(cx, room.unfilled()) {
                Poll::Ready(Ok(())) => {
                    let read = room.filled().len() as u64;
                    bytes = bytes.saturating_sub(read);
                    heard = true;
                    Poll::Ready(read > 0 && bytes > 0)
                }
                Poll::Ready(Err(_)) => Poll::Ready(false),
                Poll::Pending => {
                    ready!(silence.poll_unpin(cx));
                    // What is said now and then may go on until the end.
                    let now = runtime.now();
                    let more = std::mem::take(&mut heard) && now < end;
                    silence = runtime.sleep_until(end.min(now + SILENCE));
                    Poll::Ready(more)
                }
            }
        });
        if !on.await || runtime.now() >= end {
            return;
        }
    }
}
