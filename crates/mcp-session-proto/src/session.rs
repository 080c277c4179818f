//! [`Session`]: a container of exchanges and streams with a lifecycle.

mod batch;
mod cluster;
mod connections;
mod contest;
mod ending;
mod exchanges;
mod expiry;
mod lifecycle;
mod liveness;
mod outbound;
mod streams;

use std::{mem, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{outbound::Outbound, timer::after};
use crate::{
    capabilities::ClientCapabilities,
    config::{ResponseMode, SessionConfig},
    ending::{Phase, TerminateReason},
    exchange::{CancelReason, Era, Exchange, Reply, Status},
    id::RequestId,
    message::{Json, RpcError},
    outbound::RequestError,
    output::{Event, Output, Tally},
    state::{Input, Refusal, State, Verdict},
    stream::Name,
    timer::Timer,
    version::ProtocolVersion,
};
use cluster::Cluster;
pub use cluster::{Effect, Publication};
use exchanges::Exchanges;
use lifecycle::{Handshake, Lifecycle};
use liveness::Liveness;
use streams::Streams;

/// Identifies an exchange within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeKey(u64);

/// The exchange of `initialize`. A session that was opened at another node has none.
const INITIALIZE: ExchangeKey = ExchangeKey(0);

/// Identifies a stream within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKey {
    /// The reply to a POST, on the connection of that POST.
    Response(ExchangeKey),
    /// The reply to a POST, on the connection of a GET that resumes it.
    Resumed(ExchangeKey, u64),
    /// The standalone stream, on the connection of a GET: each connection has its own key.
    Standalone(u64),
}

/// Why a message could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The stream's queue is full. A sender that can wait, waits for space.
    #[error("the stream's queue is full")]
    Full,
    /// There is no stream, or it has ended.
    #[error("there is no open stream to the client")]
    Closed,
    /// The params are not a JSON object, or cannot be serialized as JSON.
    #[error("the params are not a JSON object")]
    Invalid,
}

/// The error that a handler answers with if it cannot go on without sending its message.
impl From<SendError> for RpcError {
    fn from(error: SendError) -> Self {
        Self::internal(error.to_string())
    }
}

/// One session, from `initialize` to its last byte.
///
/// Methods come in four kinds: *getters*; `handle_*` (something happened); *verbs* (the application wants
/// something); `poll_*` (what to do next). `now` is their first argument. After every call, act on
/// [`Session::take_output`].
#[derive(Debug)]
pub struct Session<T> {
    config: Arc<SessionConfig>,
    lifecycle: Lifecycle,
    version: ProtocolVersion,
    capabilities: ClientCapabilities,
    created: Instant,
    /// When the client was last active: the idle timeout counts from here.
    active: Instant,
    next_key: u64,
    exchanges: Exchanges<T>,
    /// The number of exchanges that are owed an answer.
    running: u32,
    streams: Streams<T>,
    outbound: Outbound<T>,
    // A session is mostly idle, so fields that are mostly unused are boxed.
    /// Whether the client of the standalone stream responds, while that stream is connected.
    liveness: Option<Box<Liveness>>,
    /// The state shared with other nodes through a store, if there is one.
    cluster: Option<Box<Cluster>>,
    timer: Timer,
    output: Output<T>,
}

impl<T: Clone> Session<T> {
    /// A session whose `initialize` has just been admitted, and the key of that exchange.
    pub fn new(
        now: Instant,
        config: Arc<SessionConfig>,
        initialize: RequestId,
        tag: impl Into<Option<T>>,
        version: ProtocolVersion,
        capabilities: ClientCapabilities,
    ) -> (Self, ExchangeKey) {
        let key = INITIALIZE;
        let mut session = Self::blank(now, config, version, capabilities);
        session.timer.arm(after(now, session.config.initialize_timeout));
        if let Some(max_age) = session.config.max_age {
            session.timer.arm(after(now, max_age));
        }
        let mode = session.config.response_mode;
        let name = session.name(key.0);
        session.admit(initialize, tag.into(), mode, name);
        (session, key)
    }

    fn blank(
        now: Instant,
        config: Arc<SessionConfig>,
        version: ProtocolVersion,
        capabilities: ClientCapabilities,
    ) -> Self {
        Self {
            lifecycle: Lifecycle::Live(Handshake::Initializing),
            version,
            capabilities,
            created: now,
            active: now,
            next_key: 0,
            exchanges: Exchanges::default(),
            running: 0,
            streams: Streams::default(),
            outbound: Outbound::default(),
            liveness: None,
            cluster: None,
            timer: Timer::default(),
            output: Output::default(),
            config,
        }
    }

