//! The streams of a session and the connections that carry them: opening, resuming, reading, disconnecting, and
//! forgetting what is kept.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{ExchangeKey, INITIALIZE, Liveness, Output, Replay, SendError, Session, StreamKey};
use crate::proto::{
    config::{SecondStream, SessionConfig},
    ending::Phase,
    event::EventId,
    state::{Input, Refusal, State, Verdict},
    stream::{Name, Next, Stream},
    timer::after,
    version::ProtocolVersion,
};

/// The first version whose clients understand a priming event (D-09).
const FIRST_PRIMED: ProtocolVersion = ProtocolVersion::V2025_11_25;

impl<T: Clone> Session<T> {
    /// The number of streams that are carried by a connection.
    pub fn streams(&self) -> usize {
        let replies = self.exchanges.values().filter_map(|exchange| exchange.stream());
        let all = replies.chain(self.standalone.as_deref()).chain(self.finished.values().map(AsRef::as_ref));
        all.chain(self.all_relays()).filter(|stream| stream.is_connected()).count()
    }

    // What happened.

    /// GET: opens the standalone stream, or continues it, beginning with the events that were kept while there was no
    /// connection (D-24).
    ///
    /// # Errors
    ///
    /// [`Refusal`], by state (C.2), and [`Refusal::StreamTaken`] or [`Refusal::StreamContested`] by [`SecondStream`].
    pub fn handle_get(&mut self, now: Instant, tag: T) -> Result<StreamKey, Refusal> {
        if let Verdict::Refuse(refusal) = self.state.on(Input::Get) {
            return Err(refusal);
        }
        self.yields_standalone(now, self.config.second_stream)?;
        self.standalone.take_if(|stream| stream.is_over());
        if self.cluster.is_some() {
            // Events that the older connection has not sent are read from the store again.
            self.drop_standalone();
        }
        self.touch(now);
        let (connection, preamble) = (self.next_key(), self.shared_priming());
        self.act_on_standalone(now, |stream, _, out| stream.connect(now, connection, tag, preamble, out));
        Ok(StreamKey::Standalone(connection))
    }

    /// GET with `Last-Event-ID`: continues the stream of that event after it (D-30). A connection that already carries
    /// the stream ends (D-23).
    ///
    /// # Errors
    ///
    /// [`Refusal`], by state (C.2); [`Refusal::UnknownEvent`] for an id that no stream of this session has, or after
    /// which an event was forgotten (D-37); [`Refusal::StreamContested`] as for a GET without an id.
    pub fn handle_resume(&mut self, now: Instant, last_event_id: &str, tag: T) -> Result<StreamKey, Refusal> {
        if let Verdict::Refuse(refusal) = self.state.on(Input::Resume) {
            return Err(refusal);
        }
        if self.phase() == Phase::Closed {
            return Err(Refusal::Draining); // nothing is left, but the id stays valid until the shutdown is over (S2)
        }
        let EventId { stream: number, position } =
            EventId::parse(last_event_id).filter(|id| id.position.epoch == 0).ok_or(Refusal::UnknownEvent)?;
        let position = position.seq;
        self.trim(now); // the timer may be late
        let connection = self.next_key();
        let key = ExchangeKey(number);
        let (known, key) = if self.is_standalone(number) {
            if self.state == State::Draining {
                return Err(Refusal::Draining);
            }
            // A client that knows an id of the stream has read it before: `SecondStream::Refuse` does not apply to it.
            self.yields_standalone(now, SecondStream::Replace)?;
            let known = self
                .act_on_standalone(now, |stream, _, out| stream.resume(now, position, connection, tag, out));
            (known, StreamKey::Standalone(connection))
        } else if let Some(stream) = self.finished.get_mut(&number) {
            let known = stream.resume(now, position, connection, tag, &mut self.output);
            self.replay.track(now, stream);
            (known, StreamKey::Resumed(key, connection))
        } else {
            let known = self.with_exchange(now, key, |exchange, _, out| {
                exchange.handle_resume(now, position, connection, tag, out)
            });
            (known.unwrap_or(false), StreamKey::Resumed(key, connection))
        };
        if !known {
            return Err(Refusal::UnknownEvent);
        }
        self.hand_over_relay(now, number); // until now the stream was read from the store
        self.touch(now);
        Ok(key)
    }

