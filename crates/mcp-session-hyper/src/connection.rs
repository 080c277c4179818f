//! [`serve_connection`]: serves one connection, with its deadlines and its end.

use std::{
    error::Error,
    future::poll_fn,
    io, mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures::{
    FutureExt, TryFutureExt,
    future::{Either, select},
};
use http::{Method, Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::{http1, http2},
    service::{HttpService, service_fn},
};
use mcp_session_core::{BoxFuture, ConnectionContext, PeerAddr};
use tower_service::Service;

use crate::{
    activity::{Activity, Busy},
    body::Pieces,
    io::Io,
    linger::{has_unread, linger},
    protocol::{Protocol, detect},
    runtime::{HyperRuntime, StreamTasks},
    streams::{Sending, Streams, refused},
};

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The most that hyper buffers for an HTTP/1.1 client that does not read, in addition to the last piece it took.
const BUFFER: usize = 64 * 1024;

/// How long an HTTP/2 client may be silent before it gets a PING. It must answer within hyper's default of 20 seconds.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// The maximum size of a request head over HTTP/2, in bytes; there may be one for each stream. hyper's own bound.
const STREAM_HEAD: usize = 16 * 1024;

/// How many HTTP/2 frames may still arrive for refused streams before the connection ends: those of 200 requests, each with
/// the 1 MiB that its client may send before it learns of the refusal. hyper's default of 1,024 ends the connections of
/// clients that did nothing wrong.
const LATE_FRAMES: usize = 16 * 1024;

/// The most that hyper buffers of a stream whose window is open while the window of its connection is full.
const STREAM_BUFFER: usize = 64 * 1024;

/// How long a connection whose time is up may take to end gracefully.
const GOODBYE: Duration = Duration::from_millis(100);

/// How much more to discard of a head that hyper refused: no client sends heads of 1 MiB.
const TOO_LONG: u64 = 1024 * 1024;

/// A deadline that fires later than this was missed because this process was stopped or starved. By then, what clients sent
/// in time has arrived; the connection gets this much longer to read it.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves one connection until it ends, over HTTP/1.1 or HTTP/2, depending on the first bytes of the client.
///
/// # Deadlines
///
/// | a connection is closed | after |
/// |---|---|
/// | without a complete request head (HTTP/2: the first) | [`header_timeout`](ConnectionContext::header_timeout) |
/// | without a request | [`idle_timeout`](ConnectionContext::idle_timeout) |
/// | whose client reads nothing of a response (HTTP/2: the stream) | [`stall_timeout`](ConnectionContext::stall_timeout) |
///
/// # End of the connection
///
/// Once [`stopping`](ConnectionContext::stopping) is ready, HTTP/2 sends GOAWAY, and HTTP/1.1 closes after the response that
/// it is writing. Once [`closing`](ConnectionContext::closing) is ready, the connection ends as soon as no request is
/// running on it. A response to a request that was not fully read says `Connection: close` and ends the connection. The
/// rest of the request is read and discarded within [bounds](ConnectionContext::linger), so that the client can read the
/// response.
///
/// If a client leaves, its responses end, but its complete requests are still processed. A client that only closes its
/// sending half looks the same as one that left: it still gets answers that are ready within a second, and its streams end.
/// A request that a disconnect cancels ends at once ([`DisconnectCancels`](mcp_session_core::DisconnectCancels)).
///
/// # Cancel safety
///
/// Dropping the future cuts the connection.
pub async fn serve_connection<I, S, B>(mut io: I, service: S, context: ConnectionContext)
where
    I: Read + Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let mut deadline = Deadline::after(&context, context.header_timeout());
    let Some(Ok((protocol, first))) = in_time(detect(&mut io), &mut deadline, &context).await else {
        // No complete request: nothing to answer. A TLS client is told that nothing was cut off.
        poll_fn(|cx| {
            let _ = Pin::new(&mut io).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
        return;
    };
    let activity = Activity::new(context.runtime(), context.work().clone());
    // Locked only to call it, by one task. A clone for each request would touch a reference count that all connections
    // share.
    let service = Mutex::new(service);
    // Pinned here or boxed: a future passed to another by value takes its space twice.
    match protocol {
        Protocol::Http1 => {
            let mut io = Io::new(io, first, &activity, true);
            let over = {
                // Head and body are copied into one buffer: that is cheaper than `writev` with a queue of buffers.
                let mut http = http1::Builder::new();
                http.max_buf_size(BUFFER.max(context.head_limit())).max_header_size(context.head_limit());
                let service = one_at_a_time(service, &activity, context.peer_addr());
                let connection = pin!(http.writev(false).serve_connection(&mut io, service));
                let end = http1::Connection::graceful_shutdown;
                drive(connection, end, &activity, None, deadline, &context).await
            };
            if let Some(io) = io.open() {
                let bytes = if let Over::Failed = over { TOO_LONG } else { context.linger().1 };
                if over.is_worth_lingering(&activity) || has_unread(io) {
                    Box::pin(linger(io, bytes, &context)).await;
                }
            }
        }
        Protocol::Http2 => {
            let io = Io::new(io, first, &activity, false);
            let streams = Streams::new(&context);
            // Boxed: it is more than twice as large as for HTTP/1.1, and every connection would have its size.
            let mut connection = Box::pin({
                let runtime = context.runtime();
                let mut http = http2::Builder::new(StreamTasks(runtime.clone(), streams.clone()));
                http.timer(HyperRuntime(runtime.clone())).keep_alive_interval(PING_INTERVAL);
                http.max_concurrent_streams(context.max_streams()).max_send_buf_size(STREAM_BUFFER);
                http.max_local_error_reset_streams(Some(LATE_FRAMES));
                http.max_header_list_size(context.head_limit().min(STREAM_HEAD) as u32);
                http.serve_connection(io, many_at_a_time(service, &activity, &streams, context.peer_addr()))
            });
            let end = http2::Connection::graceful_shutdown;
            drive(connection.as_mut(), end, &activity, Some(&streams), deadline, &context).await;
        }
    }
}

/// Waits for `open`, what precedes the first request of a connection, such as a TLS handshake. It has as long as a request
/// head, and ends when connections must close. Returns `None` if it fails: there is no client to answer.
pub(crate) async fn opened<T>(
    open: impl Future<Output = io::Result<T>>,
    context: &ConnectionContext,
) -> Option<T> {
    let mut deadline = Deadline::after(context, context.header_timeout());
    in_time(open, &mut deadline, context).await?.ok()
}

/// Waits for the beginning of a connection. Returns `None` if the deadline passes, or connections must close.
async fn in_time<F: Future>(
    begin: F,
    deadline: &mut Deadline,
    context: &ConnectionContext,
) -> Option<F::Output> {
    let mut begin = pin!(begin);
    let mut closing = context.closing();
    loop {
        let closes = match select(begin.as_mut(), select(&mut closing, &mut deadline.sleep)).await {
            Either::Left((begun, _)) => return Some(begun),
            Either::Right((enough, _)) => matches!(enough, Either::Left(_)),
        };
        if closes || !deadline.is_late(context) {
            return None;
        }
        *deadline = Deadline::after(context, PAUSE);
    }
}

/// The service of an HTTP/1.1 connection.
fn one_at_a_time<S, B>(
    service: Mutex<S>,
    activity: &Arc<Activity>,
    peer: Option<PeerAddr>,
) -> impl HttpService<Incoming, ResBody = Pieces<B, Busy>, Error = S::Error, Future: Send> + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let activity = Arc::clone(activity);
    service_fn(move |mut request: Request<Incoming>| {
        let has_body = !request.body().is_end_stream();
        let mut busy = activity.begin(request.method() == Method::GET);
        activity.extend(request.extensions_mut(), peer);
        let called = call(&mut *service.lock().unwrap_or_else(PoisonError::into_inner), request);
        async move {
            let response = called.await?;
            let refused = has_body && !response.status().is_success();
            if refused {
                // hyper then checks whether the request's body was read, and if not, announces that it will close.
                yield_now().await;
            }
            busy.answered(has_body, refused);
            Ok(response.map(|body| Pieces::new(body, busy)))
        }
    })
}

/// The service of an HTTP/2 connection.
fn many_at_a_time<S, B>(
    service: Mutex<S>,
    activity: &Arc<Activity>,
    streams: &Arc<Streams>,
    peer: Option<PeerAddr>,
) -> impl HttpService<Incoming, ResBody = Pieces<B, Sending>, Error = BoxError, Future: Send + 'static> + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (activity, streams) = (Arc::clone(activity), Arc::clone(streams));
    service_fn(move |mut request: Request<Incoming>| {
        let (mut busy, entry) = (activity.begin(request.method() == Method::GET), streams.begin());
        activity.extend(request.extensions_mut(), peer);
        let streams = Arc::clone(&streams);
        let called = {
            let service = &mut *service.lock().unwrap_or_else(PoisonError::into_inner);
            if streams.is_full() {
                let (streams, mut service) = (Arc::clone(&streams), service.clone());
                Either::Left(Box::pin(async move {
                    if !streams.room().await {
                        return Err(refused());
                    }
                    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                    service.call(request).await.map_err(Into::into)
                }))
            } else {
                Either::Right(call(service, request).map_err(Into::into))
            }
        };
        async move {
            let response = called.await?;
            let bytes = response.body().size_hint().lower();
            if !streams.admits(bytes) {
                return Err("the client does not take its answers".into());
            }
            busy.answered(false, false);
            Ok(response.map(|body| Pieces::new(body, Sending::new(entry, busy, bytes))))
        }
    })
}

