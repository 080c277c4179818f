//! The protocol's state machine, pure and synchronous.
//!
//! Nothing here uses a clock, a socket or a task. Time comes in as `now`, messages come in decoded, and what the caller
//! has to do next comes out as [`Output`]. So a test is a function call with an [`Instant`](std::time::Instant).
//!
//! ```text
//!              handle_*  (something happened)          poll_*, take_output  (what to do next)
//!   request ─┐                                      ┌─ events of a stream
//!   reply    ├──────────►  Session ── Exchange ─────┼─ wakes: readers and handlers that should poll again
//!   timeout ─┘               │  └──── Stream        ├─ tally: counts of answers, ended and cut streams
//!   verbs    ────────────────┘                      └─ next_timeout
//!   (answer, notify, request, drain, terminate, close)
//! ```
//!
//! An [`Exchange`] and its [`Stream`] do not need a [`Session`]: a session is a container of them with a lifecycle.
//! A request without a session is a [`StatelessExchange`], which ends by itself.
//!
//! `T` is a tag that the caller attaches to a stream or exchange to identify its waiters: the async shell uses an `Arc`
//! of its wakers, a test a name.
//!
//! # Stability
//!
//! [`mcp-session-core`](https://docs.rs/mcp-session-core) re-exports what its users need, and keeps that stable. The rest
//! of this crate makes no such promise: any release may change it.

#![allow(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "core matches the machine's answers without a wildcard; what its users see is marked one by one"
)]

mod batch;
mod buffered;
mod capabilities;
mod config;
mod ending;
mod event;
mod exchange;
mod id;
mod message;
mod outbound;
mod output;
mod replay;
mod session;
mod state;
mod stateless;
mod stream;
#[cfg(test)]
mod testing;
mod timer;
mod version;

pub use batch::Batch;
pub use buffered::Buffered;
pub use capabilities::ClientCapabilities;
pub use config::{ReplayConfig, ResponseMode, SecondStream, SessionConfig};
#[doc(hidden)]
#[allow(deprecated)]
pub use ending::Schedule;
pub use ending::{Phase, TerminatePolicy, TerminateReason};
pub use event::{EventId, HEARTBEAT, MESSAGE, Position, encode_event, encode_notification, with_id};
pub use exchange::{CancelReason, Era, Exchange, Reply, Status};
pub use id::{InvalidSessionId, RequestId, SessionId};
#[doc(hidden)]
#[allow(deprecated)]
pub use message::Request;
pub use message::{
    ErrorCode, HttpRefusal, Json, Message, Notification, Outgoing, ParseError, RpcError, RpcRequest,
    RpcResponse, Text,
};
#[doc(hidden)] // for core
pub use message::{Insertions, Names, Part, members, push_string, string};
pub use outbound::{OutboundId, RequestError};
pub use output::{Event, Events, Outcome, Output, Tally, Wake};
pub use session::{Effect, ExchangeKey, Publication, SendError, Session, StreamKey};
pub use state::{Input, Refusal, State, Verdict};
pub use stateless::StatelessExchange;
pub use stream::{Full, Name, Next, REWRITABLE, Stored, Stream, Unstored};
pub use timer::{Timer, after};
pub use version::ProtocolVersion;
