//! [`Replay`]: what a session keeps for a client that comes back.

use std::{collections::VecDeque, time::Instant};

use super::{ReplayConfig, Stream, timer::after};

/// The order in which a session's events were sent, or missed by a client that is away: what was first is forgotten
/// first, whatever its stream. The events themselves are with their streams.
#[derive(Debug, Default)]
pub(super) struct Replay {
    order: VecDeque<Kept>,
    bytes: usize,
    /// Streams of which a store is to have more, by their numbers.
    unstored: VecDeque<u64>,
}

#[derive(Debug)]
struct Kept {
    stream: u64,
    bytes: usize,
    since: Instant,
}

impl Replay {
    /// Books what the stream keeps now and did not keep before, and the other way round.
    pub(super) fn book<T: Clone>(&mut self, now: Instant, stream: &mut Stream<T>) {
        let Some(number) = stream.number() else { return };
        for _ in 0..stream.release() {
            if let Some(latest) = self.order.iter().rposition(|kept| kept.stream == number) {
                self.bytes -= self.order.remove(latest).map_or(0, |kept| kept.bytes);
            }
        }
        while let Some(bytes) = stream.keep_next() {
            self.bytes += bytes;
            self.order.push_back(Kept { stream: number, bytes, since: now });
        }
        if stream.queue_append() {
            self.unstored.push_back(number);
        }
    }

    /// The number of the stream that has to forget its oldest event, if there is one.
    pub(super) fn pop_excess(&mut self, now: Instant, limits: &ReplayConfig) -> Option<u64> {
        let excess = self.order.len() > limits.events
            || self.bytes > limits.bytes
            || self.next_timeout(limits).is_some_and(|due| due <= now);
        if !excess {
            return None;
        }
        let Kept { stream, bytes, .. } = self.order.pop_front()?;
        self.bytes -= bytes;
        Some(stream)
    }

    /// The number of a stream of which a store is to have more.
    pub(super) fn pop_unstored(&mut self) -> Option<u64> {
        self.unstored.pop_front()
    }

    /// Whether there is one.
    pub(super) fn has_unstored(&self) -> bool {
        !self.unstored.is_empty()
    }

    /// When the oldest event is too old.
    pub(super) fn next_timeout(&self, limits: &ReplayConfig) -> Option<Instant> {
        self.order.front().map(|oldest| after(oldest.since, limits.age))
    }

    /// How many events, and bytes of them, are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.order.len(), self.bytes)
    }
}
