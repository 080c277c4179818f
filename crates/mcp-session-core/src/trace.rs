//! What core tells `tracing`, in one place. Without the feature it tells nothing, and nothing else changes.
//!
//! Session ids are secrets: `SessionId`'s `Debug` shows their first digits only (E-20).

#![cfg_attr(not(feature = "tracing"), allow(dead_code, unused_variables, clippy::needless_pass_by_value))]

use std::time::Duration;

use futures::future::BoxFuture;

use crate::{
    ProtocolVersion, RequestId, RpcError, SessionId, ShutdownPhase, Stats, TerminateReason, error::Rejection,
};

/// What a filter names, wherever in core the event comes from.
#[cfg(feature = "tracing")]
const TARGET: &str = "mcp_session_core";

pub(crate) fn session_created(session: &SessionId, version: ProtocolVersion) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: TARGET, ?session, %version, "session created");
}

pub(crate) fn session_initialized(session: &SessionId) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: TARGET, ?session, "session initialized");
}

pub(crate) fn session_terminated(session: &SessionId, reason: TerminateReason, age: Duration) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: TARGET, ?session, %reason, ?age, "session terminated");
}

pub(crate) fn session_failed(session: &SessionId, why: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: TARGET, ?session, why, "session did not end as it should");
}

pub(crate) fn accept_failed(error: &std::io::Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: TARGET, %error, "accept failed");
}

pub(crate) fn response_stalled(timeout: Duration) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: TARGET, ?timeout, "response given up: its client did not take it");
}

pub(crate) fn session_adopted(session: &SessionId) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: TARGET, ?session, "session taken up from the store");
}

pub(crate) fn store_failed(session: &SessionId, why: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: TARGET, ?session, why, "the store did not do what a session asked for");
}

pub(crate) fn rejected(rejection: &Rejection) {
    #[cfg(feature = "tracing")]
    {
        let (status, error) = (rejection.status().as_u16(), rejection.to_error());
        match status {
            // A public server that has not listed its own name refuses everybody: its operator has to see that.
            403 => tracing::info!(target: TARGET, status, %error, "request rejected"),
            _ => tracing::debug!(target: TARGET, status, %error, "request rejected"),
        }
    }
}

/// How a handler's work on an exchange ended.
pub(crate) enum Outcome<'a> {
    /// It answered with a result.
    Result,
    /// It answered with an error.
    Error(&'a RpcError),
    /// It answered, and the client had cancelled, or had got another answer.
    Unheard,
    /// It was dropped, because it did not stop in time.
    Abandoned,
}

pub(crate) fn exchange_ended(
    session: &SessionId,
    request: &RequestId,
    method: &str,
    outcome: &Outcome<'_>,
    elapsed: Duration,
) {
    #[cfg(feature = "tracing")]
    match outcome {
        Outcome::Result => {
            tracing::debug!(target: TARGET, ?session, ?request, method, outcome = "result", ?elapsed, "exchange ended");
        }
        Outcome::Error(error) => {
            tracing::debug!(target: TARGET, ?session, ?request, method, outcome = "error", %error, ?elapsed, "exchange ended");
        }
        Outcome::Unheard => {
            tracing::debug!(target: TARGET, ?session, ?request, method, outcome = "unheard", ?elapsed, "exchange ended");
        }
        Outcome::Abandoned => {
            tracing::warn!(target: TARGET, ?session, ?request, method, outcome = "abandoned", ?elapsed, "exchange ended");
        }
    }
}

pub(crate) fn exchange_cancelled(session: &SessionId, request: Option<&RequestId>, reason: Option<&str>) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: TARGET, ?session, ?request, reason, "client cancelled a request");
}

pub(crate) fn ping_unanswered(session: &SessionId) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: TARGET, ?session, "client did not answer a ping: its GET stream is ended");
}

pub(crate) fn handler_panicked(method: &str) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: TARGET, method, "handler panicked");
}

pub(crate) fn shutdown_phase(phase: ShutdownPhase, stats: &Stats) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: TARGET,
        %phase,
        sessions = stats.sessions,
        exchanges = stats.exchanges,
        streams = stats.streams,
        "shutdown"
    );
}

/// Puts a handler's work into a span of its own.
pub(crate) fn exchange<'a, T: 'a>(
    session: &SessionId,
    request: &RequestId,
    method: &str,
    work: BoxFuture<'a, T>,
) -> BoxFuture<'a, T> {
    #[cfg(feature = "tracing")]
    {
        use tracing::Instrument as _;
        let span = tracing::debug_span!(target: TARGET, "exchange", ?session, ?request, method);
        if !span.is_disabled() {
            return Box::pin(work.instrument(span));
        }
    }
    work
}
