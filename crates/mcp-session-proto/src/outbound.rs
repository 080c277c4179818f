//! Requests of the server to its client that wait for replies.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    ending::TerminateReason,
    message::{ErrorCode, Json, RpcError},
    session::{SendError, StreamKey},
};

/// The id of a request of the server: unique in its session, never reused (F-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutboundId(pub(super) u64);

/// Why a request to the client has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The client answered with this error, unchanged (F-25).
    #[error("the client answered: {0}")]
    Client(RpcError),
    /// The client did not declare this capability, which the request needs. Nothing was sent (C-13).
    #[error("the client did not declare the capability {0}")]
    Undeclared(&'static str),
    /// The client has not sent `notifications/initialized` yet. Nothing was sent (C-06).
    #[error("the client has not finished its initialization")]
    NotInitialized,
    /// The client did not declare these capabilities, an object, which the request needs (2026-07-28, G-05).
    #[error("the client did not declare the capabilities {0:?}")]
    MissingCapability(Json),
    /// The client has no session, so nothing can be sent to it but the answer and what precedes it (E-29).
    #[error("the client has no session: it cannot be sent requests")]
    NoSession,
    /// The request is of revision 2026-07-28, in which the server sends no requests (G-28): use
    /// `RequestContext::elicit`, `sample` or `roots`.
    #[error("revision 2026-07-28 has no requests to the client: use `elicit`, `sample` or `roots`")]
    NoRequests,
    /// The client is asked with the answer to this request, and sends it again: return this error (2026-07-28, G-35).
    #[error("the client's input is needed first")]
    InputRequired,
    /// A request of this method cannot ask for input (2026-07-28, G-35).
    #[error("only `tools/call`, `prompts/get` and `resources/read` can ask the client")]
    NotHere,
    /// The client's input is invalid: return this error (2026-07-28, G-38).
    #[error(transparent)]
    Invalid(RpcError),
    /// The request could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The client did not reply in time. The request was cancelled (F-24).
    #[error("the client did not answer in time")]
    TimedOut,
    /// The client's request that it belongs to has ended.
    #[error("the request it belongs to has ended")]
    Cancelled,
    /// The session is ending.
    #[error("the session is ending: {0}")]
    Terminated(TerminateReason),
}

/// The error that a handler answers with if it cannot go on without the client's reply.
impl From<RequestError> for RpcError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Terminated(reason) => reason.into(),
            RequestError::MissingCapability(required) => Self::missing_capability(required),
            RequestError::InputRequired => Self::new(ErrorCode::INPUT_REQUIRED, error.to_string()),
            RequestError::Invalid(error) => error,
            other => RpcError::internal(other.to_string()),
        }
    }
}

#[derive(Debug)]
struct Waiting<T> {
    /// The stream that it was sent on.
    on: StreamKey,
    /// Identifies the waiter.
    tag: T,
    deadline: Instant,
    reply: Option<Result<Json, RequestError>>,
}

/// The requests of the server whose replies a session waits for.
#[derive(Debug)]
pub(super) struct Outbound<T> {
    next: u64,
    /// Allocated only while there are any.
    #[expect(clippy::box_collection, reason = "every session has this, and few ask")]
    waiting: Option<Box<BTreeMap<u64, Waiting<T>>>>,
}

impl<T> Default for Outbound<T> {
    fn default() -> Self {
        Self { next: 0, waiting: None }
    }
}

impl<T> Outbound<T> {
    /// An empty table; the first request will have this id.
    pub(super) fn starting_at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// The id of the next request.
    pub(super) fn next_id(&self) -> u64 {
        self.next
    }

    /// Uses up the next id, for a request whose reply nobody waits for.
    pub(super) fn skip(&mut self) {
        self.next += 1;
    }

    pub(super) fn insert(&mut self, on: StreamKey, tag: T, deadline: Instant) -> OutboundId {
        let id = self.next;
        self.next += 1;
        self.waiting.get_or_insert_default().insert(id, Waiting { on, tag, deadline, reply: None });
        OutboundId(id)
    }

    /// Keeps the first reply. Returns the tag of its waiter, or `None` if nobody waits for it (B-19).
    pub(super) fn resolve(&mut self, id: u64, reply: Result<Json, RequestError>) -> Option<&T> {
        let waiting = self.waiting.as_mut()?.get_mut(&id).filter(|waiting| waiting.reply.is_none())?;
        waiting.reply = Some(reply);
        Some(&waiting.tag)
    }

    /// Takes the reply, if it has arrived.
    pub(super) fn poll(&mut self, id: OutboundId) -> Option<Result<Json, RequestError>> {
        match self.waiting.as_ref().and_then(|waiting| waiting.get(&id.0)) {
            None => Some(Err(RequestError::Cancelled)),
            Some(waiting) if waiting.reply.is_none() => None,
            Some(_) => self.take(id)?.reply,
        }
    }

    /// Forgets a request. Returns the stream that it was sent on if it was still unanswered.
    pub(super) fn remove(&mut self, id: OutboundId) -> Option<StreamKey> {
        self.take(id).filter(|waiting| waiting.reply.is_none()).map(|waiting| waiting.on)
    }

    /// Whether no reply is waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_none()
    }

    /// The unanswered requests that `select` picks by stream and deadline.
    pub(super) fn unanswered(&self, select: impl Fn(StreamKey, Instant) -> bool) -> Vec<(u64, StreamKey)> {
        let picked = |waiting: &Waiting<T>| waiting.reply.is_none() && select(waiting.on, waiting.deadline);
        let all = self.waiting.iter().flat_map(|waiting| waiting.iter());
        all.filter(|(_, w)| picked(w)).map(|(id, w)| (*id, w.on)).collect()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.waiting.as_ref()?.values().filter(|w| w.reply.is_none()).map(|w| w.deadline).min()
    }

    fn take(&mut self, id: OutboundId) -> Option<Waiting<T>> {
        let taken = self.waiting.as_mut()?.remove(&id.0);
        self.waiting.take_if(|waiting| waiting.is_empty());
        taken
    }
}
