//! [`Exchange`]: one client request and its one answer.

mod cancel;
mod ending;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::cancel::CancelReason;
use crate::{
    config::{ResponseMode, SessionConfig},
    event::encode_event,
    id::RequestId,
    message::{HttpRefusal, Insertions, Json, Outgoing, RpcError, Text},
    output::{Outcome, Output, Wake},
    session::SendError,
    stream::{Name, Next, Stream},
};

/// Which rules of the protocol an exchange follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Revisions with sessions: disconnecting does not cancel the request (D-12).
    Legacy,
    /// These revisions, for a request without a session: disconnecting cancels it (E-30).
    Stateless,
    /// Revisions without sessions: disconnecting cancels the request (G-30).
    Modern,
}

/// The HTTP response to the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Not decided yet: wait for [`Wake::Reader`].
    Pending,
    /// The whole answer, as `application/json`.
    Json(Text),
    /// The whole answer, as `application/json`: an error that also sets the HTTP status.
    Refused(Text, Box<HttpRefusal>),
    /// Events: read them with [`Exchange::poll_event`].
    Stream,
}

/// The status of an exchange, for its handler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Why the handler should stop, if it should.
    pub cancelled: Option<CancelReason>,
    /// The handler's time is up: nothing it does reaches the client any more.
    pub abandoned: bool,
}

#[derive(Debug)]
enum Body<T> {
    Undecided,
    Json(Text),
    Stream(Box<Stream<T>>),
    /// Handed over, or the reader is gone.
    Done,
}

/// One client request and its one answer: the unit of draining.
///
/// It has two sides. The *handler* answers, or is told to stop; the *reader* carries the reply to the client, or
/// disconnects. The exchange is over when both sides have finished.
#[derive(Debug)]
pub struct Exchange<T> {
    id: RequestId,
    /// Identifies its waiters. `None` until somebody waits: an answer that is ready at once has no waiters.
    tag: Option<T>,
    era: Era,
    mode: ResponseMode,
    /// The name of its stream, if the client can resume it.
    name: Option<Name>,
    /// Whether its stream is written to a store.
    stored: bool,
    body: Body<T>,
    /// Status and header of the HTTP response, for an error in JSON that sets them.
    refusal: Option<Box<HttpRefusal>>,
    /// How it ended, once no answer is owed. Counted once the reply was delivered or stored.
    outcome: Option<Outcome>,
    settled: bool,
    cancelled: Option<CancelReason>,
    /// When a cancelled handler is abandoned.
    abandon_at: Option<Instant>,
    abandoned: bool,
    /// The handler has finished.
    released: bool,
    /// When the handler became silent, before the form of the reply was decided.
    silent_since: Option<Instant>,
    /// When the client left, while the request is still running.
    left: Option<Instant>,
    progress: Option<f64>,
}

impl<T: Clone> Exchange<T> {
    /// Admits a request: from now on it is owed exactly one answer. `tag` identifies its waiters; it can be set
    /// later with [`Exchange::tag_or`].
    pub fn new(
        id: RequestId,
        tag: impl Into<Option<T>>,
        era: Era,
        mode: ResponseMode,
        out: &mut Output<T>,
    ) -> Self {
        out.tally.admitted += 1;
        out.tally.running += 1;
        out.tally.replies += 1;
        Self {
            id,
            tag: tag.into(),
            era,
            mode,
            name: None,
            stored: false,
            body: Body::Undecided,
            refusal: None,
            outcome: None,
            settled: false,
            cancelled: None,
            abandon_at: None,
            abandoned: false,
            released: false,
            silent_since: None,
            left: None,
            progress: None,
        }
    }

    /// Makes its stream resumable, under this name.
    #[must_use]
    pub fn resumable(self, name: Option<Name>) -> Self {
        Self { name, ..self }
    }

    /// Sets the form of the answer to the only one that the client accepts. Has no effect once the form is
    /// decided (B-45).
    pub fn restrict(&mut self, mode: ResponseMode) {
        self.mode = mode;
    }

    /// Writes its stream to a store, if the stream has a name, so that the client can resume it at any node.
    #[must_use]
    pub(super) fn stored(self, stored: bool) -> Self {
        Self { stored: stored && self.name.is_some(), ..self }
    }

    // What happened.

    /// The handler was not ready at its first poll: silence is counted from now. A client that understands priming
    /// events gets one now: with its id, the client can come back for an answer that it missed.
    pub fn handle_suspended(&mut self, now: Instant, out: &mut Output<T>) {
        self.silent_since = Some(now);
        let at_once = match self.mode {
            ResponseMode::Auto => self.primes(),
            ResponseMode::Sse => true,
            ResponseMode::Json => false,
        };
        if at_once && matches!(self.body, Body::Undecided) {
            self.open_stream(now, out);
        }
    }

