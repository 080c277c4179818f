//! [`Exchange`]: one client request and its one answer.

use std::{
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::timer::after;
use crate::proto::{
    config::{ResponseMode, SessionConfig},
    ending::TerminateReason,
    event::encode_event,
    id::RequestId,
    message::{ErrorCode, HttpRefusal, Json, Outgoing, RpcError},
    output::{Outcome, Output, Wake},
    session::SendError,
    stream::{Append, Name, Next, Stored, Stream},
};

/// Which rules of the protocol an exchange follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Revisions with sessions: a client that disconnects does not cancel (D-12).
    Legacy,
    /// Revisions without: disconnecting is cancelling (G-30).
    Modern,
}

/// Why a handler should stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelReason {
    /// The client cancelled the request, with the reason it gave (F-02). Nobody waits for the answer.
    Client(Option<String>),
    /// The client went away, in a revision where that cancels (G-30).
    Disconnected,
    /// The session or the endpoint is ending. There is a little time left to answer.
    Terminated(TerminateReason),
    /// The request has its answer: what still works on it works for nobody.
    Answered,
    /// Nobody can fetch the answer any more: the client's connection is gone, and it has not come back for as long as it
    /// could (E-14): see [`SessionConfig::idle_timeout`].
    Orphaned,
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(Some(reason)) => write!(f, "cancelled by the client: {reason}"),
            Self::Client(None) => f.write_str("cancelled by the client"),
            Self::Disconnected => f.write_str("the client went away"),
            Self::Terminated(reason) => write!(f, "the session is ending: {reason}"),
            Self::Answered => f.write_str("the request has its answer"),
            Self::Orphaned => f.write_str("the client went away and did not come back for the answer"),
        }
    }
}

/// What a handler that was told to stop may answer with.
impl From<CancelReason> for RpcError {
    fn from(reason: CancelReason) -> Self {
        match reason {
            CancelReason::Client(_) | CancelReason::Disconnected | CancelReason::Answered => {
                request_cancelled()
            }
            CancelReason::Terminated(reason) => reason.into(),
            CancelReason::Orphaned => orphaned(),
        }
    }
}

/// What the HTTP response to the request is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Not decided: wait for [`Wake::Reader`].
    Pending,
    /// The whole answer, as `application/json`.
    Json(Bytes),
    /// The whole answer, as `application/json`: an error that decides over the status as well.
    Refused(Bytes, Box<HttpRefusal>),
    /// Events: read them with [`Exchange::poll_event`].
    Stream,
}

/// What a handler has to know about its exchange.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// It should stop.
    pub cancelled: Option<CancelReason>,
    /// Its time is up: whatever it still does reaches nobody.
    pub abandoned: bool,
}

#[derive(Debug)]
enum Body<T> {
    Undecided,
    Json(Bytes),
    Stream(Box<Stream<T>>),
    /// Taken, or nobody is there to take it.
    Done,
}

/// One client request and its one answer: the unit that is drained.
///
/// It has two sides. The *handler* works and answers, or is told to stop; the *reader* carries the reply to the
/// client, or goes away. The exchange is over when both sides are through with it.
#[derive(Debug)]
pub struct Exchange<T> {
    id: RequestId,
    /// What finds its waiters. Nobody waits for an answer that is there at once.
    tag: Option<T>,
    era: Era,
    mode: ResponseMode,
    /// Its stream's name, if the client can come back to it.
    name: Option<Name>,
    /// Whether a store is to have its stream.
    stored: bool,
    body: Body<T>,
    /// What the HTTP response says beside an error in JSON.
    refusal: Option<Box<HttpRefusal>>,
    /// How it ended, once nothing more is owed. Counted when the reply is out of the house.
    outcome: Option<Outcome>,
    settled: bool,
    cancelled: Option<CancelReason>,
    /// When a cancelled handler is given up.
    abandon_at: Option<Instant>,
    abandoned: bool,
    /// The handler is through.
    released: bool,
    /// Since when the handler is silent, before the reply was decided.
    silent_since: Option<Instant>,
    /// Since when its client is gone, while it runs.
    left: Option<Instant>,
    /// The client has its stream at another node.
    elsewhere: bool,
    progress: Option<f64>,
}

