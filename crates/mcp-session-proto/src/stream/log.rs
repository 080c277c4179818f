//! [`Log`]: the events of a stream, queued ones and sent ones that are kept for replay.

use std::collections::VecDeque;

use bytes::Bytes;

/// Events in the order of their positions, which begin at 1: first those that were sent and are kept, then those that
/// wait to be sent.
#[derive(Debug)]
pub(super) struct Log {
    events: VecDeque<Bytes>,
    /// The position of the first event.
    first: u64,
    /// The number of events that have been sent.
    sent: usize,
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
        Self { events: VecDeque::new(), first: 1, sent: 0, waiting_bytes: 0, kept: 0, end_kept: false }
    }
}

impl Log {
    pub(super) fn push(&mut self, event: Bytes) {
        self.waiting_bytes += event.len();
        self.events.push_back(event);
    }

    /// Removes and returns the next event.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let event = self.events.pop_front()?;
        self.first += 1;
        self.waiting_bytes -= event.len();
        Some(event)
    }

    /// Returns the next event, with its position, if it is before position `before`, and keeps it.
    pub(super) fn send(&mut self, before: u64) -> Option<(u64, &Bytes)> {
        let position = self.next();
        if position >= before {
            return None;
        }
        let event = self.events.get(self.sent)?;
        self.sent += 1;
        self.waiting_bytes -= event.len();
        Some((position, event))
    }

    /// Goes back, or forward, so that the event after position `after` is sent next. Returns `false`, and changes
    /// nothing, if the log does not have everything after it.
    pub(super) fn rewind(&mut self, after: u64) -> bool {
        // `after` comes from a client: it may be anything.
        let sent = after.checked_add(1).and_then(|next| next.checked_sub(self.first));
        match sent.and_then(|sent| usize::try_from(sent).ok()).filter(|sent| *sent <= self.events.len()) {
            Some(sent) => {
                self.sent = sent;
                self.waiting_bytes = self.events.range(sent..).map(Bytes::len).sum();
                true
            }
            None => false,
        }
    }

    /// The events from this position on.
    pub(super) fn from(&self, position: u64) -> impl Iterator<Item = &Bytes> {
        let skipped = usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.events.iter().skip(skipped)
    }

    /// The position of the oldest event in the log, or of the next one pushed if the log is empty.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Drops all events. Returns them if there are so many that freeing them takes time.
    pub(super) fn clear(&mut self) -> Option<VecDeque<Bytes>> {
        let cleared = std::mem::replace(self, Self { first: self.end(), ..Self::default() });
        Some(cleared.events).filter(|events| events.len() > FEW)
    }

    /// The position of the next event to send.
    pub(super) fn next(&self) -> u64 {
        self.first + self.sent as u64
    }

    /// The position that the next pushed event will have.
    pub(super) fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    pub(super) fn waiting(&self) -> usize {
        self.events.len() - self.sent
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Marks the next event before position `before` as kept and returns its size. Only sent events are kept, or any if
    /// the client is `away`. After them comes the end, of size 0, if the stream has `ended`.
    pub(super) fn keep_next(&mut self, before: u64, away: bool, ended: bool) -> Option<usize> {
        let limit = if away { self.events.len() } else { self.sent };
        let limit = limit.min(usize::try_from(before.saturating_sub(self.first)).unwrap_or(usize::MAX));
        if self.kept < limit {
            self.kept += 1;
            Some(self.events[self.kept - 1].len())
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
        if let Some(event) = self.events.pop_front() {
            self.first += 1;
            match self.sent {
                0 => self.waiting_bytes -= event.len(),
                _ => self.sent -= 1,
            }
        }
        false
    }

    /// The number of kept events, the end included.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept + usize::from(self.end_kept)
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
        log.send(u64::MAX).map(|(position, event)| (position, String::from_utf8(event.to_vec()).unwrap()))
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
