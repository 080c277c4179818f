//! [`ToolResult`], and what becomes one: a value ([`ToolOutput`]) or an error ([`ToolError`]).

use std::{any::Any, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mcp_session_proto::{self as proto, Json, RequestError, RpcError, SendError};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::schema::schema_of;

/// The result of a tool, made by hand: content of any kind.
///
/// ```
/// use mcp_session_core::ToolResult;
///
/// let result = ToolResult::new().text("the chart").image("image/png", &[1, 2, 3]);
/// assert_eq!(result.content.len(), 2);
/// assert!(!result.is_error);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ToolResult {
    /// The content blocks.
    pub content: Vec<Value>,
    /// `structuredContent`, an object.
    pub structured: Option<Value>,
    /// Whether the tool has failed, in a way that the model should read.
    pub is_error: bool,
    /// `_meta`.
    pub meta: Option<Map<String, Value>>,
}

impl ToolResult {
    /// A result without content.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        // `json!` would copy the text.
        let members = [("type", Value::from("text")), ("text", Value::from(text.into()))];
        self.block(Map::from_iter(members.map(|(name, value)| (name.to_owned(), value))))
    }

    /// Adds an image.
    #[must_use]
    pub fn image(self, mime_type: &str, data: &[u8]) -> Self {
        self.block(json!({ "type": "image", "mimeType": mime_type, "data": STANDARD.encode(data) }))
    }

    /// Adds a link to a resource.
    #[must_use]
    pub fn resource_link(self, uri: &str, name: &str) -> Self {
        self.block(json!({ "type": "resource_link", "uri": uri, "name": name }))
    }

    /// Adds any content block.
    #[must_use]
    pub fn block(mut self, block: impl Into<Value>) -> Self {
        self.content.push(block.into());
        self
    }

    pub(super) fn into_json(self) -> Result<Json, RpcError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Members {
            content: Vec<Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            structured_content: Option<Value>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            is_error: bool,
            #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
            meta: Option<Map<String, Value>>,
        }
        let Self { content, structured, is_error, meta } = self;
        Json::new(&Members { content, structured_content: structured, is_error, meta })
    }
}

/// The result with one text: what most tools return, and what is not made of `Value`s first.
fn text_alone(text: &str) -> Json {
    let (front, back) = (r#"{"content":[{"type":"text","text":"#, "}]}");
    // Of the exact size if a short text needs no escapes: then it is not allocated again to be shared.
    let room = if text.len() < 1024 { 0 } else { text.len() / 16 };
    let mut json = String::with_capacity(front.len() + text.len() + 2 + room + back.len());
    json.push_str(front);
    proto::push_string(text, &mut json);
    json.push_str(back);
    Json::spliced(json)
}

/// What a tool returns. A type whose schema is an object becomes `structuredContent`, with its schema as `outputSchema`, and
/// the same JSON as text for clients before 2025-06-18. A `String` becomes a text, and any other value its JSON as text. A
/// [`ToolResult`] is taken as it is.
pub trait ToolOutput: Send + 'static {
    /// The `outputSchema`, if results are structured.
    fn output_schema() -> Option<Value>;

    /// The result.
    ///
    /// # Errors
    ///
    /// -32603 if the value cannot be serialized.
    fn into_result(self) -> Result<ToolResult, RpcError>;

    /// The result as it is sent.
    #[doc(hidden)] // for the text of a `String`, which needs no `ToolResult`
    fn into_answer(self) -> Result<Json, RpcError>
    where
        Self: Sized,
    {
        self.into_result()?.into_json()
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> ToolOutput for T {
    fn output_schema() -> Option<Value> {
        Some(schema_of::<T>(|settings| settings.contract = schemars::generate::Contract::Serialize))
            .filter(|schema| schema["type"] == "object")
    }

    fn into_result(self) -> Result<ToolResult, RpcError> {
        let mut output = Some(self);
        // A text is not copied.
        if let Some(text) =
            (&mut output as &mut dyn Any).downcast_mut::<Option<String>>().and_then(Option::take)
        {
            return Ok(ToolResult::new().text(text));
        }
        let value = serde_json::to_value(output).map_err(|error| RpcError::internal(error.to_string()))?;
        Ok(match value {
            Value::Null => ToolResult::new(),
            Value::String(text) => ToolResult::new().text(text),
            value => {
                let text = ToolResult::new().text(value.to_string());
                ToolResult { structured: Some(value).filter(Value::is_object), ..text }
            }
        })
    }

    fn into_answer(self) -> Result<Json, RpcError> {
        match (&self as &dyn Any).downcast_ref::<String>() {
            Some(text) => Ok(text_alone(text)),
            None => self.into_result()?.into_json(),
        }
    }
}

impl ToolOutput for ToolResult {
    fn output_schema() -> Option<Value> {
        None
    }

    fn into_result(self) -> Result<ToolResult, RpcError> {
        Ok(self)
    }
}

/// Why a tool has failed. Any error becomes one with `?`, and is a result with `isError`, whose text the model reads. Only
/// [`RpcError`], [`RequestError`] and [`SendError`] are errors of the protocol, and stay what they are: so a tool that asks
/// the client, or is cancelled, answers as it should.
///
/// ```
/// use mcp_session_core::{RpcError, ToolError};
///
/// fn parse(number: &str) -> Result<u32, ToolError> {
///     Ok(number.parse()?)
/// }
/// assert_eq!(format!("{:?}", parse("x").unwrap_err()), r#"Failed("invalid digit found in string")"#);
/// let protocol = ToolError::from(RpcError::invalid_params("no such note"));
/// assert!(format!("{protocol:?}").starts_with("Protocol"));
/// ```
pub struct ToolError(Kind);

#[derive(Debug)]
enum Kind {
    Failed(String),
    Protocol(RpcError),
}

impl ToolError {
    /// A tool that has failed, for this reason.
    pub fn new(why: impl fmt::Display) -> Self {
        Self(Kind::Failed(why.to_string()))
    }

    pub(super) fn into_answer(self) -> Result<Json, RpcError> {
        match self.0 {
            Kind::Failed(why) => ToolResult { is_error: true, ..ToolResult::new().text(why) }.into_json(),
            Kind::Protocol(error) => Err(error),
        }
    }
}

impl<E: fmt::Display + 'static> From<E> for ToolError {
    fn from(error: E) -> Self {
        let mut error = Some(error);
        let any: &mut dyn Any = &mut error;
        let protocol = if let Some(error) = any.downcast_mut::<Option<RpcError>>() {
            error.take()
        } else if let Some(error) = any.downcast_mut::<Option<RequestError>>() {
            error.take().map(RpcError::from)
        } else if let Some(error) = any.downcast_mut::<Option<SendError>>() {
            error.take().map(RpcError::from)
        } else {
            None
        };
        let failed = || Self::new(error.map(|error| error.to_string()).unwrap_or_default());
        protocol.map_or_else(failed, |error| Self(Kind::Protocol(error)))
    }
}

// No `Display`: then `From` could not take every error.
impl fmt::Debug for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