    /// The reader of this connection has gone.
    pub fn handle_disconnect(&mut self, now: Instant, key: StreamKey) {
        match key {
            StreamKey::Response(key) => self.disconnect(now, key, 0),
            StreamKey::Resumed(key, connection) => self.disconnect(now, key, connection),
            StreamKey::Standalone(connection) => {
                let left = self.standalone.is_some()
                    && self.act_on_standalone(now, |stream, _, out| stream.disconnect(connection, out));
                if left {
                    self.standalone.take_if(|stream| stream.is_over());
                    self.active = self.active.max(now);
                    self.timer.arm(after(now, self.config.idle_timeout));
                }
            }
        }
        self.advance(now);
    }

    fn disconnect(&mut self, now: Instant, key: ExchangeKey, connection: u64) {
        if self.with_relay(now, key.0, connection, |stream, out| stream.disconnect(connection, out)).is_some()
        {
            return;
        }
        if let Some(stream) = self.finished.get_mut(&key.0) {
            if stream.disconnect(connection, &mut self.output) && stream.is_cut() {
                self.forget_finished(key.0);
            } else {
                self.replay.track(now, stream);
                self.trim(now);
            }
        } else {
            self.with_exchange(now, key, |exchange, config, out| {
                exchange.handle_disconnect(now, connection, config, out);
            });
        }
    }

    // What the application wants.

    /// Sends an event that belongs to no request on the standalone stream. Without a connection, the event is kept for
    /// the next one within the bounds of replay; without replay it is dropped (D-24). It is also dropped before
    /// `notifications/initialized` (C-06).
    ///
    /// # Errors
    ///
    /// [`SendError::Full`]: wait for [`Wake::Handler`](crate::proto::Wake::Handler). [`SendError::Closed`]: the session is
    /// ending.
    pub fn notify_standalone(&mut self, now: Instant, event: &Bytes) -> Result<(), SendError> {
        if self.ending.is_some() {
            return Err(SendError::Closed);
        }
        // With a store, the node that reads the log checks whether the client is initialized: another node may know it.
        if let Some(sent) = self.publish(event) {
            return sent;
        }
        if !self.is_listening() {
            return Ok(());
        }
        self.act_on_standalone(now, |stream, config, out| stream.push(now, event, config, out))
            .map_err(|_| SendError::Full)
    }

    /// Closes the connection of this exchange after the queued events; the client reconnects after `retry`, and the
    /// stream lives on (SEP-1699, D-06). Returns `false`, and changes nothing, without replay, for versions before
    /// 2025-11-25 (D-05), and in an ending after which nobody could come back (S6).
    pub fn close_connection(&mut self, now: Instant, key: ExchangeKey, retry: Duration) -> bool {
        let lives_on = self.reason().is_none_or(|reason| self.moves(reason));
        if !lives_on || key == INITIALIZE {
            return false;
        }
        self.with_exchange(now, key, |exchange, _, out| exchange.close_connection(now, retry, out))
            .unwrap_or(false)
    }

    /// Whether a notification that belongs to no request can reach the client, now or later.
    pub fn is_listening(&self) -> bool {
        let open = self.standalone.as_deref().is_some_and(Stream::is_open);
        self.cluster.is_some() || (self.initialized && (open || self.config.replay.is_some()))
    }

    /// The tag of the waiters of the standalone stream.
    pub fn standalone_tag(&self) -> Option<&T> {
        self.standalone.as_deref().and_then(Stream::tag)
    }

    // What to do next.

    /// Takes the next event of a connection.
    pub fn poll_event(&mut self, now: Instant, key: StreamKey) -> Next {
        let next = match key {
            StreamKey::Response(key) => self.poll_reply_event(now, key, 0),
            StreamKey::Resumed(key, connection) => self.poll_reply_event(now, key, connection),
            StreamKey::Standalone(connection) => match self.standalone {
                Some(_) => {
                    let next =
                        self.act_on_standalone(now, |stream, _, out| stream.poll_event(connection, out));
                    self.note_heard(&next);
                    next
                }
                None => Next::End,
            },
        };
        self.advance(now);
        next
    }

