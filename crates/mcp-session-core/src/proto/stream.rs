//! [`Stream`]: an ordered sequence of events, the connection that carries it, and one end.

mod durable;
mod log;

use std::{
    mem,
    time::{Duration, Instant},
};

use bytes::Bytes;

pub use self::durable::{Append, Stored};
use self::{durable::Durable, log::Log};
use super::event::{HEARTBEAT, encode_priming, encode_retry, with_id};
use crate::proto::{
    config::SessionConfig,
    event::EventId,
    output::{Output, Wake},
};

/// The queue is full: wait for [`Wake::Handler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream's queue is full")]
pub struct Full;

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// An event, and whether it was the last one: then the connection has ended with it.
    Event(Bytes, bool),
    /// Nothing yet: wait for [`Wake::Reader`].
    Pending,
    /// The end. The body closes properly.
    End,
    /// The end by force, with events unsent. The body must not pretend that it is complete.
    Cut,
}

/// The name of a stream that can be resumed, of which its events have their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// Its number, unique in the session.
    pub number: u64,
    /// Whether its client understands a priming event (D-09).
    pub primed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// Nothing more comes; what waits, and the end itself, have yet to be taken.
    Ending,
    /// The end was taken, or there is nobody to take it.
    Over,
    Cut,
}

/// The connection that a stream is on at the moment.
#[derive(Debug)]
struct Connection<T> {
    number: u64,
    /// `None` until somebody waits.
    reader: Option<T>,
    /// What goes out before the next event: a comment, or the priming event.
    preamble: Option<Bytes>,
    /// It ends before the event of that position, with `retry` or without a word, while the stream lives on.
    close_at: Option<(u64, Option<Bytes>)>,
}

/// An ordered sequence of events on its way to one client.
///
/// One connection at a time carries it. A stream that has a [`Name`] outlives its connections: it keeps what was sent
/// and what comes while its client is away, and goes on where the client says ([`Stream::resume`]). One without ends
/// with its connection.
#[derive(Debug)]
pub struct Stream<T> {
    name: Option<Name>,
    /// Whoever waits for space.
    senders: Option<T>,
    connection: Option<Connection<T>>,
    log: Log,
    /// What a store has of it, if one is to have all of it.
    durable: Option<Box<Durable>>,
    life: Life,
    /// The client can come back to it: it has seen an id, or needs none.
    resumable: bool,
    /// The client was sent away and told when to come back.
    retry_sent: bool,
    /// Something was forgotten that its client, who is away, has never been sent: no id that it has is good any more.
    lost: bool,
    /// Since when nothing has been pushed: heartbeats count from here.
    quiet_since: Instant,
    /// A heartbeat fell due while an earlier event was still unread.
    stalled: bool,
    /// Somebody was refused with [`Full`] and waits for space.
    awaited: bool,
}

impl<T: Clone> Stream<T> {
    /// An open, empty stream on the connection 0 of whoever works on it. With a name that has it, it begins with a
    /// priming event (D-08).
    pub fn new(now: Instant, tag: impl Into<Option<T>>, name: Option<Name>, out: &mut Output<T>) -> Self {
        let mut stream = Self::unread(now, name);
        stream.resumable = false;
        stream.carry(now, 0, tag.into(), out);
        stream.prime();
        stream
    }

    /// An open, empty stream that nobody reads yet.
    pub(super) fn unread(now: Instant, name: Option<Name>) -> Self {
        Self {
            name,
            senders: None,
            connection: None,
            log: Log::default(),
            durable: None,
            life: Life::Open,
            resumable: name.is_some(),
            retry_sent: false,
            lost: false,
            quiet_since: now,
            stalled: false,
            awaited: false,
        }
    }

    // Connections.

    /// A new connection carries it from where the last one was, after this preamble, or one of its own. The last one ends,
    /// if it is still there (D-23).
    pub fn connect(
        &mut self,
        now: Instant,
        connection: u64,
        reader: T,
        preamble: Option<Bytes>,
        out: &mut Output<T>,
    ) {
        self.carry(now, connection, Some(reader), out);
        preamble.into_iter().for_each(|preamble| self.greet(preamble));
        self.prime();
        self.comment();
    }

    /// A new connection carries it, beginning with what follows `position` (D-30). The last one ends, if it is still
    /// there. Returns whether the stream knows that position, and still has all that follows it.
    pub fn resume(
        &mut self,
        now: Instant,
        position: u64,
        connection: u64,
        reader: T,
        out: &mut Output<T>,
    ) -> bool {
        let known = self.resumable && self.life != Life::Cut && self.log.rewind(position);
        if known {
            if self.life == Life::Over {
                self.life = Life::Ending;
            }
            self.carry(now, connection, Some(reader), out);
            if self.life == Life::Open && self.log.waiting() == 0 {
                self.comment(); // so that the client and every proxy see it open (B-33)
            }
        }
        known
    }

