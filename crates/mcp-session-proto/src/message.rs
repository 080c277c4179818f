//! JSON-RPC: classifies incoming messages, and encodes outgoing ones.
//!
//! Only the envelope is decoded. `params`, `result` and `error.data` stay unchanged bytes ([`Json`]), so a handler sees
//! exactly what the client wrote (A-17).

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{id::RequestId, state::Input};

/// The maximum nesting depth of a message. `serde_json` has the same limit, so a handler can decode every message that
/// passes (A-19).
const MAX_DEPTH: usize = 128;

/// The code of a JSON-RPC error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(pub i64);

impl ErrorCode {
    /// The body is not JSON.
    pub const PARSE_ERROR: Self = Self(-32700);
    /// The JSON is not a request that this server accepts.
    pub const INVALID_REQUEST: Self = Self(-32600);
    /// The method does not exist.
    pub const METHOD_NOT_FOUND: Self = Self(-32601);
    /// The method does not accept these params.
    pub const INVALID_PARAMS: Self = Self(-32602);
    /// The server failed.
    pub const INTERNAL_ERROR: Self = Self(-32603);
    /// The session or server is ending. The TypeScript and Python SDKs call it `ConnectionClosed`.
    pub const CONNECTION_CLOSED: Self = Self(-32000);
    /// The session does not exist. The TypeScript SDK sends it with 404.
    pub const SESSION_NOT_FOUND: Self = Self(-32001);
    /// The client cancelled the request. The Python SDK sends it, as language servers do.
    pub const REQUEST_CANCELLED: Self = Self(-32800);
}

/// One JSON value, as text. Cheap to clone.
///
/// ```
/// # use mcp_session_proto as mcp_session_core;
/// use mcp_session_core::Json;
/// use serde_json::json;
///
/// let value = Json::new(&json!({"text": "hi"}))?;
/// assert_eq!(value.as_str(), r#"{"text":"hi"}"#);
/// assert_eq!(value.parse::<serde_json::Value>()?["text"], "hi");
/// assert!(value.parse::<u32>().is_err());
/// assert!(Json::from_text("{".into()).is_err());
/// # Ok::<(), mcp_session_proto::RpcError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Bytes);

