//! [`mcp_session_core`] on async-std and tide.
//!
//! | part | what it is |
//! |---|---|
//! | [`AsyncStdRuntime`] | async-std as a [`Runtime`](mcp_session_core::Runtime) |
//! | [`McpEndpoint`] | an [`Endpoint`](mcp_session_core::Endpoint) as a [`tide::Endpoint`] |
//! | [`bind`] | creates a listener with a backlog large enough for all clients at once |
//! | [`serve`], [`serve_app`] | a server over HTTP/1.1 that stops without losing an answer |
//! | [`terminate_signal`] | SIGTERM or Ctrl-C |
//!
//! # Async-std is discontinued
//!
//! Its authors ended it in 2025 and name smol as its successor; tide and http-types are not maintained either. Problems
//! found in them are no longer fixed ([RUSTSEC-2025-0052], [RUSTSEC-2026-0170], [RUSTSEC-2026-0174]), so this crate is for
//! servers that already use them. New servers, and those that can migrate, should use `mcp-session-smol`: it has the same
//! functions, on the executor and the reactor that async-std itself uses, with hyper, which also supports HTTP/2.
//!
//! [RUSTSEC-2025-0052]: https://rustsec.org/advisories/RUSTSEC-2025-0052
//! [RUSTSEC-2026-0170]: https://rustsec.org/advisories/RUSTSEC-2026-0170
//! [RUSTSEC-2026-0174]: https://rustsec.org/advisories/RUSTSEC-2026-0174
//!
//! # What `serve` adds to tide
//!
//! | | `tide::Server::listen` | [`serve`], [`serve_app`] |
//! |---|---|---|
//! | shutdown | none | idle connections close, others end after their response; a hard ceiling; a report |
//! | small answers | 44 ms on a kept-alive connection | at once: `TCP_NODELAY`, one write |
//! | a client that leaves | noticed at the second write | noticed at once, even while nothing is written |
//! | requests sent ahead (pipelining) | lost | answered in order |
//! | bytes held for a client that does not read | megabytes | 256 KiB, [`Serve::with_send_buffer`] |
//! | a slow head | closed after 60 s | closed after 30 s, [`Serve::with_header_timeout`] |
//! | a connection without a request | closed after 60 s | closed after 75 s, [`Serve::with_idle_timeout`] |
//! | a client that does not read | holds its connection for ever | closed after 60 s, [`Serve::with_stall_timeout`] |
//! | a head without an end | 8 KiB, checked only at line ends: all memory | 431 after 64 KiB, [`Serve::with_head_limit`] |
//! | a body whose end two parsers could see in two places | mostly served | 400, and the connection ends |
//! | what is not HTTP/1.1 | closed, without a response | HTTP/1.0 is served, the rest gets 400 or 505 |
//!
//! Middleware and other routes keep working. This crate implements HTTP/1.1 itself: `async-h1`, which tide uses, parses
//! requests leniently (request smuggling) and is not maintained. So there is only one way to read heads, lengths and
//! chunks: lines end in CR LF; a body has one `Content-Length` or `Transfer-Encoding: chunked` and never both; chunk
//! extensions and trailers are ignored, up to 16 and 64 KiB; everything ambiguous gets 400 and `Connection: close`. Fields
//! must be ASCII, and methods must be known to `http-types` (else 501). The authority of an absolute-form target replaces
//! `Host`, so that middleware sees the host that is checked.
//!
//! Connections cannot be upgraded (no WebSocket), and there is no HTTP/2. A client that closes its sending half counts as
//! gone, because a socket cannot tell the two apart: answers that are ready within a second are still sent, and streams
//! end. If a request's body was not read, the connection stays open as long as at most 8 MiB are left to discard.
//! Otherwise the response says `Connection: close`, and further input is read and discarded for a while, so that the
//! response arrives ([`Serve::with_linger`]).
//!
//! ```
//! # async_std::task::block_on(async {
//! use mcp_session_async_std::{AsyncStdRuntime, bind, serve};
//! use mcp_session_core::{Endpoint, Router, ShutdownPolicy};
//!
//! let endpoint = Endpoint::new(AsyncStdRuntime, Router::new("greeter", "0.1.0"));
//! let listener = bind("127.0.0.1:0")?;
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

mod convert;
mod endpoint;
mod http1;
mod runtime;
mod serve;
mod signal;

pub use endpoint::McpEndpoint;
pub use mcp_session_core::Serve;
pub use runtime::AsyncStdRuntime;
#[doc(hidden)]
pub use serve::serve_socket;
pub use serve::{bind, serve, serve_app};
pub use signal::terminate_signal;
