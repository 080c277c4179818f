//! [`Framing`]: where the body of a request ends.

use bytes::{Buf, Bytes};

use super::head::{Malformed, Section};

/// The maximum size of the chunk extensions of one body, in bytes, as in hyper. They are discarded.
const EXTENSION_LIMIT: usize = 16 * 1024;

/// The maximum size of the trailers of one body, in bytes: the default limit of a head. They are discarded.
const TRAILER_LIMIT: usize = 64 * 1024;

/// What is left of a body.
#[derive(Debug)]
pub(crate) enum Framing {
    /// This many bytes.
    Length(u64),
    /// Chunks (RFC 9112, 7.1). Boxed, because most bodies have a length.
    Chunked(Box<Chunks>),
    /// Unknown: the body is malformed.
    Broken(Malformed),
}

impl Framing {
    /// Determines the framing of a body from the values of `Content-Length` and `Transfer-Encoding`, and the minor version.
    ///
    /// # Errors
    ///
    /// If both fields are present, or a value is ambiguous.
    pub(super) fn of(lengths: &[&[u8]], codings: &[&[u8]], minor: u8) -> Result<Self, Malformed> {
        match (lengths, codings) {
            ([], []) => Ok(Self::Length(0)),
            ([length], []) => {
                // Not `parse` alone, which accepts a sign.
                let digits = std::str::from_utf8(length)
                    .ok()
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let length = digits.and_then(|digits| digits.parse().ok());
                length.map(Self::Length).ok_or(Malformed::bad("`Content-Length` has to be one number"))
            }
            ([], [coding]) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Self::Chunked(Box::default()))
            }
            ([], _) => Err(Malformed::bad("`Transfer-Encoding` has to be `chunked`, once, and in HTTP/1.1")),
            (_, []) => Err(Malformed::bad("`Content-Length` has to be there once")),
            (_, _) => Err(Malformed::bad("`Content-Length` and `Transfer-Encoding` exclude each other")),
        }
    }

    /// Returns `true` if the end of the body was read.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => matches!(chunks.state, State::End),
            Self::Broken(_) => false,
        }
    }

    /// The number of bytes left, if it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::Broken(_) => None,
        }
    }

    /// Takes the next bytes of the body from `input`. Returns `None` if it contains none, or the body is over.
    pub(super) fn read(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        let data = match self {
            Self::Length(left) => {
                let data = take(input, left);
                Ok((!data.is_empty()).then_some(data))
            }
            Self::Chunked(chunks) => chunks.read(input),
            Self::Broken(malformed) => Err(*malformed),
        };
        data.inspect_err(|malformed| *self = Self::Broken(*malformed))
    }
}

/// Takes up to `left` bytes from `input`.
fn take(input: &mut Bytes, left: &mut u64) -> Bytes {
    let data = input.split_to(usize::try_from(*left).unwrap_or(usize::MAX).min(input.len()));
    *left -= data.len() as u64;
    data
}

