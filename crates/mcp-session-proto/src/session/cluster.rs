//! A session that is kept in a store and served by several nodes: what it asks of the store, and the store's answers.
//!
//! The events of its replies are appended to logs that this node owns. Events that belong to no request are published
//! to the standalone log, which all nodes share. Events that other nodes wrote are *relayed*: read from the store, and
//! pushed to the connection that asked for them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    ExchangeKey, INITIALIZE, SendError, Session, StreamKey,
    lifecycle::{Handshake, Lifecycle},
};
use crate::{
    ending::{Phase, TerminateReason},
    event::{EventId, Position, encode_priming, encode_retry},
    exchange::CancelReason,
    id::RequestId,
    outbound::Outbound,
    output::{Output, Wake},
    state::{Input, Refusal, Verdict},
    stream::{Stored, Stream, Unstored},
    timer::Timer,
};

/// An operation that a session asks of its store. The answer comes back as [`Session::handle_stored`] or
/// [`Session::handle_published`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Append to the log of a stream.
    Append(Unstored),
    /// Publish an event to the standalone log.
    Publish(Publication),
}

/// An event for the standalone log. The same token of the same source again appends nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Who says it, if it is not this node: several nodes publish what one of them has announced.
    pub source: Option<u64>,
    /// Grows with each event of the source.
    pub token: u64,
    /// The event, without its id.
    pub event: Bytes,
}

/// An event that waits to be published.
#[derive(Debug)]
struct Unpublished {
    /// The source and the token of an announcement.
    announced: Option<(u64, u64)>,
    event: Bytes,
}

#[derive(Debug)]
pub(super) struct Cluster {
    /// The number of this node in the session. It keeps the node's ids apart from those of others.
    member: u32,
    /// The stream number of the standalone log, which all nodes share.
    standalone: u64,
    /// The position in the standalone log up to which events were sent to the client.
    heard: Position,
    /// Events to publish.
    outbox: VecDeque<Unpublished>,
    /// The token of the last own event that was published or given up. The next one in `outbox` gets the next token.
    token: u64,
    /// A publication is in flight.
    publishing: bool,
    /// The number of appends in flight.
    appending: usize,
    /// The session's age when this node adopted it.
    older: Duration,
    /// The listener number with which this node last read the standalone log for the client; 0 if it never has.
    listener: u64,
    /// The highest listener number of another node.
    other: u64,
}

impl<T: Clone> Session<T> {
    /// Adopts a session that was opened at another node.
    pub fn adopt(
        now: Instant,
        config: std::sync::Arc<super::SessionConfig>,
        version: super::ProtocolVersion,
        capabilities: super::ClientCapabilities,
        initialized: bool,
    ) -> Self {
        let mut session = Self::blank(now, config, version, capabilities);
        // It is adopted because its client uses it.
        session.lifecycle.reach(if initialized { Handshake::Initialized } else { Handshake::Used });
        session.next_key = INITIALIZE.0 + 1; // `initialize` was at another node
        session.timer = Timer::default();
        let deadlines = session.deadlines();
        session.timer.rearm(deadlines);
        session
    }

    /// From now on the session is kept in a store, and `member` is the number of this node in it. `standalone` is the
    /// stream number of the log that all nodes share, `heard` the position up to which it was sent to the client.
    pub fn share(&mut self, member: u32, standalone: u64, heard: Position) {
        // Up to 2^32 streams and requests for each node, and 2^21 nodes, every client still reads the ids as integers.
        let base = u64::from(member) << 32;
        self.next_key = self.next_key.max(base);
        self.outbound = Outbound::starting_at(base);
        self.cluster = Some(Box::new(Cluster {
            member,
            standalone,
            heard,
            outbox: VecDeque::new(),
            // A node that parked the session and adopts it again must not repeat tokens: the store remembers those of
            // the first time.
            token: base,
            publishing: false,
            appending: 0,
            older: Duration::ZERO,
            listener: 0,
            other: 0,
        }));
    }

