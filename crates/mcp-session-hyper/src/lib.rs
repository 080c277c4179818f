//! hyper on any [`Runtime`](mcp_session_core::Runtime): what the hyper adapters share, and what a runtime of your own
//! needs to become a server.
//!
//! | part | what it is |
//! |---|---|
//! | [`McpService`] | an [`Endpoint`](mcp_session_core::Endpoint) as a hyper and a tower service, for `axum` and friends |
//! | [`serve_connection`] | one connection over HTTP/1.1 or HTTP/2, with its deadlines and its graceful end |
//! | [`configure_socket`] | `TCP_NODELAY`, a bounded send buffer, notice of a client that has silently gone |
//!
//! On tokio take [`mcp-session-tokio`](https://docs.rs/mcp-session-tokio), on smol
//! [`mcp-session-smol`](https://docs.rs/mcp-session-smol). An adapter of your own is a stream of accepted sockets:
//!
//! ```
//! use std::io;
//! use futures::{Stream, StreamExt};
//! use hyper::rt::{Read, Write};
//! use mcp_session_core::{Connect, Endpoint, Serve};
//! use mcp_session_hyper::{McpService, serve_connection};
//!
//! /// `incoming` is what your runtime's listener accepts, in an I/O type that hyper knows.
//! fn serve<I>(incoming: impl Stream<Item = io::Result<I>> + Send + 'static, endpoint: Endpoint) -> Serve
//! where
//!     I: Read + Write + Unpin + Send + 'static,
//! {
//!     let service = McpService::new(endpoint.clone());
//!     let connect = move |io| -> Connect {
//!         let service = service.clone();
//!         Box::new(move |context| Box::pin(serve_connection(io, service, context)))
//!     };
//!     Serve::new(endpoint, incoming.map(move |accepted| accepted.map(&connect)))
//! }
//! ```

mod activity;
mod connection;
mod protocol;
mod runtime;
mod service;
mod socket;

pub use connection::{BoxError, serve_connection};
pub use service::McpService;
pub use socket::configure_socket;
