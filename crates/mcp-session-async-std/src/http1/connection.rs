//! [`serve_connection`]: serves one connection, with its deadlines and its end.

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use std::{future::poll_fn, pin::pin, task::Poll};

use async_std::net::TcpStream;
use futures::future::{Either, FutureExt, poll_immediate, select};
use futures::io::{self, AsyncWriteExt};
use mcp_session_core::{BoxFuture, Closing, ConnectionContext, DisconnectCancels, Runtime};
use socket2::SockRef;
use tide::http::{Body, Request, Response, Version, headers};

use super::head::{Head, Malformed};
use super::input::Input;
use super::response::{Client, Encoder};

/// About how many bytes of a response to write at once, if they are ready.
const BATCH: usize = 64 * 1024;

/// The most of an unread body that is discarded to keep the connection open: two bodies of the default limit.
const SKIP: u64 = 8 * 1024 * 1024;

/// How long to wait for more bytes to discard at the end of a connection: nginx's default for the same.
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// How long to linger in total once the server ends: less than the 100 ms that connections always get.
const LINGER_CLOSING: Duration = Duration::from_millis(50);

/// The most that is discarded after a malformed request.
const LINGER_MALFORMED: u64 = 1024 * 1024;

/// The least time, from its beginning, that the app gets for a request whose client leaves meanwhile: the request was sent
/// to take effect, and a check of its credentials may take this long.
const HEED: Duration = Duration::from_secs(1);

/// A deadline that fires later than this is not the client's fault: the process was stopped, or the machine suspended. The
/// client then gets this much longer.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves one connection until it ends, its client leaves, or it must close.
pub(crate) async fn serve_connection<State: Clone + Send + Sync + 'static>(
    socket: TcpStream,
    app: tide::Server<State>,
    context: ConnectionContext,
) {
    configure(&socket, &context);
    let (input, reads) = Input::new(socket.clone());
    let mut reads = pin!(reads.fuse());
    let mut exchanges = pin!(exchanges(&socket, &input, app, &context));
    poll_fn(|cx| {
        // Reads first, so that a deadline is not checked before bytes that came in time are read.
        let _ = reads.as_mut().poll(cx);
        exchanges.as_mut().poll(cx)
    })
    .await;
}

/// Sets the socket's options. Best effort: a socket that refuses one, for example because it is already closed, is served
/// all the same.
fn configure(socket: &TcpStream, context: &ConnectionContext) {
    let socket = SockRef::from(socket);
    // Without it, a small answer waits 44 ms for the client's delayed acknowledgement.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(context.send_buffer());
    // How long sent bytes may stay unacknowledged: a client that vanished silently must not keep its session.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(Duration::from_secs(60)));
}

/// Serves one request after another.
async fn exchanges<State: Clone + Send + Sync + 'static>(
    socket: &TcpStream,
    input: &Input,
    app: tide::Server<State>,
    context: &ConnectionContext,
) {
    let mut patience = Patience { runtime: Arc::clone(context.runtime()), closing: context.closing() };
    let peer = socket.peer_addr().ok();
    let mut left = false; // the client can no longer be answered
    let mut used = false; // the deadline of the first head counts from the start of the connection
    let (linger_time, linger_bytes) = context.linger();
    let bytes = loop {
        if used && patience.wait(context.idle_timeout(), input.is_there()).await != Some(true) {
            return;
        }
        used = true;
        let Head { mut request, framing, expects_continue } =
            match patience.wait(context.header_timeout(), input.head(context.head_limit())).await {
                Some(Ok(Some(head))) => head,
                Some(Ok(None)) | None => return, // an incomplete head gets no answer
                Some(Err(malformed)) => {
                    let _ = write(socket, input, refusal(malformed), context).await;
                    break LINGER_MALFORMED.min(linger_bytes);
                }
            };
        let client = Client { method: request.method(), version: request.version() };
        let mut last = says_close(&request) || client.version == Some(Version::Http1_0);
        let length = framing.length();
        let body = input.body(framing, expects_continue);
        if length != Some(0) {
            let has_type = request.header(headers::CONTENT_TYPE).is_some();
            request.set_body(Body::from_reader(body, length.map(|length| length as usize)));
            if !has_type {
                request.remove_header(headers::CONTENT_TYPE); // `set_body` has added it
            }
        }
        request.set_peer_addr(peer);
        let cancels = DisconnectCancels::default();
        request.ext_mut().insert(cancels.clone());

        let response = respond(&app, request, input, &cancels, &*patience.runtime);
        let response = context.work().during(response).await;
        // Usually nothing is left of the body, or the rest has already arrived.
        poll_immediate(input.skip_body()).await;
        last |= context.is_stopping()
            || !(input.body_is_over() || input.body_left().is_some_and(|left| left <= SKIP));
        match response {
            Some(response) if !left => {
                last |= says_close(&response);
                match write(socket, input, Encoder::new(response, client, last), context).await {
                    Ok(()) => {}
                    Err(Cut::Body | Cut::Stalled) => return, // without a clean end, so that the client notices
                    Err(Cut::Client) => left = true,
                }
            }
            _ => left = true,
        }
        if last {
            break if input.body_is_broken() { LINGER_MALFORMED.min(linger_bytes) } else { linger_bytes };
        }
        if !matches!(patience.wait(context.idle_timeout(), input.skip_body()).await, Some(Ok(()))) {
            return;
        }
    };
    linger(socket, input, patience, linger_time, bytes).await;
}

