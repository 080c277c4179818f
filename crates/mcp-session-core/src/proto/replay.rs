//! [`Replay`]: what a session keeps for a client that comes back.

use std::{collections::VecDeque, time::Instant};

use super::timer::after;
use crate::proto::{config::ReplayConfig, stream::Stream};

/// The order in which a session's events were sent, or missed by a client that is away: what was first is forgotten
/// first, whatever its stream. The events themselves are with their streams.
#[derive(Debug, Default)]
pub(super) struct Replay(Option<Box<Buffer>>);

/// There only for as long as there is something in them: most sessions keep nothing most of the time.
#[derive(Debug, Default)]
struct Buffer {
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
    /// Buffer what the stream keeps now and did not keep before, and the other way round.
    pub(super) fn track<T: Clone>(&mut self, now: Instant, stream: &mut Stream<T>) {
        let Some(number) = stream.number() else { return };
        for _ in 0..stream.release() {
            self.update(|buffer| buffer.take_back(number));
        }
        while let Some(bytes) = stream.keep_next() {
            let buffer = self.0.get_or_insert_default();
            buffer.bytes += bytes;
            buffer.order.push_back(Kept { stream: number, bytes, since: now });
        }
        if stream.queue_append() {
            self.0.get_or_insert_default().unstored.push_back(number);
        }
    }

    /// The number of the stream that has to forget its oldest event, if there is one.
    pub(super) fn pop_excess(&mut self, now: Instant, limits: &ReplayConfig) -> Option<u64> {
        let buffer = self.0.as_ref()?;
        let excess = buffer.order.len() > limits.events
            || buffer.bytes > limits.bytes
            || self.next_timeout(limits).is_some_and(|due| due <= now);
        if excess { self.update(Buffer::take_first) } else { None }
    }

    /// The number of a stream of which a store is to have more.
    pub(super) fn pop_unstored(&mut self) -> Option<u64> {
        self.update(|buffer| buffer.unstored.pop_front())
    }

    /// Whether there is one.
    pub(super) fn has_unstored(&self) -> bool {
        self.0.as_ref().is_some_and(|buffer| !buffer.unstored.is_empty())
    }

    /// When the oldest event is too old.
    pub(super) fn next_timeout(&self, limits: &ReplayConfig) -> Option<Instant> {
        let oldest = self.0.as_ref()?.order.front()?;
        Some(after(oldest.since, limits.age))
    }

    /// How many events, and bytes of them, are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        self.0.as_ref().map_or((0, 0), |buffer| (buffer.order.len(), buffer.bytes))
    }

    fn update<R>(&mut self, take: impl FnOnce(&mut Buffer) -> Option<R>) -> Option<R> {
        let taken = take(self.0.as_mut()?);
        self.0.take_if(|buffer| buffer.order.is_empty() && buffer.unstored.is_empty());
        taken
    }
}

impl Buffer {
    /// Takes the latest event of a stream out, which is to be sent again.
    fn take_back(&mut self, stream: u64) -> Option<u64> {
        let latest = self.order.iter().rposition(|kept| kept.stream == stream)?;
        self.take(latest)
    }

    fn take_first(&mut self) -> Option<u64> {
        self.take(0)
    }

    fn take(&mut self, at: usize) -> Option<u64> {
        let Kept { stream, bytes, .. } = self.order.remove(at)?;
        self.bytes -= bytes;
        Some(stream)
    }
}
