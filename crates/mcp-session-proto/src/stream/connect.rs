//! The connections that carry a stream, one after the other.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Attached, Connection, Life, Name, Stream};
use crate::{
    event::{EventId, encode_priming, encode_retry},
    output::Output,
};

impl<T: Clone> Stream<T> {
    /// A new connection carries the stream from where the last one stopped. It begins with `preamble`, or with a
    /// priming event or comment of its own. The last connection ends if it is still there (D-23).
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

    /// A new connection carries the stream, beginning after `position`. The last connection ends if it is still there.
    /// Returns `false`, and changes nothing, unless the stream knows that position and still has everything after it
    /// (D-30).
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
                self.comment(); // so that the client and every proxy see that it is open (B-33)
            }
        }
        known
    }

    /// The reader of this connection has gone. Returns whether this connection carried the stream. Queued events wait
    /// for the next connection if the client can come back; else they are dropped and the stream is over.
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

    /// Ends the connection after the queued events, with `retry`, while the stream lives on. Returns whether it does:
    /// only if the client understands this and is connected (D-06, D-07).
    pub fn close_connection(&mut self, retry: Duration, out: &mut Output<T>) -> bool {
        let polls = self.is_served() && self.name.is_some_and(|name| name.primed);
        if polls {
            self.dismiss(Some(encode_retry(retry)), out);
        }
        polls
    }

    /// Ends the connection, because another one carries the stream now, perhaps at another node.
    pub(crate) fn hand_over(&mut self, out: &mut Output<T>) {
        if self.is_connected() {
            self.leave(out);
            if self.name.is_none() {
                self.lose(out);
                self.life = Life::Over;
            }
        }
    }

    /// Sets the number of its connection.
    pub(crate) fn on(mut self, connection: u64) -> Self {
        if let Some(current) = &mut self.connection {
            current.number = connection;
            self.attached = Attached::NEW;
        }
        self
    }

    /// Wakes the senders when the connection ends, even if none waits for space.
    pub(crate) fn tell_end(&mut self) {
        self.awaited = true;
    }

    /// Ends the connection of an unresponsive client after the queued events. A resumable stream lives on.
    pub(crate) fn close(&mut self, out: &mut Output<T>) {
        if self.name.is_none() {
            return self.end(out);
        }
        self.dismiss(None, out);
    }

    /// The client will not come back: neither it nor the store is waited for.
    pub(crate) fn forsake(&mut self) {
        self.durable = None;
        self.retry_sent = false;
    }

    /// Undoes [`Stream::close_connection`] if the connection is still open.
    pub(crate) fn stay(&mut self) {
        if let Some(current) = &mut self.connection {
            current.close_at = None;
        }
    }

    pub(super) fn carry(&mut self, now: Instant, number: u64, reader: Option<T>, out: &mut Output<T>) {
        if self.is_connected() {
            self.leave(out);
        }
        out.tally.streams_opened += 1;
        if self.senders.is_none() {
            self.senders.clone_from(&reader);
        }
        self.connection = Some(Connection { number, reader, preamble: None, close_at: None });
        self.retry_sent = false;
        self.attached = if number == 0 { Attached::FIRST } else { Attached::NEW };
        self.lost = false;
        self.stalled = false;
        self.quiet_since = now;
        self.wake_reader(out);
    }

    pub(super) fn prime(&mut self) {
        if let Some(Name { number, primed: true }) = self.name {
            let id = EventId { stream: number, position: (self.log.next() - 1).into() };
            self.greet(encode_priming(id));
        }
    }

    pub(super) fn greet(&mut self, preamble: Bytes) {
        if let Some(current) = self.connection.as_mut().filter(|_| self.life == Life::Open) {
            current.preamble.get_or_insert(preamble);
        }
    }

    /// The connection ends after the queued events. Later events are for the next connection and wait for no space.
    pub(super) fn dismiss(&mut self, retry: Option<Bytes>, out: &mut Output<T>) {
        let end = self.log.end();
        if let Some(current) = &mut self.connection {
            current.close_at = Some((end, retry));
        }
        self.wake_all(out);
    }

    /// The connection has ended.
    pub(crate) fn leave(&mut self, out: &mut Output<T>) {
        out.tally.streams_ended += 1;
        self.wake_all(out);
        self.connection = None;
    }
}