/// Parses a chunked body byte by byte. Each byte is allowed in exactly one place.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
    /// Bytes of extensions so far.
    extensions: usize,
    trailers: Section,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In a size, with this many digits so far.
    Size {
        digits: u32,
        size: u64,
    },
    /// After the `;` of a size.
    Extension {
        size: u64,
    },
    /// At the LF after a size.
    SizeLf {
        size: u64,
    },
    /// In the data of a chunk, with this many bytes left.
    Data {
        left: u64,
    },
    /// At the CR after the data.
    DataCr,
    /// At the LF after the data.
    DataLf,
    Trailers,
    End,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl Chunks {
    fn read(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        while !input.is_empty() {
            self.state = match self.state {
                State::Data { mut left } => {
                    let data = take(input, &mut left);
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                    return Ok(Some(data));
                }
                State::Trailers if self.trailers.read(input, TRAILER_LIMIT)? => {
                    self.trailers.check_trailers()?;
                    self.trailers = Section::default();
                    State::End
                }
                State::Trailers => State::Trailers,
                State::End => return Ok(None),
                _ => self.step(input.get_u8())?,
            };
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        const MOST_DIGITS: u32 = u64::BITS / 4;
        Ok(match (self.state, byte) {
            (
                State::Size { digits: digits @ 0..MOST_DIGITS, size },
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F',
            ) => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (State::Size { digits: 1.., size }, b';') => State::Extension { size },
            (State::Size { digits: 1.., size } | State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Extension { size }, b'\t' | b' '..=b'~') if self.extensions < EXTENSION_LIMIT => {
                self.extensions += 1;
                State::Extension { size }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::Trailers,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::default(),
            _ => return Err(Malformed::bad("the chunks of the body cannot be read")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked() -> Framing {
        Framing::Chunked(Box::default())
    }

    /// Reads `text` in pieces of `size`. Returns the body, whether it is over, and the rest of the input.
    fn read(mut framing: Framing, text: &str, size: usize) -> Result<(String, bool, String), Malformed> {
        let (mut body, mut left) = (Vec::new(), Vec::new());
        for piece in text.as_bytes().chunks(size) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(data) = framing.read(&mut piece)? {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
            assert!(piece.is_empty() || framing.is_over());
            left.extend_from_slice(&piece);
        }
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ok((text(body), framing.is_over(), text(left)))
    }

    #[test]
    fn a_body_is_the_same_in_any_pieces_and_ends_where_it_ends() {
        let next = "GET / HTTP/1.1\r\n\r\n";
        for (chunks, body) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            (
                "00005\r\nhello\r\nA\r\n0123456789\r\nb\r\n01234567890\r\n000\r\n\r\n",
                "hello012345678901234567890",
            ),
            ("5;ab\r\nhello\r\n0;x=\"y z\"\r\n\r\n", "hello"),
            ("5\r\nhello\r\n0\r\na: 1\r\nb: 2\r\nc:\r\n\r\n", "hello"),
        ] {
            for size in 1..chunks.len() + next.len() + 1 {
                let read = read(chunked(), &format!("{chunks}{next}"), size).expect(chunks);
                assert_eq!(read, (body.to_owned(), true, next.to_owned()), "{chunks:?} in pieces of {size}");
            }
        }
        for size in 1..9 {
            assert_eq!(read(Framing::Length(5), "hello, x", size), Ok(("hello".into(), true, ", x".into())));
        }
        assert_eq!(read(Framing::Length(9), "hello", 9), Ok(("hello".into(), false, String::new())));
        assert_eq!(read(chunked(), "5\r\nhello\r\n", 9), Ok(("hello".into(), false, String::new())));
    }

    #[test]
    fn chunks_that_two_parsers_could_read_differently_are_refused_for_good() {
        for bad in [
            "\r\n",
            "x\r\n",
            ";x\r\n",
            "+5\r\n",
            "-5\r\n",
            " 5\r\n",
            "5 \r\n",
            "5 ;x\r\n",
            "0x5\r\n",
            "5_\r\n",
            "5\n",
            "5\rx",
            "5;\n",
            "5;x\rx",
            "5;\u{e4}\r\n",
            "5;\0\r\n",
            "5\r\nhello\n",
            "5\r\nhello0\r\n",
            "5\r\nhello\rx",
            "5\r\nhello\r\n\r\n",
            "10000000000000000\r\n",
            "00000000000000005\r\n",
            "0\r\n\n",
            "0\r\nx\r\n\r\n",
            "0\r\na: 1\n\r\n",
            "0\r\n b: 1\r\n\r\n",
            "0\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        ] {
            for size in [1, 2, usize::MAX] {
                assert_eq!(read(chunked(), bad, size).expect_err(bad).status, 400);
            }
        }
        let mut framing = chunked();
        assert!(framing.read(&mut Bytes::from_static(b"x")).is_err());
        let mut good = Bytes::from_static(b"0\r\n\r\n");
        assert!(
            framing.read(&mut good).is_err() && !framing.is_over() && good.len() == 5,
            "nothing is read on"
        );
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = |length| format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(length));
        assert!(read(chunked(), &extension(EXTENSION_LIMIT), 1000).is_ok());
        assert!(read(chunked(), &extension(EXTENSION_LIMIT + 1), 1000).is_err());
        let many = format!("1;{}\r\nx\r\n", "x".repeat(1024)).repeat(17);
        assert!(read(chunked(), &many, 1000).is_err(), "of the whole body");
        let trailer = format!("0\r\nx: {}", "x".repeat(100 * 1024));
        assert_eq!(read(chunked(), &trailer, 1000).expect_err("too long").status, 431);
    }
}
