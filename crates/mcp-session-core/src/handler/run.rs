//! Runs the handler of an exchange, from its first poll to its answer and the head of the response.

use std::{
    borrow::Cow,
    future::Future,
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Either, poll_fn, select},
};
use mcp_session_proto::{Json, RequestId, RpcError};

use super::{
    exchange::{Answered, ExchangeHandle, ReplyHead},
    modern::Modern,
};
use crate::{
    contain::{self, Panicked},
    observer,
    session::{cell::SharedWaiters, env::Env},
    stateless::server::Completed,
    trace,
};

/// A handler that takes longer than this for one poll is logged as blocking. 100 ms: polls of async code take
/// microseconds, and a person notices longer delays.
const SLOW_POLL: Duration = Duration::from_millis(100);

/// The handler's future for a request.
pub(crate) type HandlerFuture = BoxFuture<'static, Result<Json, RpcError>>;

/// The outcome of a handler's first poll.
pub(crate) enum FirstPoll {
    Answered(ReplyHead),
    Suspended(PendingReplyHead),
}

/// Waits until the form of the response is decided.
///
/// # Cancel safety
///
/// If dropped, the client counts as disconnected. A request of a session continues (D-12).
impl Future for FirstPoll {
    type Output = ReplyHead;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ReplyHead> {
        match &mut *self {
            Self::Answered(head) => Poll::Ready(mem::replace(head, ReplyHead::Lost)),
            Self::Suspended(pending) => pending.poll_unpin(cx),
        }
    }
}

impl ExchangeHandle {
    /// Runs the handler of a request that was admitted at `started`.
    pub(crate) fn start<'a>(
        self,
        env: &'a Env,
        started: Instant,
        id: RequestId,
        method: Cow<'static, str>,
        handler: HandlerFuture,
        modern: Option<Arc<Modern>>,
    ) -> Starting<'a> {
        let handler = Some(trace::exchange(self.session_id(), &id, &method, handler));
        let (polled, panicked) = (started, false);
        let work = HandlerTask { call: self, handler, id, method, modern, started, polled, panicked };
        Starting { env, work: Some(work) }
    }
}

/// A handler before its first poll, which is done in place: if the handler is ready, the answer needs no task, stream or
/// wake-up. Otherwise it becomes a task.
#[must_use = "the handler runs when it is polled"]
pub(crate) struct Starting<'a> {
    env: &'a Env,
    /// `None` once it was polled, which is once.
    work: Option<HandlerTask>,
}

impl Future for Starting<'_> {
    type Output = FirstPoll;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FirstPoll> {
        let Some(mut work) = self.work.take() else {
            return Poll::Ready(FirstPoll::Answered(ReplyHead::Lost));
        };
        Poll::Ready(match work.poll_handler(cx) {
            Poll::Ready(answer) => FirstPoll::Answered(work.answer(answer, true).unwrap_or(ReplyHead::Lost)),
            Poll::Pending => {
                let call = work.call.clone();
                let (waiters, now) = call.suspend();
                work.returned(now);
                self.env.runtime.spawn(work.run().boxed());
                FirstPoll::Suspended(PendingReplyHead { call: Some(call), waiters })
            }
        })
    }
}

/// A running handler. The exchange is answered and released in any case, even if the handler panics or the runtime
/// drops the task.
struct HandlerTask {
    call: ExchangeHandle,
    handler: Option<HandlerFuture>,
    id: RequestId,
    method: Cow<'static, str>,
    /// If the request is of 2026-07-28, what completes its answer.
    modern: Option<Arc<Modern>>,
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
            self.polled = call.now();
            let polled = self.poll_handler(cx);
            if polled.is_pending() {
                self.returned(call.now());
            }
            polled
        };
        match select(poll_fn(poll), abandoned).await {
            Either::Left((answer, _)) => _ = self.answer(answer, false),
            Either::Right(((), _)) => {
                self.drop_handler();
                let ended = self.call.release();
                self.trace(ended, &trace::Outcome::Abandoned);
            }
        }
    }

    /// Called after each poll of the handler: logs a poll that took too long.
    fn returned(&self, now: Instant) {
        let took = now.saturating_duration_since(self.polled);
        if took > SLOW_POLL {
            self.blocked(took);
        }
    }

    /// Logs a poll that took too long, and tells the observer.
    #[cold]
    fn blocked(&self, took: Duration) {
        trace::slow_poll(self.call.session_id(), &self.id, &self.method, took);
        observer::tell(self.call.env().config.observer.as_ref(), |it| it.slow_poll(&self.method, took));
    }

    /// Drops the handler before its end is visible, so that its resources are free by then.
    fn drop_handler(&mut self) {
        contain::dispose(self.handler.take());
    }

    /// Passes the answer to the machine. Returns the head of the response, if `with_head` and it is decided.
    fn answer(&mut self, answer: Result<Json, RpcError>, with_head: bool) -> Option<ReplyHead> {
        self.drop_handler();
        let completed = match &self.modern {
            Some(modern) => modern.complete(&self.method, answer),
            None => Completed::as_is(answer),
        };
        let Answered { heard, at, head } = self.call.answer(&completed, with_head);
        let outcome = match &completed.answer {
            _ if !heard => trace::Outcome::Unheard,
            Ok(_) => trace::Outcome::Result,
            Err(error) => trace::Outcome::Error(error),
        };
        if self.panicked {
            panicked(&self.call, &self.id, &self.method);
        }
        self.returned(at);
        self.trace(at, &outcome);
        head
    }

    fn trace(&self, ended: Instant, outcome: &trace::Outcome<'_>) {
        let elapsed = || ended.saturating_duration_since(self.started);
        let summary = || &self.call.env().summary;
        trace::exchange_ended(summary, self.call.session_id(), &self.id, &self.method, outcome, elapsed);
    }
}

impl Drop for HandlerTask {
    fn drop(&mut self) {
        if self.handler.is_some() {
            self.answer(Err(dropped()), false);
        }
    }
}

/// Logs a panic of a handler, and tells the observer.
#[cold]
pub(crate) fn panicked(call: &ExchangeHandle, request: &RequestId, method: &str) {
    trace::handler_panicked(call.session_id(), Some(request), method);
    observer::tell(call.env().config.observer.as_ref(), |it| it.panicked(method));
}

/// The answer if the runtime drops the task.
fn dropped() -> RpcError {
    RpcError::internal("the server dropped the request")
}

/// The response head of a request whose handler runs as a task.
pub(crate) struct PendingReplyHead {
    call: Option<ExchangeHandle>,
    waiters: SharedWaiters,
}

impl Future for PendingReplyHead {
    type Output = ReplyHead;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ReplyHead> {
        let Some(call) = &self.call else { return Poll::Ready(ReplyHead::Lost) };
        self.waiters.reader.register(cx.waker());
        match call.poll_head() {
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
            call.disconnect();
        }
    }
}