/// Returns the app's response, or `None` if the client has left and the app had enough time.
async fn respond<State: Clone + Send + Sync + 'static>(
    app: &tide::Server<State>,
    request: Request,
    input: &Input,
    cancels: &DisconnectCancels,
    runtime: &dyn Runtime,
) -> Option<Response> {
    let begin = runtime.now();
    let mut response = pin!(app.respond(request));
    let mut enough: Option<BoxFuture<'static, ()>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(response) = response.as_mut().poll(cx) {
            return Poll::Ready(response.ok());
        }
        if !input.has_ended() {
            return Poll::Pending; // woken by the reading ahead
        }
        if cancels.is_set(cx.waker()) {
            return Poll::Ready(None);
        }
        enough.get_or_insert_with(|| runtime.sleep_until(begin + HEED)).poll_unpin(cx).map(|()| None)
    })
    .await
}

/// Why a response is not complete.
enum Cut {
    /// Its body failed.
    Body,
    /// Its client has left.
    Client,
    /// Its client reads nothing of it.
    Stalled,
}

/// Writes a response, all ready bytes at a time, so that most responses need one write.
async fn write(
    socket: &TcpStream,
    input: &Input,
    mut response: Encoder,
    context: &ConnectionContext,
) -> Result<(), Cut> {
    let (mut batch, mut end) = (input.end_interim().to_vec(), None);
    while end.is_none() {
        context
            .work()
            .during(poll_fn(|cx| {
                while batch.len() < BATCH && end.is_none() {
                    match response.poll_append(cx, &mut batch) {
                        Poll::Ready(Ok(false)) => {}
                        Poll::Ready(ended) => end = Some(ended.map(drop)),
                        Poll::Pending if !batch.is_empty() => break,
                        Poll::Pending if input.has_ended() => return Poll::Ready(Err(Cut::Client)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Poll::Ready(Ok(()))
            }))
            .await?;
        // Taken, so that a waiting stream keeps no buffer.
        write_all(socket, &std::mem::take(&mut batch), context).await?;
    }
    end.unwrap_or(Ok(())).map_err(|_: io::Error| Cut::Body)
}

/// Writes all bytes, as long as the client keeps reading.
async fn write_all(mut socket: &TcpStream, mut bytes: &[u8], context: &ConnectionContext) -> Result<(), Cut> {
    while !bytes.is_empty() {
        let mut write = socket.write(bytes);
        let written = match poll_immediate(&mut write).await {
            Some(written) => written, // usually all of it
            None => {
                let enough = context.runtime().sleep_until(context.runtime().now() + context.stall_timeout());
                match select(write, enough).await {
                    Either::Left((written, _)) => written,
                    Either::Right(_) => {
                        context.response_stalled();
                        return Err(Cut::Stalled);
                    }
                }
            }
        };
        match written {
            Ok(written @ 1..) => bytes = &bytes[written..],
            Ok(0) | Err(_) => return Err(Cut::Client),
        }
    }
    Ok(())
}

/// The response to a malformed request.
fn refusal(Malformed { status, reason }: Malformed) -> Encoder {
    let mut response = Response::new(status);
    response.set_body(format!("{reason}\n"));
    Encoder::new(response, Client::default(), true)
}

/// Ends a connection whose client was told so but may still be sending. Closing it at once would reset it, and the client
/// could lose the response.
async fn linger(socket: &TcpStream, input: &Input, patience: Patience, time: Duration, mut bytes: u64) {
    let Patience { runtime, closing } = patience;
    let _ = socket.shutdown(Shutdown::Write);
    if closing.is_closing() && input.body_is_over() && !input.has_more() {
        return;
    }
    let enough = runtime.sleep_until(runtime.now() + time);
    let closed = pin!(async {
        closing.await;
        runtime.sleep_until(runtime.now() + LINGER_CLOSING).await;
    });
    let discarded = pin!(async {
        while bytes > 0 {
            let silence = runtime.sleep_until(runtime.now() + LINGER_SILENCE);
            match select(pin!(input.is_there()), silence).await {
                Either::Left((true, _)) => bytes = bytes.saturating_sub(input.skip()),
                _ => return,
            }
        }
    });
    select(discarded, select(enough, closed)).await;
}

/// How long a connection waits for its client.
struct Patience {
    runtime: Arc<dyn Runtime>,
    closing: Closing,
}

impl Patience {
    /// Returns the output of `input`, or `None` if it takes longer than `timeout` or the server ends first.
    async fn wait<T>(&mut self, timeout: Duration, input: impl Future<Output = T>) -> Option<T> {
        let mut input = pin!(input);
        // Usually it is ready at once and needs no timer.
        if let Some(read) = poll_immediate(&mut input).await {
            return Some(read);
        }
        let (mut deadline, mut late) = (self.runtime.now() + timeout, false);
        loop {
            let enough = select(&mut self.closing, self.runtime.sleep_until(deadline));
            match select(&mut input, enough).await {
                Either::Left((read, _)) => return Some(read),
                Either::Right((Either::Left(_), _)) => return None,
                Either::Right((Either::Right(_), _)) => {
                    let now = self.runtime.now();
                    if late || now.saturating_duration_since(deadline) < PAUSE {
                        return None;
                    }
                    (deadline, late) = (now + PAUSE, true);
                }
            }
        }
    }
}

/// Returns `true` if this message says `Connection: close`.
fn says_close(message: impl AsRef<headers::Headers>) -> bool {
    let values = message.as_ref().get(headers::CONNECTION).into_iter().flatten();
    values.flat_map(|value| value.as_str().split(',')).any(|token| token.trim().eq_ignore_ascii_case("close"))
}

#[cfg(test)]
mod tests;
