//! [`Replay`]: which events a session keeps for a client that comes back.

use std::{
    collections::VecDeque,
    iter,
    ops::Range,
    time::{Duration, Instant},
};

use super::timer::after;
use crate::{
    config::ReplayConfig,
    stream::{
        Kept, Stream,
        texts::{add_all, give_back},
    },
};

/// The order in which a session's events were sent, or missed by a client that is away. The first ones are forgotten
/// first, whatever their stream. The events themselves are kept by their streams.
#[derive(Debug, Default)]
pub(super) struct Replay(Option<Box<Buffer>>);

/// Allocated only while it contains something: most sessions keep nothing most of the time.
///
/// Sizes and times of the events are apart, and their streams are counted: so an event costs 12 bytes here.
#[derive(Debug)]
struct Buffer {
    /// The times are nanoseconds since this instant.
    begin: Instant,
    times: VecDeque<u64>,
    /// 4 GiB of an event that is longer.
    sizes: VecDeque<u32>,
    /// The streams of the events, in order, each with the number of its events in a row.
    streams: VecDeque<(u64, usize)>,
    bytes: usize,
    /// The numbers of streams with something to append to the store.
    unstored: VecDeque<u64>,
}

impl Replay {
    /// Records the events that the stream has begun or ceased to keep, and whether it has something for the store.
    pub(super) fn track<T: Clone>(&mut self, now: Instant, stream: &mut Stream<T>) {
        let Some(number) = stream.number() else { return };
        let released = stream.release();
        match &mut self.0 {
            Some(buffer) if released > 0 => buffer.take_back(number, released),
            Some(_) | None => self.free_if_empty(),
        }
        if let Some(Kept { sizes, ends }) = stream.keep() {
            if sizes.len() > 0 {
                self.buffer(now).push(now, number, sizes.copied());
            }
            if ends {
                self.buffer(now).push(now, number, iter::once(0));
            }
        }
        if stream.queue_append() {
            self.buffer(now).unstored.push_back(number);
        }
    }

    /// Whether nothing is kept, and nothing has to be appended.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Takes out the oldest event if the bounds are exceeded. Returns the number of its stream, which has to forget it.
    pub(super) fn pop_excess(&mut self, now: Instant, limits: &ReplayConfig) -> Option<u64> {
        let buffer = self.0.as_ref()?;
        let excess = buffer.times.len() > limits.events
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
        let buffer = self.0.as_ref()?;
        let oldest = buffer.begin + Duration::from_nanos(*buffer.times.front()?);
        Some(after(oldest, limits.age))
    }

    /// The number of kept events, and their bytes.
    pub(super) fn kept(&self) -> (usize, usize) {
        self.0.as_ref().map_or((0, 0), |buffer| (buffer.times.len(), buffer.bytes))
    }

    fn buffer(&mut self, now: Instant) -> &mut Buffer {
        self.0.get_or_insert_with(|| Box::new(Buffer::new(now)))
    }

    fn update<R>(&mut self, take: impl FnOnce(&mut Buffer) -> Option<R>) -> Option<R> {
        let taken = take(self.0.as_mut()?);
        self.free_if_empty();
        taken
    }

    fn free_if_empty(&mut self) {
        self.0.take_if(|buffer| buffer.times.is_empty() && buffer.unstored.is_empty());
    }
}

impl Buffer {
    fn new(begin: Instant) -> Self {
        Self {
            begin,
            times: VecDeque::new(),
            sizes: VecDeque::new(),
            streams: VecDeque::new(),
            bytes: 0,
            unstored: VecDeque::new(),
        }
    }

    /// Adds events of one stream, of these sizes.
    fn push(&mut self, now: Instant, stream: u64, sizes: impl ExactSizeIterator<Item = u32>) {
        let events = sizes.len();
        let nanos = now.saturating_duration_since(self.begin).as_nanos();
        add_all(&mut self.times, iter::repeat_n(u64::try_from(nanos).unwrap_or(u64::MAX), events));
        let bytes = &mut self.bytes;
        add_all(&mut self.sizes, sizes.inspect(|size| *bytes += *size as usize));
        match self.streams.back_mut() {
            Some((last, count)) if *last == stream => *count += events,
            Some(_) | None => self.streams.push_back((stream, events)),
        }
    }

    /// Takes out so many of the latest events of a stream, which will be sent again. Their memory is not given back: they are
    /// kept again when they have been sent.
    fn take_back(&mut self, stream: u64, mut events: usize) {
        let mut end = self.times.len();
        for row in (0..self.streams.len()).rev() {
            let (number, count) = self.streams[row];
            if number == stream {
                let taken = count.min(events);
                self.take(end - taken..end, row);
                events -= taken;
            }
            if events == 0 {
                break;
            }
            end -= count;
        }
    }

    fn take_first(&mut self) -> Option<u64> {
        let (stream, _) = *self.streams.front()?;
        self.take(0..1, 0);
        give_back(&mut self.times);
        give_back(&mut self.sizes);
        Some(stream)
    }

    /// Takes out these events, which are all in this row.
    fn take(&mut self, events: Range<usize>, row: usize) {
        let count = events.len();
        self.bytes -= self.sizes.range(events.clone()).map(|size| *size as usize).sum::<usize>();
        self.times.drain(events.clone());
        self.sizes.drain(events);
        let Some((_, left)) = self.streams.get_mut(row) else { return };
        *left -= count;
        if *left == 0 {
            self.streams.remove(row);
        }
    }
}
