//! The connections that carry a session's streams: opening, resuming, reading, disconnecting.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{ExchangeKey, INITIALIZE, SendError, Session, StreamKey};
use crate::{
    buffered::Buffered,
    config::SecondStream,
    event::EventId,
    state::{Input, Refusal, Verdict},
    stream::{Next, Stream},
    timer::after,
};

impl<T: Clone> Session<T> {
    /// The number of streams that are carried by a connection.
    pub fn streams(&self) -> usize {
        self.all_streams().filter(|stream| stream.is_connected()).count()
    }

    /// What is held for the client now.
    pub fn buffered(&self) -> Buffered {
        let waiting: usize = self.all_streams().map(Stream::waiting_bytes).sum();
        let (events, bytes) = self.streams.kept();
        Buffered { queue_bytes: waiting as u64, replay_events: events as u64, replay_bytes: bytes as u64 }
    }

    fn all_streams(&self) -> impl Iterator<Item = &Stream<T>> {
        let running = self.exchanges.values().filter_map(|exchange| exchange.stream());
        running.chain(self.streams.all())
    }

    // What happened.

    /// GET: opens the standalone stream, or continues it, beginning with the events that were kept while there was no
    /// connection (D-24).
    ///
    /// # Errors
    ///
    /// [`Refusal`], by state (C.2), and [`Refusal::StreamTaken`] or [`Refusal::StreamContested`] by [`SecondStream`].
    pub fn handle_get(&mut self, now: Instant, tag: T) -> Result<StreamKey, Refusal> {
        if let Verdict::Refuse(refusal) = self.on(Input::Get) {
            return Err(refusal);
        }
        self.still_listens()?;
        self.yields_standalone(now, self.config.second_stream)?;
        self.forget_standalone();
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
        if let Verdict::Refuse(refusal) = self.on(Input::Resume) {
            return Err(refusal);
        }
        let EventId { stream: number, position } =
            EventId::parse(last_event_id).filter(|id| id.position.epoch == 0).ok_or(Refusal::UnknownEvent)?;
        let position = position.seq;
        self.trim(now); // the timer may be late
        let connection = self.next_key();
        let (known, key) = if self.streams.is_standalone(number) {
            if let Verdict::Refuse(refusal) = self.on(Input::Get) {
                return Err(refusal);
            }
            // A client that knows an id of the stream has read it before: `SecondStream::Refuse` does not apply to it.
            self.yields_standalone(now, SecondStream::Replace)?;
            let known = self
                .with_standalone(now, |stream, _, out| stream.resume(now, position, connection, tag, out));
            (known, StreamKey::Standalone(connection))
        } else {
            let known = self
                .with_reply(now, number, |stream, out| stream.resume(now, position, connection, tag, out));
            (known, StreamKey::Resumed(ExchangeKey(number), connection))
        };
        if known != Some(true) {
            return Err(Refusal::UnknownEvent);
        }
        self.hand_over_relay(now, number); // until now the stream was read from the store
        self.touch(now);
        Ok(key)
    }

    /// The reader of this connection has gone.
    pub fn handle_disconnect(&mut self, now: Instant, key: StreamKey) {
        match key {
            StreamKey::Response(exchange) => self.disconnect(now, key, exchange, 0),
            StreamKey::Resumed(exchange, connection) => self.disconnect(now, key, exchange, connection),
            StreamKey::Standalone(connection) => {
                let left = self.with_standalone(now, |stream, _, out| stream.disconnect(connection, out));
                if left == Some(true) {
                    self.forget_standalone();
                    self.active = self.active.max(now);
                    self.timer.arm(after(now, self.config.idle_timeout));
                }
            }
        }
        self.advance(now);
    }

    fn disconnect(&mut self, now: Instant, key: StreamKey, exchange: ExchangeKey, connection: u64) {
        if self.exchanges.get(exchange).is_some() && !self.is_relayed(exchange.0, connection) {
            // Its stream may not have begun.
            self.with_exchange(now, exchange, |exchange, config, out| {
                exchange.handle_disconnect(now, connection, config, out);
            });
        } else {
            self.with_stream(now, key, Stream::disconnect);
        }
    }

    // What the application wants.

    /// Sends an event that belongs to no request on the standalone stream. Without a connection, the event is kept for
    /// the next one within the bounds of replay; without replay it is dropped (D-24). It is also dropped before
    /// `notifications/initialized` (C-06).
    ///
    /// # Errors
    ///
    /// [`SendError::Full`]: wait for [`Wake::Handler`](crate::Wake::Handler). [`SendError::Closed`]: the session is
    /// ending.
    pub fn notify_standalone(&mut self, now: Instant, event: &Bytes) -> Result<(), SendError> {
        self.broadcast(now, event, None)
    }

    /// As [`Session::notify_standalone`], for an event that several nodes have. With a store, it is published once, whichever
    /// of them do so: by the source and the token of its announcement ([`Publication`](crate::Publication)).
    ///
    /// # Errors
    ///
    /// As [`Session::notify_standalone`].
    pub fn broadcast(
        &mut self,
        now: Instant,
        event: &Bytes,
        announced: Option<(u64, u64)>,
    ) -> Result<(), SendError> {
        if self.lifecycle.is_ending() {
            return Err(SendError::Closed);
        }
        // With a store, the node that reads the log checks whether the client is initialized: another node may know it.
        if let Some(sent) = self.publish(event, announced) {
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
        let open = self.streams.standalone().is_some_and(Stream::is_open);
        self.cluster.is_some() || (self.is_initialized() && (open || self.config.replay.is_some()))
    }

    /// The tag of the waiters of the standalone stream.
    pub fn standalone_tag(&self) -> Option<&T> {
        self.streams.standalone().and_then(Stream::tag)
    }

    // What to do next.

    /// Takes the next event of a connection.
    pub fn poll_event(&mut self, now: Instant, key: StreamKey) -> Next {
        let next = self.with_stream(now, key, Stream::poll_event);
        let next = next.unwrap_or(Next::End);
        if let (StreamKey::Standalone(_), Next::Event(event, _)) = (key, &next) {
            self.note_heard(event);
        }
        self.advance(now);
        next
    }

    /// Takes the next events of a connection: see [`Stream::poll_events`].
    pub fn poll_events(&mut self, now: Instant, key: StreamKey, bytes: usize) -> Next<[Bytes; 2]> {
        let next =
            self.with_stream(now, key, |stream, connection, out| stream.poll_events(connection, bytes, out));
        let next = next.unwrap_or(Next::End);
        if let (StreamKey::Standalone(_), Next::Event(events, _)) = (key, &next) {
            events.iter().for_each(|events| self.note_heard(events));
        }
        self.advance(now);
        next
    }
}
