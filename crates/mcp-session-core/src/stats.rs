//! [`Stats`]: what can be seen from outside at any moment.

use serde::Serialize;

use crate::{
    proto::{SessionId, TerminateReason},
    terminate::ShutdownPhase,
};

/// A snapshot of an endpoint: some atomic reads, cheap enough for every second and every probe (S15).
///
/// They are not read in one moment. While nothing happens, each is exact; else a total is one that it had meanwhile, and a
/// gauge may miss what began and count what ended since the first of them was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Where shutdown stands.
    pub phase: ShutdownPhase,
    /// Sessions alive.
    pub sessions: u64,
    /// Requests that are owed an answer.
    pub exchanges: u64,
    /// Open streams, POST and GET.
    pub streams: u64,
    /// Sessions ever created.
    pub sessions_created: u64,
    /// Sessions ever terminated. One that was parked in a [`store`](crate::store) is not.
    pub sessions_terminated: u64,
    /// Requests ever admitted: the sum of the next four and of those not handed over yet.
    pub exchanges_admitted: u64,
    /// Requests answered by their handlers.
    pub exchanges_answered: u64,
    /// Requests answered by the session, because their handler did not in time.
    pub exchanges_synthesized: u64,
    /// Requests that their client cancelled.
    pub exchanges_cancelled: u64,
    /// Requests whose answer could not be handed over in time.
    pub exchanges_forced: u64,
    /// Streams that ended properly, or whose client had left.
    pub streams_ended: u64,
    /// Streams that were cut.
    pub streams_cut: u64,
    /// HTTP requests that were refused: none of them was dispatched.
    pub requests_refused: u64,
    /// Responses that were given up because their client did not take them, and requests that were refused because it did not
    /// take those before: see [`Serve::with_stall_timeout`](crate::Serve::with_stall_timeout) and
    /// [`Serve::with_send_backlog`](crate::Serve::with_send_backlog).
    pub responses_stalled: u64,
    /// Clients that did not answer a `ping` of their session, and lost their GET stream (C-15).
    pub pings_unanswered: u64,
    /// Of the cancelled requests, those whose answer nobody could fetch any more: their client had gone and did not come
    /// back (E-14).
    pub exchanges_orphaned: u64,
    /// Half-open sessions that made room for others at a cap (E-15).
    pub sessions_evicted: u64,
}

/// Where [`SessionEvent`]s arrive: a stream, and an async channel's receiver. It ends when the endpoint is gone.
pub type SessionEvents = async_channel::Receiver<SessionEvent>;

/// What happens to sessions, for the application: see [`SessionManager::events`](crate::SessionManager::events).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// `initialize` was answered with a result.
    Created(SessionId),
    /// It was opened at another node, and is served here now as well: see [`store`](crate::store).
    Adopted(SessionId),
    /// `notifications/initialized` has arrived.
    Initialized(SessionId),
    /// This node does not serve the session any more, which lives on in the [`store`](crate::store): the endpoint has shut
    /// down, or nothing has happened in it here for a while. The hook is not called for that. It may be
    /// [`Adopted`](SessionEvent::Adopted) again.
    Parked(SessionId),
    /// The session has ended, for this reason. Told before the hook is called. With a [`store`](crate::store), every node that
    /// serves it tells its own subscribers; the hook is called at one of them.
    Terminated(SessionId, TerminateReason),
}
