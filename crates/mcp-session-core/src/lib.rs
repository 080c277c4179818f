//! The session layer for MCP servers over Streamable HTTP.

mod call;
mod config;
mod driver;
mod endpoint;
mod error;
mod handler;
mod hub;
mod manager;
pub mod proto;
mod router;
mod runtime;
mod security;
mod session;
mod stats;
mod stream;
mod terminate;
#[cfg(test)]
mod testing;
mod trace;
mod wire;

pub use config::Config;
pub use endpoint::Endpoint;
pub use error::Rejection;
pub use handler::{Handler, InitializeRequest, InitializeResult, RequestContext};
pub use manager::SessionManager;
pub use proto::{
    CancelReason, ClientCapabilities, ErrorCode, InvalidSessionId, Json, Notification, ProtocolVersion,
    Request, RequestError, RequestId, ResponseMode, RpcError, Schedule, SecondStream, SendError,
    SessionConfig, SessionId, TerminateReason,
};
use proto::{Message, Outgoing, ParseError, Refusal, Status};
pub use router::Router;
pub use runtime::{BoxFuture, Runtime};
pub use security::{AllowedHosts, AllowedOrigins, AuthError, Authenticate, InvalidEntry};
pub use session::Session;
pub use stats::{SessionEvent, Stats};
pub use stream::{EventStream, ReplyBody, StreamCut};
pub use terminate::{
    ExchangeTotals, Failure, PhaseTimes, Shutdown, ShutdownPhase, ShutdownPolicy, ShutdownReport,
    StreamTotals,
};
