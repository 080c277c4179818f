//! Events as they are encoded, and decoded by another's rules.

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use mcp_session_core::{
    ErrorCode, Json, RequestId, RpcError,
    proto::{EventId, HEARTBEAT, Outgoing, Position, encode_event, encode_notification},
};

use super::whatwg::{Decoder, Event};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    messages: Vec<Sent<'a>>,
    /// The sizes of the pieces in which the stream arrives, again from the start when they are used up.
    pieces: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
struct Sent<'a> {
    id: Option<(u64, u32, u64)>,
    kind: Kind,
    text: &'a str,
    json: &'a [u8],
    request: Option<i128>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Kind {
    Result,
    Error,
    Notification,
    Serialized,
    Request,
    Heartbeat,
}

/// The input is a series of messages and the pieces in which their events arrive.
///
/// # Panics
///
/// If a client that decodes the events has other messages or ids than were encoded.
pub fn run(input: &[u8]) {
    let Ok(Input { messages, pieces }) = Input::arbitrary_take_rest(Unstructured::new(input)) else { return };
    let (mut stream, mut sent, mut last) = (Vec::new(), Vec::new(), String::new());
    for message in &messages {
        let id = message.id.map(|(stream, epoch, seq)| EventId { stream, position: Position { epoch, seq } });
        let Some((event, data)) = message.encode(id) else { continue };
        stream.extend_from_slice(&event);
        if let Some(data) = data {
            last = id.map_or(last, |id| id.to_string());
            // Line breaks between tokens of JSON become spaces: an event is one line (D-40).
            sent.push(Event {
                kind: "message".to_owned(),
                data: data.replace(['\r', '\n'], " "),
                id: last.clone(),
            });
        }
    }
    let (mut decoder, mut rest) = (Decoder::default(), &stream[..]);
    for size in pieces.iter().cycle().take(4 * stream.len()) {
        let piece;
        (piece, rest) = rest.split_at(usize::from(*size).min(rest.len()));
        decoder.push(piece);
    }
    decoder.push(rest);
    assert!(!decoder.is_within_event(), "the last event is whole");
    assert_eq!(decoder.events, sent);
    assert_eq!(decoder.retry, None);
}

impl Sent<'_> {
    /// The event, and the text of its message. `None` if there is none.
    fn encode(&self, id: Option<EventId>) -> Option<(Bytes, Option<String>)> {
        let text = Bytes::copy_from_slice(self.json);
        let json = Json::from_text(text).or_else(|_| Json::new(self.text)).expect("text is JSON");
        let request = self.request.map_or(RequestId::from(self.text), RequestId::Integer);
        let error =
            RpcError::new(ErrorCode(self.json.len() as i64), self.text.to_owned()).with_data(json.clone());
        let (method, params) = (self.text, self.id.map(|_| &json));
        let message = match self.kind {
            Kind::Heartbeat => return Some((Bytes::from_static(HEARTBEAT), None)),
            Kind::Result => Outgoing::Result { id: &request, result: &json },
            Kind::Error => Outgoing::Error { id: self.request.is_some().then_some(&request), error: &error },
            Kind::Request => Outgoing::Request { id: self.json.len() as u64, method, params },
            Kind::Notification => Outgoing::Notification { method, params },
            Kind::Serialized => {
                let event = encode_notification(method, params);
                assert_eq!(event.is_some(), params.is_none_or(Json::is_object), "only objects are params");
                // The serializer leaves out the blanks around it.
                let text = Bytes::copy_from_slice(json.as_bytes().trim_ascii());
                let trimmed = Json::from_text(text).expect("JSON without the blanks around it");
                let message = Outgoing::Notification { method, params: params.map(|_| &trimmed) };
                return Some((event?, Some(text_of(&message)))).map(|(event, data)| match id {
                    Some(id) => (mcp_session_core::proto::with_id(id, &event), data),
                    None => (event, data),
                });
            }
        };
        Some((encode_event(id, &message), Some(text_of(&message))))
    }
}

fn text_of(message: &Outgoing<'_>) -> String {
    String::from_utf8(message.to_json().into()).expect("JSON is UTF-8")
}
