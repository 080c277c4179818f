//! [`Streams`]: the one home of a session's streams, and the only ways to change them. Each keeps the books of replay.
//!
//! A running exchange has its own stream, because an exchange can do without a session. All others are here.

use std::{collections::BTreeMap, time::Instant};

use super::{ExchangeKey, Session, StreamKey, liveness::Liveness};
use crate::{
    config::{ReplayConfig, SessionConfig},
    ending::TerminateReason,
    event::encode_event,
    exchange::Exchange,
    id::RequestId,
    message::{ErrorCode, Outgoing},
    output::Output,
    replay::Replay,
    stream::{Name, Stream},
    version::ProtocolVersion,
};

/// The first version whose clients understand a priming event (D-09).
const FIRST_PRIMED: ProtocolVersion = ProtocolVersion::V2025_11_25;

/// The streams of a session, apart from those of its running exchanges, and the books of what all of them keep.
#[derive(Debug)]
pub(super) struct Streams<T> {
    standalone: Option<Box<Stream<T>>>,
    /// Allocated only while there are any: most sessions have none most of the time.
    replies: Option<Box<Replies<T>>>,
    replay: Replay,
}

/// The streams of replies that no running exchange has, by their numbers. A number may be in both, at two positions.
#[derive(Debug)]
struct Replies<T> {
    /// Of exchanges that are over, for as long as they can be resumed.
    finished: BTreeMap<u64, Box<Stream<T>>>,
    /// Read from the store for one connection: streams of other nodes, or those that this node has forgotten.
    relays: BTreeMap<u64, Box<Relay<T>>>,
}

/// A stream that is read from the store.
#[derive(Debug)]
struct Relay<T> {
    stream: Stream<T>,
    /// The request that its log replies to. Its reader is owed an answer, also if the log is removed.
    request: Option<RequestId>,
}

impl<T> Default for Streams<T> {
    fn default() -> Self {
        Self { standalone: None, replies: None, replay: Replay::default() }
    }
}

impl<T> Default for Replies<T> {
    fn default() -> Self {
        Self { finished: BTreeMap::new(), relays: BTreeMap::new() }
    }
}

impl<T: Clone> Streams<T> {
    pub(super) fn standalone(&self) -> Option<&Stream<T>> {
        self.standalone.as_deref()
    }

    /// The stream of an exchange that is over.
    pub(super) fn finished(&self, number: u64) -> Option<&Stream<T>> {
        self.replies.as_ref()?.finished.get(&number).map(AsRef::as_ref)
    }

    /// The streams of exchanges that are over.
    pub(super) fn all_finished(&self) -> impl Iterator<Item = &Stream<T>> {
        self.replies.iter().flat_map(|replies| replies.finished.values()).map(AsRef::as_ref)
    }

    /// The streams that are read from the store.
    pub(super) fn relays(&self) -> impl Iterator<Item = &Stream<T>> {
        self.replies.iter().flat_map(|replies| replies.relays.values()).map(|relay| &relay.stream)
    }

    /// All streams here.
    pub(super) fn all(&self) -> impl Iterator<Item = &Stream<T>> {
        self.standalone().into_iter().chain(self.all_finished()).chain(self.relays())
    }

    pub(super) fn is_standalone(&self, number: u64) -> bool {
        self.standalone().is_some_and(|stream| stream.number() == Some(number))
    }

    /// Keeps the books of a stream that an exchange has, after it has changed.
    pub(super) fn track(&mut self, now: Instant, stream: &mut Stream<T>) {
        self.replay.track(now, stream);
    }

    /// Takes the number of a stream with something to append to the store.
    pub(super) fn pop_unstored(&mut self) -> Option<u64> {
        self.replay.pop_unstored()
    }

    /// Whether a stream has something to append to the store.
    pub(super) fn has_unstored(&self) -> bool {
        self.replay.has_unstored()
    }

    /// When the oldest kept event exceeds its maximum age.
    pub(super) fn next_timeout(&self, limits: &ReplayConfig) -> Option<Instant> {
        self.replay.next_timeout(limits)
    }

