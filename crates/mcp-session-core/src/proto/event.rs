//! Server-sent events: one message, one event, one [`Bytes`].

use std::{fmt, io::Write as _, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use super::message::Outgoing;

/// A comment: keeps proxies from closing a silent stream and tells the client nothing (D-42).
pub const HEARTBEAT: &[u8] = b":\n\n";

/// A place in a stream: after how many events.
///
/// Where a store gives the positions, and has lost some that it had given, it goes on in a new epoch: so that no position
/// means two events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// How often the store has lost something. 0 where the owner of the stream gives the positions.
    pub epoch: u32,
    /// The number of the event. The first has 1.
    pub seq: u64,
}

impl Position {
    /// Before the first event.
    pub const START: Self = Self { epoch: 0, seq: 0 };

    fn parse(text: &str) -> Option<Self> {
        match text.split_once('.') {
            None => Some(number(text)?.into()),
            Some((epoch, seq)) => match u32::try_from(number(epoch)?).ok()? {
                0 => None, // one position has one spelling
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

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Names an event within its session: the stream, and the position in it (D-26, D-27).
///
/// The session is not part of it: a request names that in its header, so an id of a foreign session finds nothing.
///
/// ```
/// use mcp_session_core::proto::EventId;
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
    /// The position in the stream; 0 is before its first event.
    pub position: Position,
}

impl EventId {
    /// Reads an id as a client sends it back. `None` if this server cannot have written it.
    pub fn parse(text: &str) -> Option<Self> {
        let (stream, position) = text.split_once('-')?;
        Some(Self { stream: number(stream)?, position: Position::parse(position)? })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stream, self.position)
    }
}

/// Encodes a message as one whole event with a single `data` line (D-39, D-40).
///
/// It says `event: message`, which means the same without: clients exist that drop an event without the line (D-43).
///
/// ```
/// use mcp_session_core::{RequestId, proto::{EventId, Json, Outgoing, encode_event}};
///
/// let (id, result) = (RequestId::from(1), Json::from_text("{}".into())?);
/// let answer = Outgoing::Result { id: &id, result: &result };
/// let text = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
/// assert_eq!(encode_event(None, &answer), text);
/// let event = encode_event(Some(EventId { stream: 0, position: 1.into() }), &answer);
/// assert_eq!(event, format!("id: 0-1\n{text}"));
/// # Ok::<(), mcp_session_core::RpcError>(())
/// ```
pub fn encode_event(id: Option<EventId>, message: &Outgoing<'_>) -> Bytes {
    let event = event(message.size_hint(), |out| message.write(out));
    match id {
        Some(id) => with_id(id, &event),
        None => event,
    }
}

/// Encodes a notification as one whole event, its params straight from what they are. `None` if they cannot be JSON, or are
/// not an object (A-03).
pub(crate) fn encode_notification<P: Serialize + ?Sized>(method: &str, params: Option<&P>) -> Option<Bytes> {
    let mut are_object = true;
    let event = event(NOTIFICATION, |out| {
        let head = Outgoing::Notification { method, params: None };
        head.write(out);
        if let Some(params) = params {
            out.pop(); // the last brace: they come before it
            out.extend_from_slice(b",\"params\":");
            let start = out.len();
            are_object = serde_json::to_writer(&mut *out, params).is_ok()
                && out[start..].trim_ascii_start().starts_with(b"{");
            out.push(b'}');
        }
    });
    are_object.then_some(event)
}

/// Room for most notifications: the envelope, a method, and params such as those of progress.
const NOTIFICATION: usize = 200;

/// What an event that carries a message begins with, after its id (D-43).
pub(crate) const MESSAGE: &[u8] = b"event: message\ndata: ";

/// One event with a single `data` line of about this many bytes.
fn event(size: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(MESSAGE.len() + size + 2); // and the blank line
    out.extend_from_slice(MESSAGE);
    let start = out.len();
    write(&mut out);
    // JSON has line breaks only between its tokens, where a space means the same; in an event they would end
    // the data line. Ours has none: only what a handler has as text may.
    let data = &mut out[start..];
    if data.contains(&b'\n') || data.contains(&b'\r') {
        data.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// The same event, with its id.
pub(crate) fn with_id(id: EventId, event: &[u8]) -> Bytes {
    let mut line = [0; ID_LINE];
    let mut rest = &mut line[..];
    // It always fits.
    let written = writeln!(rest, "id: {id}");
    debug_assert!(written.is_ok());
    let length = ID_LINE - rest.len();
    [&line[..length], event].concat().into()
}

/// The longest id line: of two numbers of 20 digits, and one of 10.
const ID_LINE: usize = "id: -.\n".len() + 20 + 20 + 10;

/// The first event of a stream: an id to come back to, and no data (D-08). Without `retry`: a client exists that takes it
/// for an error where no end is announced (D-44).
pub(super) fn encode_priming(id: EventId) -> Bytes {
    format!("id: {id}\ndata: \n\n").into()
}

/// How long to wait before coming back, in an event of its own, without data: the connection ends with it (D-07, D-44).
pub(crate) fn encode_retry(retry: Duration) -> Bytes {
    format!("retry: {}\n\n", retry.as_millis()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{id::RequestId, message::Json};

    /// D-39, D-40: whatever is in a message, it is one event with one `data` line.
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
