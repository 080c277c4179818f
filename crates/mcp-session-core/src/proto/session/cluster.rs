//! A session that a store keeps, and other nodes serve as well: what it asks of the store, and what it is told of there.
//!
//! The events of its replies are appended to logs that it owns. What belongs to no request is published to a log that all
//! nodes share. What others write is *relayed*: read from the store, and pushed to the connection that asked for it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{ExchangeKey, INITIALIZE, SendError, Session, StreamKey};
use crate::proto::{
    ending::TerminateReason,
    event::{EventId, Position, encode_priming, encode_retry},
    exchange::CancelReason,
    id::RequestId,
    outbound::Outbound,
    output::{Output, Wake},
    state::{Input, Refusal, State, Verdict},
    stream::{Append, Next, Stored, Stream},
    timer::Timer,
};

/// What a session asks of its store. The answer comes back as [`Session::handle_stored`], [`Session::handle_published`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Append to the log of a stream.
    Append(Append),
    /// Publish to the standalone log. The token grows with each event.
    Publish(u64, Bytes),
}

#[derive(Debug)]
pub(super) struct Cluster<T> {
    /// The number of this node in the session: what keeps its ids apart from those of others.
    member: u32,
    /// The number of the log that all nodes share.
    standalone: u64,
    /// How far that has been sent to the client.
    heard: Position,
    /// What is to be published, and the token of the first of it.
    outbox: VecDeque<Bytes>,
    token: u64,
    /// An event of it is under way.
    publishing: bool,
    /// Appends under way.
    appending: usize,
    /// How old the session was when this node took it up.
    older: Duration,
    /// By which number this node listens to the standalone log for the client, or has; 0: never.
    listener: u64,
    /// The highest number by which another one does.
    other: u64,
    /// Connections to which the streams of others are relayed, or those of this node that it has forgotten, by the numbers of
    /// the streams. Apart from what this node keeps itself: a stream may be in both, at two positions.
    relays: BTreeMap<u64, Box<Stream<T>>>,
}

impl<T: Clone> Session<T> {
    /// A session that was opened at another node.
    pub fn adopt(
        now: Instant,
        config: std::sync::Arc<super::SessionConfig>,
        version: super::ProtocolVersion,
        capabilities: super::ClientCapabilities,
        initialized: bool,
    ) -> Self {
        let mut session = Self::blank(now, config, version, capabilities);
        session.state = if initialized { State::Operating } else { State::AwaitingInitialized };
        session.initialized = initialized;
        session.established = true;
        session.used = true; // it is taken up because its client uses it
        session.next_key = INITIALIZE.0 + 1; // that was elsewhere
        session.timer = Timer::default();
        let deadlines = session.deadlines();
        session.timer.rearm(deadlines);
        session
    }

    /// From now on a store keeps it, and this is its `member`th node. `standalone` is the number of the log that they
    /// share, `heard` how far that has been sent.
    pub fn share(&mut self, member: u32, standalone: u64, heard: Position) {
        // 2^32 streams and requests a node, and 2^21 nodes: then its ids are still integers to every client.
        let base = u64::from(member) << 32;
        self.next_key = self.next_key.max(base);
        self.outbound = Outbound::starting_at(base);
        self.cluster = Some(Box::new(Cluster {
            member,
            standalone,
            heard,
            outbox: VecDeque::new(),
            // A node that has parked the session and taken it up again must not seem to repeat itself: the store knows the
            // tokens of its first time.
            token: base,
            publishing: false,
            appending: 0,
            older: Duration::ZERO,
            listener: 0,
            other: 0,
            relays: BTreeMap::new(),
        }));
    }

    /// It was opened at another node, so long ago: [`max_age`](super::SessionConfig::max_age) counts from there. After
    /// [`Session::share`].
    pub fn set_age(&mut self, age: Duration) {
        self.cluster.iter_mut().for_each(|cluster| cluster.older = age);
        let deadlines = self.deadlines();
        self.timer.rearm(deadlines);
    }

