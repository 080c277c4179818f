//! [`Call`]: one running exchange, from the handler's first poll to the head of its response.

use std::{
    borrow::Cow,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use event_listener::EventListener;
use futures::{
    FutureExt,
    future::{BoxFuture, Either, poll_fn, select},
};

use crate::{
    EventStream, Json, RequestId, RpcError, SendError,
    hub::Hub,
    proto::{ExchangeKey, Reply, Status, StreamKey},
    session::{Machine, Session, Signal},
    trace,
};

/// One running exchange of a session.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) session: Session,
    pub(crate) key: ExchangeKey,
    pub(crate) signal: Arc<Signal>,
}

/// What the HTTP response is made of.
#[derive(Debug)]
pub(crate) enum Head {
    Json(bytes::Bytes),
    Events(EventStream),
    /// The reply was taken before: cannot happen while there is one reader.
    Lost,
}

impl Call {
    /// Runs the handler: in place if it is ready at its first poll, so that an answer that is there at once costs no
    /// task and no stream; else as a task.
    pub(crate) async fn start(
        &self,
        hub: &Hub,
        id: RequestId,
        method: Cow<'static, str>,
        handler: BoxFuture<'static, Result<Json, RpcError>>,
    ) {
        let mut work = Work {
            call: self.clone(),
            handler: Some(trace::exchange(&self.session.id(), &id, &method, handler)),
            id,
            method,
            started: hub.runtime.now(),
        };
        if poll_fn(|cx| Poll::Ready(work.poll_handler(cx))).await.is_pending() {
            self.session.with(|machine, now| machine.handle_suspended(now, self.key));
            hub.runtime.spawn(work.run().boxed());
        }
    }

    /// Waits until it is decided what the response is made of.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the client counts as gone; the request goes on (D-12).
    pub(crate) async fn head(self) -> Head {
        PendingHead { call: Some(self) }.await
    }

    /// Sends something on the reply, waiting for space in its queue.
    pub(crate) async fn send(
        &self,
        mut attempt: impl FnMut(&mut Machine, Instant) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let waiters = || Some(Arc::clone(&self.signal));
        self.session
            .send_with(|machine, now| match attempt(machine, now) {
                Err(SendError::Full) => Err(waiters()),
                sent => Ok(sent),
            })
            .await
    }

    /// What the handler has to know, or the wait for it to change.
    pub(crate) fn status(&self) -> (Status, EventListener) {
        self.session.with(|machine, _| (machine.poll_status(self.key), self.signal.handler.listen()))
    }
}

/// A handler at work. However it goes, the exchange is answered and released: also if the handler panics, and if
/// the runtime drops the task.
struct Work {
    call: Call,
    handler: Option<BoxFuture<'static, Result<Json, RpcError>>>,
    id: RequestId,
    method: Cow<'static, str>,
    started: Instant,
}

impl Work {
    /// Polls the handler and passes its answer on. A panic is an answer too: -32603, and the session lives on.
    fn poll_handler(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(handler) = &mut self.handler else { return Poll::Ready(()) };
        let answer = match catch_unwind(AssertUnwindSafe(|| handler.poll_unpin(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(result))) if !result.is_object() => {
                Err(RpcError::internal("the handler's result is not an object"))
            }
            Ok(Poll::Ready(answer)) => answer,
            Err(_) => {
                trace::handler_panicked(&self.method);
                Err(RpcError::internal("the handler panicked"))
            }
        };
        self.answer(&answer);
        Poll::Ready(())
    }

    async fn run(mut self) {
        let call = self.call.clone();
        let abandoned = pin!(async move {
            loop {
                let (status, changed) = call.status();
                if status.abandoned {
                    return;
                }
                changed.await;
            }
        });
        match select(poll_fn(|cx| self.poll_handler(cx)), abandoned).await {
            Either::Left(((), _)) => {}
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

    /// Before anybody learns that it is through: what it holds is free by then.
    fn drop_handler(&mut self) {
        let handler = self.handler.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handler)));
    }

    fn answer(&mut self, answer: &Result<Json, RpcError>) {
        self.drop_handler();
        let Call { session, key, .. } = &self.call;
        let (heard, ended) = session.with(|machine, now| (machine.answer(now, *key, answer), now));
        let outcome = match answer {
            _ if !heard => trace::Outcome::Unheard,
            Ok(_) => trace::Outcome::Result,
            Err(error) => trace::Outcome::Error(error),
        };
        self.trace(ended, &outcome);
    }

    fn trace(&self, ended: Instant, outcome: &trace::Outcome<'_>) {
        let elapsed = ended.saturating_duration_since(self.started);
        trace::exchange_ended(&self.call.session.id(), &self.id, &self.method, outcome, elapsed);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.handler.is_some() {
            self.answer(&Err(RpcError::internal("the server dropped the request")));
        }
    }
}

struct PendingHead {
    call: Option<Call>,
}

impl Future for PendingHead {
    type Output = Head;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Head> {
        let Some(call) = &self.call else { return Poll::Ready(Head::Lost) };
        call.signal.reader.register(cx.waker());
        let reply = call.session.with(|machine, now| machine.poll_reply(now, call.key));
        if reply == Some(Reply::Pending) {
            return Poll::Pending;
        }
        let call = self.call.take();
        Poll::Ready(match (reply, call) {
            (Some(Reply::Json(answer)), _) => Head::Json(answer),
            (Some(Reply::Stream), Some(Call { session, key, signal })) => {
                Head::Events(EventStream::new(session, StreamKey::Response(key), signal))
            }
            (Some(Reply::Pending | Reply::Stream) | None, _) => Head::Lost,
        })
    }
}

impl Drop for PendingHead {
    fn drop(&mut self) {
        if let Some(call) = &self.call {
            call.session.with(|machine, now| machine.handle_disconnect(now, StreamKey::Response(call.key)));
        }
    }
}
