//! rmcp servers on [`mcp_session_core`]: keep every tool, change five lines, and lose no answer when the server stops.
//!
//! [`RmcpHandler`] makes an rmcp `ServerHandler` a [`Handler`](mcp_session_core::Handler) of core. rmcp's transports and its
//! session managers are not used: core speaks HTTP, keeps the sessions, and shuts down.
//!
//! | part | what it is |
//! |---|---|
//! | [`RmcpHandler`] | serves a value per session, or one value for all |
//! | [`Scope`] | for whom a value is created |
//! | [`DrainExt`] | tells a tool that the server is stopping, and how long it still has |
//! | [`guide`] | "Moving from rmcp": the changed lines, what is lost and what is won |
//!
//! ```
//! use mcp_session_core::{Endpoint, Handler};
//! use mcp_session_rmcp::RmcpHandler;
//! use mcp_session_tokio::TokioRuntime;
//! use rmcp::{ServerHandler, model::{ServerCapabilities, ServerConfig}};
//!
//! #[derive(Clone)]
//! struct MyServer;
//!
//! impl ServerHandler for MyServer {
//!     fn get_info(&self) -> ServerConfig {
//!         ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
//!     }
//! }
//!
//! # let tokio = tokio::runtime::Runtime::new()?;
//! # let _entered = tokio.enter();
//! let handler = RmcpHandler::new(|_scope| MyServer);
//! assert!(handler.info().capabilities.as_str().contains("tools"));
//! assert!(handler.tool_schema("unknown").is_none());
//! let endpoint = Endpoint::new(TokioRuntime::current(), handler);
//! assert!(endpoint.is_ready());
//! # Ok::<(), std::io::Error>(())
//! ```

mod context;
mod handler;
mod link;
mod listening;
mod look;
mod message;
mod peer;
mod runtime;
mod state;

/// Chapters.
pub mod guide {
    #[doc = include_str!("guide/moving_from_rmcp.md")]
    pub mod moving_from_rmcp {}
}

pub use context::{DrainExt, Scope};
pub use handler::RmcpHandler;
