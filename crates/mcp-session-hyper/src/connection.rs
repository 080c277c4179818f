//! [`serve_connection`]: one connection, its deadlines, its end.

use std::{
    error::Error,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{Either, select},
};
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::{http1, http2},
    service::service_fn,
};
use mcp_session_core::{BoxFuture, ConnectionContext};
use tower_service::Service;

use crate::{
    activity::Activity,
    body::Pieces,
    protocol::{Protocol, detect},
    runtime::HyperRuntime,
};

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What hyper may hold for an HTTP/1.1 client that does not read, beside the piece that it has taken last, and the
/// longest request head.
const BUFFER: usize = 64 * 1024;

/// After how much silence an HTTP/2 client is asked whether it is there. It has hyper's 20 seconds to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long a connection whose time is up may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(100);

/// Serves one connection, over HTTP/1.1 or HTTP/2 as its client begins it, until it ends.
///
/// One whose first head is not there within [`header_timeout`](ConnectionContext::header_timeout) is closed, and so is one
/// that has no request for [`idle_timeout`](ConnectionContext::idle_timeout). Once [`closing`](ConnectionContext::closing) is ready, it ends as soon as
/// nothing is running on it: HTTP/2 with GOAWAY, HTTP/1.1 after its last response.
///
/// # Cancel safety
///
/// Dropping it cuts the connection.
pub async fn serve_connection<I, S, B>(io: I, service: S, context: ConnectionContext)
where
    I: Read + Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let runtime = context.runtime();
    let activity = Activity::new(runtime, context.work().clone());
    let counted = activity.clone();
    // Locked for calls, by one task: a clone for each request would count in what all connections share.
    let service = Mutex::new(service);
    let peer = context.peer_addr();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let mut busy = counted.begin();
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let called = call(&mut *service.lock().unwrap_or_else(PoisonError::into_inner), request);
        async move {
            let response = called.await?;
            busy.waits(false); // what there is of it can be written
            Ok::<_, S::Error>(response.map(|body| Pieces::new(body, busy)))
        }
    });

    let mut deadline = runtime.sleep_until(runtime.now() + context.header_timeout());
    let enough = select(context.closing(), &mut deadline);
    let Either::Left((Ok((protocol, io)), _)) = select(pin!(detect(io)), enough).await else {
        return; // nobody is owed anything here
    };
    // Pinned here, or given away in a box: a future that is an argument of another is in there twice.
    match protocol {
        Protocol::Http1 => {
            // Head and body are copied together: that is less than what `writev` and a queue of buffers cost.
            let connection =
                pin!(http1::Builder::new().max_buf_size(BUFFER).writev(false).serve_connection(io, service));
            let end = http1::Connection::graceful_shutdown;
            drive(connection, end, true, &activity, deadline, &context).await;
        }
        Protocol::Http2 => {
            // Boxed: it is more than twice as large, and would be the size of every connection.
            let mut connection = Box::pin({
                let hyper = HyperRuntime(runtime.clone());
                let mut http = http2::Builder::new(hyper.clone());
                http.timer(hyper).keep_alive_interval(PING_INTERVAL);
                http.serve_connection(io, service)
            });
            let end = http2::Connection::graceful_shutdown;
            drive(connection.as_mut(), end, false, &activity, deadline, &context).await;
        }
    }
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

/// Runs a connection until it ends, its time is up, or it has to close. With one response at a time, it ends in a shutdown
/// together with the one that is at work, in one go.
async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    graceful_shutdown: impl Fn(Pin<&mut C>),
    one_at_a_time: bool,
    activity: &Arc<Activity>,
    mut deadline: BoxFuture<'static, ()>,
    context: &ConnectionContext,
) {
    let runtime = context.runtime();
    let mut closing = Some(context.closing());
    let mut said_goodbye = false;
    let mut ends_with_response = false;
    loop {
        let news = poll_fn(|cx| {
            if one_at_a_time
                && !ends_with_response
                && context.is_stopping()
                && activity.idle_since().is_none()
            {
                ends_with_response = true;
                graceful_shutdown(connection.as_mut());
            }
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(News::Ended);
            }
            if closing.as_mut().is_some_and(|closing| closing.poll_unpin(cx).is_ready()) {
                return Poll::Ready(News::Closing);
            }
            deadline.poll_unpin(cx).map(|()| News::Deadline)
        });
        match news.await {
            News::Ended => return,
            // Half a first head: nobody is owed anything here.
            News::Closing | News::Deadline if !activity.is_used() => return,
            News::Closing => {
                closing = None;
                graceful_shutdown(connection.as_mut());
            }
            News::Deadline => {
                let now = runtime.now();
                // While a request is running, looking again after the whole time is early enough.
                let next = activity.idle_since().unwrap_or(now) + context.idle_timeout();
                if next <= now {
                    if said_goodbye {
                        return;
                    }
                    said_goodbye = true;
                    graceful_shutdown(connection.as_mut());
                }
                deadline = runtime.sleep_until(next.max(now + GOODBYE));
            }
        }
    }
}

enum News {
    Ended,
    Closing,
    Deadline,
}