impl<T: Clone> Exchange<T> {
    /// Admits a request: from here on it is owed exactly one answer. Whoever waits for it is found by `tag`, or by
    /// [`Exchange::tag_or`].
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
            elsewhere: false,
            progress: None,
        }
    }

    /// The same, with a stream that the client can come back to.
    #[must_use]
    pub fn resumable(self, name: Option<Name>) -> Self {
        Self { name, ..self }
    }

    /// From now on it is answered in this form, whatever it was before: the only one that its client accepts (B-45).
    /// Without effect once the form is decided.
    pub fn restrict(&mut self, mode: ResponseMode) {
        self.mode = mode;
    }

    /// The same, with a stream that the client can come back to at any node: if it has a name, a store is to have it.
    #[must_use]
    pub(super) fn stored(self, stored: bool) -> Self {
        Self { stored: stored && self.name.is_some(), ..self }
    }

    // What happened.

    /// The handler is not ready at once: silence counts from now. A client that understands a priming event gets it now:
    /// with an id in its hands it can come back to an answer that it misses.
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

    /// The reader of this connection has gone; 0 is that of the request. What is queued waits for the client to come back, if it can.
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
                    return; // a newer connection carries it
                }
                if !stream.is_away() {
                    self.body = Body::Done;
                }
            }
            Body::Undecided | Body::Json(_) | Body::Done => self.body = Body::Done,
        }
        match self.era {
            Era::Legacy => {}
            Era::Modern => self.cancel(now, CancelReason::Disconnected, config, out),
        }
        self.settle(out);
    }

    /// The client comes back for what follows this position of the reply's stream: see [`Stream::resume`].
    pub fn handle_resume(
        &mut self,
        now: Instant,
        position: u64,
        connection: u64,
        reader: T,
        out: &mut Output<T>,
    ) -> bool {
        match &mut self.body {
            Body::Stream(stream) => {
                let known = stream.resume(now, position, connection, reader, out);
                self.elsewhere &= !known;
                known
            }
            Body::Undecided | Body::Json(_) | Body::Done => false,
        }
    }

    /// Its handler is through, with or without an answer.
    pub fn handle_released(&mut self) {
        self.released = true;
    }

    /// Looks at its deadlines.
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

    /// Sends a message ahead of the answer. In JSON mode, and when the reader has gone for good, it is dropped (D-12,
    /// D-14).
    ///
    /// # Errors
    ///
    /// [`SendError::Full`]: wait for [`Wake::Handler`]. [`SendError::Closed`]: the exchange has its answer.
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

    /// Sends a message that must not wait, where there is a stream for it.
    pub fn tell(&mut self, now: Instant, event: Bytes, out: &mut Output<T>) {
        if let Body::Stream(stream) = &mut self.body {
            stream.push_unbounded(now, event, out);
        }
    }

    /// Sends the client away, to come back after `retry`, while the handler goes on: see [`Stream::close_connection`].
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

    /// Reports progress, with this event, if it exceeds what was reported before; else it is dropped (F-14), and so is what
    /// is not finite: JSON has no such number, and nothing could exceed it (D-45).
    ///
    /// # Errors
    ///
    /// As [`Exchange::notify`]; then nothing was reported.
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

    /// The handler's answer. Only the first answer counts; a cancelled or terminated exchange takes none.
    /// Returns whether it did.
    pub fn answer(&mut self, now: Instant, answer: &Result<Json, RpcError>, out: &mut Output<T>) -> bool {
        let counts = self.outcome.is_none();
        if counts {
            self.finish(now, answer, Outcome::Answered, out);
            self.cancelled.get_or_insert(CancelReason::Answered);
            self.abandon(out); // a part of the handler that goes on by itself should know
        }
        counts
    }

    // What ends it otherwise.

    /// The client cancelled: no answer is owed any more. The handler is told, and has
    /// [`cancel_grace`](SessionConfig::cancel_grace) to stop.
    pub fn cancel(
        &mut self,
        now: Instant,
        reason: CancelReason,
        config: &SessionConfig,
        out: &mut Output<T>,
    ) {
        if self.outcome.is_some() {
            return;
        }
        self.cancelled = Some(reason);
        self.abandon_at = Some(after(now, config.cancel_grace));
        self.wake_handler(out);
        if matches!(self.body, Body::Undecided) {
            // A POST cannot end without a response (F-08).
            self.finish(now, &Err(request_cancelled()), Outcome::Cancelled, out);
        } else {
            self.decide(Outcome::Cancelled, out);
            if let Body::Stream(stream) = &mut self.body {
                stream.end(out);
            }
            self.settle(out);
        }
    }

    /// Its client, which is away, has ended the session: no answer is owed any more, and none is waited for.
    pub(super) fn forsake(&mut self, now: Instant, config: &SessionConfig, out: &mut Output<T>) {
        if let Body::Stream(stream) = &mut self.body {
            stream.forsake();
        }
        if self.outcome.is_none() {
            self.cancel(now, CancelReason::Terminated(TerminateReason::ClientDelete), config, out);
        } else if !self.settled {
            self.outcome = Some(Outcome::Cancelled);
            self.settle(out);
        }
    }

    /// Nobody can fetch the answer any more: as if it were cancelled, with an error for a client that comes back too late
    /// and still finds the stream.
    pub(super) fn orphan(&mut self, now: Instant, config: &SessionConfig, out: &mut Output<T>) {
        if self.outcome.is_some() {
            return;
        }
        self.cancelled = Some(CancelReason::Orphaned);
        self.abandon_at = Some(after(now, config.cancel_grace));
        self.wake_handler(out);
        if let Body::Stream(stream) = &mut self.body {
            stream.expect_nobody();
        }
        out.tally.orphaned += 1;
        self.finish(now, &Err(orphaned()), Outcome::Cancelled, out);
    }

    /// Since when its client is gone counts from here.
    pub(super) fn note_presence(&mut self, now: Instant) {
        let gone = match &self.body {
            Body::Done => true,
            Body::Stream(stream) => stream.is_away() && !self.elsewhere,
            Body::Undecided | Body::Json(_) => false,
        };
        match (gone, self.left) {
            (true, None) => self.left = Some(now),
            (false, Some(_)) => self.left = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// When nobody can fetch the answer any more, if its client is gone.
    pub(super) fn orphan_at(&self, config: &SessionConfig) -> Option<Instant> {
        let left = self.left.filter(|_| self.outcome.is_none())?;
        let can_come_back = self.stream().is_some_and(|stream| !stream.is_lost());
        let age = config.replay.filter(|_| can_come_back).map_or(Duration::ZERO, |replay| replay.age);
        Some(after(left, config.idle_timeout.max(age)))
    }

    /// The session is ending: tells the handler, which may still answer.
    pub fn interrupt(&mut self, reason: TerminateReason, out: &mut Output<T>) {
        if self.outcome.is_none() && self.cancelled.is_none() {
            self.cancelled = Some(CancelReason::Terminated(reason));
            self.wake_handler(out);
        }
    }

    /// Takes [`Exchange::close_connection`] back, where it is not too late.
    pub(super) fn stay_connected(&mut self) {
        if let Body::Stream(stream) = &mut self.body {
            stream.stay();
        }
    }

    /// An append to the log of its stream has been answered.
    pub(super) fn handle_stored(&mut self, append: &Append, stored: Stored, out: &mut Output<T>) {
        if let Body::Stream(stream) = &mut self.body {
            stream.handle_stored(append, stored, out);
            self.settle(out);
        }
    }

    /// Its client reads its stream at another node.
    pub(super) fn hand_over(&mut self, out: &mut Output<T>) {
        if let Body::Stream(stream) = &mut self.body {
            stream.hand_over(out);
            self.elsewhere = true;
            self.settle(out);
        }
    }

    /// Forgets the oldest event that is kept of its stream: see [`Stream::forget_first`].
    pub(super) fn forget_first(&mut self, out: &mut Output<T>) {
        if let Body::Stream(stream) = &mut self.body {
            stream.forget_first(out);
            self.settle(out);
        }
    }

    /// The handler has had its time: answers for it (S5) and gives it up.
    pub fn synthesize(&mut self, now: Instant, reason: TerminateReason, out: &mut Output<T>) {
        if self.outcome.is_none() {
            let code = match self.era {
                Era::Legacy => ErrorCode::CONNECTION_CLOSED,
                Era::Modern => ErrorCode::INTERNAL_ERROR,
            };
            self.interrupt(reason, out);
            self.finish(now, &Err(reason.to_error(code)), Outcome::Synthesized, out);
        }
        self.abandon(out);
    }

    /// Ends it by force: what has not been taken by now is lost.
    pub fn close(&mut self, now: Instant, reason: TerminateReason, out: &mut Output<T>) {
        self.synthesize(now, reason, out);
        if let Body::Stream(stream) = &mut self.body {
            stream.cut(out);
        }
        if !self.settled && self.outcome != Some(Outcome::Cancelled) {
            self.outcome = Some(Outcome::Forced);
        }
        self.count(out);
    }

    // What to do next.

    /// What the HTTP response is made of. A JSON answer is handed over by this call; after it there is `None`.
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

    /// Takes the next event of the reply's stream, on this connection; 0 is that of the request.
    pub fn poll_event(&mut self, connection: u64, out: &mut Output<T>) -> Next {
        let Body::Stream(stream) = &mut self.body else { return Next::End };
        let next = stream.poll_event(connection, out);
        self.settle(out);
        next
    }

    /// When [`Exchange::handle_timeout`] wants to be called.
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

    /// What finds its waiters: from now on `new`, if there were none yet.
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

    /// Whether it is owed an answer.
    pub fn is_running(&self) -> bool {
        self.outcome.is_none()
    }

    /// Whether its handler has answered it.
    pub(super) fn is_answered(&self) -> bool {
        self.outcome == Some(Outcome::Answered)
    }

    /// Whether its reply has been handed over, or nobody is left to take it.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether its handler was told to stop by the client, and has some of its grace left.
    pub fn is_winding_down(&self) -> bool {
        self.abandon_at.is_some() && !self.abandoned && !self.released
    }

    /// Whether both sides are through with it.
    pub fn is_over(&self) -> bool {
        let read = match &self.body {
            Body::Done => true,
            Body::Stream(stream) => stream.is_over() || stream.is_away(),
            Body::Undecided | Body::Json(_) => false,
        };
        self.released && self.settled && read
    }

    /// The stream of its reply, if that is one.
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

    /// The stream of its reply, when it is over.
    pub(super) fn into_stream(self) -> Option<Box<Stream<T>>> {
        match self.body {
            Body::Stream(stream) => Some(stream),
            Body::Undecided | Body::Json(_) | Body::Done => None,
        }
    }

    /// What its handler has to know.
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

    /// Decides the outcome and puts the answer on its way.
    fn finish(
        &mut self,
        now: Instant,
        answer: &Result<Json, RpcError>,
        outcome: Outcome,
        out: &mut Output<T>,
    ) {
        let message = match answer {
            Ok(result) => Outgoing::Result { id: &self.id, result },
            Err(error) => Outgoing::Error { id: Some(&self.id), error },
        };
        // One that refuses needs a status: then it is no stream, whatever the mode.
        let refusal = answer.as_ref().err().and_then(|error| error.refusal.clone());
        let as_json = self.mode != ResponseMode::Sse || refusal.is_some();
        match &mut self.body {
            Body::Undecided if as_json => {
                self.body = Body::Json(message.to_json());
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

    /// Counts the outcome once the reply is out of the house, or kept for a client that has left: in the store, if there
    /// is one. A client that was sent away without a store is coming back here, and is waited for.
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

/// An event of one stream, to be kept: a short one in an allocation of its own, and only one. A clone would need a second
/// one, for as long as it is kept, to count its owners.
fn kept(event: &Bytes) -> Bytes {
    /// Up to here a copy costs no more than an allocation.
    const SHORT: usize = 1024;
    if event.len() <= SHORT { Bytes::copy_from_slice(event) } else { event.clone() }
}

fn request_cancelled() -> RpcError {
    RpcError::new(ErrorCode::REQUEST_CANCELLED, "the client cancelled the request")
}

fn orphaned() -> RpcError {
    RpcError::new(ErrorCode::REQUEST_CANCELLED, "the client went away and did not come back for the answer")
}

#[cfg(test)]
mod tests;
