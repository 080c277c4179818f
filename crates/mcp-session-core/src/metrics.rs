//! [`Stats`]: counts of an endpoint, available at any time.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use mcp_session_proto::{SessionId, TerminateReason};
use serde::Serialize;

use crate::shutdown::ShutdownPhase;

/// A snapshot of an endpoint: some atomic reads, cheap enough for every second and every probe (S15).
///
/// The fields are not read at one instant. While nothing changes, each is exact. Otherwise a total is one of the values
/// that it had meanwhile, and a gauge may miss what began, or still count what ended, during the read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The phase of the shutdown.
    pub phase: ShutdownPhase,
    /// Live sessions.
    pub sessions: u64,
    /// Requests that are owed an answer.
    pub exchanges: u64,
    /// Open streams, POST and GET.
    pub streams: u64,
    /// Open `subscriptions/listen` streams, which also count as requests and streams.
    pub subscriptions: u64,
    /// Sessions ever created.
    pub sessions_created: u64,
    /// Sessions ever terminated, without those parked in a [`store`](crate::store).
    pub sessions_terminated: u64,
    /// Requests ever admitted: the sum of the next four fields and of those whose answer is not delivered yet.
    pub exchanges_admitted: u64,
    /// Requests answered by their handlers.
    pub exchanges_answered: u64,
    /// Requests answered by the session, because their handler did not answer in time.
    pub exchanges_synthesized: u64,
    /// Requests cancelled by their client.
    pub exchanges_cancelled: u64,
    /// Requests whose answer could not be delivered in time.
    pub exchanges_forced: u64,
    /// Streams that ended properly, or whose client had disconnected.
    pub streams_ended: u64,
    /// Streams that were cut.
    pub streams_cut: u64,
    /// HTTP requests that were refused. None of them was dispatched.
    pub requests_refused: u64,
    /// Responses that were dropped because their client did not read them, and requests that were refused because it did
    /// not read earlier responses: see [`Serve::with_stall_timeout`](crate::Serve::with_stall_timeout) and
    /// [`Serve::with_send_backlog`](crate::Serve::with_send_backlog).
    pub responses_stalled: u64,
    /// Clients that did not answer a `ping` of their session, and lost their GET stream (C-15).
    pub pings_unanswered: u64,
    /// The cancelled requests whose client disconnected and did not come back, so that nobody could fetch the answer
    /// (E-14).
    pub exchanges_orphaned: u64,
    /// Half-open sessions that were evicted at a cap to make room for others (E-15).
    pub sessions_evicted: u64,
}

/// The events of an endpoint's sessions, from the time of the subscription on: see
/// [`SessionManager::events`](crate::SessionManager::events). Also a [`Stream`], which ends when the endpoint is dropped.
#[derive(Debug)]
pub struct SessionEvents(Pin<Box<async_channel::Receiver<SessionEvent>>>);

impl SessionEvents {
    pub(crate) fn new(receiver: async_channel::Receiver<SessionEvent>) -> Self {
        Self(Box::pin(receiver))
    }

    /// Waits for the next event. `None` once the endpoint has been dropped and every event was taken.
    ///
    /// # Cancel safety
    ///
    /// Safe: if dropped, no event is lost.
    pub async fn recv(&self) -> Option<SessionEvent> {
        self.0.recv().await.ok()
    }

    /// Takes the next event, if there is one now.
    pub fn try_recv(&self) -> Option<SessionEvent> {
        self.0.try_recv().ok()
    }
}

impl Stream for SessionEvents {
    type Item = SessionEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SessionEvent>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// A change in the life of a session: see [`SessionManager::events`](crate::SessionManager::events).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// `initialize` was answered with a result.
    Created(SessionId),
    /// The session was opened at another node, and is now served here, too: see [`store`](crate::store).
    Adopted(SessionId),
    /// `notifications/initialized` has arrived.
    Initialized(SessionId),
    /// This node no longer serves the session, which lives on in the [`store`](crate::store): the endpoint has shut down, or
    /// the session was idle here. The hook is not called. The session may be [`Adopted`](SessionEvent::Adopted) again.
    Parked(SessionId),
    /// The session has ended, for this reason. Sent before the hook is called. With a [`store`](crate::store), every node
    /// that serves the session sends this event to its subscribers; the hook is called at one of the nodes.
    Terminated(SessionId, TerminateReason),
}