    /// The reader of this connection has gone. Returns whether it was the one that carried the stream. What is queued
    /// waits for the next one, if the client can come back; else it has nobody to go to.
    pub fn disconnect(&mut self, connection: u64, out: &mut Output<T>) -> bool {
        if !self.is_carried_by(connection) {
            return false;
        }
        match self.life {
            Life::Open | Life::Ending => {
                self.leave(out);
                if !self.resumable {
                    self.lose(out);
                    self.life = Life::Over;
                }
            }
            Life::Over | Life::Cut => self.connection = None,
        }
        true
    }

    /// Ends the connection after what is queued, with `retry`, while the stream lives on (D-06, D-07). Returns whether
    /// it does: only for a client that understands it and is there.
    pub fn close_connection(&mut self, retry: Duration, out: &mut Output<T>) -> bool {
        let polls = self.is_served() && self.name.is_some_and(|name| name.primed);
        if polls {
            self.dismiss(Some(encode_retry(retry)), out);
        }
        polls
    }

    /// Another connection carries it now, perhaps at another node: this one ends.
    pub(super) fn hand_over(&mut self, out: &mut Output<T>) {
        if self.is_connected() {
            self.leave(out);
            if self.name.is_none() {
                self.lose(out);
                self.life = Life::Over;
            }
        }
    }

    /// The same, with a connection of this number.
    pub(super) fn on(mut self, connection: u64) -> Self {
        self.connection.iter_mut().for_each(|current| current.number = connection);
        self
    }

    /// Whoever waits for space is told as well when nobody reads it any more.
    pub(super) fn tell_end(&mut self) {
        self.awaited = true;
    }

    /// Ends the connection of a client that is not there any more, after what is queued. A stream that the client could
    /// come back to lives on.
    pub(super) fn close(&mut self, out: &mut Output<T>) {
        if self.name.is_none() {
            return self.end(out);
        }
        self.dismiss(None, out);
    }

    /// Its client does not come back: neither the store nor anybody else is waited for.
    pub(super) fn forsake(&mut self) {
        self.durable = None;
        self.retry_sent = false;
    }

    /// Takes [`Stream::close_connection`] back, where it is not too late.
    pub(super) fn stay(&mut self) {
        if let Some(current) = &mut self.connection {
            current.close_at = None;
        }
    }

    // Events.

    /// Queues an event. While the client is away it is kept, within the bounds of the session's replay.
    ///
    /// # Errors
    ///
    /// [`Full`] if the queue holds as many events or bytes as it may. [`Wake::Handler`] tells when to try again.
    pub fn push(
        &mut self,
        now: Instant,
        event: &Bytes,
        config: &SessionConfig,
        out: &mut Output<T>,
    ) -> Result<(), Full> {
        self.push_with(now, event, Bytes::clone, config, out)
    }

    /// The same; `keep` makes what is queued of the event.
    pub(super) fn push_with(
        &mut self,
        now: Instant,
        event: &Bytes,
        keep: impl FnOnce(&Bytes) -> Bytes,
        config: &SessionConfig,
        out: &mut Output<T>,
    ) -> Result<(), Full> {
        let waiting = self.log.waiting();
        let fits = waiting < config.queue_events
            && (waiting == 0 || self.log.waiting_bytes() + event.len() <= config.queue_bytes);
        let waits = match &self.durable {
            Some(durable) => !durable.has_space(&self.log, config) || (self.is_carried() && !fits),
            None => self.is_carried() && !fits,
        };
        if waits {
            self.awaited = true;
            return Err(Full);
        }
        self.push_unbounded(now, keep(event), out);
        Ok(())
    }

    /// Queues an event beyond the bounds: for what must never wait and comes at most once for something that was
    /// bounded, such as the one terminal answer.
    pub fn push_unbounded(&mut self, now: Instant, event: Bytes, out: &mut Output<T>) {
        if self.life == Life::Open {
            self.log.push(event);
            self.quiet_since = now;
            self.wake_reader(out);
        }
    }

    /// Ends the stream after what is queued.
    pub fn end(&mut self, out: &mut Output<T>) {
        if self.life == Life::Open {
            self.life = Life::Ending;
            self.stay();
            self.wake_all(out);
        }
    }

    /// Ends the stream now, by force. What is queued is lost, and so is what it has kept.
    pub fn cut(&mut self, out: &mut Output<T>) {
        self.lose(out);
        self.durable = None;
        self.name = None;
        self.resumable = false;
        if matches!(self.life, Life::Open | Life::Ending) {
            self.life = match &self.connection {
                Some(_) => {
                    out.tally.streams_cut += 1;
                    Life::Cut
                }
                None => Life::Over,
            };
            self.wake_all(out);
        }
    }

