//! What a server has answered.

use mcp_session_core::{ErrorCode, RpcError};
use serde_json::Value;

/// The result of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolAnswer {
    /// The content blocks.
    pub content: Vec<Value>,
    /// `structuredContent`, or null.
    pub structured: Value,
    /// Whether the tool has failed (`isError`).
    pub is_error: bool,
}

impl ToolAnswer {
    pub(super) fn of(mut result: Value) -> Self {
        Self {
            content: result["content"].as_array_mut().map(std::mem::take).unwrap_or_default(),
            structured: result["structuredContent"].take(),
            is_error: result["isError"] == true,
        }
    }

    /// The texts of the content, joined.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(|block| block["text"].as_str()).collect()
    }
}

/// The result or the error in an answer.
pub(super) fn outcome(mut answer: Value) -> Result<Value, RpcError> {
    let Some(error) = answer.get_mut("error") else { return Ok(answer["result"].take()) };
    let code = error["code"].as_i64().unwrap_or_else(|| panic!("an error has a code: {error}"));
    let message = error["message"].as_str().unwrap_or_default().to_owned();
    let refused = RpcError::new(ErrorCode(code), message);
    Err(match error["data"].take() {
        Value::Null => refused,
        data => refused.with_data(data),
    })
}
