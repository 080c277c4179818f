//! Requests of the server to its client, on the replies of the exchanges they belong to.

use std::time::{Duration, Instant};

use super::{ExchangeKey, SendError, Session};
use crate::proto::{
    Exchange, Input, Json, OutboundId, Outgoing, Phase, Refusal, RequestError, RequestId, Response, Verdict,
    Wake, encode_event, timer::after,
};

impl<T: Clone> Session<T> {
    /// Sends a request to the client on the reply of a running exchange (F-22).
    ///
    /// # Errors
    ///
    /// [`RequestError`]; nothing was sent then. [`SendError::Full`]: wait for [`Wake::Handler`].
    pub fn request(
        &mut self,
        now: Instant,
        key: ExchangeKey,
        method: &str,
        params: Option<&Json>,
        timeout: Duration,
    ) -> Result<OutboundId, RequestError> {
        self.advance(now); // with a late timer, sending would: too late for this request to fail with the others
        if let Some(ending) = self.ending.filter(|ending| ending.phase >= Phase::Cancelling) {
            return Err(RequestError::Terminated(ending.reason));
        }
        if key == self.initialize || (!self.initialized && method != "ping") {
            return Err(RequestError::NotInitialized);
        }
        if !self.capabilities.allow(method) {
            return Err(RequestError::Undeclared(method.to_owned()));
        }
        if !self.exchanges.get(&key).is_some_and(Exchange::can_send) {
            return Err(SendError::Closed.into());
        }
        let event = encode_event(None, &Outgoing::Request { id: self.outbound.next_id(), method, params });
        self.notify(now, key, &event)?;
        let deadline = after(now, timeout);
        self.timer.arm(deadline);
        Ok(self.outbound.insert(key, deadline))
    }

    /// Nobody waits for the reply any more: the client is told to stop.
    pub fn abandon_request(&mut self, now: Instant, id: OutboundId) {
        if let Some(key) = self.outbound.remove(id) {
            self.tell_cancelled(now, key, id.0, "the server does not wait for it any more");
        }
    }

    /// A reply of the client. One that nobody waits for is dropped (B-19).
    ///
    /// # Errors
    ///
    /// [`Refusal`], by state (C.2).
    pub fn handle_response(&mut self, now: Instant, response: Response) -> Result<(), Refusal> {
        if self.handle_input(now, Input::Response)? == Verdict::Accept {
            // Ours are small integers: any other id was never sent.
            let id = match response.id {
                Some(RequestId::Integer(id)) => u64::try_from(id).ok(),
                Some(RequestId::String(_)) | None => None,
            };
            if let Some(id) = id {
                self.resolve_outbound(id, response.outcome.map_err(RequestError::Client));
            }
        }
        Ok(())
    }

    /// The client's reply; `None` if it is not there yet: wait for [`Wake::Handler`].
    pub fn poll_outbound(&mut self, id: OutboundId) -> Option<Result<Json, RequestError>> {
        self.outbound.poll(id)
    }

    fn resolve_outbound(&mut self, id: u64, reply: Result<Json, RequestError>) {
        if let Some(exchange) = self.outbound.resolve(id, reply).and_then(|key| self.exchanges.get(&key)) {
            self.changes.wake(Wake::Handler(exchange.tag().clone()));
        }
    }

    /// Fails the waits that `select` picks, and tells the client to stop, each on the stream it was asked on.
    pub(super) fn fail_outbound(
        &mut self,
        now: Instant,
        error: &RequestError,
        select: impl Fn(ExchangeKey, Instant) -> bool,
    ) {
        for (id, key) in self.outbound.unanswered(select) {
            self.resolve_outbound(id, Err(error.clone()));
            self.tell_cancelled(now, key, id, &error.to_string());
        }
    }

    fn tell_cancelled(&mut self, now: Instant, key: ExchangeKey, id: u64, reason: &str) {
        let params = Json::from(serde_json::json!({ "requestId": id, "reason": reason }));
        let message = Outgoing::Notification { method: "notifications/cancelled", params: Some(&params) };
        if let Some(exchange) = self.exchanges.get_mut(&key) {
            // Beyond the bounds of the queue: there is at most one for each request that went through it.
            exchange.tell(now, encode_event(None, &message), &mut self.changes);
            if let Some(stream) = exchange.stream_mut() {
                self.replay.book(now, stream);
            }
            self.trim(now);
        }
    }
}
