//! [`Durable`]: how much of a stream the store has.

use bytes::Bytes;

use super::{Life, Stream, log::Log};
use crate::{config::SessionConfig, id::RequestId, output::Output};

/// How much of a stream the store has. Events that the store does not have are not sent.
#[derive(Debug)]
pub(super) struct Durable {
    request: RequestId,
    /// The first position that the store does not have; 0 until it knows of the stream.
    stored: u64,
    end_stored: bool,
    /// An append is queued or in flight.
    queued: bool,
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
        let mut unstored = log.from(self.stored);
        let count = unstored.by_ref().take(config.queue_events).count();
        let bytes: usize = log.from(self.stored).map(Bytes::len).sum();
        count == 0 || (count < config.queue_events && bytes <= config.queue_bytes)
    }
}

impl<T: Clone> Stream<T> {
    /// From now on the whole stream is written to the store, as the reply to this request.
    pub(crate) fn store(&mut self, request: RequestId) {
        self.durable = Some(Box::new(Durable { request, stored: 0, end_stored: false, queued: false }));
    }

    /// Whether the store has the whole stream, its end included.
    pub(crate) fn is_stored(&self) -> bool {
        self.durable.as_ref().is_some_and(|durable| durable.end_stored)
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
        let wants = durable.stored < end || (ended && !durable.end_stored);
        let queues = wants && !durable.queued;
        durable.queued |= queues;
        queues
    }

    /// The next append, with all events that the store does not have.
    pub(crate) fn next_append(&self, stream: u64) -> Option<Unstored> {
        let durable = self.durable.as_ref()?;
        let at = durable.stored.max(1);
        let events = self.log.from(at).cloned().collect();
        Some(Unstored { stream, request: durable.request.clone(), at, events, ends: self.has_ended() })
    }

    /// The store answered an append.
    pub(crate) fn handle_stored(&mut self, append: &Unstored, stored: Stored, out: &mut Output<T>) {
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
            // The stream goes on without the store: other nodes do not know its ids.
            Stored::Behind(_) | Stored::Sealed | Stored::Failed => self.durable = None,
        }
        self.wake_all(out);
    }

    /// The store may have lost the last event that it had: that event is appended again, with the end if there is one.
    pub(crate) fn handle_failover(&mut self) {
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
