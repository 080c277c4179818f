//! [`mcp_session_core`] on smol, over [`mcp_session_hyper`]: the adapter for servers that do not use tokio.
//!
//! | part | what it is |
//! |---|---|
//! | [`SmolRuntime`] | smol as a [`Runtime`](mcp_session_core::Runtime): its global executor, or your own |
//! | [`McpService`] | an [`Endpoint`](mcp_session_core::Endpoint) as a hyper and a tower service |
//! | [`bind`] | creates a listener with a backlog large enough for all clients at once |
//! | [`serve`], [`serve_app`] | a server over HTTP/1.1 and HTTP/2 that stops without losing an answer |
//! | [`serve_app_over`] | the same for connections that begin with a handshake, such as TLS |
//! | [`Listener`] | what these accept connections from: TCP, Unix sockets, or your own |
//! | [`terminate_signal`] | SIGTERM or Ctrl-C |
//!
//! hyper depends on the crate `tokio` for a few data structures; its runtime, sockets and timers are neither built nor
//! used.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # smol::block_on(async {
//! use mcp_session_core::{Endpoint, Router, ShutdownPolicy};
//! use mcp_session_smol::{SmolRuntime, bind, serve};
//! use std::future::IntoFuture;
//!
//! let endpoint = Endpoint::new(SmolRuntime::global(), Router::new("greeter", "0.1.0"));
//! let listener = bind("127.0.0.1:0")?;
//! let server = smol::spawn(serve(listener, endpoint.clone()).into_future());
//! assert!(endpoint.is_ready());
//!
//! endpoint.shutdown(ShutdownPolicy::default());
//! let report = server.await?; // nothing was in flight: it ends at once
//! assert!(report.is_clean());
//! assert!(!endpoint.is_ready());
//! # Ok(())
//! # })
//! # }
//! ```

mod io;
mod listener;
mod runtime;
mod serve;
mod signal;

pub use listener::Listener;
pub use mcp_session_core::Serve;
pub use mcp_session_hyper::McpService;
pub use runtime::SmolRuntime;
pub use serve::{bind, serve, serve_app, serve_app_over};
pub use signal::terminate_signal;
