//! [`CancelReason`]: why a handler should stop.

use std::fmt;

use crate::{
    ending::TerminateReason,
    message::{ErrorCode, RpcError},
};

/// Why a handler should stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReason {
    /// The client cancelled the request, with the reason it gave. Nobody waits for the answer (F-02).
    Client(Option<String>),
    /// The client disconnected, in a revision where that cancels the request (G-30).
    Disconnected,
    /// The session or the endpoint is ending. There is a little time left to answer.
    Terminated(TerminateReason),
    /// The request has been answered: further work on it is useless.
    Answered,
    /// Nobody can fetch the answer any more: the client disconnected and did not come back in time. See
    /// [`SessionConfig::idle_timeout`](crate::SessionConfig::idle_timeout) (E-14).
    Orphaned,
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(Some(reason)) => write!(f, "cancelled by the client: {reason}"),
            Self::Client(None) => f.write_str("cancelled by the client"),
            Self::Disconnected => f.write_str("the client went away"),
            Self::Terminated(reason) => write!(f, "the session is ending: {reason}"),
            Self::Answered => f.write_str("the request has its answer"),
            Self::Orphaned => f.write_str("the client went away and did not come back for the answer"),
        }
    }
}

/// The error that a cancelled handler may answer with.
impl From<CancelReason> for RpcError {
    fn from(reason: CancelReason) -> Self {
        match reason {
            CancelReason::Client(_) | CancelReason::Disconnected | CancelReason::Answered => {
                request_cancelled()
            }
            CancelReason::Terminated(reason) => reason.into(),
            CancelReason::Orphaned => orphaned(),
        }
    }
}

pub(super) fn request_cancelled() -> RpcError {
    RpcError::new(ErrorCode::REQUEST_CANCELLED, "the client cancelled the request")
}

pub(super) fn orphaned() -> RpcError {
    RpcError::new(ErrorCode::REQUEST_CANCELLED, "the client went away and did not come back for the answer")
}