impl Json {
    /// Serializes `value` compactly.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::INTERNAL_ERROR`] if `value` cannot be JSON, such as a map whose keys are not strings.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, RpcError> {
        match serde_json::to_vec(value) {
            Ok(text) => Ok(Self(text.into())),
            Err(error) => Err(RpcError::internal(format!("not serializable as JSON: {error}"))),
        }
    }

    /// Takes text that is already JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::PARSE_ERROR`] if it is not.
    pub fn from_text(text: Bytes) -> Result<Self, RpcError> {
        match serde_json::from_slice::<&RawValue>(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(RpcError::new(ErrorCode::PARSE_ERROR, format!("not JSON: {error}"))),
        }
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::INVALID_PARAMS`], with the reason, if the value is not a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, RpcError> {
        self.borrow()
    }

    /// Decodes the value, borrowing strings from it.
    ///
    /// # Errors
    ///
    /// As [`Json::parse`].
    pub fn borrow<'a, T: Deserialize<'a>>(&'a self) -> Result<T, RpcError> {
        serde_json::from_slice(&self.0).map_err(|error| RpcError::invalid_params(error.to_string()))
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.0.trim_ascii_start().starts_with(b"{")
    }

    /// The text, as bytes of UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Every constructor takes it from a JSON parser or serializer, so it is UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The part of this value that `raw` was borrowed from.
    pub fn part(&self, raw: &RawValue) -> Self {
        Self::slice(&self.0, raw)
    }

    /// The part of `body` that `raw` was parsed from.
    fn slice(body: &Bytes, raw: &RawValue) -> Self {
        Self(body.slice_ref(raw.get().as_bytes()))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(self.as_str())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string().into())
    }
}

impl From<Box<RawValue>> for Json {
    fn from(value: Box<RawValue>) -> Self {
        Self(String::from(Box::<str>::from(value)).into())
    }
}

/// A JSON-RPC error, which a handler returns instead of a result.
///
/// ```
/// # use mcp_session_proto as mcp_session_core;
/// use mcp_session_core::{ErrorCode, RpcError};
///
/// let error = RpcError::invalid_params("`steps` must be at least 1");
/// assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
/// assert_eq!(error.to_string(), "`steps` must be at least 1 (-32602)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({})", code.0)]
pub struct RpcError {
    /// The kind of error.
    pub code: ErrorCode,
    /// One sentence for a human reader.
    pub message: Cow<'static, str>,
    /// Details for a program.
    pub data: Option<Json>,
    /// Status and header of the HTTP response, if the error sets them.
    pub(crate) refusal: Option<Box<HttpRefusal>>,
}

/// Status and header of an HTTP response that refuses a request because of its credential. The error is in its body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRefusal {
    /// The HTTP status code.
    pub status: u16,
    /// The value of `WWW-Authenticate`, if there is one.
    pub challenge: Option<Bytes>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None, refusal: None }
    }

    /// Lets the error set the status of the HTTP response, if the response has not begun yet.
    #[must_use]
    pub fn with_refusal(mut self, status: u16, challenge: Option<Bytes>) -> Self {
        self.refusal = Some(Box::new(HttpRefusal { status, challenge }));
        self
    }

    /// [`ErrorCode::INVALID_PARAMS`].
    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::INVALID_PARAMS, message)
    }

    /// [`ErrorCode::METHOD_NOT_FOUND`]: the answer to a method that the server does not have (A-18).
    pub fn method_not_found(method: &str) -> Self {
        Self::new(ErrorCode::METHOD_NOT_FOUND, format!("method not found: {method}"))
    }

    /// [`ErrorCode::INTERNAL_ERROR`].
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::INTERNAL_ERROR, message)
    }

    /// Adds data to the error.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Json>) -> Self {
        self.data = Some(data.into());
        self
    }
}

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcRequest {
    /// The id, which the answer repeats.
    pub id: RequestId,
    /// The method. The protocol's own methods are borrowed.
    pub method: Cow<'static, str>,
    /// An object, if present (A-03).
    pub params: Option<Json>,
}

/// The former name of [`RpcRequest`].
#[deprecated(since = "0.1.0", note = "renamed to `RpcRequest`")]
pub type Request = RpcRequest;

/// A client's notification. It is not answered (A-09).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The method. The protocol's own methods are borrowed.
    pub method: Cow<'static, str>,
    /// An object, if present.
    pub params: Option<Json>,
}

impl Notification {
    /// Of `notifications/cancelled`: the id of the request to cancel, and the reason. Malformed values are ignored
    /// (F-04).
    pub fn cancelled(&self) -> (Option<RequestId>, Option<String>) {
        #[derive(Deserialize, Default)]
        struct Params {
            #[serde(default, rename = "requestId")]
            request_id: Option<Box<RawValue>>,
            #[serde(default)]
            reason: Option<String>,
        }
        let params = self.params.as_ref().and_then(|params| params.parse().ok());
        let Params { request_id, reason } = params.unwrap_or_default();
        (request_id.and_then(|raw| RequestId::from_json(raw.get())), reason)
    }
}

/// A client's reply to a request of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcResponse {
    /// The id of the server's request. An error reply may have none.
    pub id: Option<RequestId>,
    /// The result, or the client's error, unchanged (F-25).
    pub outcome: Result<Json, RpcError>,
}

/// One message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request, which expects an answer.
    Request(RpcRequest),
    /// A notification, which expects no answer.
    Notification(Notification),
    /// A reply to a request of the server.
    Response(RpcResponse),
}

