//! [`ExchangeHandle`]: a running exchange, from the handler's first poll to the head of its response.

use std::{
    borrow::Cow,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Either, poll_fn, select},
};
use mcp_session_proto::{
    ExchangeKey, HttpRefusal, Json, Reply, RequestId, RpcError, SendError, Status, StreamKey,
};

use crate::{
    contain::{self, Panicked},
    session::env::Env,
    session::{
        Session,
        cell::{Machine, Waiters},
    },
    stream::EventStream,
    trace,
};

/// A handler that takes longer than this for one poll is logged as blocking. 100 ms: polls of async code take
/// microseconds, and a person notices longer delays.
const SLOW_POLL: Duration = Duration::from_millis(100);

/// The handler's future for a request.
pub(crate) type HandlerFuture = BoxFuture<'static, Result<Json, RpcError>>;

/// A running exchange of a session.
#[derive(Debug, Clone)]
pub(crate) struct ExchangeHandle {
    pub(crate) session: Session,
    pub(crate) key: ExchangeKey,
}

/// The form of the HTTP response.
#[derive(Debug)]
pub(crate) enum ReplyHead {
    Json(bytes::Bytes),
    Refused(bytes::Bytes, Box<HttpRefusal>),
    Events(EventStream),
    /// The reply was already taken. Cannot happen with a single reader.
    Lost,
}

/// The outcome of a handler's first poll.
pub(crate) enum FirstPoll {
    Answered(ReplyHead),
    Suspended(PendingReplyHead),
}

impl FirstPoll {
    /// Waits until the form of the response is decided.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the client counts as disconnected; the request continues (D-12).
    pub(crate) async fn head(self) -> ReplyHead {
        match self {
            Self::Answered(head) => head,
            Self::Suspended(pending) => pending.await,
        }
    }
}

impl ExchangeHandle {
    /// Runs the handler of a request that was admitted at `started`. It is polled once in place: if it is ready, the
    /// answer needs no task, stream or wake-up. Otherwise it becomes a task.
    pub(crate) fn start(
        self,
        env: &Env,
        started: Instant,
        id: RequestId,
        method: Cow<'static, str>,
        handler: HandlerFuture,
    ) -> impl Future<Output = FirstPoll> {
        let handler = Some(trace::exchange(&self.session.id(), &id, &method, handler));
        let mut work =
            HandlerTask { call: self, handler, id, method, started, polled: started, panicked: false };
        async move {
            match poll_fn(|cx| Poll::Ready(work.poll_handler(cx))).await {
                Poll::Ready(answer) => {
                    FirstPoll::Answered(work.answer(&answer, Self::poll_head).unwrap_or(ReplyHead::Lost))
                }
                Poll::Pending => {
                    let call = work.call.clone();
                    let (waiters, now) = call.session.with(|machine, now| {
                        machine.handle_suspended(now, call.key);
                        (call.waiters(machine).unwrap_or_default(), now) // the exchange is over
                    });
                    work.returned(now);
                    env.runtime.spawn(work.run().boxed());
                    FirstPoll::Suspended(PendingReplyHead { call: Some(call), waiters })
                }
            }
        }
    }

    /// Sends an event on the reply; waits for space in its queue.
    pub(crate) async fn send(
        &self,
        mut attempt: impl FnMut(&mut Machine, Instant) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        self.session
            .send_with(|machine, now| match attempt(machine, now) {
                Err(SendError::Full) => Err(self.waiters(machine)),
                sent => Ok(sent),
            })
            .await
    }

    /// The status for the handler: whether it is cancelled or abandoned.
    pub(crate) fn status(&self) -> Status {
        self.session.with(|machine, _| machine.poll_status(self.key))
    }

    /// Waits until `ready` returns a value.
    pub(crate) async fn until<R>(&self, ready: impl Fn(Status) -> Option<R>) -> R {
        self.session
            .send_with(|machine, _| {
                let ready = ready(machine.poll_status(self.key));
                ready.ok_or_else(|| self.waiters(machine))
            })
            .await
    }

    /// The waiters of the exchange, created when first needed. `None` if the exchange is over.
    pub(crate) fn waiters(&self, machine: &mut Machine) -> Option<Arc<Waiters>> {
        machine.tag_or(self.key, Arc::default)
    }

    /// The form of the response, if it is decided.
    fn poll_head(&self, machine: &mut Machine, now: Instant) -> Option<ReplyHead> {
        let Self { session, key } = self;
        match machine.poll_reply(now, *key) {
            Some(Reply::Pending) => None,
            Some(Reply::Json(answer)) => Some(ReplyHead::Json(answer)),
            Some(Reply::Refused(answer, refusal)) => Some(ReplyHead::Refused(answer, refusal)),
            Some(Reply::Stream) => {
                let waiters = self.waiters(machine).unwrap_or_default(); // the exchange is over
                Some(ReplyHead::Events(EventStream::new(session.clone(), StreamKey::Response(*key), waiters)))
            }
            None => Some(ReplyHead::Lost),
        }
    }
}

