//! [`Buffered`]: what a session holds for its client.

use std::{iter::Sum, ops::Add};

/// How much is held for clients: what waits to be sent to them, and what is kept for those that come back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Buffered {
    /// The bytes of events that wait in the queues of streams. At most
    /// [`queue_bytes`](crate::SessionConfig::queue_bytes) for each, and what may exceed it, such as answers.
    pub queue_bytes: u64,
    /// The number of events that are kept for replay.
    pub replay_events: u64,
    /// Their bytes.
    pub replay_bytes: u64,
}

impl Add for Buffered {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            queue_bytes: self.queue_bytes + other.queue_bytes,
            replay_events: self.replay_events + other.replay_events,
            replay_bytes: self.replay_bytes + other.replay_bytes,
        }
    }
}

impl Sum for Buffered {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
