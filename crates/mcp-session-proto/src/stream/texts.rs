//! [`Texts`]: many short texts in one buffer, and room that is made in small steps.

use std::{
    collections::{VecDeque, vec_deque},
    ops::Range,
};

use bytes::Bytes;

/// A longer text keeps its own memory: copying it into the buffer would cost more than an allocation.
pub(super) const SHORT: usize = 1024;

/// Texts in order, added at the end and removed at the front. Short ones are in one buffer, with their lengths beside it: each
/// costs its bytes and four more, and all of them are freed together.
#[derive(Debug, Default)]
pub(super) struct Texts(Option<Box<Buffers>>);

/// Allocated only while there are texts: most streams keep none most of the time.
#[derive(Debug, Default)]
struct Buffers {
    bytes: VecDeque<u8>,
    lengths: VecDeque<u32>,
    long: VecDeque<Bytes>,
}

/// Where a text begins, or what it takes: bytes of the buffer, and a number of long texts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct At {
    byte: usize,
    long: usize,
}

/// Iterates over texts.
#[derive(Debug, Default)]
pub(super) struct Iter<'a> {
    bytes: (&'a [u8], &'a [u8]),
    lengths: vec_deque::Iter<'a, u32>,
    long: Option<&'a VecDeque<Bytes>>,
    at: At,
}

/// A text, in two pieces if it lies across the end of the buffer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text<'a> {
    Short(&'a [u8], &'a [u8]),
    Long(&'a Bytes),
}

impl Texts {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |buffers| buffers.lengths.len())
    }

    pub(super) fn push(&mut self, text: Bytes) {
        let Buffers { bytes, lengths, long } = &mut **self.0.get_or_insert_default();
        add(lengths, u32::try_from(text.len()).unwrap_or(u32::MAX));
        if text.len() <= SHORT {
            make_room(bytes, text.len());
            bytes.extend(&text[..]);
        } else {
            long.push_back(text);
        }
    }

    /// Removes the first text, and returns its length and what it took.
    pub(super) fn pop(&mut self) -> Option<(usize, At)> {
        let Buffers { bytes, lengths, long } = &mut **self.0.as_mut()?;
        let taken = taken(lengths.pop_front()?);
        let length = match taken.long {
            0 => bytes.drain(..taken.byte).len(),
            _ => long.pop_front().map_or(0, |text| text.len()),
        };
        if lengths.is_empty() {
            self.0 = None;
        } else {
            give_back(bytes);
            give_back(lengths);
        }
        Some((length, taken))
    }

    /// Where the text with this index begins. Adds up the lengths before it.
    pub(super) fn at(&self, index: usize) -> At {
        let lengths = self.0.iter().flat_map(|buffers| buffers.lengths.range(..index));
        lengths.fold(At::default(), |at, length| at.and(taken(*length)))
    }

    /// The texts from this index on, which begin at `at`.
    pub(super) fn from(&self, index: usize, at: At) -> Iter<'_> {
        let Some(Buffers { bytes, lengths, long }) = self.0.as_deref() else { return Iter::default() };
        Iter { bytes: bytes.as_slices(), lengths: lengths.range(index..), long: Some(long), at }
    }

    /// The lengths of the texts with these indices; 4 GiB for each that is longer.
    pub(super) fn lengths(&self, indices: Range<usize>) -> vec_deque::Iter<'_, u32> {
        self.0.as_ref().map_or_else(Default::default, |buffers| buffers.lengths.range(indices))
    }

    /// The long texts, whose memory is freed one by one.
    pub(super) fn into_long(self) -> VecDeque<Bytes> {
        self.0.map_or_else(VecDeque::new, |buffers| buffers.long)
    }
}

impl Iter<'_> {
    /// Where the next text begins.
    pub(super) fn at(&self) -> At {
        self.at
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Text<'a>;

    #[inline]
    fn next(&mut self) -> Option<Text<'a>> {
        let taken = taken(*self.lengths.next()?);
        let At { byte: begin, long } = self.at;
        self.at = self.at.and(taken);
        if taken.long > 0 {
            return self.long?.get(long).map(Text::Long);
        }
        let ((first, second), end) = (self.bytes, self.at.byte);
        let split = first.len();
        Some(if end <= split {
            Text::Short(&first[begin..end], b"")
        } else if begin >= split {
            Text::Short(&second[begin - split..end - split], b"")
        } else {
            Text::Short(&first[begin..], &second[..end - split])
        })
    }
}

