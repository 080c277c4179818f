//! Parses messages: [`Message::parse`].

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ErrorCode, Json, Message, Notification, ParseError, RpcError, RpcRequest, RpcResponse,
    parts::Parts,
    scan::{MAX_DEPTH, Names, decode, members_with},
    string,
};
use crate::id::RequestId;

const MEMBERS: Names<6> = Names::new(["jsonrpc", "id", "method", "params", "result", "error"]);
const PARAMS: usize = 3;

/// The members of a message, as they are written. `None`: it has no such member.
struct Envelope<'a> {
    jsonrpc: Option<&'a str>,
    id: Option<&'a str>,
    method: Option<&'a str>,
    params: Option<&'a str>,
    result: Option<&'a str>,
    error: Option<&'a str>,
}

#[derive(Deserialize)]
struct ErrorObject<'a> {
    code: i64,
    message: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Message {
    /// Parses one message from a POST body and classifies it (A.1). A member that is `null` counts as absent, except `id`.
    ///
    /// ```
    /// use mcp_session_proto::{Message, ParseError};
    ///
    /// let parse = |text: &'static str| Message::parse(&text.into());
    /// assert!(matches!(parse(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), Ok(Message::Request(_))));
    /// assert!(matches!(parse(r#"{"jsonrpc":"2.0","method":"ping"}"#), Ok(Message::Notification(_))));
    /// assert!(matches!(parse(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), Ok(Message::Response(_))));
    /// assert!(matches!(parse(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#), Err(ParseError::Invalid { .. })));
    /// assert_eq!(parse("[]"), Err(ParseError::Batch));
    /// ```
    ///
    /// # Errors
    ///
    /// [`ParseError`], with the id to echo if the message has a legal one (A-12).
    pub fn parse(body: &Bytes) -> Result<Self, ParseError> {
        let Ok(text) = ByteString::try_from(body.clone()) else { return Err(not_unicode(body)) };
        let mut parts = Parts::NONE;
        let found = members_with(&text, &MEMBERS, |scan, index| match index {
            Some(PARAMS) => parts.skip(scan, 1),
            _ => scan.value(1),
        });
        match found {
            Some(found) => Envelope::from(found).classify(&text, parts),
            None => Envelope::decode(&text)?.classify(&text, Parts::UNSURE),
        }
    }
}

impl<'a> From<[Option<&'a str>; MEMBERS.texts().len()]> for Envelope<'a> {
    fn from(found: [Option<&'a str>; MEMBERS.texts().len()]) -> Self {
        let [jsonrpc, id, method, params, result, error] = found;
        Self { jsonrpc, id, method, params, result, error }
    }
}

impl<'a> Envelope<'a> {
    fn decode(text: &'a str) -> Result<Self, ParseError> {
        check_outside(text.as_bytes())?;
        match decode(text, MEMBERS.texts()) {
            Ok(found) => Ok(found.into()),
            Err(unread) => Err(match serde_json::from_str::<&RawValue>(text) {
                Err(error) => ParseError::NotJson(error.to_string()),
                Ok(_) if unread.to_string().contains("duplicate field") => {
                    ParseError::Invalid { id: None, reason: "it has a member twice" }
                }
                Ok(_) => ParseError::Invalid { id: None, reason: "the name of a member is not Unicode" },
            }),
        }
    }

