//! [`Run`]: events of a stream that are sent together.

use std::mem;

use bytes::Bytes;

use super::texts::{SHORT, Text};

/// Events in the order in which they are sent, joined in one piece of memory. An event that is long enough to be sent alone is
/// not copied: it is a second piece, behind the events before it and its own id.
#[derive(Debug)]
pub(super) struct Run {
    /// With so many bytes, or more, it is full. It may have one event in any case.
    enough: usize,
    /// The first event, as long as it is the only one.
    alone: Bytes,
    joined: Vec<u8>,
    long: Bytes,
}

impl Run {
    /// An empty run, to be filled with events until it has so many bytes.
    pub(super) fn new(enough: usize) -> Self {
        Self { enough, alone: Bytes::new(), joined: Vec::new(), long: Bytes::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.alone.len() + self.joined.len() + self.long.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full_with(self.len())
    }

    /// Whether it is full as soon as it has so many bytes.
    pub(super) fn is_full_with(&self, bytes: usize) -> bool {
        bytes > 0 && bytes >= self.enough
    }

    /// Whether an event of this length is not copied, if it is not the first.
    pub(super) fn is_apart(&self, length: usize) -> bool {
        length > SHORT && length >= self.enough
    }

    /// Makes room for so many bytes more.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.joined.reserve_exact(self.alone.len() + bytes);
        self.joined.extend_from_slice(&mem::take(&mut self.alone));
    }

    /// Adds an event as it is. The run must not be full.
    pub(super) fn push(&mut self, event: Bytes) {
        if self.is_empty() {
            self.alone = event;
        } else if self.is_apart(event.len()) {
            self.long = event;
        } else {
            self.reserve(event.len());
            self.joined.extend_from_slice(&event);
        }
    }

    /// Adds an event behind the line of its id. The run must not be full.
    pub(super) fn push_with_id(&mut self, line: &[u8], event: Text<'_>) {
        self.joined.extend_from_slice(line);
        match event {
            Text::Long(event) if self.is_apart(event.len()) => self.long = event.clone(),
            Text::Long(event) => self.joined.extend_from_slice(event),
            Text::Short(first, second) => {
                self.joined.extend_from_slice(first);
                if !second.is_empty() {
                    self.joined.extend_from_slice(second);
                }
            }
        }
    }

    /// The two pieces; the second one is empty unless an event is long.
    pub(super) fn into_pieces(self) -> [Bytes; 2] {
        let first = if self.joined.is_empty() { self.alone } else { self.joined.into() };
        [first, self.long]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn long() -> Bytes {
        vec![b'x'; 2_000].into()
    }

    #[test]
    fn short_events_are_joined_and_a_long_one_is_not_copied() {
        let mut run = Run::new(1_500);
        assert!(run.is_empty() && !run.is_full());
        run.push(bytes("one;"));
        run.push(bytes("two"));
        assert_eq!((run.len(), run.is_full()), (7, false));
        let long = long();
        run.push(long.clone());
        assert!(run.is_full());
        let [first, second] = run.into_pieces();
        assert_eq!((first, second.as_ptr()), (bytes("one;two"), long.as_ptr()));
    }

    #[test]
    fn the_id_of_a_long_event_is_in_the_first_piece() {
        let mut run = Run::new(1_500);
        let long = long();
        run.push_with_id(b"id: 1\n", Text::Long(&long));
        assert_eq!(run.into_pieces(), [bytes("id: 1\n"), long.clone()]);
        let mut run = Run::new(16_000);
        run.push(bytes(":\n\n"));
        run.reserve(20);
        run.push_with_id(b"1:", Text::Short(b"a", b"b"));
        run.push_with_id(b"2:", Text::Long(&long));
        assert_eq!(run.into_pieces(), [[b":\n\n1:ab2:", &long[..]].concat().into(), Bytes::new()]);
    }

    #[test]
    fn one_event_is_passed_on_as_it_is() {
        let event = bytes("event");
        let mut run = Run::new(0);
        run.push(event.clone());
        assert!(run.is_full());
        let [first, second] = run.into_pieces();
        assert_eq!((first.as_ptr(), second.is_empty()), (event.as_ptr(), true));
    }
}