    /// Takes the next event of this connection.
    pub fn poll_event(&mut self, connection: u64, out: &mut Output<T>) -> Next {
        let current = match &mut self.connection {
            Some(current) if current.number == connection => current,
            Some(_) | None => return Next::End, // a newer connection has taken over, or it is over
        };
        if self.life == Life::Cut {
            return Next::Cut;
        }
        let before = self.durable.as_ref().map_or(u64::MAX, |durable| durable.stored());
        if before == 0 {
            return Next::Pending; // whatever id it sends, the store has to know of it
        }
        let event = if let Some(preamble) = current.preamble.take() {
            self.resumable |= self.name.is_some_and(|name| name.primed);
            Some(preamble)
        } else if let Some((_, retry)) = current.close_at.take_if(|(end, _)| *end == self.log.next()) {
            self.retry_sent = retry.is_some();
            self.leave(out);
            return retry.map_or(Next::End, |retry| Next::Event(retry, true));
        } else {
            match self.name {
                None => self.log.take(),
                Some(Name { number, .. }) => self.log.send(before).map(|(position, event)| {
                    self.resumable = true;
                    with_id(EventId { stream: number, position: position.into() }, event)
                }),
            }
        };
        let last = self.life == Life::Ending && self.log.waiting() == 0;
        if last {
            self.leave(out);
            self.life = Life::Over;
        }
        match event {
            Some(event) => {
                self.stalled = false;
                self.wake_senders(out);
                Next::Event(event, last)
            }
            None if last => Next::End,
            None => Next::Pending,
        }
    }

    /// Queues a heartbeat if the stream was silent for long enough. Returns whether its reader has taken all that
    /// came before: a sign of life.
    pub fn handle_silence(&mut self, now: Instant, config: &SessionConfig, out: &mut Output<T>) -> bool {
        if self.next_timeout(config).is_none_or(|due| now < due) {
            return false;
        }
        let alive = self.queued() == 0;
        self.quiet_since = now;
        if alive {
            self.comment();
            self.wake_reader(out);
        } else {
            // Its reader would get this comment only after what it does not read: a second one tells nothing.
            self.stalled = true;
        }
        alive
    }

    /// A comment goes out, unless something else does before the next event.
    pub(super) fn comment(&mut self) {
        self.greet(Bytes::from_static(HEARTBEAT));
    }

    // What it keeps: see `Replay`.

    /// The size of the next event that has become a matter of replay: it was sent, or its client is away. The end
    /// is one, of no size, after the last event.
    pub(super) fn keep_next(&mut self) -> Option<usize> {
        if !self.resumable {
            return None; // nobody can ask for it
        }
        let missed = !self.is_carried();
        let ended = match self.life {
            Life::Open => false,
            Life::Ending | Life::Over => missed,
            Life::Cut => return None,
        };
        let before = self.durable.as_ref().map_or(u64::MAX, |durable| durable.stored());
        self.log.keep_next(before, missed, ended && self.log.end() <= before)
    }

    /// How many of those are not any more, the latest ones: they are to be sent again.
    pub(super) fn release(&mut self) -> usize {
        if self.is_carried() { self.log.release() } else { 0 }
    }

    /// Forgets the oldest of those. A connection that was yet to send it, on its way to its end, ends now: it must not skip
    /// anything.
    pub(super) fn forget_first(&mut self, out: &mut Output<T>) {
        let next = self.log.next();
        if self.log.forget_first() {
            self.life = Life::Over; // the end was the last of it
            self.resumable = false;
        }
        if self.log.next() != next {
            if self.is_connected() {
                self.leave(out);
            }
            self.lost = self.durable.is_none(); // a store may keep more
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.log.kept()
    }

    // Getters.

    /// When [`Stream::handle_silence`] wants to be called.
    pub fn next_timeout(&self, config: &SessionConfig) -> Option<Instant> {
        config
            .heartbeat_due(self.quiet_since)
            .filter(|_| self.life == Life::Open && self.connection.is_some())
    }

    /// Whether more may be pushed.
    pub fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// Whether a connection carries it, and has not taken its end.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some() && matches!(self.life, Life::Open | Life::Ending)
    }

    /// Whether a connection carries it that is to go on doing so.
    pub fn is_served(&self) -> bool {
        self.life == Life::Open && self.is_carried()
    }

    /// Whether this connection carries it, or it goes on without.
    pub(super) fn outlives(&self, connection: u64) -> bool {
        self.name.is_some() || self.is_carried_by(connection)
    }

    /// Whether its client is away and can come back to it.
    pub fn is_away(&self) -> bool {
        self.connection.is_none() && matches!(self.life, Life::Open | Life::Ending)
    }

