//! [`LineSplitter`]: a child's output as lines, however it was cut into pieces, and never more than a bound of it.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

/// How much of the beginning and of the end of a line that is too long is kept, in bytes: enough for the id of a message, which
/// is at one of the two.
const KEPT: usize = 128;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One line of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Line {
    /// A whole line, without its end, a BOM or spaces around it. Never empty.
    Whole(Bytes),
    /// A line that was longer than the limit, and was skipped.
    TooLong(TooLong),
}

/// A line that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooLong {
    /// Its length, in bytes.
    pub length: usize,
    /// Its first bytes.
    pub head: Bytes,
    /// Its last bytes.
    pub tail: Bytes,
}

/// Cuts bytes into lines. It reads nothing itself: write into [`space`](Self::space), then take each
/// [`next_line`](Self::next_line); at the end, take the [`rest`](Self::rest).
///
/// Lines end with LF or CR LF. An empty line is no line, and a BOM before a line is not part of it. An empty splitter has no
/// buffer.
///
/// ```
/// use mcp_session_gateway::child::lines::{Line, LineSplitter};
///
/// let mut lines = LineSplitter::new(10);
/// lines.space().extend_from_slice(b"\xef\xbb\xbf{}\r\n\n{\"a\"");
/// assert_eq!(lines.next_line(), Some(Line::Whole("{}".into())));
/// assert_eq!(lines.next_line(), None, "not whole yet");
/// lines.space().extend_from_slice(b":1}\n0123456789a\n[]");
/// assert_eq!(lines.next_line(), Some(Line::Whole(r#"{"a":1}"#.into())));
/// assert!(matches!(lines.next_line(), Some(Line::TooLong(long)) if long.length == 11));
/// assert_eq!((lines.next_line(), lines.rest()), (None, Some(Line::Whole("[]".into()))));
/// ```
#[derive(Debug)]
pub struct LineSplitter {
    limit: usize,
    buffer: BytesMut,
    /// The bytes at the beginning of the buffer that have no end of line.
    searched: usize,
    skipping: Option<Skipping>,
}

/// A line that is too long, of which the end has not come yet.
#[derive(Debug)]
struct Skipping {
    length: usize,
    head: Bytes,
    tail: BytesMut,
}

impl Skipping {
    fn skip(&mut self, piece: &[u8]) {
        self.length += piece.len();
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(KEPT)..]);
        let more = self.tail.len().saturating_sub(KEPT);
        let _ = self.tail.split_to(more);
    }

    fn done(self) -> Line {
        Line::TooLong(TooLong { length: self.length, head: self.head, tail: self.tail.freeze() })
    }
}

impl LineSplitter {
    /// Creates a splitter of lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, buffer: BytesMut::new(), searched: 0, skipping: None }
    }

    /// Where the next bytes are to be written, at the end.
    pub fn space(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole line. `None`: more bytes are needed.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            let end = memchr(b'\n', &self.buffer[self.searched..]).map(|at| self.searched + at);
            let Some(end) = end else {
                self.searched = self.buffer.len();
                if self.buffer.len() > self.limit || self.skipping.is_some() {
                    self.skip(self.buffer.len());
                }
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                return None;
            };
            self.searched = 0;
            if self.skipping.is_some() || end > self.limit {
                self.skip(end);
                let _ = self.buffer.split_to(1);
                return self.skipping.take().map(Skipping::done);
            }
            let line = self.buffer.split_to(end + 1).freeze();
            if let Some(line) = trim(&line) {
                return Some(line);
            }
        }
    }

    /// What follows the last end of line, when there is no more to come.
    pub fn rest(&mut self) -> Option<Line> {
        if let Some(mut skipping) = self.skipping.take() {
            skipping.skip(&self.buffer.split());
            return Some(skipping.done());
        }
        self.searched = 0;
        trim(&self.buffer.split().freeze())
    }

    /// Skips the first bytes of the buffer, as a part of a line that is too long.
    fn skip(&mut self, count: usize) {
        let piece = self.buffer.split_to(count);
        self.searched = 0;
        let skipping = self.skipping.get_or_insert_with(|| Skipping {
            length: 0,
            head: Bytes::copy_from_slice(&piece[..piece.len().min(KEPT)]),
            tail: BytesMut::new(),
        });
        skipping.skip(&piece);
    }
}

fn trim(line: &Bytes) -> Option<Line> {
    let text = line.strip_prefix(BOM).unwrap_or(line).trim_ascii();
    (!text.is_empty()).then(|| Line::Whole(line.slice_ref(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of these bytes, in pieces of this size, and the longest buffer meanwhile.
    fn split(limit: usize, bytes: &[u8], piece: usize) -> (Vec<Line>, usize) {
        let mut lines = LineSplitter::new(limit);
        let (mut all, mut longest) = (Vec::new(), 0);
        for piece in bytes.chunks(piece) {
            lines.space().extend_from_slice(piece);
            longest = longest.max(lines.buffer.len());
            all.extend(std::iter::from_fn(|| lines.next_line()));
        }
        all.extend(lines.rest());
        assert!(lines.rest().is_none() && lines.buffer.is_empty());
        (all, longest)
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(text.into())
    }

    #[test]
    fn lines_are_the_same_in_pieces_of_any_size() {
        let bytes = b"\xef\xbb\xbf{\"a\":1}\r\n\r\n  [1, 2]  \n\n\xef\xbb\xbf\nx\ny";
        for size in 1..=bytes.len() {
            let (lines, _) = split(100, bytes, size);
            assert_eq!(lines, [whole(r#"{"a":1}"#), whole("[1, 2]"), whole("x"), whole("y")], "{size}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_in_bounded_memory_and_the_next_is_read() {
        let mut bytes = b"short\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'a', 1_000));
        bytes.extend(std::iter::repeat_n(b'z', 1_000));
        bytes.extend(b"\nnext\n");
        for size in [1, 7, 64, 100, 5_000] {
            let (lines, longest) = split(100, &bytes, size);
            let [first, Line::TooLong(long), last] = &lines[..] else { panic!("{size}: {lines:?}") };
            assert_eq!((first, long.length, last), (&whole("short"), 2_000, &whole("next")), "{size}");
            assert!(long.head.iter().all(|b| *b == b'a') && long.head.len() <= KEPT, "{size}");
            assert!(long.tail.iter().all(|b| *b == b'z') && long.tail.len() == KEPT, "{size}");
            assert!(longest <= 100 + size.max(1), "{size}: {longest}");
        }
        let (lines, _) = split(10, b"01234567890", 3);
        assert!(matches!(&lines[..], [Line::TooLong(long)] if long.length == 11), "{lines:?}");
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        for size in [1, 4, 20] {
            assert_eq!(split(4, b"abcd\nabcde\n", size).0[0], whole("abcd"), "{size}");
        }
    }

    #[test]
    fn ten_megabytes_are_one_line_and_an_idle_splitter_has_no_buffer() {
        let mut bytes = vec![b'x'; 10 << 20];
        bytes.push(b'\n');
        let mut lines = LineSplitter::new(16 << 20);
        for piece in bytes.chunks(64 << 10) {
            lines.space().extend_from_slice(piece);
            if let Some(line) = lines.next_line() {
                assert!(matches!(line, Line::Whole(text) if text.len() == 10 << 20));
                assert!(lines.next_line().is_none());
                assert_eq!(lines.buffer.capacity(), 0);
                return;
            }
        }
        panic!("no line");
    }
}