    /// The number of kept events, and their bytes.
    pub(super) fn kept(&self) -> (usize, usize) {
        self.replay.kept()
    }

    fn finished_mut(&mut self, number: u64) -> Option<&mut Stream<T>> {
        self.replies.as_mut()?.finished.get_mut(&number).map(AsMut::as_mut)
    }

    /// Changes the replies that are kept here, and frees the tables if none is left.
    fn update<R>(&mut self, act: impl FnOnce(&mut Replies<T>) -> R) -> Option<R> {
        let result = act(self.replies.as_mut()?);
        self.replies.take_if(|replies| replies.finished.is_empty() && replies.relays.is_empty());
        Some(result)
    }
}

// The only ways to change a stream. An exchange is changed by `Session::with_exchange`.
impl<T: Clone> Session<T> {
    /// Changes the stream of this connection, wherever it is. `act` gets the number of the connection. `None` if there is
    /// no such stream.
    pub(super) fn with_stream<R>(
        &mut self,
        now: Instant,
        key: StreamKey,
        act: impl FnOnce(&mut Stream<T>, u64, &mut Output<T>) -> R,
    ) -> Option<R> {
        let (number, connection) = match key {
            StreamKey::Response(key) => (key.0, 0),
            StreamKey::Resumed(key, connection) => (key.0, connection),
            StreamKey::Standalone(connection) => {
                return self.with_standalone(now, |stream, _, out| act(stream, connection, out));
            }
        };
        if self.is_relayed(number, connection) {
            self.with_relay(now, number, |stream, out| act(stream, connection, out))
        } else {
            self.with_reply(now, number, |stream, out| act(stream, connection, out))
        }
    }

    /// Changes the stream of a reply of this node, whether its exchange is over or not.
    pub(super) fn with_reply<R>(
        &mut self,
        now: Instant,
        number: u64,
        act: impl FnOnce(&mut Stream<T>, &mut Output<T>) -> R,
    ) -> Option<R> {
        let Self { streams, output, .. } = self;
        let Some(stream) = streams.replies.as_mut().and_then(|replies| replies.finished.get_mut(&number))
        else {
            return self.with_exchange(now, ExchangeKey(number), |exchange, _, out| {
                exchange.with_stream(out, act)
            })?;
        };
        let result = act(stream, output);
        streams.replay.track(now, stream);
        if stream.is_gone() {
            streams.update(|replies| replies.finished.remove(&number));
        }
        self.trim(now);
        Some(result)
    }