    /// Whether its client is away, because it was told to come back later.
    pub fn is_invited(&self) -> bool {
        self.retry_sent && self.is_away()
    }

    /// Whether its client is away, and cannot come back because what it would need first is forgotten.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Its client is not waited for any more.
    pub(super) fn expect_nobody(&mut self) {
        self.retry_sent = false;
    }

    /// Whether its reader has taken the end, or has gone for good.
    pub fn is_over(&self) -> bool {
        self.life == Life::Over
    }

    /// Whether it was ended by force.
    pub fn is_cut(&self) -> bool {
        self.life == Life::Cut
    }

    /// Whether its client can come back to it, also after its end.
    pub fn is_resumable(&self) -> bool {
        self.resumable
    }

    /// Whether a heartbeat fell due while its reader had left an earlier event unread.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// The connection that carries it.
    pub(super) fn connection(&self) -> Option<u64> {
        self.connection.as_ref().map(|current| current.number)
    }

    /// Its number in the session, if it has a name.
    pub fn number(&self) -> Option<u64> {
        self.name.map(|name| name.number)
    }

    /// What finds those who wait for space. `None` before the first connection: until then nobody has to wait.
    pub fn tag(&self) -> Option<&T> {
        self.senders.as_ref()
    }

    /// This finds those who wait for it, of whom there were none yet.
    pub(super) fn attach(&mut self, tag: &T) {
        self.senders.get_or_insert_with(|| tag.clone());
        let reader = self.connection.as_mut().map(|current| &mut current.reader);
        reader.into_iter().for_each(|reader| *reader = reader.take().or_else(|| Some(tag.clone())));
    }

    /// Nobody sends on it any more.
    pub(super) fn forget_senders(&mut self) {
        self.senders = None;
    }

    // Parts.

    fn carry(&mut self, now: Instant, number: u64, reader: Option<T>, out: &mut Output<T>) {
        if self.is_connected() {
            self.leave(out);
        }
        out.tally.streams_opened += 1;
        if self.senders.is_none() {
            self.senders.clone_from(&reader);
        }
        self.connection = Some(Connection { number, reader, preamble: None, close_at: None });
        self.retry_sent = false;
        self.lost = false;
        self.stalled = false;
        self.quiet_since = now;
        self.wake_reader(out);
    }

    /// What is queued, and what is kept, is lost.
    fn lose(&mut self, out: &mut Output<T>) {
        if let Some(events) = self.log.clear() {
            out.discard(events);
        }
    }

    fn prime(&mut self) {
        if let Some(Name { number, primed: true }) = self.name {
            let id = EventId { stream: number, position: (self.log.next() - 1).into() };
            self.greet(encode_priming(id));
        }
    }

    fn greet(&mut self, preamble: Bytes) {
        if let Some(current) = self.connection.as_mut().filter(|_| self.life == Life::Open) {
            current.preamble.get_or_insert(preamble);
        }
    }

    /// The connection ends after what is queued. What comes from now on is for the next one, and waits for no space.
    fn dismiss(&mut self, retry: Option<Bytes>, out: &mut Output<T>) {
        let end = self.log.end();
        if let Some(current) = &mut self.connection {
            current.close_at = Some((end, retry));
        }
        self.wake_all(out);
    }

    /// The connection is through.
    pub(super) fn leave(&mut self, out: &mut Output<T>) {
        out.tally.streams_ended += 1;
        self.wake_all(out);
        self.connection = None;
    }

    /// Whether what is pushed now is for the connection that there is.
    fn is_carried(&self) -> bool {
        self.connection.as_ref().is_some_and(|current| current.close_at.is_none())
    }

    fn is_carried_by(&self, connection: u64) -> bool {
        self.connection.as_ref().is_some_and(|current| current.number == connection)
    }

    /// What waits for the reader.
    fn queued(&self) -> usize {
        let greets = self.connection.as_ref().is_some_and(|current| current.preamble.is_some());
        self.log.waiting() + usize::from(greets)
    }

    fn wake_reader(&self, out: &mut Output<T>) {
        let reader = self.connection.as_ref().and_then(|current| current.reader.as_ref());
        reader.into_iter().for_each(|reader| out.wake(Wake::Reader(reader.clone())));
    }

    fn wake_senders(&mut self, out: &mut Output<T>) {
        if mem::take(&mut self.awaited) {
            self.senders.iter().for_each(|tag| out.wake(Wake::Handler(tag.clone())));
        }
    }

    /// Whoever waits for space waits in vain, and the reader has an end to take.
    fn wake_all(&mut self, out: &mut Output<T>) {
        self.wake_senders(out);
        self.wake_reader(out);
    }
}

#[cfg(test)]
mod tests;
