//! [`mcp_session_core`] on tokio, over [`mcp_session_hyper`].
//!
//! | part | what it is |
//! |---|---|
//! | [`TokioRuntime`] | tokio as a [`Runtime`](mcp_session_core::Runtime), paused time included |
//! | [`McpService`] | an [`Endpoint`](mcp_session_core::Endpoint) as a hyper and a tower service, for `axum` and friends |
//! | [`bind`] | creates a listener with a backlog large enough for all clients at once |
//! | [`serve`], [`serve_app`] | a server over HTTP/1.1 and HTTP/2 that stops without losing an answer |
//! | [`serve_app_over`] | the same for connections that begin with a handshake, such as TLS |
//! | [`Listener`] | what these accept connections from: TCP, Unix sockets, or your own |
//! | [`terminate_signal`] | SIGTERM or Ctrl-C |
//!
//! Two chapters lead to a whole program: [A server from nothing](guide::a_server_from_nothing) and
//! [Behind axum](guide::behind_axum).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use mcp_session_core::{Endpoint, Router, ShutdownPolicy};
//! use mcp_session_tokio::{TokioRuntime, bind, serve};
//!
//! let endpoint = Endpoint::new(TokioRuntime::current(), Router::new("greeter", "0.1.0"));
//! let listener = bind("127.0.0.1:0")?;
//! let server = tokio::spawn(serve(listener, endpoint.clone()).into_future());
//! assert!(endpoint.is_ready());
//!
//! endpoint.shutdown(ShutdownPolicy::default());
//! let report = server.await??; // nothing was in flight: it ends at once
//! assert!(report.is_clean());
//! assert!(!endpoint.is_ready());
//! # Ok(())
//! # }
//! ```

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum")]
mod connect_info;
pub mod guide;
mod keeper;
mod listener;
mod runtime;
mod serve;
mod signal;

pub use listener::Listener;
pub use mcp_session_core::Serve;
pub use mcp_session_hyper::McpService;
pub use runtime::TokioRuntime;
pub use serve::{bind, serve, serve_app, serve_app_over};
pub use signal::terminate_signal;
