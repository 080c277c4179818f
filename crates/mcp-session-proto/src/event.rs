//! Server-sent events: each message is one event in one [`Bytes`].

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use super::message::Outgoing;

/// A comment: keeps proxies from closing a silent stream, and means nothing to the client (D-42).
pub const HEARTBEAT: &[u8] = b":\n\n";

/// A position in a stream: the number of events up to it.
///
/// If a store assigns the positions and loses some of its events, it continues in a new epoch, so that no position
/// names two events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// How often the store has lost events. 0 if the owner of the stream assigns the positions.
    pub epoch: u32,
    /// The number of the event. The first is 1.
    pub seq: u64,
}

impl Position {
    /// Before the first event.
    pub const START: Self = Self { epoch: 0, seq: 0 };

    fn parse(text: &str) -> Option<Self> {
        match text.split_once('.') {
            None => Some(number(text)?.into()),
            Some((epoch, seq)) => match u32::try_from(number(epoch)?).ok()? {
                0 => None, // each position has only one spelling
                epoch => Some(Self { epoch, seq: number(seq)? }),
            },
        }
    }
}

impl From<u64> for Position {
    fn from(seq: u64) -> Self {
        Self { epoch: 0, seq }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            0 => write!(f, "{}", self.seq),
            epoch => write!(f, "{epoch}.{}", self.seq),
        }
    }
}

/// Reads a number as it is printed: digits only, and no zero before others.
fn number(digits: &str) -> Option<u64> {
    let is_printed =
        digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    is_printed.then(|| digits.parse().ok())?
}

/// Identifies an event within its session by stream and position (D-26, D-27).
///
/// The session is not part of the id: a request names it in a header, so an id from another session finds nothing.
///
/// ```
/// use mcp_session_proto::EventId;
///
/// let id = EventId { stream: 3, position: 17.into() };
/// assert_eq!(id.to_string(), "3-17");
/// assert_eq!(EventId::parse("3-17"), Some(id));
/// assert_eq!(EventId::parse("3-+17"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// The stream's number in its session.
    pub stream: u64,
    /// The position in the stream; 0 is before the first event.
    pub position: Position,
}

impl EventId {
    /// Parses an id that a client sends back. `None` if this server cannot have written it.
    pub fn parse(text: &str) -> Option<Self> {
        let (stream, position) = text.split_once('-')?;
        Some(Self { stream: number(stream)?, position: Position::parse(position)? })
    }
}

impl EventId {
    /// Writes the line of an event, several times as fast as `Display` would.
    fn write_line(self, out: &mut impl io::Write) -> io::Result<()> {
        let Self { stream, position: Position { epoch, seq } } = self;
        out.write_all(b"id: ")?;
        serde_json::to_writer(&mut *out, &stream)?;
        out.write_all(b"-")?;
        if epoch > 0 {
            serde_json::to_writer(&mut *out, &epoch)?;
            out.write_all(b".")?;
        }
        serde_json::to_writer(&mut *out, &seq)?;
        out.write_all(b"\n")
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stream, self.position)
    }
}

/// Encodes a message as one whole event with a single `data` line (D-39, D-40).
///
/// The line `event: message` is redundant, but some clients drop events without it (D-43).
///
/// ```
/// use mcp_session_proto::{EventId, Json, Outgoing, RequestId, encode_event};
///
/// let (id, result) = (RequestId::from(1), Json::from_text("{}".into())?);
/// let answer = Outgoing::Result { id: &id, result: &result };
/// let text = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
/// assert_eq!(encode_event(None, &answer), text);
/// let event = encode_event(Some(EventId { stream: 0, position: 1.into() }), &answer);
/// assert_eq!(event, format!("id: 0-1\n{text}"));
/// # Ok::<(), mcp_session_proto::RpcError>(())
/// ```
pub fn encode_event(id: Option<EventId>, message: &Outgoing<'_>) -> Bytes {
    let event = event(message.size_hint(), |out| message.write(out));
    match id {
        Some(id) => with_id(id, &event),
        None => event,
    }
}

/// Encodes a notification as one whole event, and serializes its params straight into it. `None` if the params cannot be
/// serialized, or are not an object (A-03).
pub fn encode_notification<P: Serialize + ?Sized>(method: &str, params: Option<&P>) -> Option<Bytes> {
    let mut are_object = true;
    let event = event(NOTIFICATION, |out| {
        let head = Outgoing::Notification { method, params: None };
        head.write(out);
        if let Some(params) = params {
            out.pop(); // the closing brace: the params come before it
            out.extend_from_slice(b",\"params\":");
            let start = out.len();
            are_object = serde_json::to_writer(&mut *out, params).is_ok()
                && out[start..].trim_ascii_start().starts_with(b"{");
            out.push(b'}');
        }
    });
    are_object.then_some(event)
}

/// Enough bytes for most notifications: the envelope, a method, and params such as those of progress.
const NOTIFICATION: usize = 200;

/// The start of an event that carries a message, after the id line (D-43).
pub const MESSAGE: &[u8] = b"event: message\ndata: ";