    /// How old it is, at whichever node it was opened.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.created).saturating_add(self.older())
    }

    pub(super) fn older(&self) -> Duration {
        self.cluster.as_ref().map_or(Duration::ZERO, |cluster| cluster.older)
    }

    /// For how long its client has done nothing here.
    pub fn unused(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.active)
    }

    /// Whether `notifications/initialized` has arrived, here or elsewhere.
    pub fn is_initialized(&self) -> bool {
        self.initialized
    }

    /// The number of the node of which a stream or a request to the client has this id.
    pub fn member_of(id: u64) -> u32 {
        u32::try_from(id >> 32).unwrap_or(u32::MAX)
    }

    /// The number of this node in the session, if it is shared.
    pub fn member(&self) -> Option<u32> {
        self.cluster.as_ref().map(|cluster| cluster.member)
    }

    /// How far the standalone log has been sent to the client.
    pub fn heard(&self) -> Position {
        self.cluster.as_ref().map_or(Position::START, |cluster| cluster.heard)
    }

    // What to do next.

    /// Whether [`Session::poll_effect`] has something.
    pub fn has_effect(&self) -> bool {
        self.replay.has_unstored()
            || self.cluster.as_ref().is_some_and(|cluster| !cluster.publishing && !cluster.outbox.is_empty())
    }

    /// What the store is asked to do next. Each is answered once.
    pub fn poll_effect(&mut self, now: Instant) -> Option<Effect> {
        let effect = self.next_effect();
        self.advance(now); // what it would have asked for may be gone
        effect
    }

    fn next_effect(&mut self) -> Option<Effect> {
        let cluster = self.cluster.as_mut()?;
        if let Some(event) = cluster.outbox.front().filter(|_| !cluster.publishing) {
            let effect = Effect::Publish(cluster.token + 1, event.clone());
            cluster.publishing = true;
            return Some(effect);
        }
        loop {
            let number = self.replay.pop_unstored()?;
            let exchange = self.exchanges.get(ExchangeKey(number)).and_then(|exchange| exchange.stream());
            let stream = exchange.or_else(|| self.finished.get(&number).map(AsRef::as_ref));
            if let Some(append) = stream.and_then(|stream| stream.next_append(number)) {
                self.cluster.iter_mut().for_each(|cluster| cluster.appending += 1);
                return Some(Effect::Append(append));
            }
        }
    }

    /// Whether the store has been asked for something that it has not answered.
    pub(super) fn is_storing(&self) -> bool {
        self.has_effect()
            || self.cluster.as_ref().is_some_and(|cluster| cluster.publishing || cluster.appending > 0)
    }

    // What happened.

    /// The store has answered an append.
    pub fn handle_stored(&mut self, now: Instant, append: &Append, stored: Stored) {
        if let Some(cluster) = &mut self.cluster {
            cluster.appending -= 1;
        }
        let key = ExchangeKey(append.stream);
        if let Some(stream) = self.finished.get_mut(&append.stream) {
            stream.handle_stored(append, stored, &mut self.output);
            self.replay.track(now, stream);
            self.trim(now);
        } else {
            self.with_exchange(now, key, |exchange, config, out| {
                exchange.handle_stored(append, stored, out);
                if stored == Stored::Sealed {
                    // Somebody has answered for this node, which seemed to be gone.
                    exchange.cancel(now, CancelReason::Disconnected, config, out);
                }
            });
        }
        self.advance(now);
    }

    /// The store has answered a publication: the event is there, or is given up. If not, it is asked again.
    pub fn handle_published(&mut self, now: Instant, done: bool) {
        if let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.publishing) {
            cluster.publishing = false;
            if done {
                cluster.token += 1;
                cluster.outbox.pop_front();
            }
        }
        self.advance(now);
    }

    /// The store may have lost what it had last: it gets that once more.
    pub fn handle_failover(&mut self, now: Instant) {
        for exchange in self.exchanges.values_mut() {
            if let Some(stream) = exchange.stream_mut() {
                stream.handle_failover();
                self.replay.track(now, stream);
            }
        }
    }

    /// `notifications/initialized` has arrived at another node: that counts as if it had arrived here (C-10). Returns whether
    /// that is news.
    pub fn handle_initialized(&mut self, now: Instant) -> bool {
        let news = !self.initialized && matches!(self.state, State::AwaitingInitialized | State::Draining);
        if news {
            if self.state == State::AwaitingInitialized {
                self.touch(now);
                self.state = State::Operating;
            }
            self.initialized = true;
            self.lifetime().into_iter().for_each(|due| self.timer.arm(due));
            self.wake_listener();
        }
        news
    }

    /// What is in the standalone log may be sent now.
    pub(super) fn wake_listener(&mut self) {
        let tag = self.cluster.as_ref().and_then(|_| self.standalone_tag().cloned());
        tag.into_iter().for_each(|tag| self.output.wake(Wake::Handler(tag)));
    }

    /// The client reads this stream at another node: a connection that carries it here ends (D-21).
    pub fn handle_taken_over(&mut self, now: Instant, number: u64) {
        let standalone = self.cluster.as_ref().is_some_and(|cluster| cluster.standalone == number);
        if standalone {
            self.drop_standalone();
        } else {
            self.hand_over_relay(now, number);
            self.hand_over_own(now, number);
        }
        self.advance(now);
    }

    /// A connection that carries this stream, which is one of this node, ends.
    fn hand_over_own(&mut self, now: Instant, number: u64) {
        if let Some(stream) = self.finished.get_mut(&number) {
            stream.hand_over(&mut self.output);
            self.replay.track(now, stream);
            self.trim(now);
        } else {
            self.with_exchange(now, ExchangeKey(number), |exchange, _, out| exchange.hand_over(out));
        }
    }

    /// A connection to which this stream is relayed ends.
    pub(super) fn hand_over_relay(&mut self, now: Instant, number: u64) {
        let relay = self.cluster.as_mut().and_then(|cluster| cluster.relays.remove(&number));
        if let Some(mut relay) = relay {
            relay.hand_over(&mut self.output);
            self.relay_is_over(now);
        }
    }

    /// The connection that carries the standalone log ends. What it has not sent is read from the store again.
    pub(super) fn drop_standalone(&mut self) {
        if let Some(mut stream) = self.standalone.take() {
            stream.hand_over(&mut self.output);
            self.liveness = None;
        }
    }

    // Who listens.

    /// By which number this node listens to the standalone log, or has; 0: never.
    pub fn listener(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.listener)
    }

    /// This node listens from now on, by this number, and goes on where all before it have stopped. Returns whether it does:
    /// not if a newer one has been heard of.
    pub fn listen(&mut self, number: u64, heard: Position) -> bool {
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.other <= number) else {
            return false;
        };
        cluster.listener = number;
        cluster.heard = cluster.heard.max(heard);
        true
    }

    /// Another node listens, by this number: a connection that carries the standalone log here ends (D-21). Returns by which number
    /// this node has listened, and how far that came; `None` if it has not, or has taken over since.
    pub fn handle_listener(&mut self, now: Instant, number: u64) -> Option<(u64, Position)> {
        let cluster = self.cluster.as_mut().filter(|cluster| cluster.listener < number)?;
        cluster.other = cluster.other.max(number);
        let (listener, heard) = (cluster.listener, cluster.heard);
        self.drop_standalone();
        self.active = self.active.max(now);
        self.lifetime().into_iter().for_each(|due| self.timer.arm(due));
        self.advance(now);
        (listener > 0).then_some((listener, heard))
    }

    // Relays.

    /// A stream that others write, or that this node has forgotten, is read from the store after this event, which is known
    /// there: opens a connection for what will be relayed. An older one of the same stream ends (D-23).
    ///
    /// # Errors
    ///
    /// [`Refusal`], by state (C.2).
    pub fn handle_relay(&mut self, now: Instant, after: EventId, tag: T) -> Result<StreamKey, Refusal> {
        if let Verdict::Refuse(refusal) = self.state.on(Input::Resume) {
            return Err(refusal);
        }
        let standalone = self.cluster.as_ref().is_some_and(|cluster| cluster.standalone == after.stream);
        if self.ending.is_some() && (standalone || self.phase() == super::Phase::Closed) {
            return Err(Refusal::Draining);
        }
        let running = self.exchanges.get(ExchangeKey(after.stream)).map(|exchange| exchange.stream());
        let kept = self.finished.get(&after.stream).map(|stream| Some(&**stream));
        let whole = |own: Option<&Stream<T>>| own.is_some_and(|own| own.is_storing() || own.is_stored());
        if !running.or(kept).is_none_or(whole) {
            return Err(Refusal::UnknownEvent); // it is this node's, and the store does not get the rest of it
        }
        self.touch(now);
        let connection = self.next_key();
        if standalone {
            self.cluster.iter_mut().for_each(|cluster| cluster.heard = after.position);
            self.drop_standalone();
            let mut stream = Stream::new(now, tag, None, &mut self.output);
            stream.comment();
            self.standalone = Some(Box::new(stream.on(connection)));
            self.act_on_standalone(now, |_, _, _| ());
            return Ok(StreamKey::Standalone(connection));
        }
        self.hand_over_relay(now, after.stream);
        self.hand_over_own(now, after.stream);
        let mut stream = Stream::new(now, tag, None, &mut self.output);
        stream.comment();
        stream.next_timeout(&self.config).into_iter().for_each(|due| self.timer.arm(due));
        let stream = Box::new(stream.on(connection));
        if let Some(cluster) = &mut self.cluster {
            cluster.relays.insert(after.stream, stream);
        }
        Ok(StreamKey::Resumed(ExchangeKey(after.stream), connection))
    }

    /// Passes an event on that was read from the store, with its id.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`]: wait for [`Wake::Handler`](crate::proto::Wake::Handler). [`SendError::Closed`]: nobody reads it.
    pub fn relay(&mut self, now: Instant, key: StreamKey, event: &Bytes) -> Result<(), SendError> {
        let config = std::sync::Arc::clone(&self.config);
        let sent = self.relayed(key, |stream, out| stream.push(now, event, &config, out));
        match sent {
            Some(pushed) => pushed.map_err(|_| SendError::Full),
            None => Err(SendError::Closed),
        }
    }

    /// Nothing is left to relay.
    pub fn end_relay(&mut self, now: Instant, key: StreamKey) {
        self.relayed(key, Stream::end);
        self.advance(now);
    }

    /// What was to be relayed is forgotten: the connection must not skip it.
    pub fn cut_relay(&mut self, now: Instant, key: StreamKey) {
        self.relayed(key, Stream::cut);
        self.advance(now);
    }

    /// Whether anybody reads what is relayed there. If so, [`Wake::Handler`](crate::proto::Wake::Handler) tells when nobody
    /// does any more.
    pub fn poll_relay(&mut self, key: StreamKey) -> bool {
        self.relayed(key, |stream, _| stream.tell_end()).is_some()
    }

    fn relayed<R>(
        &mut self,
        key: StreamKey,
        act: impl FnOnce(&mut Stream<T>, &mut Output<T>) -> R,
    ) -> Option<R> {
        let (stream, connection) = match key {
            StreamKey::Response(_) => return None,
            StreamKey::Resumed(ExchangeKey(number), connection) => {
                (self.cluster.as_mut()?.relays.get_mut(&number)?, connection)
            }
            StreamKey::Standalone(connection) => (self.standalone.as_mut()?, connection),
        };
        let relays = stream.number().is_none() && stream.is_open() && stream.connection() == Some(connection);
        relays.then(|| act(stream, &mut self.output))
    }

    // Parts.

    /// Keeps an event for the standalone log.
    pub(super) fn publish(&mut self, event: &Bytes) -> Option<Result<(), SendError>> {
        let limit = self.config.queue_events;
        let cluster = self.cluster.as_mut()?;
        Some(if cluster.outbox.len() < limit {
            cluster.outbox.push_back(event.clone());
            Ok(())
        } else {
            Err(SendError::Full)
        })
    }

    /// Nothing is asked of the store any more.
    pub(super) fn forget_effects(&mut self) {
        self.cluster.iter_mut().for_each(|cluster| cluster.outbox.clear());
    }

    /// The first event of a GET stream, for a client that understands it: where it is in the standalone log.
    pub(super) fn shared_priming(&self) -> Option<Bytes> {
        let cluster = self.cluster.as_ref()?;
        self.config.replay.as_ref()?;
        let id = EventId { stream: cluster.standalone, position: cluster.heard };
        self.is_primed().then(|| encode_priming(id))
    }

    /// The client has got an event of the GET stream.
    pub(super) fn note_heard(&mut self, next: &Next) {
        let (Some(cluster), Next::Event(event, _)) = (&mut self.cluster, next) else { return };
        let id = event.strip_prefix(b"id: ").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
        let id = id.and_then(|id| std::str::from_utf8(id).ok()).and_then(EventId::parse);
        if let Some(id) = id {
            cluster.heard = cluster.heard.max(id.position);
        }
    }

    /// A shutdown has begun. Whatever can be resumed elsewhere is, from now on: each connection ends, with `retry` for clients
    /// that understand it (S6, F-39). Replies stay for those that do not (D-05).
    pub(super) fn detach(&mut self, now: Instant) {
        let Some(replay) = self.config.replay else { return };
        if self.is_primed() {
            for exchange in self.exchanges.values_mut() {
                exchange.close_connection(now, replay.retry, &mut self.output);
                if let Some(stream) = exchange.stream_mut() {
                    self.replay.track(now, stream);
                }
            }
        }
        let relays = self.cluster.iter_mut().flat_map(|cluster| cluster.relays.values_mut());
        for stream in relays.chain(&mut self.standalone) {
            stream.push_unbounded(now, encode_retry(replay.retry), &mut self.output);
            stream.end(&mut self.output);
        }
    }

    /// Whether it can be taken up at another node after a shutdown of this one.
    pub(super) fn moves(&self, reason: TerminateReason) -> bool {
        self.cluster.is_some() && reason == TerminateReason::Shutdown
    }

    /// Whether a request of the client with this id runs here.
    pub fn runs(&self, id: &RequestId) -> bool {
        self.exchanges.running(id).is_some()
    }

    /// The connections to which something is relayed.
    pub(super) fn relays(&self) -> impl Iterator<Item = &Stream<T>> {
        self.all_relays().filter(|stream| stream.is_served())
    }

    pub(super) fn all_relays(&self) -> impl Iterator<Item = &Stream<T>> {
        self.cluster.iter().flat_map(|cluster| cluster.relays.values()).map(AsRef::as_ref)
    }

    /// Does something to each connection to which something is relayed. Those that are over then are forgotten.
    pub(super) fn for_each_relay(&mut self, mut act: impl FnMut(&mut Stream<T>, &mut Output<T>)) {
        if let Some(cluster) = &mut self.cluster {
            cluster.relays.values_mut().for_each(|stream| act(stream, &mut self.output));
            cluster.relays.retain(|_, stream| !stream.is_over());
        }
    }

    /// Does something to the stream that is relayed to this connection, if one is.
    pub(super) fn with_relay<R>(
        &mut self,
        now: Instant,
        number: u64,
        connection: u64,
        act: impl FnOnce(&mut Stream<T>, &mut Output<T>) -> R,
    ) -> Option<R> {
        let relays = &mut self.cluster.as_mut()?.relays;
        let stream = relays.get_mut(&number).filter(|stream| stream.connection() == Some(connection))?;
        let result = act(stream, &mut self.output);
        // Whoever was told of a cut, has it.
        if stream.is_over() || stream.connection().is_none() {
            relays.remove(&number);
            self.relay_is_over(now);
        }
        Some(result)
    }

    /// Nobody reads what was relayed there any more.
    fn relay_is_over(&mut self, now: Instant) {
        self.active = self.active.max(now);
        self.lifetime().into_iter().for_each(|due| self.timer.arm(due));
    }
}
