//! The names of attributes and instruments: those of the [conventions for MCP], and under `mcp.server.` what they have no name for.
//!
//! [conventions for MCP]: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md

pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const HTTP_STATUS: &str = "http.response.status_code";
pub(crate) const METHOD: &str = "mcp.method.name";
pub(crate) const OPERATION: &str = "gen_ai.operation.name";
pub(crate) const PROMPT: &str = "gen_ai.prompt.name";
pub(crate) const PROTOCOL: &str = "network.protocol.name";
pub(crate) const REQUEST_ID: &str = "jsonrpc.request.id";
pub(crate) const SESSION_ID: &str = "mcp.session.id";
pub(crate) const STATUS_CODE: &str = "rpc.response.status_code";
pub(crate) const STORE_OPERATION: &str = "mcp.server.store.operation";
pub(crate) const TOOL: &str = "gen_ai.tool.name";
pub(crate) const URI: &str = "mcp.resource.uri";
pub(crate) const VERSION: &str = "mcp.protocol.version";

pub(crate) const OPERATION_DURATION: &str = "mcp.server.operation.duration";
pub(crate) const PANICS: &str = "mcp.server.panics";
pub(crate) const REFUSALS: &str = "mcp.server.refusals";
pub(crate) const SESSION_DURATION: &str = "mcp.server.session.duration";
pub(crate) const SLOW_POLLS: &str = "mcp.server.polls.slow";
pub(crate) const STORE_DURATION: &str = "mcp.server.store.duration";

/// The value of [`ERROR_TYPE`] for a result of a tool that is an error.
pub(crate) const TOOL_ERROR: &str = "tool_error";
/// The value of [`ERROR_TYPE`] for a handler that panicked.
pub(crate) const PANIC: &str = "panic";
/// The value of [`ERROR_TYPE`] for a handler that was dropped: its request was cancelled, or its time was over.
pub(crate) const CANCELLED: &str = "cancelled";
/// The value of [`OPERATION`] for the call of a tool.
pub(crate) const EXECUTE_TOOL: &str = "execute_tool";
/// What a metric has in place of a method that the server may not know: a client can make up any number of them.
pub(crate) const OTHER: &str = "_OTHER";
