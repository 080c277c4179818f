//! One connection: requests in, responses out, its deadlines, its end.

use std::pin::{Pin, pin};
use std::{future::poll_fn, task::Poll};

use async_h1::server::{Encoder, decode};
use async_std::net::TcpStream;
use futures::future::{Either, FutureExt, poll_immediate, select};
use futures::io::{self, AsyncRead};
use mcp_session_core::{ConnectionContext, Work};
use socket2::SockRef;
use tide::http::{self as http_types, Request, Response, headers};

use crate::wire::Wire;

/// The most that one read takes from a body: a whole event, unless it is large. Each read becomes a chunk.
const CHUNK: usize = 8 * 1024;

/// About how much of a response to write at once, if it is there.
const BATCH: usize = 64 * 1024;

/// Serves one connection until it ends, its client leaves, or it has to close.
pub(crate) async fn serve_connection<State: Clone + Send + Sync + 'static>(
    socket: TcpStream,
    app: tide::Server<State>,
    context: ConnectionContext,
) {
    configure(&socket, &context);
    let (wire, left) = Wire::new(socket);
    if let Either::Right(((), exchanges)) = select(pin!(exchanges(wire, app, context)), pin!(left)).await {
        exchanges.now_or_never(); // what the client sent before it left is looked at
    }
}

/// Best effort: a socket that refuses an option, such as one that is already closed, is served all the same.
fn configure(socket: &TcpStream, context: &ConnectionContext) {
    let socket = SockRef::from(socket);
    // Without it, a small answer waits for the client's delayed acknowledgement: 44 ms instead of none.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(context.send_buffer());
    // How long sent bytes may go unacknowledged: a client that has silently gone must not keep its session.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(std::time::Duration::from_secs(60)));
}

/// What `async_h1::Server` does, with a stop, and a deadline of our own for heads.
async fn exchanges<State: Clone + Send + Sync + 'static>(
    wire: Wire,
    app: tide::Server<State>,
    context: ConnectionContext,
) -> http_types::Result<()> {
    let (runtime, mut closing, mut unread) = (context.runtime(), context.closing(), None);
    loop {
        let next = async {
            if let Some(unread) = unread {
                unread.await?;
            }
            decode(wire.clone()).await
        };
        let late = runtime.sleep_until(runtime.now() + context.header_timeout());
        let Either::Left((next, _)) = select(pin!(next), select(&mut closing, late)).await else { break };
        let Some((mut request, mut body)) = next? else { break };
        wire.begin_body(request.len().unwrap_or(0));
        request.set_peer_addr(wire.0.peer_addr().ok());
        let (method, last) = (request.method(), says_close(&request) || is_ambiguous(&request));
        let response: Response = context.work().during(app.respond(request)).await?;

        // Mostly nothing is left of the body. Then its buffers need not live as long as the response.
        let mut rest = Box::pin(async move { io::copy(&mut body, &mut io::sink()).await });
        let read = poll_immediate(&mut rest).await;
        let last = last || says_close(&response) || matches!(read, Some(Err(_)));
        unread = read.is_none().then_some(rest);
        write(&wire, Encoder::new(response, method), context.work()).await?;
        if last {
            break;
        }
    }
    Ok(())
}

/// Writes a response: all that is ready at a time, so that most leave in one piece.
async fn write(wire: &Wire, mut response: Encoder, work: &Work) -> io::Result<()> {
    let mut end = None;
    while end.is_none() {
        let batch = poll_fn(|cx| {
            let (mut batch, mut chunk) = (Vec::new(), [0; CHUNK]);
            while batch.len() < BATCH && end.is_none() {
                match Pin::new(&mut response).poll_read(cx, &mut chunk) {
                    Poll::Ready(Ok(length)) if length > 0 => batch.extend_from_slice(&chunk[..length]),
                    Poll::Ready(ended) => end = Some(ended.map(drop)),
                    Poll::Pending if batch.is_empty() => return Poll::Pending,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(batch)
        });
        wire.respond(&work.during(batch).await).await?;
    }
    end.unwrap_or(Ok(()))
}

/// Whether this message is the last of its connection, by its own word.
fn says_close(message: impl AsRef<headers::Headers>) -> bool {
    let values = message.as_ref().get(headers::CONNECTION).into_iter().flatten();
    values.flat_map(|value| value.as_str().split(',')).any(|token| token.trim().eq_ignore_ascii_case("close"))
}

/// Whether a proxy in front could see another end of this request than `async_h1` does, which goes by the last of
/// several lengths and knows no coding but `chunked` (request smuggling): nothing after it is read.
fn is_ambiguous(request: &Request) -> bool {
    request.header(headers::CONTENT_LENGTH).is_some_and(|lengths| lengths.iter().count() > 1)
        || request.header(headers::TRANSFER_ENCODING).is_some() && request.len().is_some()
}
