//! The events that a stream keeps for a client that comes back: see `Replay`.

use super::{Life, Stream, log::Kept};
use crate::output::Output;

impl<T: Clone> Stream<T> {
    /// Marks events as kept for replay, and returns those that were not kept before. An event is kept once it was sent, or if its
    /// client is away; so is the end, after the last one.
    pub(crate) fn keep(&mut self) -> Option<Kept<'_>> {
        if !self.resumable {
            return None; // nobody can resume it
        }
        let missed = !self.is_carried();
        let ended = match self.life {
            Life::Open => false,
            Life::Ending | Life::Over => missed,
            Life::Cut => return None,
        };
        let before = self.durable.as_ref().map_or(u64::MAX, |durable| durable.stored());
        let ends = ended && self.log.end() <= before;
        Some(self.log.keep(before, missed, ends))
    }

    /// Releases the latest kept events that will be sent again. Returns their number.
    pub(crate) fn release(&mut self) -> usize {
        if self.is_carried() { self.log.release() } else { 0 }
    }

    /// Forgets the oldest kept event. If a connection that is about to close has not sent it yet, that connection ends
    /// now: it must not skip an event.
    pub(crate) fn forget_first(&mut self, out: &mut Output<T>) {
        let next = self.log.next();
        if self.log.forget_first() {
            self.life = Life::Over; // the end was the last of it
            self.resumable = false;
        }
        if self.log.next() != next {
            if self.is_connected() {
                self.leave(out);
            }
            self.lost = self.durable.is_none(); // a store may keep more
        }
    }

    /// The number of kept events.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.log.kept()
    }
}
