//! Requests of the server to its client: on the replies of the exchanges that they belong to, and `ping` and what belongs to
//! none on the standalone stream.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{ExchangeKey, INITIALIZE, SendError, Session, StreamKey};
use crate::{
    ending::Phase,
    event::encode_event,
    exchange::Exchange,
    id::RequestId,
    message::{Json, Outgoing, RpcResponse},
    outbound::{OutboundId, RequestError},
    output::Wake,
    state::{Input, Refusal, Verdict},
    stream::Stream,
    timer::after,
};

impl<T: Clone> Session<T> {
    /// Sends a request to the client on the reply of a running exchange (F-22). `tag` identifies the waiter for the
    /// client's reply.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; nothing was sent then. [`SendError::Full`]: wait for [`Wake::Handler`].
    pub fn request(
        &mut self,
        now: Instant,
        key: ExchangeKey,
        tag: T,
        method: &str,
        params: Option<&Json>,
        timeout: Duration,
    ) -> Result<OutboundId, RequestError> {
        // If the timer is late, sending would advance the phase, too late for this request to fail with the others.
        self.advance(now);
        if let Some(ending) = self.lifecycle.ending().filter(|ending| ending.phase >= Phase::Cancelling) {
            return Err(RequestError::Terminated(ending.reason));
        }
        if key == INITIALIZE || (!self.is_initialized() && method != "ping") {
            return Err(RequestError::NotInitialized);
        }
        if let Some(capability) = self.capabilities.missing(method, params) {
            return Err(RequestError::Undeclared(capability));
        }
        if !self.exchanges.get(key).is_some_and(Exchange::can_send) {
            return Err(SendError::Closed.into());
        }
        let event = encode_event(None, &Outgoing::Request { id: self.outbound.next_id(), method, params });
        self.notify(now, key, &event)?;
        let deadline = after(now, timeout);
        self.timer.arm(deadline);
        Ok(self.outbound.insert(StreamKey::Response(key), tag, deadline))
    }

    /// Sends `ping` to the client on the standalone stream (C-14): [`Session::request_standalone`].
    ///
    /// # Errors
    ///
    /// As [`Session::request_standalone`].
    pub fn ping(&mut self, now: Instant, tag: T, timeout: Duration) -> Result<OutboundId, RequestError> {
        self.request_standalone(now, tag, "ping", None, timeout)
    }

    /// Sends a request that belongs to no request of the client, on the standalone stream: `ping` (C-14), and what a server
    /// behind a gateway asks outside of a call (F-22). `tag` identifies the waiter for the client's reply.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; nothing was sent then. [`SendError::Closed`]: there is no standalone stream (D-24).
    /// [`SendError::Full`]: wait for [`Wake::Handler`] of that stream.
    pub fn request_standalone(
        &mut self,
        now: Instant,
        tag: T,
        method: &str,
        params: Option<&Json>,
        timeout: Duration,
    ) -> Result<OutboundId, RequestError> {
        if let Some(reason) = self.reason() {
            return Err(RequestError::Terminated(reason));
        }
        if !self.is_initialized() && method != "ping" {
            return Err(RequestError::NotInitialized);
        }
        if let Some(capability) = self.capabilities.missing(method, params) {
            return Err(RequestError::Undeclared(capability));
        }
        let standalone = self.streams.standalone().filter(|stream| stream.is_served());
        let connection = standalone.and_then(Stream::connection).ok_or(SendError::Closed)?;
        let event = encode_event(None, &Outgoing::Request { id: self.outbound.next_id(), method, params });
        self.act_on_standalone(now, |stream, config, out| stream.push(now, &event, config, out))
            .map_err(|_| SendError::Full)?;
        let deadline = after(now, timeout);
        self.timer.arm(deadline);
        Ok(self.outbound.insert(StreamKey::Standalone(connection), tag, deadline))
    }

    /// Nobody waits for the client's reply any more: the request is cancelled.
    pub fn abandon_request(&mut self, now: Instant, id: OutboundId) {
        if let Some(on) = self.outbound.remove(id) {
            self.tell_cancelled(now, on, id.0, "the server does not wait for it any more");
        }
    }

    /// A reply of the client. It is dropped if nobody waits for it (B-19).
    ///
    /// # Errors
    ///
    /// [`Refusal`], by state (C.2).
    pub fn handle_response(&mut self, now: Instant, response: RpcResponse) -> Result<(), Refusal> {
        if self.handle_input(now, Input::Response)? == Verdict::Accept {
            // The server's ids are `u64` integers: no other id was ever sent.
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

    /// Takes the client's reply. `None` if it has not arrived yet: wait for [`Wake::Handler`].
    pub fn poll_outbound(&mut self, id: OutboundId) -> Option<Result<Json, RequestError>> {
        self.outbound.poll(id)
    }

    fn resolve_outbound(&mut self, id: u64, reply: Result<Json, RequestError>) {
        if let Some(tag) = self.outbound.resolve(id, reply) {
            self.output.wake(Wake::Handler(tag.clone()));
        }
    }

    /// Fails the requests that `select` picks by stream and deadline, and cancels each on the stream that it was sent on.
    pub(super) fn fail_outbound(
        &mut self,
        now: Instant,
        error: &RequestError,
        select: impl Fn(StreamKey, Instant) -> bool,
    ) {
        if self.outbound.is_empty() {
            return; // every answer comes here, and few handlers ask
        }
        for (id, on) in self.outbound.unanswered(select) {
            self.resolve_outbound(id, Err(error.clone()));
            self.tell_cancelled(now, on, id, &error.to_string());
        }
    }

    pub(super) fn tell_cancelled(&mut self, now: Instant, on: StreamKey, id: u64, reason: &str) {
        let params = Json::from(serde_json::json!({ "requestId": id, "reason": reason }));
        let message = Outgoing::Notification { method: "notifications/cancelled", params: Some(&params) };
        let event = encode_event(None, &message);
        // It may exceed the bounds of the queue: there is at most one for each request that went through the queue.
        match on {
            StreamKey::Response(key) | StreamKey::Resumed(key, _) => {
                if let Some(exchange) = self.exchanges.get_mut(key) {
                    exchange.tell(now, event, &mut self.output);
                    if let Some(stream) = exchange.stream_mut() {
                        self.streams.track(now, stream);
                    }
                }
            }
            StreamKey::Standalone(connection) => {
                self.with_standalone(now, |stream, _, out| {
                    if stream.outlives(connection) {
                        stream.push_unbounded(now, event, out);
                    }
                });
            }
        }
        self.trim(now);
    }
}

pub(super) fn ping_event(id: u64) -> Bytes {
    encode_event(None, &Outgoing::Request { id, method: "ping", params: None })
}