/// What a text of this length takes.
fn taken(length: u32) -> At {
    match length as usize {
        byte @ ..=SHORT => At { byte, long: 0 },
        _ => At { byte: 0, long: 1 },
    }
}

impl At {
    fn and(self, taken: Self) -> Self {
        Self { byte: self.byte + taken.byte, long: self.long + taken.long }
    }

    /// The same place, after a text before it was removed that took so much.
    pub(super) fn without(self, taken: Self) -> Self {
        Self { byte: self.byte - taken.byte, long: self.long - taken.long }
    }
}

impl Text<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Short(first, second) => first.len() + second.len(),
            Self::Long(text) => text.len(),
        }
    }

    /// The pieces of the text.
    pub(super) fn pieces(&self) -> [&[u8]; 2] {
        match self {
            Self::Short(first, second) => [first, second],
            Self::Long(text) => [text, b""],
        }
    }

    pub(super) fn to_bytes(self) -> Bytes {
        match self {
            Self::Short(..) => self.pieces().concat().into(),
            Self::Long(text) => text.clone(),
        }
    }
}

impl PartialEq<Bytes> for Text<'_> {
    fn eq(&self, other: &Bytes) -> bool {
        let [first, second] = self.pieces();
        other.strip_prefix(first).is_some_and(|rest| rest == second)
    }
}

/// Adds one value, making little room.
pub(crate) fn add<T>(values: &mut VecDeque<T>, value: T) {
    make_room(values, 1);
    values.push_back(value);
}

/// Adds values, making little room.
pub(crate) fn add_all<T>(values: &mut VecDeque<T>, more: impl ExactSizeIterator<Item = T>) {
    make_room(values, more.len());
    values.extend(more);
}

/// Makes room for so many more values, and hardly more than that. What is kept is kept for minutes, so memory counts more here
/// than the copies that growing takes.
fn make_room<T>(values: &mut VecDeque<T>, more: usize) {
    if values.capacity() - values.len() < more {
        values.reserve_exact(more.max(values.len() / STEP));
    }
}

/// Gives memory back, if less than half of it is used.
pub(crate) fn give_back<T>(values: &mut VecDeque<T>) {
    if values.capacity() > 2 * values.len() + STEP {
        values.shrink_to(values.len() + values.len() / STEP);
    }
}

/// A buffer grows by one in so many parts: that much of it may be empty, and so often each byte is copied at most.
const STEP: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_texts_keep_their_order_across_the_end_of_the_buffer() {
        let text = |n: usize| Bytes::from(vec![b'a' + (n % 26) as u8; (n * 37) % (SHORT + 300)]);
        let (mut texts, mut first) = (Texts::default(), 0);
        for n in 0..2_000 {
            texts.push(text(n));
            let wanted = if n < 1_000 { 60 } else { 7 };
            while texts.len() > wanted {
                assert_eq!(texts.pop().map(|(length, _)| length), Some(text(first).len()));
                first += 1;
            }
            let all: Vec<_> = texts.from(0, At::default()).map(Text::to_bytes).collect();
            assert!(all.iter().eq((first..=n).map(text).collect::<Vec<_>>().iter()));
            let middle = texts.len() / 2;
            let rest = texts.from(middle, texts.at(middle)).map(Text::to_bytes);
            assert!(rest.eq((first + middle..=n).map(text)));
            let lengths = texts.lengths(middle..texts.len()).map(|length| *length as usize);
            assert!(lengths.eq((first + middle..=n).map(|n| text(n).len())));
        }
        let Buffers { bytes, .. } = *texts.0.unwrap();
        assert!(bytes.capacity() <= 2 * bytes.len() + STEP);
    }

    #[test]
    fn a_short_text_costs_its_bytes_and_little_more() {
        let mut texts = Texts::default();
        for _ in 0..1_000 {
            texts.push(Bytes::from_static(&[b'x'; 200]));
        }
        let Buffers { bytes, lengths, .. } = *texts.0.unwrap();
        let bytes = bytes.capacity() + 4 * lengths.capacity();
        assert!(bytes <= 1_000 * (200 + 4) * (STEP + 1) / STEP + 200, "{bytes}");
    }
}
