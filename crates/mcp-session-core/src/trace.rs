//! What core tells `tracing`, in one place. Without the feature it tells nothing, and nothing else changes.
//!
//! Session ids are secrets: `SessionId`'s `Debug` shows their first digits only (E-20).

#![cfg_attr(not(feature = "tracing"), allow(unused_variables, clippy::needless_pass_by_value))]

use std::time::Duration;

use futures::future::BoxFuture;

use crate::{Json, ProtocolVersion, RequestId, RpcError, SessionId, ShutdownPhase, Stats, TerminateReason};

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

pub(crate) fn rejected(status: http::StatusCode, why: &RpcError) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: TARGET, status = status.as_u16(), error = %why, "request rejected");
}

pub(crate) fn exchange_answered(method: &str, answer: &Result<Json, RpcError>, elapsed: Duration) {
    #[cfg(feature = "tracing")]
    match answer {
        Ok(_) => tracing::debug!(target: TARGET, method, outcome = "result", ?elapsed, "exchange answered"),
        Err(error) => {
            tracing::debug!(target: TARGET, method, outcome = "error", %error, ?elapsed, "exchange answered");
        }
    }
}

pub(crate) fn exchange_abandoned(method: &str, elapsed: Duration) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: TARGET, method, outcome = "abandoned", ?elapsed, "handler dropped: it did not stop in time");
}

pub(crate) fn exchange_cancelled(session: &SessionId, request: Option<&RequestId>, reason: Option<&str>) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: TARGET, ?session, ?request, reason, "client cancelled a request");
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
