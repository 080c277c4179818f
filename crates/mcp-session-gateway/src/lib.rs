//! A gateway: any MCP server that speaks stdio, behind Streamable HTTP that stops without losing an answer.
//!
//! | part | what it is |
//! |---|---|
//! | [`child`] | the process of one stdio server: its lines, its stderr, and the ladder by which it ends |
//! | [`server`] | one named server: core's [`Handler`](mcp_session_core::Handler) on top of its children |
//! | [`supervisor`] | the parent of the gateway, so that no process is left, whatever dies first |
//! | [`limits`] | what one server may use |

pub mod child;
pub mod limits;
pub mod server;
pub mod supervisor;
