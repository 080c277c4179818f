//! [`Durable`]: how far a store has a stream.

use bytes::Bytes;

use super::{Life, Stream, log::Log};
use crate::proto::{config::SessionConfig, id::RequestId, output::Output};

/// How far the store has a stream. What it does not have is not sent.
#[derive(Debug)]
pub(super) struct Durable {
    request: RequestId,
    /// The first position that the store does not have; 0 until it knows of the stream.
    stored: u64,
    end_stored: bool,
    /// It waits to be asked for, or is under way.
    queued: bool,
}

/// What has become of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The store has it.
    Done,
    /// The store has lost something: it goes on from here.
    Behind(u64),
    /// Somebody else has ended the log.
    Sealed,
    /// The store did not answer, or could not: it is asked again.
    Later,
    /// The store does not have it, and is not waited for any more.
    Failed,
}

/// What the store should append to the log of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The stream.
    pub stream: u64,
    /// The request whose reply it is.
    pub request: RequestId,
    /// The position of the first of the events.
    pub at: u64,
    /// The events, without their ids.
    pub events: Vec<Bytes>,
    /// Whether the log ends after them.
    pub ends: bool,
}

impl Durable {
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// Whether the store keeps up: whoever sends waits for it, like for a reader.
    pub(super) fn has_space(&self, log: &Log, config: &SessionConfig) -> bool {
        let mut unstored = log.from(self.stored);
        let count = unstored.by_ref().take(config.queue_events).count();
        let bytes: usize = log.from(self.stored).map(Bytes::len).sum();
        count == 0 || (count < config.queue_events && bytes <= config.queue_bytes)
    }
}

impl<T: Clone> Stream<T> {
    /// From now on a store is to have all of it, as the reply to this request.
    pub(in crate::proto) fn store(&mut self, request: RequestId) {
        self.durable = Some(Box::new(Durable { request, stored: 0, end_stored: false, queued: false }));
    }

    /// Whether the store has all of it, and its end.
    pub(in crate::proto) fn is_stored(&self) -> bool {
        self.durable.as_ref().is_some_and(|durable| durable.end_stored)
    }

    /// Whether a store is to have it.
    pub(in crate::proto) fn is_storing(&self) -> bool {
        self.durable.is_some()
    }

    /// Whether there is something to append that has not been asked for. Then it is, from now on.
    pub(in crate::proto) fn queue_append(&mut self) -> bool {
        let ended = self.has_ended();
        let end = self.log.end();
        let Some(durable) = &mut self.durable else { return false };
        let wants = durable.stored < end || (ended && !durable.end_stored);
        let queues = wants && !durable.queued;
        durable.queued |= queues;
        queues
    }

    /// What there is to append.
    pub(in crate::proto) fn next_append(&self, stream: u64) -> Option<Append> {
        let durable = self.durable.as_ref()?;
        let at = durable.stored.max(1);
        let events = self.log.from(at).cloned().collect();
        Some(Append { stream, request: durable.request.clone(), at, events, ends: self.has_ended() })
    }

    /// An append of so many events has been answered.
    pub(in crate::proto) fn handle_stored(&mut self, append: &Append, stored: Stored, out: &mut Output<T>) {
        let first = self.log.first();
        let Some(durable) = &mut self.durable else { return };
        durable.queued = false;
        match stored {
            Stored::Done => {
                durable.stored = durable.stored.max(append.at + append.events.len() as u64);
                durable.end_stored |= append.ends;
            }
            Stored::Later => {}
            Stored::Behind(next) if next >= first => durable.stored = next.max(1),
            // It goes on without: an id of it is unknown elsewhere.
            Stored::Behind(_) | Stored::Sealed | Stored::Failed => self.durable = None,
        }
        self.wake_all(out);
    }

    /// The store may have lost the last event: it gets it once more.
    pub(in crate::proto) fn handle_failover(&mut self) {
        let first = self.log.first();
        if let Some(durable) = &mut self.durable {
            durable.stored = durable.stored.saturating_sub(1).max(first);
            durable.end_stored = false;
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.life, Life::Ending | Life::Over)
    }
}
