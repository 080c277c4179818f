//! [`Log`]: the events of a stream, queued ones and sent ones that are kept for replay.

use std::{
    collections::{VecDeque, vec_deque},
    mem,
};

use bytes::Bytes;

use super::{
    run::Run,
    texts::{At, Text, Texts},
};
use crate::event::{EventId, IdLine};

/// Events in the order of their positions, which begin at 1: first those that were sent or are kept, then those that wait
/// to be sent.
///
/// An event that waits may be shared with other streams. Once it is kept, it is a part of one buffer.
#[derive(Debug)]
pub(super) struct Log {
    kept_texts: Texts,
    waiting: VecDeque<Bytes>,
    /// The position of the first event.
    first: u64,
    /// The number of events that have been sent. Fewer than in `kept_texts`, if some of them will be sent again, or if their
    /// client is away.
    sent: usize,
    /// Where the event behind them is, if it is in `kept_texts`.
    next: At,
    waiting_bytes: usize,
    /// The number of events, counted from the oldest, that the session's replay tracks.
    kept: usize,
    /// Whether the session's replay tracks the end.
    end_kept: bool,
}

/// What a stream has begun to keep.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    /// The sizes of events; 4 GiB for each that is longer.
    pub(crate) sizes: vec_deque::Iter<'a, u32>,
    /// Also the end.
    pub(crate) ends: bool,
}

/// The next events that fit into a run, and those of their bytes that are copied.
struct Fits {
    events: usize,
    copied: usize,
}

/// Freeing this many events takes a few microseconds.
const FEW: usize = 32;

impl Default for Log {
    fn default() -> Self {
        Self {
            kept_texts: Texts::default(),
            waiting: VecDeque::new(),
            first: 1,
            sent: 0,
            next: At::default(),
            waiting_bytes: 0,
            kept: 0,
            end_kept: false,
        }
    }
}

impl Log {
    pub(super) fn push(&mut self, event: Bytes) {
        self.waiting_bytes += event.len();
        self.waiting.push_back(event);
    }

    /// Moves the next events before position `before` into `run`, until it is full. Nothing may have been kept.
    pub(super) fn take(&mut self, before: u64, run: &mut Run) {
        let fits = self.that_fit(before, run, 0);
        if fits.events > 1 {
            run.reserve(fits.copied);
        }
        for event in self.waiting.drain(..fits.events) {
            self.first += 1;
            self.waiting_bytes -= event.len();
            run.push(event);
        }
    }

    /// Copies the next events before position `before` into `run`, until it is full, each with its id, and keeps them. Returns
    /// whether there were any.
    pub(super) fn send(&mut self, stream: u64, before: u64, run: &mut Run) -> bool {
        let line = |position: u64| IdLine::new(EventId { stream, position: position.into() });
        let fits = self.that_fit(before, run, line(self.end() - 1).as_bytes().len());
        if fits.events == 0 {
            return false;
        }
        while self.kept_texts.len() < self.sent + fits.events {
            self.keep_waiting();
        }
        run.reserve(fits.copied);
        let mut line = line(self.next());
        let mut texts = self.kept_texts.from(self.sent, self.next);
        for text in texts.by_ref().take(fits.events) {
            self.waiting_bytes -= text.len();
            run.push_with_id(line.as_bytes(), text);
            line.advance();
        }
        self.next = texts.at();
        self.sent += fits.events;
        true
    }

    /// How many of the next events before position `before` fit into `run`, each with an id of at most so many bytes.
    fn that_fit(&self, before: u64, run: &Run, id: usize) -> Fits {
        let ready = usize::try_from(before.saturating_sub(self.next())).unwrap_or(usize::MAX);
        let (mut bytes, mut fits) = (run.len(), Fits { events: 0, copied: 0 });
        for length in self.lengths(self.sent).take(ready) {
            if run.is_full_with(bytes) {
                break;
            }
            bytes += id + length;
            fits.copied += id + if run.is_apart(length) { 0 } else { length };
            fits.events += 1;
        }
        fits
    }

    /// Goes back, or forward, so that the event after position `after` is sent next. Returns `false`, and changes
    /// nothing, if the log does not have everything after it.
    pub(super) fn rewind(&mut self, after: u64) -> bool {
        // `after` comes from a client: it may be anything.
        let sent = after.checked_add(1).and_then(|next| next.checked_sub(self.first));
        match sent.and_then(|sent| usize::try_from(sent).ok()).filter(|sent| *sent <= self.len()) {
            Some(sent) => {
                while self.kept_texts.len() < sent {
                    self.keep_waiting();
                }
                self.sent = sent;
                self.next = self.kept_texts.at(sent);
                self.waiting_bytes = self.lengths(sent).sum();
                true
            }
            None => false,
        }
    }

