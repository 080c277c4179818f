//! JSON-RPC: classifies incoming messages, and encodes outgoing ones.
//!
//! Only the envelope is decoded. `params`, `result` and `error.data` stay unchanged bytes ([`Json`]), so a handler sees
//! exactly what the client wrote (A-17).

mod outgoing;
mod parse;
mod parts;
mod scan;
mod string;
mod text;

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use self::parts::Parts;
#[doc(hidden)] // for core
pub use self::{
    outgoing::Insertions,
    parts::Part,
    scan::Names,
    string::{push_string, string},
};
pub use self::{outgoing::Outgoing, text::Text};
use crate::{id::RequestId, state::Input};

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
    /// A header of the request does not agree with its body, or is missing (2026-07-28, G-10).
    pub const HEADER_MISMATCH: Self = Self(-32020);
    /// The request needs a capability that its client does not declare (2026-07-28, G-05).
    pub const MISSING_CLIENT_CAPABILITY: Self = Self(-32021);
    /// The server does not support the request's protocol version (2026-07-28, G-18).
    pub const UNSUPPORTED_PROTOCOL_VERSION: Self = Self(-32022);
    /// The session or server is ending. The TypeScript and Python SDKs call it `ConnectionClosed`.
    pub const CONNECTION_CLOSED: Self = Self(-32000);
    /// The session does not exist. The TypeScript SDK sends it with 404.
    pub const SESSION_NOT_FOUND: Self = Self(-32001);
    /// Not sent: the answer of a handler that needs its client's input first, in place of which the input is asked for.
    #[doc(hidden)] // for core
    pub const INPUT_REQUIRED: Self = Self(-31042);
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
pub struct Json(ByteString);

impl Json {
    /// The empty object.
    #[doc(hidden)] // for core
    pub fn empty() -> &'static Self {
        static EMPTY: Json = Json(ByteString::from_static("{}"));
        &EMPTY
    }

    /// Serializes `value` compactly.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::INTERNAL_ERROR`] if `value` cannot be JSON, such as a map whose keys are not strings.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, RpcError> {
        match serde_json::to_string(value) {
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
        let not_json =
            |error: &dyn fmt::Display| RpcError::new(ErrorCode::PARSE_ERROR, format!("not JSON: {error}"));
        let text = ByteString::try_from(text).map_err(|error| not_json(&error))?;
        match serde_json::from_str::<&RawValue>(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(not_json(&error)),
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
        serde_json::from_str(self.as_str()).map_err(|error| RpcError::invalid_params(error.to_string()))
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.as_bytes().trim_ascii_start().starts_with(b"{")
    }

    /// The text, as bytes of UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Text that was put together from JSON, and is not checked again.
    #[doc(hidden)] // for core
    pub fn spliced(text: String) -> Self {
        debug_assert!(serde_json::from_str::<&RawValue>(&text).is_ok(), "{text}");
        Self(text.into())
    }

    /// The part of this value with this text, which was borrowed from it.
    #[doc(hidden)] // for core
    pub fn part(&self, text: &str) -> Self {
        Self(self.0.slice_ref(text))
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

/// The texts of these members of an object, where it has them, from its own text.
///
/// # Errors
///
/// [`ErrorCode::INVALID_PARAMS`] if `text` is not one JSON object, or has one of these members twice.
#[doc(hidden)] // for core
pub fn members<'a, const N: usize>(
    text: &'a str,
    names: &Names<N>,
) -> Result<[Option<&'a str>; N], RpcError> {
    match scan::members(text, names) {
        Some(found) => Ok(found),
        None => {
            scan::decode(text, names.texts()).map_err(|error| RpcError::invalid_params(error.to_string()))
        }
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
    #[doc(hidden)] // for core: a status comes from its table
    #[must_use]
    pub fn with_refusal(mut self, status: u16, challenge: Option<Bytes>) -> Self {
        self.refusal = Some(Box::new(HttpRefusal { status, challenge }));
        self
    }

    /// [`ErrorCode::INVALID_PARAMS`].
    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::INVALID_PARAMS, message)
    }

    /// [`ErrorCode::MISSING_CLIENT_CAPABILITY`]: the request needs these capabilities, an object such as
    /// `{"sampling": {}}`, and its client does not declare them. Only for revision 2026-07-28 (G-05).
    pub fn missing_capability(required: impl Into<Json>) -> Self {
        let data = serde_json::json!({ "requiredCapabilities": required.into() });
        Self::new(
            ErrorCode::MISSING_CLIENT_CAPABILITY,
            "the request needs a capability that its client does not declare",
        )
        .with_data(data)
    }

    /// [`ErrorCode::METHOD_NOT_FOUND`]: the answer to a method that the server does not have (A-18).
    pub fn method_not_found(method: &str) -> Self {
        Self::new(ErrorCode::METHOD_NOT_FOUND, format!("method not found: {method}"))
    }

    /// [`ErrorCode::INTERNAL_ERROR`].
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::INTERNAL_ERROR, message)
    }

    /// [`ErrorCode::INTERNAL_ERROR`] that may go away by itself: the handler cannot answer now, for example because it is at a
    /// limit of its own. The client gets 503 with `Retry-After`, unless the response has begun already, and reads in the
    /// error's data that it may send the request again: `{"reason":"unavailable","retryable":true}` (B-42).
    ///
    /// ```
    /// # use mcp_session_proto as mcp_session_core;
    /// let error = mcp_session_core::RpcError::unavailable("no database connection is free");
    /// assert_eq!(error.data.unwrap().as_str(), r#"{"reason":"unavailable","retryable":true}"#);
    /// ```
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        let data = serde_json::json!({ "reason": "unavailable", "retryable": true });
        Self::internal(message).with_data(data).with_refusal(503, None)
    }

    /// Adds data to the error.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Json>) -> Self {
        self.data = Some(data.into());
        self
    }
}

/// A client's request.
#[derive(Debug, Clone)]
pub struct RpcRequest {
    /// The id, which the answer repeats.
    pub id: RequestId,
    /// The method. The protocol's own methods are borrowed.
    pub method: Cow<'static, str>,
    /// An object, if present (A-03). For other params, make another request: where their parts are is known of these.
    pub params: Option<Json>,
    parts: Parts,
}

/// Where the parts of the params are in the message that was parsed makes no difference.
impl PartialEq for RpcRequest {
    fn eq(&self, other: &Self) -> bool {
        let Self { id, method, params, parts: _ } = self;
        (id, method, params) == (&other.id, &other.method, &other.params)
    }
}

impl Eq for RpcRequest {}

impl RpcRequest {
    /// A request with this id.
    pub fn new(id: RequestId, method: impl Into<Cow<'static, str>>, params: Option<Json>) -> Self {
        let parts = params.as_ref().map_or(Parts::NONE, Parts::of);
        Self { id, method: method.into(), params, parts }
    }

    /// The text of a member of the params that the protocol reads; `None` if it is absent. The params must be those that the
    /// request was created with.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::INVALID_PARAMS`] if it occurs twice.
    #[doc(hidden)] // for core
    #[inline]
    pub fn part(&self, part: Part) -> Result<Option<&str>, RpcError> {
        self.params.as_ref().map_or(Ok(None), |params| self.parts.get(part, params))
    }

    /// Whether it asks for a list, which a client may need before it can accept an answer: an
    /// [`Input::List`](crate::Input::List). In a batch it is an ordinary request.
    #[inline]
    pub fn is_list(&self) -> bool {
        matches!(&*self.method, "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list")
    }
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
    #[doc(hidden)] // for core
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
}

#[cfg(test)]
mod tests;
