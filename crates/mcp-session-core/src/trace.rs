//! All `tracing` events and spans of core. Without the feature there are none, and nothing else changes.
//!
//! A subscriber is foreign code and may panic, for example when it writes to a closed pipe. Then only the log is lost,
//! because every call into `tracing` is contained here. Without a subscriber this costs nothing: the level is checked first.
//!
//! What sessions and requests do is at `DEBUG`, with a [`Summary`] at `INFO`; what is refused is at `INFO`, or at `WARN` if a
//! setting would allow it ([`rejected`]); what a handler or a store does wrong is at `WARN` or `ERROR`.
//!
//! Session ids are secrets: `SessionId`'s `Debug` shows their first digits only (E-20). Client-controlled text is escaped
//! and shortened by [`told`]: no newline, escape or other control character of a client reaches a log.

#![cfg_attr(not(feature = "tracing"), allow(dead_code, unused_variables, clippy::needless_pass_by_value))]

mod refusals;
mod summary;

use std::{borrow::Cow, fmt::Write as _, time::Duration};
#[cfg(feature = "tracing")]
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use mcp_session_proto::{ProtocolVersion, RequestId, RpcError, SessionId, TerminateReason};

#[cfg(feature = "tracing")]
use crate::contain;
use crate::{metrics::Stats, shutdown::ShutdownPhase};
pub(crate) use refusals::{Refusals, RefusedRequest, rejected};
pub(crate) use summary::Summary;

/// The target of all events, for filters, wherever in core they come from.
#[cfg(feature = "tracing")]
const TARGET: &str = "mcp_session_core";

/// Emits an event of this level, if anybody listens to it.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $($fields:tt)+) => {
        if is_enabled(tracing::Level::$level) {
            let _ = contain::call(|| {
                tracing::event!(target: $crate::trace::TARGET, tracing::Level::$level, $($fields)+);
            });
        }
    };
}

#[cfg(feature = "tracing")]
use event;

/// Returns `true` if any subscriber listens to this level. Costs one atomic load.
#[cfg(feature = "tracing")]
fn is_enabled(level: tracing::Level) -> bool {
    use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
    level <= STATIC_MAX_LEVEL && level <= LevelFilter::current()
}

/// The maximum number of characters of client-controlled text in a log.
const TOLD: usize = 256;

/// Client-controlled text for a log: control characters and line separators are escaped, and its length is limited.
fn told(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| matches!(c, ' '..='~') && c != '\\';
    if text.len() <= TOLD && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut told = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == TOLD {
            told.push_str("...");
            break;
        }
        let _ = match c {
            '"' | '\'' => write!(told, "{c}"), // left to the subscriber
            _ => write!(told, "{}", c.escape_debug()),
        };
    }
    Cow::Owned(told)
}

/// The beginning of an id that a client chose.
fn named(request: &RequestId) -> String {
    request.to_string().chars().take(TOLD).collect()
}

pub(crate) fn session_created(summary: &Summary, session: &SessionId, version: ProtocolVersion) {
    summary.note();
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?session, %version, "session created");
}

pub(crate) fn session_initialized(session: &SessionId) {
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?session, "session initialized");
}

pub(crate) fn session_terminated(
    summary: &Summary,
    session: &SessionId,
    reason: TerminateReason,
    age: Duration,
) {
    summary.note();
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?session, %reason, ?age, "session terminated");
}

pub(crate) fn session_evicted(session: &SessionId) {
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?session, "session evicted: the cap is reached, and it was never used");
}

pub(crate) fn hook_late(session: &SessionId, hook_timeout: Duration) {
    #[cfg(feature = "tracing")]
    event!(WARN, ?session, ?hook_timeout, "the `terminated` hook took too long and was dropped");
}

pub(crate) fn session_parked(summary: &Summary, session: &SessionId, reason: TerminateReason) {
    summary.note();
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?session, %reason, "session parked in the store");
}

pub(crate) fn session_failed(session: &SessionId, why: &str) {
    #[cfg(feature = "tracing")]
    event!(WARN, ?session, why, "session did not end cleanly");
}

