//! [`Log`]: the events of a stream, those that wait and those that can be sent again.

use std::collections::VecDeque;

use bytes::Bytes;

/// Events in the order of their positions, which begin with 1: first those that were sent and are kept, then those that
/// wait.
#[derive(Debug)]
pub(super) struct Log {
    events: VecDeque<Bytes>,
    /// The position of the first of them.
    first: u64,
    /// How many of them have been sent.
    sent: usize,
    waiting_bytes: usize,
    /// How many of them, the oldest, the session's replay knows of; and whether it knows of the end.
    kept: usize,
    end_kept: bool,
}

/// So many events are freed in some microseconds.
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

    /// Takes the next event, for good.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let event = self.events.pop_front()?;
        self.first += 1;
        self.waiting_bytes -= event.len();
        Some(event)
    }

    /// Sends the next event, if it is before this position, and keeps it.
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

    /// Goes back, or forward, to what follows `after`. Returns whether all of that is there.
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

    /// The position of the oldest event that it has, or will have.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Everything is lost. Returns the events if they are so many that to free them takes time.
    pub(super) fn clear(&mut self) -> Option<VecDeque<Bytes>> {
        let cleared = std::mem::replace(self, Self { first: self.end(), ..Self::default() });
        Some(cleared.events).filter(|events| events.len() > FEW)
    }

    /// The position of the next event to be sent.
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

    /// The size of the next event before this position that is kept from now on: one that was sent, or any if the client
    /// is `away`; at last the end, of no size, if it has `ended`.
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

    /// What is to be sent again is kept no more, nor is the end. Returns how many that are.
    pub(super) fn release(&mut self) -> usize {
        let released = self.kept.saturating_sub(self.sent);
        self.kept -= released;
        released + usize::from(std::mem::take(&mut self.end_kept))
    }

    /// Forgets the oldest that is kept. Returns whether that was the end.
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

    /// How many are kept, the end included.
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
    fn d_30_it_goes_back_to_any_position_that_it_still_follows_and_to_no_other() {
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
        assert!(log.rewind(1)); // it has all that follows
        assert_eq!(send(&mut log), Some((2, "bb".into())));
        assert_eq!(log.waiting_bytes(), 3);
    }

    #[test]
    fn what_is_sent_is_kept_and_what_is_sent_again_is_not_until_then() {
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
