//! [`serve_connection`]: one connection, its deadlines, its end.

use std::{
    error::Error,
    future::poll_fn,
    mem,
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

/// What hyper may hold for an HTTP/1.1 client that does not read, beside the piece that it has taken last.
const BUFFER: usize = 64 * 1024;

/// After how much silence an HTTP/2 client is asked whether it is there. It has hyper's 20 seconds to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Bytes of a request head over HTTP/2, of which there may be as many as streams: hyper's own bound.
const STREAM_HEAD: usize = 16 * 1024;

/// How many frames may still come over HTTP/2 for streams that were refused, before the connection ends: those of 200 requests, each
/// with the megabyte that its client may send before it hears of it. hyper's own 1,024 end the connections of clients that did nothing
/// wrong.
const LATE_FRAMES: usize = 16 * 1024;

/// What hyper may hold of a stream whose window is open while its connection is full.
const STREAM_BUFFER: usize = 64 * 1024;

/// How long a connection whose time is up may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(100);

/// How much more of a head to discard that hyper does not take: nobody has a megabyte of them.
const TOO_LONG: u64 = 1024 * 1024;

/// A deadline that is late by more than this was missed by this process, which was stopped or starved: what clients sent in
/// time is there by now, and gets as long to be read.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves one connection, over HTTP/1.1 or HTTP/2 as its client begins it, until it ends.
///
/// # Its deadlines
///
/// | closed is a connection | after |
/// |---|---|
/// | whose head is not there, the first one or over HTTP/1.1 a later one | [`header_timeout`](ConnectionContext::header_timeout) |
/// | that has no request | [`idle_timeout`](ConnectionContext::idle_timeout) |
/// | whose client takes nothing of its response; over HTTP/2 that stream | [`stall_timeout`](ConnectionContext::stall_timeout) |
///
/// # Its end
///
/// Once [`stopping`](ConnectionContext::stopping) is ready, HTTP/2 says GOAWAY, and HTTP/1.1 closes after the response that
/// it is writing; once [`closing`](ConnectionContext::closing) is, it ends as soon as nothing is running on it. A response
/// that comes before its request was read says `Connection: close` and is followed by the end, and the rest
/// of the request is read and discarded within [bounds](ConnectionContext::linger), so that its client gets to read it.
///
/// A client that leaves ends what is written to it, and not what it has asked for: a request that is there whole is looked
/// at. One that closes its sending half only cannot be told from one that left, so it has a second for what is answered at
/// once, and its streams end.
///
/// # Cancel safety
///
/// Dropping it cuts the connection.
pub async fn serve_connection<I, S, B>(mut io: I, service: S, context: ConnectionContext)
where
    I: Read + Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let mut deadline = Deadline::after(&context, context.header_timeout());
    let Some((protocol, first)) = begin(&mut io, &mut deadline, &context).await else {
        return; // nobody is owed anything here
    };
    let activity = Activity::new(context.runtime(), context.work().clone());
    // Locked for calls, by one task: a clone for each request would count in what all connections share.
    let service = Mutex::new(service);
    // Pinned here, or given away in a box: a future that is an argument of another is in there twice.
    match protocol {
        Protocol::Http1 => {
            let mut io = Io::new(io, first, &activity, true);
            let over = {
                // Head and body are copied together: that is less than what `writev` and a queue of buffers cost.
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
            // Boxed: it is more than twice as large, and would be the size of every connection.
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

/// Waits for the first bytes of a connection. `None` if there are none in time.
async fn begin<I: Read + Unpin>(
    io: &mut I,
    deadline: &mut Deadline,
    context: &ConnectionContext,
) -> Option<(Protocol, Vec<u8>)> {
    let mut detect = pin!(detect(io));
    let mut closing = context.closing();
    loop {
        let closes = match select(detect.as_mut(), select(&mut closing, &mut deadline.sleep)).await {
            Either::Left((detected, _)) => return detected.ok(),
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
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let called = call(&mut *service.lock().unwrap_or_else(PoisonError::into_inner), request);
        async move {
            let response = called.await?;
            let refused = has_body && !response.status().is_success();
            if refused {
                // hyper looks at what became of the request's body, and if it was not read, says that it will close.
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
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
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

/// Lets whoever polls this look around once.
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

/// Calls a service once it is ready. Most are at once: one that is not waits with the request, in a box, and leaves a clone
/// behind for the next.
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
        // An error is there again at the next look.
        Poll::Ready(Err(_)) | Poll::Pending => {
            let next = service.clone();
            let mut service = mem::replace(service, next); // it may have a place in a queue
            Either::Right(Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            }))
        }
    }
}

/// Runs a connection until it ends, its time is up, or it has to close. HTTP/1.1, with one response at a time, ends in a
/// shutdown together with the one that is at work, in one go; HTTP/2, with `streams`, says GOAWAY.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    graceful_shutdown: impl Fn(Pin<&mut C>),
    activity: &Arc<Activity>,
    streams: Option<&Arc<Streams>>,
    mut deadline: Deadline,
    context: &ConnectionContext,
) -> Over {
    let runtime = context.runtime();
    // Whatever begins, looking again after this is early enough.
    let tick = context.header_timeout().min(context.idle_timeout()).min(context.stall_timeout());
    if tick < context.header_timeout() {
        deadline = Deadline::after(context, tick);
    }
    let mut closing = Some(context.closing());
    // One that is accepted when the time has come serves a request first: its client has nowhere else to send it.
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
            // Half a first head: nobody is owed anything here.
            News::Closing if !activity.is_used() => return Over::Cut,
            News::Stopping => {
                (stopping, asked_to_end) = (None, true);
                graceful_shutdown(connection.as_mut());
            }
            News::Closing => {
                (closing, asked_to_end, idle) = (None, true, !activity.is_running());
                graceful_shutdown(connection.as_mut());
                if streams.is_some() && idle {
                    // A client that does not answer to GOAWAY is owed nothing either.
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
    /// By itself, or because it was asked to, when it was idle or not.
    Ended { asked: bool, idle: bool },
    /// hyper could not go on: with a head that it does not take, it has answered.
    Failed,
    /// It was dropped.
    Cut,
}

impl Over {
    /// Whether the client may be sending still.
    fn is_worth_lingering(&self, activity: &Activity) -> bool {
        match *self {
            Self::Ended { asked: false, .. } => activity.left_unread(),
            Self::Ended { asked: true, idle } => activity.refused() && !idle,
            Self::Failed => true,
            Self::Cut => false,
        }
    }
}

/// A time that is waited for.
struct Deadline {
    at: Instant,
    sleep: BoxFuture<'static, ()>,
}

impl Deadline {
    fn after(context: &ConnectionContext, time: Duration) -> Self {
        let at = context.runtime().now() + time;
        Self { at, sleep: context.runtime().sleep_until(at) }
    }

    /// Whether it was noticed so late that this process must have been stopped meanwhile.
    fn is_late(&self, context: &ConnectionContext) -> bool {
        context.runtime().now().saturating_duration_since(self.at) > PAUSE
    }
}

#[cfg(test)]
mod tests;