    /// Changes the standalone stream, if there is one.
    pub(super) fn with_standalone<R>(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut Stream<T>, &SessionConfig, &mut Output<T>) -> R,
    ) -> Option<R> {
        let stream = self.streams.standalone.as_deref_mut()?;
        let result = act(stream, &self.config, &mut self.output);
        self.streams.replay.track(now, stream);
        if let Some(due) = stream.next_timeout(&self.config) {
            self.timer.arm(due);
        }
        if stream.is_connected() {
            self.liveness.get_or_insert_with(|| Box::new(Liveness::new(now)));
        } else {
            self.liveness = None;
        }
        if let Some(due) = self.ping_due() {
            self.timer.arm(due);
        }
        self.trim(now);
        Some(result)
    }

    /// Changes the standalone stream, which is created by its first use.
    pub(super) fn act_on_standalone<R>(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut Stream<T>, &SessionConfig, &mut Output<T>) -> R,
    ) -> R {
        if self.streams.standalone.is_none() {
            let number = self.next_key();
            // With a store, its events are read from the standalone log, and have the ids of that log.
            let name = self.name(number).filter(|_| self.cluster.is_none());
            self.streams.standalone = Some(Box::new(Stream::unread(now, name)));
        }
        self.with_standalone(now, act).expect("it was created just now")
    }

    /// Changes each exchange and its stream, and forgets the exchanges that are over then.
    pub(super) fn for_each_exchange(
        &mut self,
        now: Instant,
        mut act: impl FnMut(&mut Exchange<T>, &SessionConfig, &mut Output<T>),
    ) {
        if self.exchanges.len() == 0 {
            return;
        }
        for exchange in self.exchanges.values_mut() {
            let was_running = exchange.is_running();
            act(exchange, &self.config, &mut self.output);
            if was_running && !exchange.is_running() {
                self.running -= 1;
                self.active = now; // as in `with_exchange`
            }
            if let Some(stream) = exchange.stream_mut() {
                self.streams.replay.track(now, stream);
            }
        }
        self.trim(now);
        let over = self.exchanges.iter().filter(|(_, exchange)| exchange.is_over()).map(|(key, _)| key);
        over.collect::<Vec<_>>().into_iter().for_each(|key| self.forget_exchange(key));
    }

    /// Changes each relayed stream, and forgets those that are over then.
    pub(super) fn for_each_relay(&mut self, mut act: impl FnMut(&mut Stream<T>, &mut Output<T>)) {
        let output = &mut self.output;
        self.streams.update(|replies| {
            replies.relays.retain(|_, relay| {
                act(&mut relay.stream, output);
                !relay.stream.is_over()
            });
        });
    }

    /// Ends all relayed streams, because the session ends for good and the logs that they are read from are removed. Those
    /// that owe an answer end with an error for this reason (S5).
    pub(super) fn end_relays(&mut self, now: Instant, reason: TerminateReason) {
        if self.streams.relays().next().is_none() {
            return; // nearly always: an error costs more than the end of a session
        }
        let error = reason.to_error(ErrorCode::CONNECTION_CLOSED);
        let output = &mut self.output;
        let relays = self.streams.replies.iter_mut().flat_map(|replies| replies.relays.values_mut());
        for Relay { stream, request } in relays.map(AsMut::as_mut) {
            if let Some(id) = request.take() {
                let answer = Outgoing::Error { id: Some(&id), error: &error };
                stream.push_unbounded(now, encode_event(None, &answer), output);
            }
            stream.end(output);
        }
        self.for_each_relay(|_, _| ()); // forgets those that are over
    }

    /// Changes the stream that is relayed under this number, and forgets it if its reader has gone.
    pub(super) fn with_relay<R>(
        &mut self,
        now: Instant,
        number: u64,
        act: impl FnOnce(&mut Stream<T>, &mut Output<T>) -> R,
    ) -> Option<R> {
        let Relay { stream, .. } = &mut **self.streams.replies.as_mut()?.relays.get_mut(&number)?;
        let result = act(stream, &mut self.output);
        // A reader that was told of a cut is done with it.
        if stream.is_over() || stream.connection().is_none() {
            self.streams.update(|replies| replies.relays.remove(&number));
            self.relay_is_over(now);
        }
        Some(result)
    }

    /// Changes a stream of this connection that is read from the store, without looking whether it is over then: its
    /// reader will. `None` if its reader has gone.
    pub(super) fn with_relayed<R>(
        &mut self,
        key: StreamKey,
        act: impl FnOnce(&mut Stream<T>, &SessionConfig, &mut Output<T>) -> R,
    ) -> Option<R> {
        let Streams { standalone, replies, .. } = &mut self.streams;
        let (stream, connection) = match key {
            StreamKey::Response(_) => return None,
            StreamKey::Resumed(ExchangeKey(number), connection) => {
                (&mut replies.as_mut()?.relays.get_mut(&number)?.stream, connection)
            }
            StreamKey::Standalone(connection) => (&mut **standalone.as_mut()?, connection),
        };
        let relays = stream.number().is_none() && stream.is_open() && stream.connection() == Some(connection);
        relays.then(|| act(stream, &self.config, &mut self.output))
    }

    pub(super) fn is_relayed(&self, number: u64, connection: u64) -> bool {
        let relays = self.streams.replies.as_ref().map(|replies| &replies.relays);
        let relay = relays.and_then(|relays| relays.get(&number));
        relay.is_some_and(|relay| relay.stream.connection() == Some(connection))
    }

    // Coming and going.

    /// The name of the stream with this number, if streams can be resumed.
    pub(super) fn name(&self, number: u64) -> Option<Name> {
        self.config.replay.as_ref()?;
        Some(Name { number, primed: self.is_primed() })
    }

    /// Whether the client understands a priming event and a closed connection with `retry` (D-09, D-05).
    pub(super) fn is_primed(&self) -> bool {
        self.version >= FIRST_PRIMED
    }

    /// From now on this is the standalone stream.
    pub(super) fn set_standalone(&mut self, now: Instant, stream: Stream<T>) {
        self.streams.standalone = Some(Box::new(stream));
        self.with_standalone(now, |_, _, _| ());
    }

    /// Ends the connection of the standalone stream, and forgets the stream.
    pub(super) fn drop_standalone(&mut self) {
        if let Some(mut stream) = self.streams.standalone.take() {
            stream.hand_over(&mut self.output);
            self.liveness = None;
        }
    }

    /// Forgets the standalone stream if its reader has read its end, or has gone for good.
    pub(super) fn forget_standalone(&mut self) {
        self.streams.standalone.take_if(|stream| stream.is_over());
    }

    pub(super) fn add_relay(&mut self, number: u64, stream: Stream<T>, request: Option<RequestId>) {
        stream.next_timeout(&self.config).into_iter().for_each(|due| self.timer.arm(due));
        let relay = Box::new(Relay { stream, request });
        self.streams.replies.get_or_insert_default().relays.insert(number, relay);
    }

    /// Ends the connection to which this stream is relayed, if there is one.
    pub(super) fn hand_over_relay(&mut self, now: Instant, number: u64) {
        if let Some(mut relay) = self.streams.update(|replies| replies.relays.remove(&number)).flatten() {
            relay.stream.hand_over(&mut self.output);
            self.relay_is_over(now);
        }
    }

    /// Forgets an exchange that is over. Keeps the stream of its reply if that can be resumed.
    pub(super) fn forget_exchange(&mut self, key: ExchangeKey) {
        let stream = self.exchanges.remove(key).and_then(|exchange| exchange.into_stream());
        if let Some(mut stream) = stream.filter(|stream| stream.is_resumable()) {
            stream.forget_senders();
            self.streams.replies.get_or_insert_default().finished.insert(key.0, stream);
        }
    }

    /// Forgets the kept events that exceed the bounds of replay.
    pub(super) fn trim(&mut self, now: Instant) {
        if self.streams.replay.is_empty() {
            return;
        }
        let Some(limits) = self.config.replay else { return };
        while let Some(number) = self.streams.replay.pop_excess(now, &limits) {
            self.forget_first(number);
        }
        if let Some(due) = self.streams.next_timeout(&limits) {
            self.timer.arm(due);
        }
    }

    /// Forgets the oldest kept event of this stream.
    fn forget_first(&mut self, number: u64) {
        let Self { streams, exchanges, output, .. } = self;
        if streams.is_standalone(number) {
            if let Some(stream) = &mut streams.standalone {
                stream.forget_first(output);
            }
        } else if let Some(exchange) = exchanges.get_mut(ExchangeKey(number)) {
            exchange.with_stream(output, Stream::forget_first);
            if exchange.is_over() {
                self.forget_exchange(ExchangeKey(number));
            }
        } else if let Some(stream) = streams.finished_mut(number) {
            stream.forget_first(output);
            if stream.is_gone() {
                streams.update(|replies| replies.finished.remove(&number));
            }
        }
    }

    /// The session has ended: cuts the streams that are still read, and forgets everything else (D-36).
    pub(super) fn cut_streams(&mut self, now: Instant) {
        self.with_standalone(now, |stream, _, out| stream.cut(out));
        self.for_each_relay(Stream::cut);
        let Self { streams, output, .. } = self;
        streams.update(|replies| {
            replies.finished.values_mut().for_each(|stream| stream.cut(output));
            replies.finished.retain(|_, stream| stream.is_cut());
        });
        streams.replay = Replay::default();
    }

    pub(super) fn next_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key - 1
    }
}