    // Getters.

    /// The state of the session, as its client sees it.
    pub fn state(&self) -> State {
        self.lifecycle.state()
    }

    /// The phase of its ending.
    pub fn phase(&self) -> Phase {
        self.lifecycle.phase()
    }

    /// When running requests are answered with an error at the latest, if it is ending.
    pub fn answer_by(&self) -> Option<Instant> {
        self.lifecycle.ending().map(|ending| ending.finish_at)
    }

    /// The reason why it is ending, if it is.
    pub fn reason(&self) -> Option<TerminateReason> {
        self.lifecycle.reason()
    }

    /// What the session does with `input` now (C.2).
    fn on(&self, input: Input) -> Verdict {
        self.state().on(self.phase(), input)
    }

    /// The negotiated protocol version.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The capabilities that the client declared.
    pub fn capabilities(&self) -> ClientCapabilities {
        self.capabilities
    }

    /// When the session was created.
    pub fn created(&self) -> Instant {
        self.created
    }

    /// Whether `initialize` was answered with a result. Only then is the client told the session's id (C-20).
    pub fn is_established(&self) -> bool {
        self.lifecycle.handshake() >= Handshake::Answered
    }

    /// Whether the client has the id and has not used it yet. Ending such a session costs the client one round trip
    /// (C-10, E-15).
    pub fn is_half_open(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Live(Handshake::Answered))
    }

    /// The number of replies that are not settled yet, those of running requests included.
    pub fn unsettled(&self) -> usize {
        self.exchanges.values().filter(|exchange| !exchange.is_settled()).count()
    }

    /// The number of requests that are owed an answer.
    pub fn running(&self) -> usize {
        self.running as usize
    }

    // What happened.

    /// A request other than `initialize` and `ping`. Once admitted, it is owed exactly one answer. `tag` identifies its
    /// waiters; it can be set later with [`Session::tag_or`], and a request that is answered at once needs none.
    ///
    /// # Errors
    ///
    /// [`Refusal`], by state (C.2), for an id in flight, and beyond the limit of requests.
    pub fn handle_request(
        &mut self,
        now: Instant,
        id: RequestId,
        tag: impl Into<Option<T>>,
    ) -> Result<ExchangeKey, Refusal> {
        match self.on(Input::Request) {
            Verdict::Refuse(refusal) => Err(refusal),
            _ => self.take_request(now, id, tag.into()),
        }
    }

    /// A request for a list. As [`Session::handle_request`], but also admitted by a draining session: while other
    /// requests run, and for [`linger`](SessionConfig::linger) after one of their answers was delivered.
    ///
    /// # Errors
    ///
    /// [`Refusal`], as [`Session::handle_request`].
    pub fn handle_list(
        &mut self,
        now: Instant,
        id: RequestId,
        tag: impl Into<Option<T>>,
    ) -> Result<ExchangeKey, Refusal> {
        match self.on(Input::List) {
            Verdict::Refuse(refusal) => Err(refusal),
            _ => self.take_request(now, id, tag.into()),
        }
    }

    /// The client accepts only this form of answer to this exchange, which was just admitted (B-45).
    pub fn restrict(&mut self, key: ExchangeKey, mode: ResponseMode) {
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.restrict(mode);
        }
    }

    /// Any other input. Returns what to do with it, and has an effect itself only if the verdict is
    /// [`Verdict::Operate`]. Use [`Session::handle_get`] for a GET and [`Session::handle_delete`] for a DELETE.
    ///
    /// # Errors
    ///
    /// [`Refusal`], by state (C.2).
    pub fn handle_input(&mut self, now: Instant, input: Input) -> Result<Verdict, Refusal> {
        match self.on(input) {
            Verdict::Refuse(refusal) => Err(refusal),
            verdict => {
                self.touch(now);
                if verdict == Verdict::Operate {
                    self.lifecycle.reach(Handshake::Initialized);
                    self.timer.arm(after(now, self.config.idle_timeout));
                    self.wake_listener();
                }
                Ok(verdict)
            }
        }
    }

    /// `notifications/cancelled` for a request of the client. Has no effect on unknown and finished requests, nor on
    /// `initialize` (F-03, F-04, C-22).
    ///
    /// # Errors
    ///
    /// [`Refusal`], by state (C.2).
    pub fn handle_cancelled(
        &mut self,
        now: Instant,
        id: Option<&RequestId>,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        if self.handle_input(now, Input::Cancelled)? == Verdict::Accept {
            self.cancel(now, id, reason);
        }
        Ok(())
    }

    /// `notifications/cancelled` that another node has accepted. As [`handle_cancelled`](Self::handle_cancelled), also if the
    /// session is ending here meanwhile: its calls may still run for a while.
    pub fn handle_forwarded_cancelled(
        &mut self,
        now: Instant,
        id: Option<&RequestId>,
        reason: Option<String>,
    ) {
        let _ = self.handle_input(now, Input::Cancelled);
        self.cancel(now, id, reason);
    }

    fn cancel(&mut self, now: Instant, id: Option<&RequestId>, reason: Option<String>) {
        let running = id.and_then(|id| self.exchanges.running(id));
        if let Some(key) = running.filter(|key| *key != INITIALIZE) {
            self.fail_outbound(now, &RequestError::Cancelled, |on, _| on == StreamKey::Response(key));
            self.with_exchange(now, key, |exchange, config, out| {
                exchange.cancel(now, CancelReason::Client(reason), config, out);
            });
        }
    }

    /// DELETE: terminates the session. Only the first of several succeeds (E-24).
    ///
    /// # Errors
    ///
    /// [`Refusal::Gone`] if the session is already terminated (B-38).
    pub fn handle_delete(&mut self, now: Instant) -> Result<(), Refusal> {
        match self.on(Input::Delete) {
            Verdict::Refuse(refusal) => Err(refusal),
            _ => {
                self.terminate(now, TerminateReason::ClientDelete);
                Ok(())
            }
        }
    }

    /// The handler of this exchange was not ready at its first poll.
    pub fn handle_suspended(&mut self, now: Instant, key: ExchangeKey) {
        // The head of a successful `initialize` response carries the session id, so it waits for the result (C-20).
        if key != INITIALIZE {
            self.with_exchange(now, key, |exchange, _, out| exchange.handle_suspended(now, out));
        }
    }

    /// The handler of this exchange has finished.
    pub fn handle_released(&mut self, now: Instant, key: ExchangeKey) {
        self.with_exchange(now, key, |exchange, _, _| exchange.handle_released());
    }

    // What the application wants.

    /// The handler's answer to a request. After a result for `initialize` the session awaits
    /// `notifications/initialized`; an error terminates it (C-20). Returns whether the answer counts: `false` if the
    /// request was answered or cancelled before.
    pub fn answer(&mut self, now: Instant, key: ExchangeKey, answer: &Result<Json, RpcError>) -> bool {
        // A terminated session must not be offered to the client.
        let dead = key == INITIALIZE && self.state() == State::Terminated;
        let dead = self.reason().filter(|_| dead);
        let refused = dead.map(|reason| Err(reason.into()));
        let answer = refused.as_ref().unwrap_or(answer);
        self.fail_outbound(now, &RequestError::Cancelled, |on, _| on == StreamKey::Response(key));
        let counted = self.with_exchange(now, key, |exchange, _, out| {
            exchange.handle_released();
            exchange.answer(now, answer, out)
        });
        if key == INITIALIZE && counted == Some(true) {
            if answer.is_ok() {
                self.output.events.insert(Event::Established);
                self.lifecycle.reach(Handshake::Answered);
            } else {
                self.terminate(now, TerminateReason::Error);
            }
        }
        counted == Some(true)
    }

    /// Sends an event on the reply of a running exchange. It is dropped for `initialize`, whose response head waits for
    /// the result (C-20).
    ///
    /// # Errors
    ///
    /// [`SendError::Full`]: wait for [`Wake::Handler`](super::Wake::Handler). [`SendError::Closed`]: the exchange has
    /// been answered.
    pub fn notify(&mut self, now: Instant, key: ExchangeKey, event: &Bytes) -> Result<(), SendError> {
        let headless = key == INITIALIZE;
        self.with_exchange(now, key, |exchange, config, out| {
            if headless && exchange.is_running() { Ok(()) } else { exchange.notify(now, event, config, out) }
        })
        .unwrap_or(Err(SendError::Closed))
    }

    /// Reports progress with this event. The event is dropped if `progress` does not exceed the last reported value
    /// (F-14), or is not finite (D-45).
    ///
    /// # Errors
    ///
    /// As [`Session::notify`]; nothing was reported then.
    pub fn progress(
        &mut self,
        now: Instant,
        key: ExchangeKey,
        progress: f64,
        event: &Bytes,
    ) -> Result<(), SendError> {
        self.with_exchange(now, key, |exchange, config, out| {
            exchange.progress(now, progress, event, config, out)
        })
        .unwrap_or(Err(SendError::Closed))
    }

    // What to do next.

    /// Returns the HTTP response of this exchange; `None` if its reply was already taken.
    pub fn poll_reply(&mut self, now: Instant, key: ExchangeKey) -> Option<Reply> {
        self.with_exchange(now, key, |exchange, _, out| exchange.poll_reply(out))?
    }

    /// The status of this exchange, for its handler. An exchange that is over counts as abandoned.
    pub fn poll_status(&self, key: ExchangeKey) -> Status {
        match self.exchanges.get(key) {
            Some(exchange) => exchange.status(),
            None => Status { cancelled: None, abandoned: true },
        }
    }

    /// The tag of those who wait for this exchange. Set to `new()` if there was none. `None` if the exchange is over.
    pub fn tag_or(&mut self, key: ExchangeKey, new: impl FnOnce() -> T) -> Option<T> {
        Some(self.exchanges.get_mut(key)?.tag_or(new))
    }

    /// Takes the counts of the calls so far, and leaves the wakes and events.
    pub fn take_tally(&mut self) -> Tally {
        mem::take(&mut self.output.tally)
    }

    /// Takes the wakes, counts and events of the calls so far.
    pub fn take_output(&mut self) -> Output<T> {
        mem::take(&mut self.output)
    }

    fn take_request(&mut self, now: Instant, id: RequestId, tag: Option<T>) -> Result<ExchangeKey, Refusal> {
        if self.runs(&id) {
            Err(Refusal::DuplicateId)
        } else if self.exchanges.len() >= self.config.max_exchanges {
            Err(Refusal::TooManyRequests)
        } else {
            self.touch(now);
            let mode = self.config.response_mode;
            let name = self.name(self.next_key);
            Ok(self.admit(id, tag, mode, name))
        }
    }

    fn admit(
        &mut self,
        id: RequestId,
        tag: Option<T>,
        mode: ResponseMode,
        name: Option<Name>,
    ) -> ExchangeKey {
        let key = ExchangeKey(self.next_key);
        self.next_key += 1;
        let exchange = Exchange::new(id, tag, Era::Legacy, mode, &mut self.output)
            .resumable(name)
            .stored(self.cluster.is_some());
        self.exchanges.push(key, exchange);
        self.running += 1;
        key
    }

    /// The only way to change an exchange: updates timers, counts and replay after `act`.
    fn with_exchange<R>(
        &mut self,
        now: Instant,
        key: ExchangeKey,
        act: impl FnOnce(&mut Exchange<T>, &SessionConfig, &mut Output<T>) -> R,
    ) -> Option<R> {
        let exchange = self.exchanges.get_mut(key)?;
        let (was_running, was_settled) = (exchange.is_running(), exchange.is_settled());
        let result = act(exchange, &self.config, &mut self.output);
        if let Some(deadline) = exchange.next_timeout(&self.config) {
            self.timer.arm(deadline);
        }
        let ended = was_running && !exchange.is_running();
        // An exchange that is settled as soon as it is answered has no reader, so nobody will ask for more.
        let handed_over = !ended && !was_settled && exchange.is_settled();
        let answered = (handed_over || ended && !exchange.is_settled()) && exchange.is_answered();
        if ended {
            self.running -= 1;
            self.active = now;
        }
        if let Some(stream) = exchange.stream_mut() {
            self.streams.track(now, stream);
        }
        if exchange.is_over() {
            self.forget_exchange(key);
        } else if exchange.is_running() {
            exchange.note_presence(now);
            if let Some(deadline) = exchange.orphan_at(&self.config).filter(|_| !self.lifecycle.is_ending()) {
                self.timer.arm(deadline);
            }
        }
        if answered && self.lifecycle.is_ending() {
            self.linger(now);
        }
        self.trim(now);
        if ended {
            if let Some(deadline) = self.lifetime() {
                self.timer.arm(deadline);
            }
        }
        self.advance(now);
        Some(result)
    }
}

#[cfg(test)]
mod tests;