    /// The reader of this connection has gone; 0 is the connection of the request. Queued events wait for the client
    /// to come back, if it can.
    pub fn handle_disconnect(
        &mut self,
        now: Instant,
        connection: u64,
        config: &SessionConfig,
        out: &mut Output<T>,
    ) {
        match &mut self.body {
            Body::Stream(stream) => {
                if !stream.disconnect(connection, out) {
                    return; // a newer connection carries the stream
                }
                if !stream.is_away() {
                    self.body = Body::Done;
                }
            }
            Body::Undecided | Body::Json(_) | Body::Done => self.body = Body::Done,
        }
        match self.era {
            Era::Legacy => {}
            Era::Stateless | Era::Modern => self.cancel(now, CancelReason::Disconnected, config, out),
        }
        self.settle(out);
    }

    /// The handler has finished, with or without an answer.
    pub fn handle_released(&mut self) {
        self.released = true;
    }

    /// Acts on the deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Instant, config: &SessionConfig, out: &mut Output<T>) {
        if self.abandon_at.is_some_and(|at| at <= now) {
            self.abandon(out);
        }
        let silent = self.silence_ends(config).is_some_and(|at| at <= now);
        match &mut self.body {
            Body::Stream(stream) => {
                stream.handle_silence(now, config, out);
            }
            Body::Undecided if silent => {
                self.open_stream(now, out).comment();
            }
            Body::Undecided | Body::Json(_) | Body::Done => {}
        }
    }

    // What the handler wants.

    /// Sends a message ahead of the answer. The message is dropped in JSON mode and when the reader has gone for good
    /// (D-12, D-14).
    ///
    /// # Errors
    ///
    /// [`SendError::Full`]: wait for [`Wake::Handler`]. [`SendError::Closed`]: the exchange has been answered.
    pub fn notify(
        &mut self,
        now: Instant,
        event: &Bytes,
        config: &SessionConfig,
        out: &mut Output<T>,
    ) -> Result<(), SendError> {
        if self.outcome.is_some() {
            return Err(SendError::Closed);
        }
        match &mut self.body {
            Body::Done => Ok(()),
            Body::Undecided if self.mode == ResponseMode::Json => Ok(()),
            Body::Undecided => {
                self.open_stream(now, out).push_unbounded(now, kept(event), out);
                Ok(())
            }
            Body::Stream(stream) if stream.is_open() => {
                stream.push_with(now, event, kept, config, out).map_err(|_| SendError::Full)
            }
            Body::Stream(_) | Body::Json(_) => Err(SendError::Closed),
        }
    }

    /// Sends a message without waiting for space, if the reply is a stream.
    pub fn tell(&mut self, now: Instant, event: Bytes, out: &mut Output<T>) {
        if let Body::Stream(stream) = &mut self.body {
            stream.push_unbounded(now, event, out);
        }
    }

    /// Closes the connection while the handler goes on; the client reconnects after `retry`. See
    /// [`Stream::close_connection`].
    pub fn close_connection(&mut self, now: Instant, retry: Duration, out: &mut Output<T>) -> bool {
        if self.outcome.is_some() || self.mode == ResponseMode::Json || !self.primes() {
            return false;
        }
        match &mut self.body {
            Body::Undecided => self.open_stream(now, out).close_connection(retry, out),
            Body::Stream(stream) => stream.close_connection(retry, out),
            Body::Json(_) | Body::Done => false,
        }
    }

    /// Whether a message sent now can reach the client on this exchange.
    pub fn can_send(&self) -> bool {
        self.outcome.is_none()
            && match &self.body {
                Body::Undecided => self.mode != ResponseMode::Json,
                Body::Stream(stream) => stream.is_open(),
                Body::Json(_) | Body::Done => false,
            }
    }

    /// Reports progress with this event. The event is dropped if `progress` does not exceed the last reported value
    /// (F-14), or is not finite: JSON has no such number, and nothing could exceed it (D-45).
    ///
    /// # Errors
    ///
    /// As [`Exchange::notify`]; nothing was reported then.
    pub fn progress(
        &mut self,
        now: Instant,
        progress: f64,
        event: &Bytes,
        config: &SessionConfig,
        out: &mut Output<T>,
    ) -> Result<(), SendError> {
        let grows = progress.is_finite() && self.progress.is_none_or(|last| progress > last);
        if self.is_running() && !grows {
            return Ok(());
        }
        self.notify(now, event, config, out)?;
        self.progress = Some(progress);
        Ok(())
    }

    /// The handler's answer. Only the first answer counts; none counts once the exchange was cancelled or
    /// answered with a synthesized error. Returns whether this one counted.
    pub fn answer(&mut self, now: Instant, answer: &Result<Json, RpcError>, out: &mut Output<T>) -> bool {
        self.answer_with(now, answer, None, out)
    }

    /// As [`Exchange::answer`], with what is inserted into a result.
    pub(super) fn answer_with(
        &mut self,
        now: Instant,
        answer: &Result<Json, RpcError>,
        insertions: Option<&Insertions<'_>>,
        out: &mut Output<T>,
    ) -> bool {
        let counts = self.outcome.is_none();
        if counts {
            self.finish(now, answer, insertions, Outcome::Answered, out);
            self.cancelled.get_or_insert(CancelReason::Answered);
            self.abandon(out); // tells detached parts of the handler that go on by themselves
        }
        counts
    }

    /// Changes the stream of its reply, if the reply is a stream, and looks whether it is delivered then.
    pub(super) fn with_stream<R>(
        &mut self,
        out: &mut Output<T>,
        act: impl FnOnce(&mut Stream<T>, &mut Output<T>) -> R,
    ) -> Option<R> {
        let Body::Stream(stream) = &mut self.body else { return None };
        let result = act(stream, out);
        self.settle(out);
        Some(result)
    }

    /// Undoes [`Exchange::close_connection`] if the connection is still open.
    pub(super) fn stay_connected(&mut self) {
        if let Body::Stream(stream) = &mut self.body {
            stream.stay();
        }
    }

    // What to do next.

    /// Returns the HTTP response. A JSON answer is handed over by this call; `None` after that.
    pub fn poll_reply(&mut self, out: &mut Output<T>) -> Option<Reply> {
        match &mut self.body {
            Body::Undecided => Some(Reply::Pending),
            Body::Stream(_) => Some(Reply::Stream),
            Body::Json(answer) => {
                let answer = std::mem::take(answer);
                self.body = Body::Done;
                self.settle(out);
                Some(match self.refusal.take() {
                    None => Reply::Json(answer),
                    Some(refusal) => Reply::Refused(answer, refusal),
                })
            }
            Body::Done => None,
        }
    }

    /// Takes the next event of the reply's stream on this connection; 0 is the connection of the request.
    pub fn poll_event(&mut self, connection: u64, out: &mut Output<T>) -> Next {
        self.with_stream(out, |stream, out| stream.poll_event(connection, out)).unwrap_or(Next::End)
    }

    /// Takes the next events of the reply's stream on this connection: see [`Stream::poll_events`].
    pub fn poll_events(&mut self, connection: u64, bytes: usize, out: &mut Output<T>) -> Next<[Bytes; 2]> {
        self.with_stream(out, |stream, out| stream.poll_events(connection, bytes, out)).unwrap_or(Next::End)
    }

    /// When to call [`Exchange::handle_timeout`] next.
    pub fn next_timeout(&self, config: &SessionConfig) -> Option<Instant> {
        let silence = match &self.body {
            Body::Stream(stream) => stream.next_timeout(config),
            Body::Undecided => self.silence_ends(config),
            Body::Json(_) | Body::Done => None,
        };
        let abandon = self.abandon_at.filter(|_| self.is_winding_down());
        silence.into_iter().chain(abandon).min()
    }

    // Getters.

    /// The request's id.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// The tag of its waiters. Set to `new()` if there was none.
    pub fn tag_or(&mut self, new: impl FnOnce() -> T) -> T {
        let Self { tag, body, .. } = self;
        let tag = tag.get_or_insert_with(|| {
            let tag = new();
            if let Body::Stream(stream) = body {
                stream.attach(&tag);
            }
            tag
        });
        tag.clone()
    }

    /// Whether an answer is still owed.
    pub fn is_running(&self) -> bool {
        self.outcome.is_none()
    }

    /// Whether its handler has answered it.
    pub(super) fn is_answered(&self) -> bool {
        self.outcome == Some(Outcome::Answered)
    }

    /// Whether its reply was delivered or stored, or nobody is left to read it.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether its handler is in the grace period after a cancellation.
    pub fn is_winding_down(&self) -> bool {
        self.abandon_at.is_some() && !self.abandoned && !self.released
    }

    /// Whether both sides have finished.
    pub fn is_over(&self) -> bool {
        let read = match &self.body {
            Body::Done => true,
            Body::Stream(stream) => stream.is_over() || stream.is_away(),
            Body::Undecided | Body::Json(_) => false,
        };
        self.released && self.settled && read
    }

    /// The stream of its reply, if the reply is a stream.
    pub fn stream(&self) -> Option<&Stream<T>> {
        match &self.body {
            Body::Stream(stream) => Some(stream),
            Body::Undecided | Body::Json(_) | Body::Done => None,
        }
    }

    pub(super) fn stream_mut(&mut self) -> Option<&mut Stream<T>> {
        match &mut self.body {
            Body::Stream(stream) => Some(stream),
            Body::Undecided | Body::Json(_) | Body::Done => None,
        }
    }

    /// Consumes the exchange, which is over, and returns the stream of its reply.
    pub(super) fn into_stream(self) -> Option<Box<Stream<T>>> {
        match self.body {
            Body::Stream(stream) => Some(stream),
            Body::Undecided | Body::Json(_) | Body::Done => None,
        }
    }

    /// The status for its handler.
    pub fn status(&self) -> Status {
        Status { cancelled: self.cancelled.clone(), abandoned: self.abandoned }
    }

    fn open_stream(&mut self, now: Instant, out: &mut Output<T>) -> &mut Stream<T> {
        if !matches!(self.body, Body::Stream(_)) {
            let mut stream = Stream::new(now, self.tag.clone(), self.name, out);
            if self.stored {
                stream.store(self.id.clone());
            }
            self.body = Body::Stream(Box::new(stream));
        }
        match &mut self.body {
            Body::Stream(stream) => stream,
            Body::Undecided | Body::Json(_) | Body::Done => unreachable!("it was made a stream just now"),
        }
    }

    /// Sets the outcome and queues the answer.
    fn finish(
        &mut self,
        now: Instant,
        answer: &Result<Json, RpcError>,
        insertions: Option<&Insertions<'_>>,
        outcome: Outcome,
        out: &mut Output<T>,
    ) {
        let message = match (answer, insertions) {
            (Ok(result), None) => Outgoing::Result { id: &self.id, result },
            (Ok(result), Some(insertions)) => Outgoing::Completed { id: &self.id, result, insertions },
            (Err(error), _) => Outgoing::Error { id: Some(&self.id), error },
        };
        // A refusal needs an HTTP status, so it is never a stream, whatever the mode.
        let refusal = answer.as_ref().err().and_then(|error| error.refusal.clone());
        let as_json = self.mode != ResponseMode::Sse || refusal.is_some();
        match &mut self.body {
            Body::Undecided if as_json => {
                self.body = Body::Json(message.to_text());
                self.refusal = refusal;
                self.tag.iter().for_each(|tag| out.wake(Wake::Reader(tag.clone())));
            }
            Body::Undecided | Body::Stream(_) => {
                let event = encode_event(None, &message);
                let stream = self.open_stream(now, out);
                stream.push_unbounded(now, event, out);
                stream.end(out);
            }
            Body::Json(_) | Body::Done => {}
        }
        self.decide(outcome, out);
        self.settle(out);
    }

    fn decide(&mut self, outcome: Outcome, out: &mut Output<T>) {
        self.outcome = Some(outcome);
        out.tally.running -= 1;
    }

    /// Counts the outcome once the reply was delivered, or is kept for a client that has left (in the store, if there
    /// is one). Without a store, a client that was told to reconnect comes back to this node and is waited for.
    fn settle(&mut self, out: &mut Output<T>) {
        let handed_over = match &self.body {
            Body::Done => true,
            Body::Stream(stream) if stream.is_storing() => {
                stream.is_over() || (stream.is_away() && stream.is_stored())
            }
            Body::Stream(stream) => stream.is_over() || (stream.is_away() && !stream.is_invited()),
            Body::Undecided | Body::Json(_) => false,
        };
        if handed_over {
            self.count(out);
        }
    }

    fn count(&mut self, out: &mut Output<T>) {
        if let (false, Some(outcome)) = (self.settled, self.outcome) {
            self.settled = true;
            out.tally.replies -= 1;
            out.tally.outcome(outcome);
        }
    }

    fn abandon(&mut self, out: &mut Output<T>) {
        if !self.abandoned {
            self.abandoned = true;
            self.wake_handler(out);
        }
    }

    pub(super) fn wake_handler(&self, out: &mut Output<T>) {
        self.tag.iter().for_each(|tag| out.wake(Wake::Handler(tag.clone())));
    }

    fn primes(&self) -> bool {
        self.name.is_some_and(|name| name.primed)
    }

    fn silence_ends(&self, config: &SessionConfig) -> Option<Instant> {
        let since = self.silent_since?;
        config.heartbeat_due(since).filter(|_| self.mode == ResponseMode::Auto)
    }
}

/// The copy of an event that a stream keeps. A short event gets one allocation of its own. A clone would need a
/// second allocation, for as long as the event is kept, to count its owners.
fn kept(event: &Bytes) -> Bytes {
    /// Up to here a copy costs no more than an allocation.
    const SHORT: usize = 1024;
    if event.len() <= SHORT { Bytes::copy_from_slice(event) } else { event.clone() }
}

#[cfg(test)]
mod tests;
