//! hyper on any [`Runtime`](mcp_session_core::Runtime): the common part of the hyper adapters, and the building blocks for
//! a server on your own runtime.
//!
//! | part | what it is |
//! |---|---|
//! | [`McpService`] | an [`Endpoint`](mcp_session_core::Endpoint) as a hyper and a tower service, for `axum` and friends |
//! | [`serve_connection`] | serves one connection over HTTP/1.1 or HTTP/2, with deadlines and a graceful shutdown |
//! | [`bind`] | creates a listener with a backlog large enough for all clients at once |
//! | [`configure_socket`] | sets `TCP_NODELAY`, a bounded send buffer, and detection of clients that vanished silently |
//! | [`serve_app`] | all of these, for the sockets that a listener accepts: the core of an adapter's `serve` |
//! | [`serve_app_over`] | the same, for connections that begin with a handshake, such as TLS |
//!
//! On tokio, use [`mcp-session-tokio`](https://docs.rs/mcp-session-tokio); on smol,
//! [`mcp-session-smol`](https://docs.rs/mcp-session-smol). Your own adapter passes a stream of accepted sockets to
//! [`serve_app`].

mod activity;
mod body;
mod connection;
mod drive;
mod io;
mod linger;
mod protocol;
mod runtime;
mod serve;
mod service;
mod socket;
mod streams;

pub use connection::{BoxError, serve_connection};
pub use serve::{serve_app, serve_app_over};
pub use service::McpService;
pub use socket::{bind, configure_socket};