pub(crate) fn state_key_made() {
    #[cfg(feature = "tracing")]
    event!(
        WARN,
        setting = "Config::state_keys",
        "a key for `requestState` was made: other nodes, and this one after a restart, cannot open what it seals"
    );
}

pub(crate) fn stateless_failed(why: &str) {
    #[cfg(feature = "tracing")]
    event!(WARN, why, "a request without a session did not end cleanly");
}

/// Logs a request that panicked because of a bug in this crate. It is ended.
pub(crate) fn stateless_broken() {
    #[cfg(feature = "tracing")]
    event!(ERROR, "a request without a session panicked and is ended: no other request is affected");
}

pub(crate) fn accept_failed(error: &std::io::Error) {
    #[cfg(feature = "tracing")]
    event!(WARN, error = %told(&error.to_string()), "accept failed");
}

pub(crate) fn signal_repeated() {
    #[cfg(feature = "tracing")]
    event!(INFO, "repeated signal counts as the same stop and does not escalate");
}

pub(crate) fn response_stalled(timeout: Duration) {
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?timeout, "response dropped: its client did not read it");
}

pub(crate) fn session_adopted(summary: &Summary, session: &SessionId) {
    summary.note();
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?session, "session adopted from the store");
}

pub(crate) fn store_failed(session: &SessionId, why: &str) {
    #[cfg(feature = "tracing")]
    event!(WARN, ?session, why, "a store call of a session failed");
}

pub(crate) fn announcement_failed() {
    #[cfg(feature = "tracing")]
    event!(WARN, "a broadcast could not be announced: subscriptions at other nodes miss it");
}

/// How a handler ended.
pub(crate) enum Outcome<'a> {
    /// It answered with a result.
    Result,
    /// It answered with an error.
    Error(&'a RpcError),
    /// It answered, but the client had cancelled, or had already got another answer.
    Unheard,
    /// It did not stop in time and was dropped.
    Abandoned,
}

#[inline] // mostly nobody listens, and the first look says so
pub(crate) fn exchange_ended<'a>(
    summary: impl FnOnce() -> &'a Summary,
    session: Option<SessionId>,
    request: &RequestId,
    method: &str,
    outcome: &Outcome<'_>,
    elapsed: impl FnOnce() -> Duration,
) {
    #[cfg(feature = "tracing")]
    if !is_enabled(tracing::Level::WARN) {
        return;
    }
    summary().note();
    #[cfg(feature = "tracing")]
    let elapsed = elapsed();
    #[cfg(feature = "tracing")]
    match outcome {
        Outcome::Result => {
            event!(
                DEBUG,
                session = session.as_ref().map(tracing::field::debug),
                ?request,
                method = &*told(method),
                outcome = "result",
                ?elapsed,
                "exchange ended"
            );
        }
        Outcome::Error(error) => {
            event!(
                DEBUG,
                session = session.as_ref().map(tracing::field::debug),
                ?request,
                method = &*told(method),
                outcome = "error",
                error = %told(&error.to_string()),
                ?elapsed,
                "exchange ended"
            );
        }
        Outcome::Unheard => {
            event!(
                DEBUG,
                session = session.as_ref().map(tracing::field::debug),
                ?request,
                method = &*told(method),
                outcome = "unheard",
                ?elapsed,
                "exchange ended"
            );
        }
        Outcome::Abandoned => {
            event!(
                WARN,
                session = session.as_ref().map(tracing::field::debug),
                ?request,
                method = &*told(method),
                outcome = "abandoned",
                ?elapsed,
                "exchange ended"
            );
        }
    }
}

pub(crate) fn exchange_cancelled(session: &SessionId, request: Option<&RequestId>, reason: Option<&str>) {
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?session, ?request, reason = reason.map(told).as_deref(), "client cancelled a request");
}

pub(crate) fn exchanges_orphaned(session: &SessionId, requests: u32) {
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?session, requests, "client did not come back: its requests are cancelled");
}

