//! [`Durable`]: how much of a stream the store has.

use std::{
    mem,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Life, Stream, log::Log, texts::Text};
use crate::{config::SessionConfig, id::RequestId, output::Output, timer::after};

/// How long after its end a log can be written again, if the store turns out to have lost its last events. 5 seconds: the
/// replica to which a store fails over is behind by less.
pub const REWRITABLE: Duration = Duration::from_secs(5);

/// How much of a stream the store has. Events that the store does not have are not sent.
#[derive(Debug)]
pub(super) struct Durable {
    request: RequestId,
    /// The first position that the store does not have; 0 until it knows of the stream.
    stored: u64,
    /// Since when it has the whole stream, its end included.
    complete: Option<Instant>,
    /// An append is queued or in flight.
    queued: bool,
    /// The store may have lost what is in flight, whatever it answers: that is appended again.
    doubted: bool,
}

/// The outcome of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The store has the events.
    Done,
    /// The store has lost events: it continues at this position.
    Behind(u64),
    /// Another node has ended the log, because this one seemed to be gone.
    Sealed,
    /// The store failed or did not answer: the append is repeated.
    Later,
    /// The store does not have the events and is not waited for any more.
    Failed,
}

/// The events of a stream that the store does not have, to append to its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unstored {
    /// The stream's number.
    pub stream: u64,
    /// The request that the stream replies to.
    pub request: RequestId,
    /// The position of the first event.
    pub at: u64,
    /// The events, without their ids.
    pub events: Vec<Bytes>,
    /// Whether the log ends after these events.
    pub ends: bool,
}

impl Durable {
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// Whether the store keeps up. A sender waits for a slow store as it does for a slow reader.
    pub(super) fn has_space(&self, log: &Log, config: &SessionConfig) -> bool {
        let count = log.from(self.stored).take(config.queue_events).count();
        let bytes = log.bytes_from(self.stored);
        count == 0 || (count < config.queue_events && bytes <= config.queue_bytes)
    }
}

impl<T: Clone> Stream<T> {
    /// From now on the whole stream is written to the store, as the reply to this request.
    pub(crate) fn store(&mut self, request: RequestId) {
        let (stored, complete, queued, doubted) = (0, None, false, false);
        self.durable = Some(Box::new(Durable { request, stored, complete, queued, doubted }));
    }

    /// Whether the store has the whole stream, its end included.
    pub(crate) fn is_stored(&self) -> bool {
        self.durable.as_ref().is_some_and(|durable| durable.complete.is_some())
    }

    /// Whether it is written to a store.
    pub(crate) fn is_storing(&self) -> bool {
        self.durable.is_some()
    }

    /// Marks an append as queued if there is something new to append. Returns whether it did.
    pub(crate) fn queue_append(&mut self) -> bool {
        let ended = self.has_ended();
        let end = self.log.end();
        let Some(durable) = &mut self.durable else { return false };
        let wants = durable.stored < end || (ended && durable.complete.is_none());
        let queues = wants && !durable.queued;
        durable.queued |= queues;
        queues
    }

    /// The next append, with all events that the store does not have and the stream still has: those that the client has read may
    /// be gone, and the store says if it has lost them as well.
    pub(crate) fn next_append(&self, stream: u64) -> Option<Unstored> {
        let durable = self.durable.as_ref()?;
        let at = durable.stored.max(self.log.first()).max(1);
        let events = self.log.from(at).map(Text::to_bytes).collect();
        Some(Unstored { stream, request: durable.request.clone(), at, events, ends: self.has_ended() })
    }

    /// The store answered an append.
    pub(crate) fn handle_stored(
        &mut self,
        now: Instant,
        append: &Unstored,
        stored: Stored,
        out: &mut Output<T>,
    ) {
        let first = self.log.first();
        let Some(durable) = &mut self.durable else { return };
        durable.queued = false;
        match stored {
            Stored::Done if mem::take(&mut durable.doubted) => {}
            Stored::Done => {
                durable.stored = durable.stored.max(append.at + append.events.len() as u64);
                if append.ends {
                    durable.complete = Some(now);
                }
            }
            Stored::Later => {}
            Stored::Behind(next) if next >= first => durable.stored = next.max(1),
            // The stream goes on without the store: other nodes do not know its ids.
            Stored::Behind(_) | Stored::Sealed | Stored::Failed => self.durable = None,
        }
        self.wake_all(out);
    }

    /// The store may have lost the last events that it had: the last one is appended again, with the end if there is one. The
    /// store says if it has lost others before. A log that ended longer than [`REWRITABLE`] ago is left alone.
    pub(crate) fn handle_failover(&mut self, now: Instant) {
        let first = self.log.first();
        let rewritable = |durable: &&mut Box<Durable>| {
            durable.stored > 0 && durable.complete.is_none_or(|since| now < after(since, REWRITABLE))
        };
        if let Some(durable) = self.durable.as_mut().filter(rewritable) {
            durable.stored = (durable.stored - 1).max(first);
            durable.complete = None;
            durable.doubted = durable.queued;
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.life, Life::Ending | Life::Over)
    }
}
