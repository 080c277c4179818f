//! [`Stream`]: an ordered sequence of events with one end, and the connection that carries it.

mod attached;
mod connect;
mod durable;
mod kept;
mod log;
mod run;
pub(crate) mod texts;

use std::{mem, time::Instant};

use bytes::Bytes;

pub use self::durable::{REWRITABLE, Stored, Unstored};
pub(crate) use self::log::Kept;
use self::{attached::Attached, durable::Durable, log::Log, run::Run};
use crate::{
    config::SessionConfig,
    event::HEARTBEAT,
    output::{Output, Wake},
};

/// The queue is full: wait for [`Wake::Handler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream's queue is full")]
pub struct Full;

/// What a reader gets next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<E = Bytes> {
    /// An event, or several, and whether the last one is among them. The connection has ended after the last one.
    Event(E, bool),
    /// Nothing yet: wait for [`Wake::Reader`].
    Pending,
    /// The end. The body closes properly.
    End,
    /// A forced end, with events unsent. The body must end with an error, so that it does not look complete.
    Cut,
}

impl<E> Next<E> {
    /// The same, with what `map` makes of the event.
    pub fn map<R>(self, map: impl FnOnce(E) -> R) -> Next<R> {
        match self {
            Self::Event(event, last) => Next::Event(map(event), last),
            Self::Pending => Next::Pending,
            Self::End => Next::End,
            Self::Cut => Next::Cut,
        }
    }
}

/// The name of a stream that can be resumed. Its events' ids contain the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// The stream's number, unique in the session.
    pub number: u64,
    /// Whether the client understands a priming event (D-09).
    pub primed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// Nothing more is pushed; queued events and the end itself have not been read yet.
    Ending,
    /// The end was read, or nobody is left to read it.
    Over,
    Cut,
}

/// The connection that carries a stream at the moment.
#[derive(Debug)]
struct Connection<T> {
    number: u64,
    /// `None` until somebody waits.
    reader: Option<T>,
    /// What is sent before the next event: a comment, or the priming event.
    preamble: Option<Bytes>,
    /// The connection ends before the event at this position, with a `retry` event if there is one; the stream lives on.
    close_at: Option<(u64, Option<Bytes>)>,
}

/// An ordered sequence of events on its way to one client.
///
/// One connection at a time carries it. A stream with a [`Name`] outlives its connections: it keeps the events that
/// were sent and those that are pushed while its client is away, and continues where the client asks
/// ([`Stream::resume`]). A stream without a name ends with its connection.
#[derive(Debug)]
pub struct Stream<T> {
    name: Option<Name>,
    /// Identifies the senders that wait for space.
    senders: Option<T>,
    connection: Option<Connection<T>>,
    log: Log,
    /// How much of it the store has, if it is written to a store.
    durable: Option<Box<Durable>>,
    life: Life,
    /// The client can come back to it: it has seen an id, or needs none.
    resumable: bool,
    /// The client was told to reconnect after `retry`.
    retry_sent: bool,
    /// Which connections at other nodes are newer than the last one here.
    attached: Attached,
    /// An event was forgotten that was never sent to the client, which is away: no id that the client has is valid.
    lost: bool,
    /// When the last event was pushed: heartbeats count from here.
    quiet_since: Instant,
    /// A heartbeat fell due while an earlier event was still unread.
    stalled: bool,
    /// A sender was refused with [`Full`] and waits for space.
    awaited: bool,
}

impl<T: Clone> Stream<T> {
    /// An open, empty stream on connection 0. `tag` identifies its reader and its senders. It begins with a priming
    /// event if `name` says that the client understands one (D-08).
    pub fn new(now: Instant, tag: impl Into<Option<T>>, name: Option<Name>, out: &mut Output<T>) -> Self {
        let mut stream = Self::unread(now, name);
        stream.resumable = false;
        stream.carry(now, 0, tag.into(), out);
        stream.prime();
        stream
    }

