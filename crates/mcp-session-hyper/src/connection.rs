//! [`serve_connection`]: serves one connection, with its deadlines and its end.

use std::{
    error::Error,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{TryFutureExt, future::Either};
use http::{Method, Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::{http1, http2},
    service::{HttpService, service_fn},
};
use mcp_session_core::{ConnectionContext, PeerAddr};
use tower_service::Service;

use crate::{
    activity::{Activity, Busy},
    body::Pieces,
    drive::{Drive, Over},
    io::Io,
    linger::{has_unread, linger},
    protocol::{Protocol, poll_detect},
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

/// How much more to discard of a head that hyper refused: no client sends heads of 1 MiB.
const TOO_LONG: u64 = 1024 * 1024;

/// Serves one connection until it ends, over HTTP/1.1 or HTTP/2, depending on the first bytes of the client. The deadline of
/// the first request begins with the call.
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
pub fn serve_connection<I, S, B>(
    io: I,
    service: S,
    context: ConnectionContext,
) -> impl Future<Output = ()> + Send + use<I, S, B>
where
    I: Read + Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let activity = Activity::new(context.runtime(), context.work().clone());
    let mut io = Io::new(io, &activity);
    let mut drive = Drive::new(context);
    // No `async fn`, which would have room for its arguments twice. An open stream has this future for hours, so it has nothing
    // twice, and what is only there for a moment is boxed.
    async move {
        let Some(Ok(protocol)) = drive.in_time(poll_fn(|cx| poll_detect(&mut io, cx))).await else {
            // No complete request: nothing to answer. A TLS client is told that nothing was cut off.
            poll_fn(|cx| {
                let _ = Pin::new(&mut io).poll_shutdown(cx);
                Poll::Ready(())
            })
            .await;
            return;
        };
        activity.begins();
        match protocol {
            Protocol::Http1 => {
                io.has_one_at_a_time();
                drive.begin(None);
                let over = {
                    // Pinned here: a future passed to another by value takes its space twice.
                    let mut connection = pin!({
                        let service = one_at_a_time(service, &activity, drive.context.peer_addr());
                        http1_builder(&drive.context).serve_connection(&mut io, service)
                    });
                    let end = http1::Connection::graceful_shutdown;
                    poll_fn(|cx| drive.poll(cx, &activity, connection.as_mut(), end)).await
                };
                if let Some(io) = io.open() {
                    let bytes = if let Over::Failed = over { TOO_LONG } else { drive.context.linger().1 };
                    if over.is_worth_lingering(&activity) || has_unread(io) {
                        Box::pin(linger(io, bytes, &drive.context)).await;
                    }
                }
            }
            Protocol::Http2 => {
                let streams = Streams::new(&drive.context);
                drive.begin(Some(&streams));
                // Boxed: it is more than twice as large as for HTTP/1.1, and every connection would have its size.
                let mut connection = Box::pin({
                    let service = many_at_a_time(service, &activity, &streams, drive.context.peer_addr());
                    http2_builder(&streams, &drive.context).serve_connection(io, service)
                });
                let end = http2::Connection::graceful_shutdown;
                poll_fn(|cx| drive.poll(cx, &activity, connection.as_mut(), end)).await;
            }
        }
    }
}

fn http1_builder(context: &ConnectionContext) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER.max(context.head_limit())).max_header_size(context.head_limit());
    // Head and body are copied into one buffer: that is cheaper than `writev` with a queue of buffers.
    http.writev(false);
    http
}

fn http2_builder(streams: &Arc<Streams>, context: &ConnectionContext) -> http2::Builder<StreamTasks> {
    let runtime = context.runtime();
    let mut http = http2::Builder::new(StreamTasks(runtime.clone(), streams.clone()));
    http.timer(HyperRuntime(runtime.clone())).keep_alive_interval(PING_INTERVAL);
    http.max_concurrent_streams(context.max_streams()).max_send_buf_size(STREAM_BUFFER);
    http.max_local_error_reset_streams(Some(LATE_FRAMES));
    http.max_header_list_size(context.head_limit().min(STREAM_HEAD) as u32);
    http
}

/// The service of an HTTP/1.1 connection. It is locked only to call it, by one task: a clone for each request would touch a
/// reference count that all connections share.
fn one_at_a_time<S, B>(
    service: S,
    activity: &Arc<Activity>,
    peer: Option<PeerAddr>,
) -> impl HttpService<Incoming, ResBody = Pieces<B, Busy>, Error = S::Error, Future: Send> + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (service, activity) = (Mutex::new(service), Arc::clone(activity));
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
    service: S,
    activity: &Arc<Activity>,
    streams: &Arc<Streams>,
    peer: Option<PeerAddr>,
) -> impl HttpService<Incoming, ResBody = Pieces<B, Sending>, Error = BoxError, Future: Send + 'static> + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (service, activity, streams) = (Mutex::new(service), Arc::clone(activity), Arc::clone(streams));
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

#[cfg(test)]
mod tests;