/// Why a body is not one message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, or not UTF-8 (A-02, A-14).
    #[error("not JSON: {0}")]
    NotJson(String),
    /// An array of messages (A-31): see [`Batch`](super::Batch).
    #[error("an array of messages")]
    Batch,
    /// An array of messages that is refused as a whole, with the reason (A-22, A-27 to A-29).
    #[error("not a batch: {0}")]
    InvalidBatch(&'static str),
    /// JSON, but not a JSON-RPC message (A-16).
    #[error("not a JSON-RPC message: {reason}")]
    Invalid {
        /// The id to echo, if the message has a legal one.
        id: Option<RequestId>,
        /// The reason.
        reason: &'static str,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    // `null` counts as absent, because some clients write it for members that they leave out.
    #[serde(borrow, default, deserialize_with = "unless_null")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "unless_null")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "unless_null")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "unless_null")]
    error: Option<&'a RawValue>,
}

/// Reads `null` as absent. One comparison, which is cheaper than the look-ahead of serde's `Option`.
fn unless_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|raw| (raw.get() != "null").then_some(raw))
}

/// Distinguishes `null` from absent: `{"id":null}` is an invalid request, not a notification (A-04), and a `null` result
/// is a result if the message has neither a method nor an error.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct ErrorObject<'a> {
    code: i64,
    message: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Message {
    /// The input of a session that this message is.
    pub fn input(&self) -> Input {
        match self {
            Self::Request(request) => match &*request.method {
                "initialize" => Input::Initialize,
                "ping" => Input::Ping,
                _ => Input::Request,
            },
            Self::Notification(notification) => match &*notification.method {
                "notifications/initialized" => Input::Initialized,
                "notifications/cancelled" => Input::Cancelled,
                _ => Input::Notification,
            },
            Self::Response(_) => Input::Response,
        }
    }

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
        if nests_deeper(body, MAX_DEPTH) {
            return Err(ParseError::Invalid { id: None, reason: "it nests deeper than 128 levels" });
        }
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => {}
            first => {
                return Err(match serde_json::from_slice::<&RawValue>(body) {
                    Err(error) => ParseError::NotJson(error.to_string()),
                    Ok(_) if first == Some(&b'[') => ParseError::Batch,
                    Ok(_) => ParseError::Invalid { id: None, reason: "it is not an object" },
                });
            }
        }
        let text = std::str::from_utf8(body).map_err(|error| ParseError::NotJson(error.to_string()))?;
        match serde_json::from_str::<Envelope<'_>>(text) {
            Ok(envelope) => envelope.classify(body),
            Err(_) => Err(match serde_json::from_str::<&RawValue>(text) {
                Err(error) => ParseError::NotJson(error.to_string()),
                Ok(_) => ParseError::Invalid { id: None, reason: "it has a member twice" },
            }),
        }
    }
}

impl Envelope<'_> {
    fn classify(self, body: &Bytes) -> Result<Message, ParseError> {
        let id = self.id.and_then(|raw| RequestId::from_json(raw.get()));
        let invalid = |reason| ParseError::Invalid { id: id.clone(), reason };

        if self.jsonrpc.is_none_or(|version| version.get() != "\"2.0\"") {
            return Err(invalid("`jsonrpc` must be \"2.0\""));
        }
        if id.is_none() && self.id.is_some() {
            return Err(invalid("`id` must be a string of at most 1,024 bytes or an integer"));
        }
        let alone = self.method.is_none() && self.error.is_none();
        let result = self.result.filter(|result| alone || result.get() != "null");
        match (self.method, result, self.error) {
            (Some(raw), None, None) => {
                let method = method(raw).ok_or_else(|| invalid("`method` must be a string"))?;
                if self.params.is_some_and(|params| !params.get().starts_with('{')) {
                    return Err(invalid("`params` must be an object"));
                }
                let params = self.params.map(|params| Json::slice(body, params));
                Ok(match id {
                    Some(id) => Message::Request(RpcRequest { id, method, params }),
                    None => Message::Notification(Notification { method, params }),
                })
            }
            (None, Some(result), None) if id.is_some() => {
                Ok(Message::Response(RpcResponse { id, outcome: Ok(Json::slice(body, result)) }))
            }
            (None, None, Some(error)) => {
                let error: ErrorObject<'_> = serde_json::from_str(error.get())
                    .map_err(|_| invalid("`error` must have an integer `code` and a string `message`"))?;
                let data = error.data.map(|data| Json::slice(body, data));
                let error = RpcError { data, ..RpcError::new(ErrorCode(error.code), error.message) };
                Ok(Message::Response(RpcResponse { id, outcome: Err(error) }))
            }
            _ => Err(invalid("it is neither a request, a notification nor a response")),
        }
    }
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