pub(crate) fn ping_unanswered(session: &SessionId) {
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?session, "client did not answer a ping: its GET stream is ended");
}

/// Logs a panic of the handler of a request, or of a hook of a session.
#[cold]
pub(crate) fn handler_panicked(session: Option<SessionId>, request: Option<&RequestId>, method: &str) {
    #[cfg(feature = "tracing")]
    event!(
        ERROR,
        session = session.as_ref().map(tracing::field::debug),
        request = request.map(named).map(tracing::field::display),
        method = &*told(method),
        "handler panicked"
    );
}

/// Logs a handler that kept its thread for too long in one poll.
#[cold]
pub(crate) fn slow_poll(session: Option<SessionId>, request: &RequestId, method: &str, elapsed: Duration) {
    #[cfg(feature = "tracing")]
    event!(
        WARN,
        session = session.as_ref().map(tracing::field::debug),
        request = %named(request),
        method = &*told(method),
        ?elapsed,
        "handler blocked its thread: move blocking work to a thread pool"
    );
}

/// Logs a panic in application code other than a handler.
pub(crate) fn panicked(what: &'static str) {
    #[cfg(feature = "tracing")]
    event!(ERROR, what, "application code panicked: only this call has failed");
}

pub(crate) fn store_panicked(call: &'static str) {
    #[cfg(feature = "tracing")]
    event!(ERROR, call, "the store panicked: the call counts as unavailable");
}

/// Logs a session that panicked because of a bug in this crate. It is ended.
pub(crate) fn session_broken(session: &SessionId) {
    #[cfg(feature = "tracing")]
    event!(ERROR, ?session, "a session panicked and is ended: no other session is affected");
}

pub(crate) fn shutdown_phase(phase: ShutdownPhase, stats: &Stats) {
    #[cfg(feature = "tracing")]
    event!(INFO, %phase,
        sessions = stats.sessions,
        exchanges = stats.exchanges,
        streams = stats.streams,
        "shutdown"
    );
}

/// Wraps a handler's future in a span.
pub(crate) fn exchange<T: 'static>(
    session: Option<SessionId>,
    request: &RequestId,
    method: &str,
    work: BoxFuture<'static, T>,
) -> BoxFuture<'static, T> {
    #[cfg(feature = "tracing")]
    if is_enabled(tracing::Level::DEBUG) {
        let span = contain::call(
            || tracing::debug_span!(target: TARGET, "exchange", session = session.as_ref().map(tracing::field::debug), ?request, method = &*told(method)),
        );
        if let Some(span) = span.ok().filter(|span| !span.is_disabled()) {
            return Box::pin(InSpan { work: Some(work), span: Some(span) });
        }
    }
    work
}

/// A future in a span, like `Instrument`. But a panic of the subscriber is contained, and cannot become a second panic
/// while the future panics, which would abort the process.
#[cfg(feature = "tracing")]
struct InSpan<T> {
    work: Option<BoxFuture<'static, T>>,
    span: Option<tracing::Span>,
}

#[cfg(feature = "tracing")]
impl<T> InSpan<T> {
    /// Calls `run` in the span.
    fn enter<R>(&mut self, run: impl FnOnce(&mut Option<BoxFuture<'static, T>>) -> R) -> R {
        let Self { work, span } = self;
        let entered = span.as_ref().and_then(|span| contain::call(|| span.enter()).ok());
        let ran = catch_unwind(AssertUnwindSafe(|| run(work)));
        contain::dispose(entered);
        ran.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

#[cfg(feature = "tracing")]
impl<T> Future for InSpan<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Pending forever if polled again after its end, which nobody does.
        self.enter(|work| work.as_mut().map_or(Poll::Pending, |work| work.as_mut().poll(cx)))
    }
}

#[cfg(feature = "tracing")]
impl<T> Drop for InSpan<T> {
    fn drop(&mut self) {
        self.enter(|work| contain::dispose(work.take()));
        contain::dispose(self.span.take());
    }
}

#[cfg(test)]
mod tests;
