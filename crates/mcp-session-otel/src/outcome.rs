//! [`Outcome`]: how a request ended.

use mcp_session_core::{Json, RpcError};
use serde::Deserialize;

use crate::names;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Result,
    /// A result that says that the tool failed.
    ToolError,
    /// An error, with its code and its message.
    Error(i64, String),
    Panicked,
    /// Its handler was dropped before it had an answer.
    Dropped,
}

#[derive(Deserialize)]
struct ToolResult {
    #[serde(default, rename = "isError")]
    is_error: bool,
}

impl Outcome {
    pub(crate) fn of(answer: &Result<Json, RpcError>, calls_tool: bool) -> Self {
        match answer {
            Ok(result) if calls_tool => {
                let failed = result.parse().is_ok_and(|it: ToolResult| it.is_error);
                if failed { Self::ToolError } else { Self::Result }
            }
            Ok(_) => Self::Result,
            Err(error) => Self::Error(error.code.0, error.message.clone().into_owned()),
        }
    }

    /// The value of `error.type`.
    pub(crate) fn error_type(&self) -> Option<String> {
        match self {
            Self::Result => None,
            Self::ToolError => Some(names::TOOL_ERROR.to_owned()),
            Self::Error(code, _) => Some(code.to_string()),
            Self::Panicked => Some(names::PANIC.to_owned()),
            Self::Dropped => Some(names::CANCELLED.to_owned()),
        }
    }

    /// The value of `rpc.response.status_code`.
    pub(crate) fn status_code(&self) -> Option<String> {
        match self {
            Self::Error(code, _) => Some(code.to_string()),
            _ => None,
        }
    }

    /// Whether the server knows what the request names. An error may mean that it does not.
    pub(crate) fn shows_target(&self) -> bool {
        matches!(self, Self::Result | Self::ToolError)
    }
}