/// Decodes a method; `None` if `raw` is not a string.
fn method(raw: &RawValue) -> Option<Cow<'static, str>> {
    match raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(match METHODS.iter().find(|method| **method == plain) {
            Some(method) => Cow::Borrowed(method),
            None => Cow::Owned(plain.to_owned()),
        }),
        _ => serde_json::from_str(raw.get()).ok(),
    }
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

/// A message of the server, ready to be written.
#[derive(Debug, Clone, Copy)]
pub enum Outgoing<'a> {
    /// The answer to a request.
    Result {
        /// The request's id.
        id: &'a RequestId,
        /// The handler's result.
        result: &'a Json,
    },
    /// The error answer to a request, or to something without a readable id (`null`, A-13).
    Error {
        /// The request's id.
        id: Option<&'a RequestId>,
        /// The error.
        error: &'a RpcError,
    },
    /// A notification.
    Notification {
        /// The method.
        method: &'a str,
        /// An object, if present.
        params: Option<&'a Json>,
    },
    /// A request to the client.
    Request {
        /// The server's own id (F-20).
        id: u64,
        /// The method.
        method: &'a str,
        /// An object, if present.
        params: Option<&'a Json>,
    },
}

impl Outgoing<'_> {
    /// The message alone, for a body of `application/json`.
    pub fn to_json(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.size_hint());
        self.write(&mut out);
        out.into()
    }

    /// The approximate length of the message in bytes; never too small, unless strings have to be escaped. For a result
    /// it is exact, so that the bytes need no second allocation to be shared.
    pub(super) fn size_hint(&self) -> usize {
        let json_len = |json: Option<&Json>| json.map_or(0, |json| json.0.len());
        match self {
            Self::Result { id, result } => 33 + id.json_len() + result.0.len(),
            Self::Error { id, error } => {
                64 + id.map_or(4, RequestId::json_len) + error.message.len() + json_len(error.data.as_ref())
            }
            Self::Notification { method, params } | Self::Request { method, params, .. } => {
                84 + method.len() + json_len(*params)
            }
        }
    }

    /// Appends the message.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
        match self {
            Self::Result { id, result } => {
                out.extend_from_slice(b"\"id\":");
                id.write_json(out);
                out.extend_from_slice(b",\"result\":");
                out.extend_from_slice(&result.0);
            }
            Self::Error { id, error } => {
                out.extend_from_slice(b"\"id\":");
                match id {
                    Some(id) => id.write_json(out),
                    None => out.extend_from_slice(b"null"),
                }
                out.extend_from_slice(
                    format!(",\"error\":{{\"code\":{},\"message\":", error.code.0).as_bytes(),
                );
                write_string(&error.message, out);
                if let Some(data) = &error.data {
                    out.extend_from_slice(b",\"data\":");
                    out.extend_from_slice(&data.0);
                }
                out.push(b'}');
            }
            Self::Notification { method, params } => write_call(method, *params, out),
            Self::Request { id, method, params } => {
                out.extend_from_slice(format!("\"id\":{id},").as_bytes());
                write_call(method, *params, out);
            }
        }
        out.push(b'}');
    }
}

fn write_call(method: &str, params: Option<&Json>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"method\":");
    write_string(method, out);
    if let Some(params) = params {
        out.extend_from_slice(b",\"params\":");
        out.extend_from_slice(&params.0);
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    // Writing to a `Vec` cannot fail, nor can a string fail to serialize.
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests;
