//! [`Replay`]: which events a session keeps for a client that comes back.

use std::{collections::VecDeque, time::Instant};

use super::timer::after;
use crate::{config::ReplayConfig, stream::Stream};

/// The order in which a session's events were sent, or missed by a client that is away. The first ones are forgotten
/// first, whatever their stream. The events themselves are kept by their streams.
#[derive(Debug, Default)]
pub(super) struct Replay(Option<Box<Buffer>>);

/// Allocated only while it contains something: most sessions keep nothing most of the time.
#[derive(Debug, Default)]
struct Buffer {
    order: VecDeque<Kept>,
    bytes: usize,
    /// The numbers of streams with something to append to the store.
    unstored: VecDeque<u64>,
}

#[derive(Debug)]
struct Kept {
    stream: u64,
    bytes: usize,
    since: Instant,
}

impl Replay {
    /// Records the events that the stream has begun or ceased to keep, and whether it has something for the store.
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

    /// Whether nothing is kept, and nothing has to be appended.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Takes out the oldest event if the bounds are exceeded. Returns the number of its stream, which has to forget it.
    pub(super) fn pop_excess(&mut self, now: Instant, limits: &ReplayConfig) -> Option<u64> {
        let buffer = self.0.as_ref()?;
        let excess = buffer.order.len() > limits.events
            || buffer.bytes > limits.bytes
            || self.next_timeout(limits).is_some_and(|due| due <= now);
        if excess { self.update(Buffer::take_first) } else { None }
    }

    /// Takes the number of a stream with something to append to the store.
    pub(super) fn pop_unstored(&mut self) -> Option<u64> {
        self.update(|buffer| buffer.unstored.pop_front())
    }

    /// Whether a stream has something to append to the store.
    pub(super) fn has_unstored(&self) -> bool {
        self.0.as_ref().is_some_and(|buffer| !buffer.unstored.is_empty())
    }

    /// When the oldest event exceeds its maximum age.
    pub(super) fn next_timeout(&self, limits: &ReplayConfig) -> Option<Instant> {
        let oldest = self.0.as_ref()?.order.front()?;
        Some(after(oldest.since, limits.age))
    }

    /// The number of kept events, and their bytes.
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
    /// Takes out the latest event of a stream, which will be sent again.
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
