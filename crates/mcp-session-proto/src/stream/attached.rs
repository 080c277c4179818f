//! [`Attached`]: which connections at other nodes are newer than the last one here.

use super::Stream;
use crate::output::Output;

/// The number that the store has given to the last connection of a stream at this node. Numbers grow with each connection, at
/// whichever node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attached {
    /// The store has not given it yet. Meanwhile, a connection with this number has taken over at another node; 0 if none has.
    Asked(u64),
    /// It is this.
    Number(u64),
}

impl Attached {
    /// Of the connection that a call begins with: each later one is newer.
    pub(super) const FIRST: Self = Self::Number(0);
    /// Of a connection that was opened just now.
    pub(super) const NEW: Self = Self::Asked(0);
}

impl<T: Clone> Stream<T> {
    /// The store has given this connection its number. It ends if a newer one has taken over at another node meanwhile (D-21).
    pub(crate) fn handle_attached(&mut self, connection: u64, number: u64, out: &mut Output<T>) {
        let replaced = self.connection().is_some_and(|current| current != connection);
        if let (Attached::Asked(other), false) = (self.attached, replaced) {
            self.attached = Attached::Number(number);
            if other > number {
                self.hand_over(out);
            }
        }
    }

    /// The number of the last connection here; 0 if the store has not given one to it.
    pub(crate) fn attached(&self) -> u64 {
        match self.attached {
            Attached::Number(number) => number,
            Attached::Asked(_) => 0,
        }
    }

    /// The connection with this number carries the stream at another node. A connection here ends if it is an older one
    /// (D-21, D-23): the message may be late, and its client may be back. Returns whether the client reads there.
    pub(crate) fn handle_taken_over(&mut self, number: u64, out: &mut Output<T>) -> bool {
        match &mut self.attached {
            Attached::Asked(other) => {
                *other = number.max(*other);
                false
            }
            Attached::Number(own) if *own >= number => false,
            Attached::Number(_) => {
                self.hand_over(out);
                true
            }
        }
    }
}