    /// Sets the age of a session that was opened at another node: [`max_age`](super::SessionConfig::max_age) counts
    /// from its opening. Call it after [`Session::share`].
    pub fn set_age(&mut self, age: Duration) {
        if let Some(cluster) = &mut self.cluster {
            cluster.older = age;
        }
        let deadlines = self.deadlines();
        self.timer.rearm(deadlines);
    }

    /// The time since the session was opened, at whichever node.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.created).saturating_add(self.older())
    }

    pub(super) fn older(&self) -> Duration {
        self.cluster.as_ref().map_or(Duration::ZERO, |cluster| cluster.older)
    }

    /// The time since the client was last active at this node.
    pub fn unused(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.active)
    }

    /// Whether `notifications/initialized` has arrived, at any node.
    pub fn is_initialized(&self) -> bool {
        self.lifecycle.handshake() == Handshake::Initialized
    }

    /// The number of the node that gave this id to a stream or to a request of the server.
    pub fn member_of(id: u64) -> u32 {
        u32::try_from(id >> 32).unwrap_or(u32::MAX)
    }

    /// The number of this node in the session, if it is shared.
    pub fn member(&self) -> Option<u32> {
        self.cluster.as_ref().map(|cluster| cluster.member)
    }

    /// The position in the standalone log up to which events were sent to the client.
    pub fn heard(&self) -> Position {
        self.cluster.as_ref().map_or(Position::START, |cluster| cluster.heard)
    }

    // What to do next.

    /// Whether [`Session::poll_effect`] returns an effect.
    pub fn has_effect(&self) -> bool {
        self.streams.has_unstored()
            || self.cluster.as_ref().is_some_and(|cluster| !cluster.publishing && !cluster.outbox.is_empty())
    }

    /// The next operation for the store. Each is answered once.
    pub fn poll_effect(&mut self, now: Instant) -> Option<Effect> {
        let effect = self.next_effect();
        self.advance(now); // the stream of a queued append may be gone, so there may be nothing left to wait for
        effect
    }

    fn next_effect(&mut self) -> Option<Effect> {
        let cluster = self.cluster.as_mut()?;
        if let Some(Unpublished { announced, event }) = cluster.outbox.front().filter(|_| !cluster.publishing)
        {
            let (source, token) = match announced {
                Some((source, token)) => (Some(*source), *token),
                None => (None, cluster.token + 1),
            };
            let event = event.clone();
            cluster.publishing = true;
            return Some(Effect::Publish(Publication { source, token, event }));
        }
        loop {
            let number = self.streams.pop_unstored()?;
            let exchange = self.exchanges.get(ExchangeKey(number)).and_then(|exchange| exchange.stream());
            let stream = exchange.or_else(|| self.streams.finished(number));
            if let Some(append) = stream.and_then(|stream| stream.next_append(number)) {
                if let Some(cluster) = &mut self.cluster {
                    cluster.appending += 1;
                }
                return Some(Effect::Append(append));
            }
        }
    }

    /// Whether the store has something to do, or has not answered yet.
    pub(super) fn is_storing(&self) -> bool {
        self.has_effect()
            || self.cluster.as_ref().is_some_and(|cluster| cluster.publishing || cluster.appending > 0)
    }

    // What happened.

    /// The store answered an append.
    pub fn handle_stored(&mut self, now: Instant, append: &Unstored, stored: Stored) {
        if let Some(cluster) = &mut self.cluster {
            cluster.appending -= 1;
        }
        self.with_reply(now, append.stream, |stream, out| stream.handle_stored(now, append, stored, out));
        if stored == Stored::Sealed {
            // Another node has answered in place of this one, which seemed to be gone.
            self.with_exchange(now, ExchangeKey(append.stream), |exchange, config, out| {
                exchange.cancel(now, CancelReason::Disconnected, config, out);
            });
        }
        self.advance(now);
    }

    /// The store answered a publication. If `done`, the event was published or given up; else it is published again.
    pub fn handle_published(&mut self, now: Instant, done: bool) {
        if let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.publishing) {
            cluster.publishing = false;
            if done {
                let published = cluster.outbox.pop_front(); // none, if it was forgotten meanwhile
                cluster.token += u64::from(published.is_none_or(|published| published.announced.is_none()));
            }
        }
        self.advance(now);
    }

    /// The store may have lost the last events that it had of each reply, up to [`REWRITABLE`](crate::REWRITABLE) after its
    /// end: what this node still has of them is appended again.
    pub fn handle_failover(&mut self, now: Instant) {
        self.for_each_exchange(now, |exchange, _, out| {
            exchange.with_stream(out, |stream, _| stream.handle_failover(now));
        });
        let finished: Vec<_> = self.streams.all_finished().filter_map(Stream::number).collect();
        for number in finished {
            self.with_reply(now, number, |stream, _| stream.handle_failover(now));
        }
    }

    /// `notifications/initialized` has arrived at another node, which counts as if it had arrived here. Returns whether
    /// this changed the session (C-10).
    pub fn handle_initialized(&mut self, now: Instant) -> bool {
        let news = match self.lifecycle {
            Lifecycle::Live(handshake) | Lifecycle::Draining(handshake, _) => {
                matches!(handshake, Handshake::Answered | Handshake::Used)
            }
            Lifecycle::Terminated(..) => false,
        };
        if news {
            if !self.lifecycle.is_ending() {
                self.touch(now);
            }
            self.lifecycle.reach(Handshake::Initialized);
            self.lifetime().into_iter().for_each(|due| self.timer.arm(due));
            self.wake_listener();
        }
        news
    }

    /// Wakes the task that relays the standalone log: its events may be sent now.
    pub(super) fn wake_listener(&mut self) {
        let tag = self.cluster.as_ref().and_then(|_| self.standalone_tag().cloned());
        tag.into_iter().for_each(|tag| self.output.wake(Wake::Handler(tag)));
    }

    /// The store has given a connection of a reply, of this node or another one, its number among all connections of that
    /// stream; 0 if it did not answer. The connection ends if a newer one has taken over at another node meanwhile (D-21).
    pub fn handle_attached(&mut self, now: Instant, key: StreamKey, number: u64) {
        if let StreamKey::Resumed(..) = key {
            self.with_stream(now, key, |stream, connection, out| {
                stream.handle_attached(connection, number, out);
            });
            self.advance(now);
        }
    }

    /// The client reads this stream at another node, on the connection with this number: an older connection of this node
    /// that carries it ends (D-21). The standalone stream has listeners instead.
    ///
    /// Said again as long as it reads there: a call counts as left since the last time (E-14). With the number 0, which stands for a
    /// connection that the store has not numbered, that is all.
    pub fn handle_taken_over(&mut self, now: Instant, stream: u64, number: u64) {
        self.with_relay(now, stream, |relay, out| relay.handle_taken_over(number, out));
        let newer = self.with_reply(now, stream, |reply, out| reply.handle_taken_over(number, out));
        if newer == Some(true) || number == 0 {
            self.with_exchange(now, ExchangeKey(stream), |exchange, _, _| exchange.note_reader());
        }
        self.advance(now);
    }

    // The listener of the standalone log.

    /// The listener number with which this node last read the standalone log for the client; 0 if it never has.
    pub fn listener(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.listener)
    }

    /// From now on this node reads the standalone log for the client, as the listener with this number. It continues
    /// where the listeners before it stopped. Returns `false` if a listener with a higher number is known.
    pub fn listen(&mut self, number: u64, heard: Position) -> bool {
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.other <= number) else {
            return false;
        };
        cluster.listener = number;
        cluster.heard = cluster.heard.max(heard);
        true
    }

    /// Fails if another node has become the listener since this one did: it may have sent events by now (D-21).
    pub(super) fn still_listens(&self) -> Result<(), Refusal> {
        let superseded = self.cluster.as_ref().is_some_and(|cluster| cluster.other > cluster.listener);
        if superseded { Err(Refusal::StreamTaken) } else { Ok(()) }
    }

    /// Another node is the listener, with this number: the connection of this node that carries the standalone log ends
    /// (D-21). Returns this node's listener number and the position that it reached; `None` if it never listened, or
    /// has taken over since.
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

    /// Opens a connection for a stream that is read from the store after this event, which the store knows: a stream
    /// of another node, or one that this node has forgotten. An older connection of the same stream ends (D-23).
    /// `request` is what the stream replies to: if the session ends for good, its answer may not reach the store (S5).
    ///
    /// # Errors
    ///
    /// [`Refusal`], by state (C.2).
    pub fn handle_relay(
        &mut self,
        now: Instant,
        after: EventId,
        request: Option<RequestId>,
        tag: T,
    ) -> Result<StreamKey, Refusal> {
        let standalone = self.cluster.as_ref().is_some_and(|cluster| cluster.standalone == after.stream);
        if let Verdict::Refuse(refusal) = self.on(if standalone { Input::Get } else { Input::Resume }) {
            return Err(refusal);
        }
        if self.lifecycle.ending().is_some_and(|ending| ending.phase >= Phase::Finishing) {
            return Err(Refusal::Draining); // this node has only its own answers left to deliver
        }
        if standalone {
            self.still_listens()?;
        }
        let running = self.exchanges.get(ExchangeKey(after.stream)).map(|exchange| exchange.stream());
        let kept = self.streams.finished(after.stream).map(Some);
        let whole = |own: Option<&Stream<T>>| own.is_some_and(|own| own.is_storing() || own.is_stored());
        if !running.or(kept).is_none_or(whole) {
            return Err(Refusal::UnknownEvent); // a stream of this node whose rest is not written to the store
        }
        self.touch(now);
        let connection = self.next_key();
        if standalone {
            if let Some(cluster) = &mut self.cluster {
                cluster.heard = after.position;
            }
            self.drop_standalone();
            let mut stream = Stream::new(now, tag, None, &mut self.output);
            stream.comment();
            self.set_standalone(now, stream.on(connection));
            return Ok(StreamKey::Standalone(connection));
        }
        self.hand_over_relay(now, after.stream);
        self.with_reply(now, after.stream, Stream::hand_over);
        let mut stream = Stream::new(now, tag, None, &mut self.output);
        stream.comment();
        self.add_relay(after.stream, stream.on(connection), request);
        Ok(StreamKey::Resumed(ExchangeKey(after.stream), connection))
    }

    /// Passes on an event that was read from the store, with its id. The stream ends with it if it is the `last` of its
    /// log: nothing may come between an answer and its end.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`]: wait for [`Wake::Handler`](crate::Wake::Handler). [`SendError::Closed`]: nobody reads it.
    pub fn relay(
        &mut self,
        now: Instant,
        key: StreamKey,
        event: &Bytes,
        last: bool,
    ) -> Result<(), SendError> {
        let pushed = self.with_relayed(key, |stream, config, out| {
            stream.push(now, event, config, out).inspect(|()| {
                if last {
                    stream.end(out);
                }
            })
        });
        if last {
            self.advance(now);
        }
        match pushed {
            Some(pushed) => pushed.map_err(|_| SendError::Full),
            None => Err(SendError::Closed),
        }
    }

    /// Ends a relayed stream: nothing is left to relay.
    pub fn end_relay(&mut self, now: Instant, key: StreamKey) {
        self.with_relayed(key, |stream, _, out| stream.end(out));
        self.advance(now);
    }

    /// Cuts a relayed stream: its next events are forgotten, and the connection must not skip them.
    pub fn cut_relay(&mut self, now: Instant, key: StreamKey) {
        self.with_relayed(key, |stream, _, out| stream.cut(out));
        self.advance(now);
    }

    /// Whether the relayed stream still has a reader. If so, [`Wake::Handler`](crate::Wake::Handler) follows
    /// when the reader is gone.
    pub fn poll_relay(&mut self, key: StreamKey) -> bool {
        self.with_relayed(key, |stream, _, _| stream.tell_end()).is_some()
    }

    /// The number that the store has given to this connection, to which a reply is relayed; 0 if it has not.
    pub fn attached(&mut self, key: StreamKey) -> u64 {
        self.with_relayed(key, |stream, _, _| stream.attached()).unwrap_or_default()
    }

    // Parts.

    /// Queues an event for the standalone log, with the source and the token of an announcement if it is one. `None` if there
    /// is no store.
    pub(super) fn publish(
        &mut self,
        event: &Bytes,
        announced: Option<(u64, u64)>,
    ) -> Option<Result<(), SendError>> {
        let limit = self.config.queue_events;
        let cluster = self.cluster.as_mut()?;
        Some(if cluster.outbox.len() < limit {
            cluster.outbox.push_back(Unpublished { announced, event: event.clone() });
            Ok(())
        } else {
            Err(SendError::Full)
        })
    }

    /// Drops the events that are not published yet.
    pub(super) fn forget_effects(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.outbox.clear();
        }
    }

    /// The priming event of a GET stream, for a client that understands one: its position in the standalone log.
    pub(super) fn shared_priming(&self) -> Option<Bytes> {
        let cluster = self.cluster.as_ref()?;
        self.config.replay.as_ref()?;
        let id = EventId { stream: cluster.standalone, position: cluster.heard };
        self.is_primed().then(|| encode_priming(id))
    }

    /// Records the position of the last of these events, which were sent on the GET stream.
    pub(super) fn note_heard(&mut self, events: &[u8]) {
        let Some(cluster) = &mut self.cluster else { return };
        let id = last_id(events).and_then(|id| std::str::from_utf8(id).ok()).and_then(EventId::parse);
        if let Some(id) = id {
            cluster.heard = cluster.heard.max(id.position);
        }
    }

    /// The session begins to drain in a shutdown: its streams are to be resumed at other nodes. Ends each connection,
    /// with `retry` (S6, F-39). A reply keeps its connection if its client does not understand a priming event (D-05),
    /// or if it is answered as JSON; and so does the reply to `initialize`, whose client has no session id to come back
    /// with.
    pub(super) fn detach(&mut self, now: Instant) {
        let Some(replay) = self.config.replay else { return };
        if self.is_primed() && self.is_established() {
            self.for_each_exchange(now, |exchange, _, out| {
                exchange.close_connection(now, replay.retry, out);
            });
        }
        self.dismiss_relays(now);
        self.with_standalone(now, |stream, _, out| dismiss(stream, now, replay.retry, out));
    }

    /// Ends each connection to which a stream is relayed, with `retry`: what its client waits for may come from another
    /// node after this one is gone.
    pub(super) fn dismiss_relays(&mut self, now: Instant) {
        let Some(replay) = self.config.replay else { return };
        self.for_each_relay(|stream, out| dismiss(stream, now, replay.retry, out));
    }

    /// Whether another node can adopt the session after this ending: a shutdown, with a store.
    pub(super) fn moves(&self, reason: TerminateReason) -> bool {
        self.cluster.is_some() && reason == TerminateReason::Shutdown
    }

    /// Whether a request of the client with this id is running at this node.
    pub fn runs(&self, id: &RequestId) -> bool {
        self.exchanges.running(id).is_some()
    }

    /// The relayed streams that are open and whose connections are not about to close.
    pub(super) fn relays(&self) -> impl Iterator<Item = &Stream<T>> {
        self.streams.relays().filter(|stream| stream.is_served())
    }

    /// A relayed stream has lost its reader: the idle timeout counts from now.
    pub(super) fn relay_is_over(&mut self, now: Instant) {
        self.active = self.active.max(now);
        self.lifetime().into_iter().for_each(|due| self.timer.arm(due));
    }
}

fn dismiss<T: Clone>(stream: &mut Stream<T>, now: Instant, retry: Duration, out: &mut Output<T>) {
    stream.push_unbounded(now, encode_retry(retry), out);
    stream.end(out);
}

/// The id of the last of these events that has one: its line is the only one that begins so.
fn last_id(events: &[u8]) -> Option<&[u8]> {
    events.rsplit(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"id: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_id_of_several_events_is_found() {
        let id = |events: &'static str| last_id(events.as_bytes()).map(|id| std::str::from_utf8(id).unwrap());
        assert_eq!(id("id: 1-2\ndata: a\n\nid: 1-3\nevent: message\ndata: id: 9-9\n\n:\n\n"), Some("1-3"));
        assert_eq!(id("id: 1-2\ndata: a\n\n"), Some("1-2"));
        assert_eq!(id(":\n\nid: 1-2\n"), Some("1-2"));
        assert_eq!(id(":\n\nretry: 5\n\n"), None);
        assert_eq!(id(""), None);
    }
}