    fn classify(self, body: &ByteString, parts: Parts) -> Result<Message, ParseError> {
        // `null` counts as absent, because some clients write it for members that they leave out. Not so for `id`:
        // `{"id":null}` is an invalid request, not a notification (A-04). A `null` result is a result if the message has
        // neither a method nor an error.
        let unless_null = |member: Option<&'a str>| member.filter(|text| *text != "null");
        let (method, params) = (unless_null(self.method), unless_null(self.params));
        let error = unless_null(self.error);
        let id = self.id.and_then(RequestId::from_json);
        let invalid = |reason| ParseError::Invalid { id: id.clone(), reason };

        if self.jsonrpc != Some("\"2.0\"") {
            return Err(invalid("`jsonrpc` must be \"2.0\""));
        }
        if id.is_none() && self.id.is_some() {
            return Err(invalid("`id` must be a string of at most 1,024 bytes or an integer"));
        }
        let alone = method.is_none() && error.is_none();
        let result = self.result.filter(|result| alone || *result != "null");
        match (method, result, error) {
            (Some(text), None, None) => {
                let method = decode_method(text).ok_or_else(|| invalid("`method` must be a string"))?;
                if params.is_some_and(|params| !params.starts_with('{')) {
                    return Err(invalid("`params` must be an object"));
                }
                let params = params.map(|params| Json(body.slice_ref(params)));
                Ok(match id {
                    Some(id) => Message::Request(RpcRequest { id, method, params, parts }),
                    None => Message::Notification(Notification { method, params }),
                })
            }
            (None, Some(result), None) if id.is_some() => {
                Ok(Message::Response(RpcResponse { id, outcome: Ok(Json(body.slice_ref(result))) }))
            }
            (None, None, Some(error)) => {
                let error: ErrorObject<'_> = serde_json::from_str(error)
                    .map_err(|_| invalid("`error` must have an integer `code` and a string `message`"))?;
                let data = error.data.map(|data| Json(body.slice_ref(data.get())));
                let error = RpcError { data, ..RpcError::new(ErrorCode(error.code), error.message) };
                Ok(Message::Response(RpcResponse { id, outcome: Err(error) }))
            }
            _ => Err(invalid("it is neither a request, a notification nor a response")),
        }
    }
}

/// Refuses what is no object, or nests too deep, before it is decoded.
fn check_outside(body: &[u8]) -> Result<(), ParseError> {
    if nests_deeper(body, MAX_DEPTH as usize) {
        return Err(ParseError::Invalid { id: None, reason: "it nests deeper than 128 levels" });
    }
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Ok(()),
        first => Err(match serde_json::from_slice::<&RawValue>(body) {
            Err(error) => ParseError::NotJson(error.to_string()),
            Ok(_) if first == Some(&b'[') => ParseError::Batch,
            Ok(_) => ParseError::Invalid { id: None, reason: "it is not an object" },
        }),
    }
}

/// Why a body is refused that is not UTF-8.
#[cold]
fn not_unicode(body: &[u8]) -> ParseError {
    let refused = check_outside(body).and_then(|()| match std::str::from_utf8(body) {
        Ok(_) => Ok(()),
        Err(error) => Err(ParseError::NotJson(error.to_string())),
    });
    refused.err().unwrap_or_else(|| ParseError::NotJson("not UTF-8".to_owned()))
}

/// The protocol's methods that clients send, the most frequent first.
const METHODS: [&str; 21] = [
    "tools/call",
    "tools/list",
    "resources/read",
    "resources/list",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/get",
    "prompts/list",
    "completion/complete",
    "logging/setLevel",
    "tasks/get",
    "tasks/result",
    "tasks/list",
    "tasks/cancel",
    "ping",
    "initialize",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
];

/// Decodes a method; `None` if the text is not a string.
fn decode_method(text: &str) -> Option<Cow<'static, str>> {
    let known =
        |text: &str| METHODS.iter().find(|method| **method == text).map(|method| Cow::Borrowed(*method));
    let quoted = text.get(1..text.len().saturating_sub(1)).filter(|_| text.starts_with('"'));
    quoted.and_then(known).or_else(|| {
        let method = string(text)?;
        Some(known(&method).unwrap_or_else(|| Cow::Owned(method.into_owned())))
    })
}

/// Whether brackets outside strings nest deeper than `limit`. Counts instead of recursing, so that hostile nesting uses
/// no stack.
fn nests_deeper(text: &[u8], limit: usize) -> bool {
    // Text that nests deeper has more than `limit` opening brackets, and as many closing ones, or is not JSON. Few
    // messages have so many brackets at all, and counting is fast: it takes many bytes at a time.
    let is_open = |byte: &u8| u8::from(matches!(byte, b'{' | b'['));
    let opened = |part: &[u8]| usize::from(part.iter().map(is_open).sum::<u8>());
    if text.len() <= 2 * limit || text.chunks(u8::MAX.into()).map(opened).sum::<usize>() <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => in_string = true,
                b'{' | b'[' if depth == limit => return true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    false
}
