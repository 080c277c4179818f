//! [`Link::call`]: a client's request at a child, from its first byte to its answer.

use std::{pin::pin, sync::atomic::Ordering::SeqCst};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use mcp_session_core::{CancelReason, Json, ProtocolVersion, RequestContext, RpcError};

use super::{
    asking::{Asked, ask_within},
    core::Core,
    link::{Ask, Caller, Item, Link},
    params,
};

/// Counts a call as long as it lives.
pub(crate) struct Admitted<'a>(&'a Core);

impl Core {
    /// Admits a call.
    ///
    /// # Errors
    ///
    /// If as many run as may.
    pub(crate) fn admit(&self) -> Result<Admitted<'_>, RpcError> {
        let admitted = Admitted(self);
        if self.counts.calls.fetch_add(1, SeqCst) >= self.config.limits.in_flight {
            return Err(self.unavailable("too many calls"));
        }
        self.counts.calls_total.fetch_add(1, SeqCst);
        Ok(admitted)
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.counts.calls.fetch_sub(1, SeqCst);
    }
}

impl Link {
    /// Sends a client's request to the child, and everything that the child says about it to the client, in its order.
    ///
    /// # Errors
    ///
    /// The child's own error, unchanged. -32603 if the child has died or the call took too long; the reason if it was
    /// cancelled.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the child is told to cancel.
    pub(crate) async fn call(&self, cx: &RequestContext) -> Result<Json, RpcError> {
        self.tell_initialized();
        let is_modern = cx.protocol_version() >= ProtocolVersion::V2026_07_28;
        let params = cx.raw_params();
        match (self.modern.get(), is_modern) {
            (Some(modern), false) => self.call_modern(modern, cx).await,
            (Some(_), true) | (None, false) => self.call_with(cx, params.map(Json::as_str)).await,
            (None, true) => {
                let params = params.map(params::without_envelope);
                self.call_with(cx, params.as_deref()).await
            }
        }
    }

    /// Sends a client's request with these params.
    pub(super) async fn call_with(
        &self,
        cx: &RequestContext,
        params: Option<&str>,
    ) -> Result<Json, RpcError> {
        let mut stop = pin!(self.until_stop(cx));
        tokio::select! {
            biased;
            ready = self.input.ready() => if ready.is_err() && self.is_alive() {
                self.until_dead().await; // then it is known how it has ended
            },
            (error, _) = &mut stop => return Err(error),
        }
        let caller = cx.session_id().map_or(Caller::Stateless, Caller::Session);
        let mut running = self.send(caller, cx.method(), params, true)?;
        let mut questions = 0;
        let mut asked = Unanswered { link: self, asked: Vec::new() };
        let mut asking = FuturesUnordered::new();
        let outcome = loop {
            let done = tokio::select! {
                // What the child has said counts first: its last words are the cause of what follows.
                biased;
                item = running.next() => match item {
                    Item::Answer(outcome) => break outcome,
                    Item::Notification { method, params } => {
                        // An error: the client has its answer, or the session is ending.
                        let _ = cx.notify(&method, params.as_ref()).await;
                        None
                    }
                    Item::Ask(ask) => {
                        asked.asked.push(ask.clone());
                        asking.push(ask_within(self, cx, ask, format!("question-{questions}")));
                        questions += 1;
                        // Polled at once, so that what the child says next does not overtake the question.
                        asking.next().now_or_never().flatten()
                    }
                },
                Some(done) = asking.next(), if !asking.is_empty() => Some(done),
                (error, reason) = &mut stop => {
                    running.reason = reason;
                    break Err(error);
                }
            };
            match done {
                Some(Asked::Done(done)) => asked.answered(&done),
                Some(Asked::InputRequired(error)) => {
                    "the client is asked first, and calls again".clone_into(&mut running.reason);
                    break Err(error);
                }
                None => {}
            }
        };
        drop(running);
        outcome
    }

    /// Waits until the call is not to go on. Returns the client's error, and the reason for the child.
    async fn until_stop(&self, cx: &RequestContext) -> (RpcError, String) {
        let timeout = async {
            match self.core.config.limits.call_timeout {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            reason = cx.cancelled() => {
                let text = match &reason {
                    CancelReason::Client(Some(reason)) => reason.clone(),
                    other => other.to_string(),
                };
                (reason.into(), text)
            }
            () = timeout => (self.core.error("the call took too long"), "it took too long".to_owned()),
        }
    }
}

/// The child's questions on the stream of a call. Those that are open when the call ends are asked elsewhere.
struct Unanswered<'a> {
    link: &'a Link,
    asked: Vec<Ask>,
}

impl Unanswered<'_> {
    fn answered(&mut self, done: &Ask) {
        self.asked.retain(|ask| ask.id.get() != done.id.get());
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        for ask in self.asked.drain(..) {
            self.link.inner().ask_again(ask);
        }
    }
}
