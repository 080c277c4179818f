//! [`Log`]: the events of a stream, queued ones and sent ones that are kept for replay.

use std::collections::VecDeque;

use bytes::Bytes;

use super::texts::{At, Text, Texts};

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

    /// Removes and returns the next event. Nothing may have been kept.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let event = self.waiting.pop_front()?;
        self.first += 1;
        self.waiting_bytes -= event.len();
        Some(event)
    }

    /// Passes the next event, with its position, to `read`, if it is before position `before`, and keeps it.
    pub(super) fn send<R>(&mut self, before: u64, read: impl FnOnce(u64, Text<'_>) -> R) -> Option<R> {
        let position = self.next();
        if position >= before || self.waiting() == 0 {
            return None;
        }
        if self.sent == self.kept_texts.len() {
            self.keep_waiting();
        }
        let event = self.kept_texts.get(self.sent, self.next);
        let length = event.len();
        let result = read(position, event);
        self.next = self.kept_texts.after(self.sent, self.next);
        self.sent += 1;
        self.waiting_bytes -= length;
        Some(result)
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
                self.waiting_bytes = self.lengths(self.next()).sum();
                true
            }
            None => false,
        }
    }

    /// The events from this position on.
    pub(super) fn from(&self, position: u64) -> impl Iterator<Item = Text<'_>> {
        let skipped = usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let waiting = self.waiting.iter().skip(skipped.saturating_sub(self.kept_texts.len()));
        self.kept_texts.from(skipped).chain(waiting.map(Text::Long))
    }

    /// The lengths of the events from this position on.
    pub(super) fn lengths(&self, position: u64) -> impl Iterator<Item = usize> {
        self.from(position).map(|event| event.len())
    }

    /// The position of the oldest event in the log, or of the next one pushed if the log is empty.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Drops all events. Returns those that are freed one by one, if there are so many that it takes time.
    pub(super) fn clear(&mut self) -> Option<VecDeque<Bytes>> {
        let cleared = std::mem::replace(self, Self { first: self.end(), ..Self::default() });
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

    /// Marks the next event before position `before` as kept and returns its size. Only sent events are kept, or any if
    /// the client is `away`. After them comes the end, of size 0, if the stream has `ended`.
    pub(super) fn keep_next(&mut self, before: u64, away: bool, ended: bool) -> Option<usize> {
        let limit = if away { self.len() } else { self.sent };
        let limit = limit.min(usize::try_from(before.saturating_sub(self.first)).unwrap_or(usize::MAX));
        if self.kept < limit {
            if self.kept == self.kept_texts.len() {
                self.keep_waiting();
            }
            self.kept += 1;
            Some(self.kept_texts.length(self.kept - 1))
        } else if ended && !self.end_kept {
            self.end_kept = true;
            Some(0)
        } else {
            None
        }
    }

    /// Unmarks the kept events that will be sent again, and the end. Returns their number.
    pub(super) fn release(&mut self) -> usize {
        let released = self.kept.saturating_sub(self.sent);
        self.kept -= released;
        released + usize::from(std::mem::take(&mut self.end_kept))
    }

    /// Forgets the oldest kept event, or the end if there is none. Returns whether it was the end.
    pub(super) fn forget_first(&mut self) -> bool {
        if self.kept == 0 {
            return std::mem::take(&mut self.end_kept);
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

    fn send(log: &mut Log) -> Option<(u64, String)> {
        log.send(u64::MAX, |position, event| (position, String::from_utf8(event.to_bytes().into()).unwrap()))
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
        assert_eq!(
            [log.keep_next(u64::MAX, true, false), log.keep_next(u64::MAX, true, false)],
            [Some(1), Some(2)]
        );
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
        assert_eq!(log.keep_next(u64::MAX, false, false), None);
        send(&mut log);
        assert_eq!(
            [log.keep_next(u64::MAX, false, false), log.keep_next(u64::MAX, false, false)],
            [Some(1), None]
        );
        assert_eq!([0; 3].map(|_| log.keep_next(u64::MAX, true, true)), [Some(2), Some(0), None]);
        assert!(log.rewind(0));
        assert_eq!((log.release(), log.release()), (3, 0));
        assert_eq!(log.keep_next(u64::MAX, false, false), None);
        while send(&mut log).is_some() {}
        assert_eq!([0; 4].map(|_| log.keep_next(u64::MAX, true, true)), [Some(1), Some(2), Some(0), None]);
        assert_eq!([0; 4].map(|_| log.forget_first()), [false, false, true, false]);
    }
}
