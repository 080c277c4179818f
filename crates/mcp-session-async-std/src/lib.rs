//! [`mcp_session_core`] on async-std and tide.
//!
//! | part | what it is |
//! |---|---|
//! | [`AsyncStdRuntime`] | async-std as a [`Runtime`](mcp_session_core::Runtime) |
//! | [`McpEndpoint`] | an [`Endpoint`](mcp_session_core::Endpoint) as a [`tide::Endpoint`] |
//! | [`serve`], [`serve_app`] | a server over HTTP/1.1 that stops without losing an answer |
//! | [`terminate_signal`] | SIGTERM or Ctrl-C |
//!
//! ```
//! # async_std::task::block_on(async {
//! use mcp_session_async_std::{AsyncStdRuntime, serve};
//! use mcp_session_core::{Endpoint, Router, ShutdownPolicy};
//!
//! let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("greeter", "0.1.0"));
//! let listener = async_std::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = async_std::task::spawn(serve(listener, endpoint.clone()).into_future());
//! assert!(endpoint.is_ready());
//!
//! endpoint.shutdown(ShutdownPolicy::default());
//! let report = server.await?; // nothing was in flight: it ends at once
//! assert!(report.is_clean());
//! assert!(!endpoint.is_ready());
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```

mod connection;
mod convert;
mod endpoint;
mod runtime;
mod serve;
mod signal;
mod wire;

pub use endpoint::McpEndpoint;
pub use mcp_session_core::Serve;
pub use runtime::AsyncStdRuntime;
pub use serve::{serve, serve_app};
pub use signal::terminate_signal;
