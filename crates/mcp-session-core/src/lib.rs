//! The session layer for MCP servers over Streamable HTTP, for every async runtime.
//!
//! > Every admitted request gets exactly one answer. Every stream ends with a proper end of body. Shutdown always
//! > finishes on time, with a report.
//!
//! This crate has no runtime, no sockets and no `unsafe`. An adapter crate brings those:
//! [`mcp-session-tokio`](https://docs.rs/mcp-session-tokio), [`mcp-session-smol`](https://docs.rs/mcp-session-smol) or
//! [`mcp-session-async-std`](https://docs.rs/mcp-session-async-std), or a [`Runtime`] of your own.
//!
//! ```text
//!   http::Request ──► Endpoint ──► Session ──► proto::Session        the machine: pure, behind one lock
//!                        │            ▲             │                 (a request without a session has its own)
//!                        │            │             └─ events ──► ReplyBody ──► http::Response
//!                        ▼            │
//!                     Handler ── RequestContext    notify, progress, request, cancelled, draining
//!                        ▲
//!   Runtime ─────────────┴── one driver task for all deadlines; one task for each call that is not ready at once
//! ```
//!
//! # Quickstart
//!
//! A server is a [`Handler`], most simply a [`Router`], in an [`Endpoint`]:
//!
//! ```
//! use mcp_session_core::{Endpoint, RequestContext, Router, RpcError, Runtime, ShutdownPolicy};
//! use serde_json::{Value, json};
//!
//! fn server(runtime: impl Runtime) -> Endpoint {
//!     let router = Router::new("greeter", "0.1.0")
//!         .capabilities(json!({ "tools": {} }))
//!         .request("tools/list", |_| async {
//!             let greet = json!({ "name": "greet", "description": "Greets", "inputSchema": { "type": "object" } });
//!             Ok(json!({ "tools": [greet] }))
//!         })
//!         .request("tools/call", |cx: RequestContext| async move {
//!             let params: Value = cx.params()?;
//!             match params["name"].as_str() {
//!                 Some("greet") => Ok(json!({ "content": [{ "type": "text", "text": "hello" }] })),
//!                 _ => Err(RpcError::invalid_params("no such tool")),
//!             }
//!         });
//!     Endpoint::new(runtime, router)
//! }
//!
//! async fn stop(endpoint: Endpoint) {
//!     let report = endpoint.shutdown(ShutdownPolicy::default()).await; // at most 20 seconds
//!     assert!(report.is_clean(), "{report}");
//! }
//! ```
//!
//! # Guides
//!
//! Short chapters, each for one task: [a server from nothing], [behind axum], [authentication](guide::authentication),
//! [shutting down on Kubernetes](guide::kubernetes), [moving from sessions to
//! 2026-07-28](guide::without_sessions), [several nodes](guide::several_nodes), [testing your server with the
//! testkit], [a handler of your own framework](guide::your_own_framework). The module [`guide`] says what you have at the
//! end of each.
//!
//! [a server from nothing]: https://docs.rs/mcp-session-tokio/latest/mcp_session_tokio/guide/a_server_from_nothing
//! [behind axum]: https://docs.rs/mcp-session-tokio/latest/mcp_session_tokio/guide/behind_axum
//! [testing your server with the testkit]: https://docs.rs/mcp-session-testkit/latest/mcp_session_testkit/testing_your_server
//!
//! # Terms
//!
//! | word | meaning |
//! |---|---|
//! | exchange | one client request and its one answer: the unit that is drained |
//! | stream | an ordered sequence of events: the reply to a POST, or the standalone stream of a GET |
//! | session | the container of exchanges and streams that `initialize` opens, in revisions before 2026-07-28 |
//! | subscription | the open stream of a `subscriptions/listen`: notifications that its client asked for |
//! | endpoint | the front door: an `http::Request` in, an `http::Response` out |
//! | machine | [`proto`]: the protocol's state, which never sees a clock, a socket or a task |
//!
//! # Reconnecting
//!
//! A client that loses its connection reconnects with its last event id and resumes where it was. The events kept for
//! this are bounded by [`SessionConfig::replay`]. A handler may also close the connection of a long call and let the
//! client come back later ([`RequestContext::close_stream`]). With a [`store`], the client may reconnect to another
//! server.
//!
//! # Promises
//!
//! | | promise |
//! |---|---|
//! | S1 | a session opened during shutdown is refused or terminated, never missed |
//! | S2 | while draining, `initialize` gets 503 and a live id never gets 404; after Closed, 404 |
//! | S3 | one deadline over all phases: hung handlers cannot push shutdown past the ceiling |
//! | S4 | idle streams end first; with nothing in flight shutdown returns at once |
//! | S5 | every admitted request gets exactly one terminal answer, right id, right stream, before the end of body |
//! | S6 | `retry` comes before a close by the server only when the stream can be resumed elsewhere |
//! | S7 | bodies end properly, and the HTTP server's drain waits for them |
//! | S8 | sessions terminate in parallel, isolated; failures are logged and reported by id |
//! | S9 | `shutdown()` resolves after the last byte was handed over; its totals count what was live when draining began |
//! | S10 | repeated calls share one outcome and may only tighten it; a second signal escalates |
//! | S11 | a client that reads nothing delays neither shutdown nor another stream |
//! | S12 | one reason reaches the hook, the log, the events and the error's `data` |
//! | S13 | store calls are bounded in time; shutdown parks (another node can resume), DELETE purges |
//! | S14 | a half-parsed POST, a half-replayed GET and a handler's output after the end each get a definite end |
//! | S15 | phase and counts can be seen at any moment |
//!
//! Each promise has tests with its id in their names; they run on every runtime. Ids such as `B-44` or `D-12` elsewhere
//! in these docs name requirements of the MCP specification. The letter is the section of our list: A framing, B HTTP,
//! C lifecycle, D streams, E sessions, F cancellation and requests to the client, G revision 2026-07-28.

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cluster;
mod config;
mod contain;
mod discard;
mod endpoint;
pub mod guide;
mod handler;
mod metrics;
mod observer;
mod principal;
mod runtime;
mod serve;
mod session;
mod shutdown;
mod stateless;
pub mod store;
mod stream;
mod sync;
#[cfg(test)]
mod testing;
mod trace;
mod transport;

