//! [`linger`]: reads on after a response to a request that was not fully read.

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

/// How long to wait for more bytes to discard: nginx's default for the same (`lingering_timeout`).
const SILENCE: Duration = Duration::from_secs(5);

/// How long to linger in total during a shutdown, which this must not delay: several round trips.
const STOPPING: Duration = Duration::from_millis(200);

/// How much to read at a time.
const READ: usize = 16 * 1024;

/// Returns `true` if the socket has unread bytes.
pub(crate) fn has_unread<I: Read + Unpin>(io: &mut I) -> bool {
    let mut look = || {
        let read = poll_fn(|cx| {
            let mut byte = [0; 1];
            let mut byte = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut *io).poll_read(cx, byte.unfilled()))?;
            Poll::Ready(Ok::<_, std::io::Error>(!byte.filled().is_empty()))
        });
        matches!(read.now_or_never(), Some(Ok(true)))
    };
    // Twice: an I/O whose last read left nothing may only begin to wait at first.
    look() || look()
}

/// Reads and discards until the client closes, at most `bytes` bytes and
/// [for a limited time](mcp_session_core::Serve::with_linger). The writing side is already shut down. If a socket is closed
/// with unread bytes, it is reset, and the client can lose the last response.
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
                    // A client that sends now and then may continue until the total time is up.
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