/// Yields once to the task that polls it.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Calls a service once it is ready. Most services are ready at once. Otherwise the service moves into a boxed future with
/// the request, and a clone takes its place for the next request.
fn call<S, R>(
    service: &mut S,
    request: R,
) -> impl Future<Output = Result<S::Response, S::Error>> + Send + use<S, R>
where
    S: Service<R, Future: Send> + Clone + Send + 'static,
    R: Send + 'static,
{
    match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Either::Left(service.call(request)),
        // A service that failed is expected to return its error again from the next `poll_ready`.
        Poll::Ready(Err(_)) | Poll::Pending => {
            let next = service.clone();
            let mut service = mem::replace(service, next); // it may hold a place in a queue, which its clone does not
            Either::Right(Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            }))
        }
    }
}

/// Runs a connection until it ends, a deadline passes, or it must close. In a shutdown, an HTTP/1.1 connection ends together
/// with the one response that is in progress; an HTTP/2 connection, which has `streams`, sends GOAWAY.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    graceful_shutdown: impl Fn(Pin<&mut C>),
    activity: &Arc<Activity>,
    streams: Option<&Arc<Streams>>,
    mut deadline: Deadline,
    context: &ConnectionContext,
) -> Over {
    let runtime = context.runtime();
    // Whatever starts meanwhile: checking again after this time is early enough.
    let tick = context.header_timeout().min(context.idle_timeout()).min(context.stall_timeout());
    if tick < context.header_timeout() {
        deadline = Deadline::after(context, tick);
    }
    let mut closing = Some(context.closing());
    // A connection that is accepted while stopping still serves a request: its client has nowhere else to send it.
    let mut stopping = (streams.is_some() && !context.is_stopping()).then(|| context.stopping());
    let mut waiting: Option<(u64, Instant)> = None;
    let (mut asked_to_end, mut idle, mut said_goodbye) = (false, false, false);
    loop {
        let news = poll_fn(|cx| {
            if !asked_to_end && context.is_stopping() {
                let last = if streams.is_some() { activity.is_used() } else { activity.is_running() };
                if last {
                    asked_to_end = true;
                    graceful_shutdown(connection.as_mut());
                }
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(News::Ended(ended));
            }
            if closing.as_mut().is_some_and(|closing| closing.poll_unpin(cx).is_ready()) {
                return Poll::Ready(News::Closing);
            }
            if stopping.as_mut().is_some_and(|stopping| stopping.poll_unpin(cx).is_ready()) {
                return Poll::Ready(News::Stopping);
            }
            deadline.sleep.poll_unpin(cx).map(|()| News::Deadline)
        });
        match news.await {
            News::Ended(Ok(())) => return Over::Ended { asked: asked_to_end, idle },
            News::Ended(Err(_)) => return Over::Failed,
            News::Deadline if !said_goodbye && deadline.is_late(context) => {
                deadline = Deadline::after(context, PAUSE);
            }
            // Only part of a first head: no request to answer.
            News::Closing if !activity.is_used() => return Over::Cut,
            News::Stopping => {
                (stopping, asked_to_end) = (None, true);
                graceful_shutdown(connection.as_mut());
            }
            News::Closing => {
                (closing, asked_to_end, idle) = (None, true, !activity.is_running());
                graceful_shutdown(connection.as_mut());
                if streams.is_some() && idle {
                    // A client that does not react to GOAWAY is cut.
                    (deadline, said_goodbye) = (Deadline::after(context, GOODBYE), true);
                }
            }
            News::Deadline => {
                let now = runtime.now();
                let takes = match streams {
                    Some(streams) => streams.check(now),
                    None => match (activity.waiting(), waiting) {
                        (Some(seen), Some((before, since))) if seen == before => {
                            now.saturating_duration_since(since) < context.stall_timeout()
                        }
                        (seen, _) => {
                            waiting = seen.map(|seen| (seen, now));
                            true
                        }
                    },
                };
                if !takes {
                    context.response_stalled();
                    return Over::Cut;
                }
                let due = activity.due(context);
                if due.is_some_and(|due| due <= now) {
                    if said_goodbye || !activity.is_used() {
                        return Over::Cut;
                    }
                    (said_goodbye, asked_to_end, idle) = (true, true, true);
                    graceful_shutdown(connection.as_mut());
                    deadline = Deadline::after(context, GOODBYE);
                } else {
                    let next = due.map_or(tick, |due| tick.min(due.saturating_duration_since(now)));
                    (deadline, said_goodbye) = (Deadline::after(context, next), false);
                }
            }
        }
    }
}

