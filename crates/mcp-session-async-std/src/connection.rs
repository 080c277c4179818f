//! One connection: requests in, responses out, its deadlines, its end.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use async_h1::server::{Encoder, decode};
use async_std::net::TcpStream;
use futures::{
    future::{Either, poll_immediate, select},
    io::{self, AsyncRead},
};
use mcp_session_core::ConnectionContext;
use socket2::SockRef;
use tide::http::{
    self as http_types, Request, Response,
    content::ContentLength,
    headers::{self, Headers},
};

use crate::wire::Wire;

/// How long sent bytes may go unacknowledged: a client that has silently gone must not keep its session.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: std::time::Duration = std::time::Duration::from_secs(60);

/// How much of a response to write at once, if it is there.
const BATCH: usize = 64 * 1024;

/// The most that one read takes from a body: a whole event, unless it is large. Each read becomes a chunk.
const CHUNK: usize = 8 * 1024;

/// Serves one connection until it ends, its client leaves, or it has to close.
pub(crate) async fn serve_connection<F>(
    socket: TcpStream,
    respond: impl Fn(Request) -> F,
    context: ConnectionContext,
) where
    F: Future<Output = http_types::Result<Response>>,
{
    configure(&socket, &context);
    let wire = Wire::new(socket);
    let mut exchanges = pin!(exchanges(&wire, respond, context));
    poll_fn(|cx| {
        let left = wire.poll_pump(cx);
        // What came before the client left is looked at first.
        if exchanges.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { left }
    })
    .await;
}

/// Best effort: a socket that refuses an option, such as one that is already closed, is served all the same.
fn configure(socket: &TcpStream, context: &ConnectionContext) {
    let socket = SockRef::from(socket);
    // Without it, a small answer waits for the client's delayed acknowledgement: 44 ms instead of none.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(context.send_buffer());
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}

/// What `async_h1::Server` does, with a stop, and a deadline of our own for heads.
async fn exchanges<F>(
    wire: &Wire,
    respond: impl Fn(Request) -> F,
    context: ConnectionContext,
) -> http_types::Result<()>
where
    F: Future<Output = http_types::Result<Response>>,
{
    let (runtime, mut closing, peer) = (context.runtime(), context.closing(), wire.peer());
    let mut unread = None;
    loop {
        let request = {
            let next = pin!(async {
                if let Some(unread) = unread {
                    unread.await?;
                }
                wire.begin_head();
                decode(wire.clone()).await
            });
            let late = runtime.sleep_until(runtime.now() + context.header_timeout());
            match select(next, select(&mut closing, late)).await {
                Either::Left((request, _)) => request?,
                Either::Right(_) => None,
            }
        };
        let Some((mut request, mut body)) = request else { return Ok(()) };
        wire.begin_body(ContentLength::from_headers(&request)?.map_or(0, |length| length.len()));
        request.set_peer_addr(peer.as_deref());
        let (method, mut last) = (request.method(), says_close(&request) || is_ambiguous(&request));

        let mut response = respond(request).await?;
        if closing.is_closing() {
            response.insert_header(headers::CONNECTION, "close");
        }
        // Mostly nothing is left of the body. Then its buffers need not live as long as the response.
        let mut rest = Box::pin(async move { io::copy(&mut body, &mut io::sink()).await });
        let read = poll_immediate(&mut rest).await;
        last |= says_close(&response) || matches!(read, Some(Err(_)));
        unread = read.is_none().then_some(rest);
        write(wire, Encoder::new(response, method)).await?;
        if last {
            return Ok(());
        }
    }
}

/// Writes a response: all that is ready at a time, so that most leave in one piece.
async fn write(wire: &Wire, mut response: Encoder) -> io::Result<()> {
    loop {
        let (bytes, end) = poll_fn(|cx| poll_batch(&mut response, cx)).await;
        wire.respond(&bytes).await?;
        if let Some(end) = end {
            return end;
        }
    }
}

/// What is ready of a response, and how it ended if it did. The buffer lives no longer: most streams wait.
fn poll_batch(response: &mut Encoder, cx: &mut Context<'_>) -> Poll<(Vec<u8>, Option<io::Result<()>>)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; CHUNK]);
    while bytes.len() < BATCH {
        match Pin::new(&mut *response).poll_read(cx, &mut chunk) {
            Poll::Ready(Ok(0)) => return Poll::Ready((bytes, Some(Ok(())))),
            Poll::Ready(Ok(length)) => bytes.extend_from_slice(&chunk[..length]),
            Poll::Ready(Err(cut)) => return Poll::Ready((bytes, Some(Err(cut)))),
            Poll::Pending if bytes.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready((bytes, None))
}

/// Whether this message is the last of its connection, by its own word.
fn says_close(message: impl AsRef<Headers>) -> bool {
    let values = message.as_ref().get(headers::CONNECTION).into_iter().flatten();
    values.flat_map(|value| value.as_str().split(',')).any(|token| token.trim().eq_ignore_ascii_case("close"))
}

/// Whether a proxy in front could see another end of this request than `async_h1` does (request smuggling): nothing
/// after it is read.
fn is_ambiguous(request: &Request) -> bool {
    let coding = request.header(headers::TRANSFER_ENCODING);
    coding.is_some_and(|coding| coding.iter().count() > 1 || !coding.as_str().eq_ignore_ascii_case("chunked"))
        || request.header(headers::CONTENT_LENGTH).is_some_and(|length| length.iter().count() > 1)
}