/// A running handler. The exchange is answered and released in any case, even if the handler panics or the runtime
/// drops the task.
struct HandlerTask {
    call: ExchangeHandle,
    handler: Option<HandlerFuture>,
    id: RequestId,
    method: Cow<'static, str>,
    started: Instant,
    /// When the handler was last polled. For the first poll, when the request was admitted, which saves a clock read.
    polled: Instant,
    panicked: bool,
}

impl HandlerTask {
    /// Polls the handler for its answer. A panic is answered with -32603, and the session lives on.
    fn poll_handler(&mut self, cx: &mut Context<'_>) -> Poll<Result<Json, RpcError>> {
        let Some(handler) = &mut self.handler else { return Poll::Ready(Err(dropped())) };
        Poll::Ready(match contain::call(|| handler.poll_unpin(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(result))) if !result.is_object() => {
                Err(RpcError::internal("the handler's result is not an object"))
            }
            Ok(Poll::Ready(answer)) => answer,
            Err(Panicked) => {
                self.panicked = true;
                Err(RpcError::internal("the handler panicked"))
            }
        })
    }

    async fn run(mut self) {
        let call = self.call.clone();
        let abandoned = pin!(call.until(|status| status.abandoned.then_some(())));
        let poll = |cx: &mut Context<'_>| {
            self.polled = call.session.now();
            let polled = self.poll_handler(cx);
            if polled.is_pending() {
                self.returned(call.session.now());
            }
            polled
        };
        match select(poll_fn(poll), abandoned).await {
            Either::Left((answer, _)) => self.answer(&answer, |_, _, _| ()),
            Either::Right(((), _)) => {
                self.drop_handler();
                let ended = self.call.session.with(|machine, now| {
                    machine.handle_released(now, self.call.key);
                    now
                });
                self.trace(ended, &trace::Outcome::Abandoned);
            }
        }
    }

    /// Called after each poll of the handler: logs a poll that took too long.
    fn returned(&self, now: Instant) {
        let took = now.saturating_duration_since(self.polled);
        if took > SLOW_POLL {
            trace::slow_poll(&self.method, took);
        }
    }

    /// Drops the handler before its end is visible, so that its resources are free by then.
    fn drop_handler(&mut self) {
        contain::dispose(self.handler.take());
    }

    /// Passes the answer to the machine, then calls `then`.
    fn answer<R>(
        &mut self,
        answer: &Result<Json, RpcError>,
        then: impl FnOnce(&ExchangeHandle, &mut Machine, Instant) -> R,
    ) -> R {
        self.drop_handler();
        let (heard, ended, then) = self.call.session.with(|machine, now| {
            let heard = machine.answer(now, self.call.key, answer);
            (heard, now, then(&self.call, machine, now))
        });
        let outcome = match answer {
            _ if !heard => trace::Outcome::Unheard,
            Ok(_) => trace::Outcome::Result,
            Err(error) => trace::Outcome::Error(error),
        };
        if self.panicked {
            trace::handler_panicked(&self.method);
        }
        self.returned(ended);
        self.trace(ended, &outcome);
        then
    }

    fn trace(&self, ended: Instant, outcome: &trace::Outcome<'_>) {
        let elapsed = ended.saturating_duration_since(self.started);
        trace::exchange_ended(&self.call.session.id(), &self.id, &self.method, outcome, elapsed);
    }
}

impl Drop for HandlerTask {
    fn drop(&mut self) {
        if self.handler.is_some() {
            self.answer(&Err(dropped()), |_, _, _| ());
        }
    }
}

/// The answer if the runtime drops the task.
fn dropped() -> RpcError {
    RpcError::internal("the server dropped the request")
}

/// The response head of a request whose handler runs as a task.
pub(crate) struct PendingReplyHead {
    call: Option<ExchangeHandle>,
    waiters: Arc<Waiters>,
}

impl Future for PendingReplyHead {
    type Output = ReplyHead;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ReplyHead> {
        let Some(call) = &self.call else { return Poll::Ready(ReplyHead::Lost) };
        self.waiters.reader.register(cx.waker());
        match call.session.with(|machine, now| call.poll_head(machine, now)) {
            None => Poll::Pending,
            Some(head) => {
                self.call = None;
                Poll::Ready(head)
            }
        }
    }
}

impl Drop for PendingReplyHead {
    fn drop(&mut self) {
        if let Some(call) = &self.call {
            call.session.with(|machine, now| machine.handle_disconnect(now, StreamKey::Response(call.key)));
        }
    }
}