    /// An open, empty stream without a connection.
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
            attached: Attached::FIRST,
            lost: false,
            quiet_since: now,
            stalled: false,
            awaited: false,
        }
    }

    // Events.

    /// Queues an event. While the client is away, the event is kept within the bounds of the session's replay.
    ///
    /// # Errors
    ///
    /// [`Full`] if the queue holds as many events or bytes as it may: wait for [`Wake::Handler`].
    pub fn push(
        &mut self,
        now: Instant,
        event: &Bytes,
        config: &SessionConfig,
        out: &mut Output<T>,
    ) -> Result<(), Full> {
        self.push_with(now, event, Bytes::clone, config, out)
    }

    /// The bytes of the events that wait to be sent.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.log.waiting_bytes()
    }

    /// As [`Stream::push`]; `keep` makes the copy that is queued.
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

    /// Queues an event beyond the bounds. For events that must never wait and that are bounded by something else, such
    /// as the one answer to a request.
    pub fn push_unbounded(&mut self, now: Instant, event: Bytes, out: &mut Output<T>) {
        if self.life == Life::Open {
            self.log.push(event);
            self.quiet_since = now;
            self.wake_reader(out);
        }
    }

    /// Ends the stream after the queued events.
    pub fn end(&mut self, out: &mut Output<T>) {
        if self.life == Life::Open {
            self.life = Life::Ending;
            self.stay();
            self.wake_all(out);
        }
    }

    /// Ends the stream now, by force. Queued and kept events are lost.
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
        self.poll_events(connection, 0, out).map(|[first, second]| match second.is_empty() {
            true => first,
            false => [first, second].concat().into(),
        })
    }

    /// Takes the next event of this connection, and those that are ready after it until there are at least so many bytes. An
    /// event that has so many bytes itself is the last of them, and is not copied: it is the second piece, or the first if it
    /// comes without an id and there is none before it. The second piece is empty otherwise.
    pub fn poll_events(&mut self, connection: u64, bytes: usize, out: &mut Output<T>) -> Next<[Bytes; 2]> {
        let current = match &mut self.connection {
            Some(current) if current.number == connection => current,
            Some(_) | None => return Next::End, // a newer connection has taken over, or the stream is over
        };
        if self.life == Life::Cut {
            return Next::Cut;
        }
        let stored = self.durable.as_ref().map_or(u64::MAX, |durable| durable.stored());
        if stored == 0 {
            return Next::Pending; // the store has to know of the stream before any of its ids is sent
        }
        let mut run = Run::new(bytes);
        if let Some(preamble) = current.preamble.take() {
            self.resumable |= self.name.is_some_and(|name| name.primed);
            run.push(preamble);
        }
        let before = current.close_at.as_ref().map_or(stored, |(end, _)| stored.min(*end));
        match self.name {
            None => self.log.take(before, &mut run),
            Some(Name { number, .. }) => self.resumable |= self.log.send(number, before, &mut run),
        }
        if !run.is_empty() {
            self.stalled = false;
            self.wake_senders(out);
        }
        let last = self.ends_after(&mut run);
        if last {
            self.leave(out);
        }
        match last {
            _ if !run.is_empty() => Next::Event(run.into_pieces(), last),
            true => Next::End,
            false => Next::Pending,
        }
    }

    /// Whether the connection ends with this run, because nothing is left to send before its end. Adds `retry` if it has to.
    fn ends_after(&mut self, run: &mut Run) -> bool {
        if self.life == Life::Ending && self.log.waiting() == 0 {
            self.life = Life::Over;
            return true;
        }
        let next = self.log.next();
        let close_at = self.connection.as_mut().map(|current| &mut current.close_at);
        let reached = |close_at: &mut Option<(u64, _)>| close_at.take_if(|(end, _)| *end == next);
        match close_at.filter(|_| !run.is_full()).and_then(reached) {
            Some((_, retry)) => {
                self.retry_sent = retry.is_some();
                retry.into_iter().for_each(|retry| run.push(retry));
                true
            }
            None => false,
        }
    }

    /// Queues a heartbeat if the stream was silent for long enough. Returns `true` if the reader has read everything
    /// before it: a sign of life.
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
            // The reader has not read what was queued before: another comment behind that is useless.
            self.stalled = true;
        }
        alive
    }

    /// Queues a comment before the next event, unless another preamble is queued.
    pub(super) fn comment(&mut self) {
        self.greet(Bytes::from_static(HEARTBEAT));
    }

    // Getters.

    /// When to call [`Stream::handle_silence`] next.
    pub fn next_timeout(&self, config: &SessionConfig) -> Option<Instant> {
        config
            .heartbeat_due(self.quiet_since)
            .filter(|_| self.life == Life::Open && self.connection.is_some())
    }

    /// Whether an event equal to this one waits to be read.
    pub(super) fn holds(&self, event: &Bytes) -> bool {
        self.log.from(self.log.next()).any(|waiting| waiting == *event)
    }

    /// Whether events can be pushed.
    pub fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// Whether a connection carries it that has not read its end yet.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some() && matches!(self.life, Life::Open | Life::Ending)
    }

    /// Whether it is open and its connection is not about to close.
    pub fn is_served(&self) -> bool {
        self.life == Life::Open && self.is_carried()
    }

    /// Whether this connection carries it, or it has a name and so outlives its connections.
    pub(super) fn outlives(&self, connection: u64) -> bool {
        self.name.is_some() || self.is_carried_by(connection)
    }

    /// Whether its client is away and can come back to it.
    pub fn is_away(&self) -> bool {
        self.connection.is_none() && matches!(self.life, Life::Open | Life::Ending)
    }

    /// Whether its client is away because it was told to reconnect later.
    pub fn is_invited(&self) -> bool {
        self.retry_sent && self.is_away()
    }

    /// Whether its client is away and cannot come back, because the next event that it needs was forgotten.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether nobody reads it, and nobody can come back to it.
    pub(super) fn is_gone(&self) -> bool {
        !self.resumable && self.connection.is_none()
    }

    /// The client is not waited for any more.
    pub(super) fn expect_nobody(&mut self) {
        self.retry_sent = false;
    }

    /// Whether its reader has read the end, or has gone for good.
    pub fn is_over(&self) -> bool {
        self.life == Life::Over
    }

    /// Whether it was ended by force.
    pub fn is_cut(&self) -> bool {
        self.life == Life::Cut
    }

    /// Whether its client can come back to it, even after its end.
    pub fn is_resumable(&self) -> bool {
        self.resumable
    }

    /// Whether a heartbeat fell due while its reader had left an earlier event unread.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// The number of the connection that carries it.
    pub(super) fn connection(&self) -> Option<u64> {
        self.connection.as_ref().map(|current| current.number)
    }

    /// Its number in the session, if it has a name.
    pub fn number(&self) -> Option<u64> {
        self.name.map(|name| name.number)
    }

    /// The tag of the senders that wait for space. `None` before the first connection: until then nobody has to wait.
    pub fn tag(&self) -> Option<&T> {
        self.senders.as_ref()
    }

    /// Sets the tag of its senders and its reader, where there was none yet.
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

    /// Drops all queued and kept events.
    fn lose(&mut self, out: &mut Output<T>) {
        if let Some(events) = self.log.clear() {
            out.discard(events);
        }
    }

    /// Whether an event pushed now goes to the current connection.
    fn is_carried(&self) -> bool {
        self.connection.as_ref().is_some_and(|current| current.close_at.is_none())
    }

    fn is_carried_by(&self, connection: u64) -> bool {
        self.connection.as_ref().is_some_and(|current| current.number == connection)
    }

    /// The number of events that wait for the reader, a preamble included.
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

    /// Wakes the senders, which wait in vain, and the reader, which has an end to read.
    fn wake_all(&mut self, out: &mut Output<T>) {
        self.wake_senders(out);
        self.wake_reader(out);
    }
}

#[cfg(test)]
mod tests;