enum News {
    Ended(hyper::Result<()>),
    Stopping,
    Closing,
    Deadline,
}

/// How a connection ended.
#[derive(Debug)]
enum Over {
    /// It ended by itself, or because it was asked to; `idle` if no request was running when it was asked.
    Ended { asked: bool, idle: bool },
    /// hyper failed. If it refused a head, it has answered it.
    Failed,
    /// It must be dropped.
    Cut,
}

impl Over {
    /// Returns `true` if the client may still be sending.
    fn is_worth_lingering(&self, activity: &Activity) -> bool {
        match *self {
            Self::Ended { asked: false, .. } => activity.left_unread(),
            Self::Ended { asked: true, idle } => activity.refused() && !idle,
            Self::Failed => true,
            Self::Cut => false,
        }
    }
}

/// A deadline and the sleep that waits for it.
struct Deadline {
    at: Instant,
    sleep: BoxFuture<'static, ()>,
}

impl Deadline {
    fn after(context: &ConnectionContext, time: Duration) -> Self {
        let at = context.runtime().now() + time;
        Self { at, sleep: context.runtime().sleep_until(at) }
    }

    /// Returns `true` if it fired so late that this process must have been stopped meanwhile.
    fn is_late(&self, context: &ConnectionContext) -> bool {
        context.runtime().now().saturating_duration_since(self.at) > PAUSE
    }
}

#[cfg(test)]
mod tests;
