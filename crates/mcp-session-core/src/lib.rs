//! The session layer for MCP servers over Streamable HTTP.

pub mod proto;
mod runtime;
#[cfg(test)]
mod testing;

pub use proto::*;
pub use runtime::{BoxFuture, Runtime};
