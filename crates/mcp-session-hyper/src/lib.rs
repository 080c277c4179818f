//! hyper on any [`Runtime`](mcp_session_core::Runtime): what the hyper adapters share, and what a runtime of your own
//! needs to become a server.
//!
//! | part | what it is |
//! |---|---|
//! | [`McpService`] | an [`Endpoint`](mcp_session_core::Endpoint) as a hyper and a tower service, for `axum` and friends |
//! | [`serve_connection`] | one connection over HTTP/1.1 or HTTP/2, with its deadlines and its graceful end |
//! | [`bind`] | a listener with a backlog for all clients at once |
//! | [`configure_socket`] | `TCP_NODELAY`, a bounded send buffer, notice of a client that has silently gone |
//! | [`serve_app`] | all of it for the sockets that a listener accepts: what an adapter's `serve` is made of |
//!
//! On tokio take [`mcp-session-tokio`](https://docs.rs/mcp-session-tokio), on smol
//! [`mcp-session-smol`](https://docs.rs/mcp-session-smol). An adapter of your own is a stream of accepted sockets, given to
//! [`serve_app`].

mod activity;
mod body;
mod connection;
mod io;
mod linger;
mod protocol;
mod runtime;
mod serve;
mod service;
mod socket;
mod streams;

pub use connection::{BoxError, serve_connection};
pub use serve::serve_app;
pub use service::McpService;
pub use socket::{bind, configure_socket};