pub use config::{
    AllowedHosts, AllowedOrigins, AuthError, AuthFuture, Authenticate, AuthenticateFn, Config, ConfigError,
    Cors, Eras, InvalidEntry, InvalidStateKeys, Sessions, StateKeys, authenticate_fn,
};
pub use endpoint::Endpoint;
pub use handler::context::RequestContext;
pub use handler::initialize::Icon;
pub use handler::input::InputRequest;
pub use handler::notification::NotificationContext;
pub use handler::router::Router;
#[cfg(feature = "tools")]
pub use handler::router::{
    prompts::{Prompt, PromptResult},
    resources::{Resource, ResourceContents, ResourceTemplate},
    result::{ToolError, ToolOutput, ToolResult},
    tools::Tool,
};
pub use handler::{Handler, InitializeRequest, InitializeResult};
pub use mcp_session_proto as proto;
pub use metrics::{SessionEvent, SessionEvents, Stats};
pub use observer::{Observer, Refused, StoreCall, StoreOutcome};
pub use principal::Principal;
#[doc(inline)]
pub use proto::{
    Buffered, CancelReason, ClientCapabilities, ErrorCode, InvalidSessionId, Json, Notification,
    ProtocolVersion, ReplayConfig, RequestError, RequestId, ResponseMode, RpcError, RpcRequest, SecondStream,
    SendError, SessionConfig, SessionId, State as SessionState, TerminatePolicy, TerminateReason,
};
#[doc(hidden)]
#[allow(deprecated)]
pub use proto::{Request, Schedule};
pub use runtime::{BoxFuture, Runtime};
#[doc(hidden)]
#[allow(deprecated)]
pub use serve::Connect;
pub use serve::{Closing, ConnectionContext, Endpoints, Serve, ServeConnection, Work};
pub use session::broadcast::Broadcast;
pub use session::data::SessionData;
pub use session::manager::{SessionManager, WeakSessionManager};
pub use session::{Session, Termination};
pub use shutdown::{
    ExchangeTotals, Failure, PhaseTimes, Shutdown, ShutdownPhase, ShutdownPolicy, ShutdownReport,
    StreamTotals,
};
pub use stream::{EventStream, ReplyBody, StreamCut};
pub use transport::{DisconnectCancels, LogLevel, PeerAddr};