    /// The events from this position on.
    pub(super) fn from(&self, position: u64) -> impl Iterator<Item = Text<'_>> {
        let index = self.index(position);
        let kept = index.min(self.kept_texts.len());
        let waiting = self.waiting.iter().skip(index - kept);
        self.kept_texts.from(kept, self.kept_texts.at(kept)).chain(waiting.map(Text::Long))
    }

    /// The lengths of the events from this index on.
    fn lengths(&self, index: usize) -> impl Iterator<Item = usize> {
        let kept = self.kept_texts.len();
        let waiting = self.waiting.iter().skip(index.saturating_sub(kept)).map(Bytes::len);
        self.kept_texts.lengths(index.min(kept)..kept).map(|length| *length as usize).chain(waiting)
    }

    /// The bytes of the events from this position on.
    pub(super) fn bytes_from(&self, position: u64) -> usize {
        self.lengths(self.index(position)).sum()
    }

    /// The index of the event at this position; 0 if it was forgotten.
    fn index(&self, position: u64) -> usize {
        usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX)
    }

    /// The position of the oldest event in the log, or of the next one pushed if the log is empty.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Drops all events. Returns those that are freed one by one, if there are so many that it takes time.
    pub(super) fn clear(&mut self) -> Option<VecDeque<Bytes>> {
        let cleared = mem::replace(self, Self { first: self.end(), ..Self::default() });
        let mut events = cleared.kept_texts.into_long();
        events.extend(cleared.waiting);
        Some(events).filter(|events| events.len() > FEW)
    }

    /// The position of the next event to send.
    pub(super) fn next(&self) -> u64 {
        self.first + self.sent as u64
    }

    /// The position that the next pushed event will have.
    pub(super) fn end(&self) -> u64 {
        self.first + self.len() as u64
    }

    pub(super) fn waiting(&self) -> usize {
        self.len() - self.sent
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Marks the events before position `before` as kept, and returns the sizes of those that were not kept before. Only sent
    /// events are kept, or any if the client is `away`; after them the end, if the stream has `ended`.
    pub(super) fn keep(&mut self, before: u64, away: bool, ended: bool) -> Kept<'_> {
        let limit = if away { self.len() } else { self.sent };
        let limit = limit.min(self.index(before));
        while self.kept_texts.len() < limit {
            self.keep_waiting();
        }
        let begin = self.kept;
        self.kept = limit.max(begin);
        let ends = ended && !self.end_kept;
        self.end_kept |= ends;
        Kept { sizes: self.kept_texts.lengths(begin..self.kept), ends }
    }

    /// Unmarks the kept events that will be sent again, and the end. Returns their number.
    pub(super) fn release(&mut self) -> usize {
        let released = self.kept.saturating_sub(self.sent);
        self.kept -= released;
        released + usize::from(mem::take(&mut self.end_kept))
    }

    /// Forgets the oldest kept event, or the end if there is none. Returns whether it was the end.
    pub(super) fn forget_first(&mut self) -> bool {
        if self.kept == 0 {
            return mem::take(&mut self.end_kept);
        }
        self.kept -= 1;
        if let Some((length, taken)) = self.kept_texts.pop() {
            self.first += 1;
            match self.sent {
                0 => self.waiting_bytes -= length,
                _ => {
                    self.sent -= 1;
                    self.next = self.next.without(taken);
                }
            }
        }
        false
    }

    /// The number of kept events, the end included.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept + usize::from(self.end_kept)
    }

    fn len(&self) -> usize {
        self.kept_texts.len() + self.waiting.len()
    }

    /// Moves the first event that waits to the kept ones.
    fn keep_waiting(&mut self) {
        if let Some(event) = self.waiting.pop_front() {
            self.kept_texts.push(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: &[&'static str]) -> Log {
        let mut log = Log::default();
        events.iter().for_each(|event| log.push(Bytes::from_static(event.as_bytes())));
        log
    }

    /// Sends one event. Returns its position and its text.
    fn send(log: &mut Log) -> Option<(u64, String)> {
        let mut run = Run::new(0);
        log.send(7, u64::MAX, &mut run).then(|| {
            let [first, second] = run.into_pieces().map(|piece| String::from_utf8(piece.into()).unwrap());
            let (id, event) = first.split_once('\n').unwrap();
            (id.strip_prefix("id: 7-").unwrap().parse().unwrap(), format!("{event}{second}"))
        })
    }

    /// The sizes of what it has begun to keep. The end is 0.
    fn keep(log: &mut Log, away: bool, ended: bool) -> Vec<u32> {
        let Kept { sizes, ends } = log.keep(u64::MAX, away, ended);
        sizes.copied().chain(ends.then_some(0)).collect()
    }

    #[test]
    fn d_30_the_log_rewinds_only_to_positions_with_nothing_missing_after_them() {
        let mut log = log(&["a", "bb", "ccc"]);
        while send(&mut log).is_some() {}
        for (after, waiting) in [(0, 3), (3, 0), (1, 2), (2, 1)] {
            assert!(log.rewind(after));
            assert_eq!(log.waiting(), waiting);
            let next = send(&mut log);
            assert_eq!(next.map_or(4, |(position, _)| position), after + 1);
        }
        assert!(log.rewind(0));
        assert_eq!(log.waiting_bytes(), 6);
        assert_eq!(keep(&mut log, true, false), [1, 2, 3]);
        assert!(!log.forget_first());
        for unknown in [0, 4, 5, u64::MAX, u64::MAX - 1] {
            assert!(!log.rewind(unknown), "{unknown}");
        }
        assert!(log.rewind(1)); // the log has everything after it
        assert_eq!(send(&mut log), Some((2, "bb".into())));
        assert_eq!(log.waiting_bytes(), 3);
    }

    #[test]
    fn sent_events_are_kept_and_released_when_they_will_be_sent_again() {
        let mut log = log(&["a", "bb"]);
        assert!(keep(&mut log, false, false).is_empty());
        send(&mut log);
        assert_eq!(keep(&mut log, false, false), [1]);
        assert!(keep(&mut log, false, false).is_empty());
        assert_eq!(keep(&mut log, true, true), [2, 0]);
        assert!(keep(&mut log, true, true).is_empty());
        assert!(log.rewind(0));
        assert_eq!((log.release(), log.release()), (3, 0));
        assert!(keep(&mut log, false, false).is_empty());
        while send(&mut log).is_some() {}
        assert_eq!(keep(&mut log, true, true), [1, 2, 0]);
        assert_eq!([0; 4].map(|_| log.forget_first()), [false, false, true, false]);
    }
}