/// Builds an event with a single `data` line of about `size` bytes.
fn event(size: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(MESSAGE.len() + size + 2); // 2 for the blank line
    out.extend_from_slice(MESSAGE);
    let start = out.len();
    write(&mut out);
    // In JSON, line breaks occur only between tokens, where a space means the same; in an event they would end the data
    // line. Our own JSON has none: only JSON text from a handler may have them.
    let data = &mut out[start..];
    if has_line_break(data) {
        data.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// Whether a text has a line break: written so that the compiler looks at many bytes at once.
fn has_line_break(text: &[u8]) -> bool {
    const BLOCK: usize = 64;
    // 0 for a line break.
    let least =
        |text: &[u8]| text.iter().fold(u8::MAX, |least, byte| least.min(byte ^ b'\n').min(byte ^ b'\r'));
    let blocks = text.chunks_exact(BLOCK);
    let rest = least(blocks.remainder()) == 0;
    rest || blocks.into_iter().any(|block| least(block) == 0)
}

/// Puts an id line before the event.
pub fn with_id(id: EventId, event: &[u8]) -> Bytes {
    [IdLine::new(id).as_bytes(), event].concat().into()
}

/// The line of an id, and of those that come after it: counting up is cheaper than printing each number.
#[derive(Debug)]
pub(crate) struct IdLine {
    line: [u8; ID_LINE],
    /// Where the position begins.
    position: usize,
    length: usize,
}

impl IdLine {
    /// The line of this id.
    pub(crate) fn new(id: EventId) -> Self {
        let mut line = [0; ID_LINE];
        let mut rest = &mut line[..];
        // It always fits.
        let written = id.write_line(&mut rest);
        debug_assert!(written.is_ok());
        let length = ID_LINE - rest.len();
        let digits = line[..length - 1].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        Self { line, position: length - 1 - digits, length }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.line[..self.length]
    }

    /// Goes on to the line of the next position.
    #[inline]
    pub(crate) fn advance(&mut self) {
        let last = &mut self.line[self.length - 2]; // before the line break
        if *last < b'9' {
            *last += 1;
        } else {
            self.carry();
        }
    }

    /// Counts up when the last digit is a nine.
    fn carry(&mut self) {
        for digit in self.line[self.position..self.length - 1].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
        // All were nines.
        self.line[self.position] = b'1';
        self.line[self.length - 1..=self.length].copy_from_slice(b"0\n");
        self.length += 1;
    }
}

/// The length of the longest id line: two numbers of 20 digits, and one of 10.
const ID_LINE: usize = "id: -.\n".len() + 20 + 20 + 10;

/// The priming event, the first of a stream: it has an id to come back to, and no data (D-08). It has no `retry`: at
/// least one client treats `retry` as an error if no end of the connection is announced with it (D-44).
pub(super) fn encode_priming(id: EventId) -> Bytes {
    format!("id: {id}\ndata: \n\n").into()
}

/// An event with only `retry`, the time to wait before reconnecting. The connection ends with it (D-07, D-44).
pub(crate) fn encode_retry(retry: Duration) -> Bytes {
    format!("retry: {}\n\n", retry.as_millis()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::RequestId, message::Json};

    /// D-39, D-40: every message is one event with one `data` line, whatever it contains.
    #[test]
    fn d_40_line_breaks_between_tokens_do_not_end_the_event() {
        let id = RequestId::from("a\nb");
        let result = Json::from_text("{\r\n  \"text\": \"one\\ntwo\"\n}".into()).unwrap();
        let event = encode_event(None, &Outgoing::Result { id: &id, result: &result });
        let event = std::str::from_utf8(&event).unwrap();
        let data = event.strip_prefix("event: message\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains(['\n', '\r']), "{data}");
        let value: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(value["result"]["text"], "one\ntwo");
        assert_eq!(value["id"], "a\nb");
    }

    #[test]
    fn d_40_a_line_break_is_found_wherever_it_is() {
        for length in [0, 1, 63, 64, 65, 200] {
            let mut text = vec![b'\x0b'; length];
            assert!(!has_line_break(&text));
            for at in 0..length {
                for line_break in [b'\n', b'\r'] {
                    text[at] = line_break;
                    assert!(has_line_break(&text), "{at} of {length}");
                }
                text[at] = b'x';
            }
        }
    }

    #[test]
    fn the_line_of_an_id_counts_up() {
        for (epoch, start) in [(0, 1), (0, 9), (0, 98), (3, 9_999_998), (0, u64::MAX - 4)] {
            let id = |seq| EventId { stream: 9, position: Position { epoch, seq } };
            let mut line = IdLine::new(id(start));
            for seq in start..start + 4 {
                assert_eq!(line.as_bytes(), format!("id: {}\n", id(seq)).as_bytes());
                line.advance();
            }
        }
    }

    #[test]
    fn d_28_event_ids_are_visible_ascii_and_strict() {
        let longest = Position { epoch: u32::MAX, seq: u64::MAX };
        for position in [0.into(), u64::MAX.into(), Position { epoch: 3, seq: 9 }, longest] {
            let id = EventId { stream: u64::MAX, position };
            assert!(id.to_string().bytes().all(|b| b.is_ascii_graphic()));
            assert_eq!(EventId::parse(&id.to_string()), Some(id));
            assert_eq!(with_id(id, b"data: x"), format!("id: {id}\ndata: x"));
        }
        for foreign in [
            "1-0.2",
            "01-2",
            "1-02",
            "1-02.3",
            "1-2.03",
            "00-2",
            "1-.2",
            "1-2.",
            "1-1.2.3",
            "",
            "-",
            "1",
            "1-",
            "-1",
            "1-2-3",
            " 1-2",
            "1-99999999999999999999999",
            "a-b",
        ] {
            assert_eq!(EventId::parse(foreign), None, "{foreign:?}");
        }
    }
}