    fn poll_reply_event(&mut self, now: Instant, key: ExchangeKey, connection: u64) -> Next {
        let relayed =
            self.with_relay(now, key.0, connection, |stream, out| stream.poll_event(connection, out));
        if let Some(next) = relayed {
            return next;
        }
        if let Some(stream) = self.finished.get_mut(&key.0) {
            let next = stream.poll_event(connection, &mut self.output);
            self.replay.track(now, stream);
            self.trim(now);
            return next;
        }
        self.with_exchange(now, key, |exchange, _, out| exchange.poll_event(connection, out))
            .unwrap_or(Next::End)
    }

    // Kept events.

    /// The name of the stream with this number, if streams can be resumed.
    pub(super) fn name(&self, number: u64) -> Option<Name> {
        self.config.replay.as_ref()?;
        Some(Name { number, primed: self.is_primed() })
    }

    /// Whether the client understands a priming event and a closed connection with `retry` (D-09, D-05).
    pub(super) fn is_primed(&self) -> bool {
        self.version >= FIRST_PRIMED
    }

    /// Forgets an exchange that is over. Keeps the stream of its reply if that can be resumed.
    pub(super) fn forget_exchange(&mut self, key: ExchangeKey) {
        let stream = self.exchanges.remove(key).and_then(|exchange| exchange.into_stream());
        if let Some(mut stream) = stream.filter(|stream| stream.is_resumable()) {
            stream.forget_senders();
            self.finished.insert(key.0, stream);
        }
    }

    fn forget_finished(&mut self, number: u64) {
        self.finished.remove(&number);
        if self.finished.is_empty() {
            self.finished = BTreeMap::new(); // an emptied map keeps a node allocated
        }
    }

    /// Forgets the kept events that exceed the bounds of replay.
    pub(super) fn trim(&mut self, now: Instant) {
        let Some(limits) = self.config.replay else { return };
        while let Some(number) = self.replay.pop_excess(now, &limits) {
            if let Some(stream) = self.standalone.as_mut().filter(|stream| stream.number() == Some(number)) {
                stream.forget_first(&mut self.output);
            } else if let Some(exchange) = self.exchanges.get_mut(ExchangeKey(number)) {
                exchange.forget_first(&mut self.output);
                if exchange.is_over() {
                    self.forget_exchange(ExchangeKey(number));
                }
            } else if let Some(stream) = self.finished.get_mut(&number) {
                stream.forget_first(&mut self.output);
                if !stream.is_resumable() {
                    self.forget_finished(number);
                }
            }
        }
        if let Some(due) = self.replay.next_timeout(&limits) {
            self.timer.arm(due);
        }
    }

    /// The session has ended: forgets everything it keeps. Streams that are still read are cut (D-36).
    pub(super) fn forget_all(&mut self) {
        self.replay = Replay::default();
        self.finished.values_mut().for_each(|stream| stream.cut(&mut self.output));
        self.finished.retain(|_, stream| stream.is_cut());
        self.for_each_relay(Stream::cut);
        self.forget_effects();
    }

    fn is_standalone(&self, number: u64) -> bool {
        self.standalone.as_ref().is_some_and(|stream| stream.number() == Some(number))
    }

    /// The only way to change the standalone stream, which is created by its first use: updates timers and replay after
    /// `act`.
    pub(super) fn act_on_standalone<R>(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut Stream<T>, &SessionConfig, &mut Output<T>) -> R,
    ) -> R {
        let mut stream = match self.standalone.take() {
            Some(stream) => stream,
            None => {
                let number = self.next_key();
                // With a store, its events are read from the standalone log, and have the ids of that log.
                let name = self.name(number).filter(|_| self.cluster.is_none());
                Box::new(Stream::unread(now, name))
            }
        };
        let result = act(&mut stream, &self.config, &mut self.output);
        self.replay.track(now, &mut stream);
        if let Some(due) = stream.next_timeout(&self.config) {
            self.timer.arm(due);
        }
        if stream.is_connected() {
            self.liveness.get_or_insert_with(|| Box::new(Liveness::new(now)));
        } else {
            self.liveness = None;
        }
        self.standalone = Some(stream);
        self.ping_due().into_iter().for_each(|due| self.timer.arm(due));
        self.trim(now);
        result
    }

    pub(super) fn next_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key - 1
    }
}
