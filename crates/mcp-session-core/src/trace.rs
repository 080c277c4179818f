//! What core tells `tracing`, in one place. Without the feature it tells nothing, and nothing else changes.
//!
//! A subscriber is foreign code, and may panic: one that writes to a pipe whose reader has gone does. Then the log is lost
//! and nothing else, so every call into `tracing` is contained here. It costs nothing where nobody listens: the level is looked at
//! before.
//!
//! Session ids are secrets: `SessionId`'s `Debug` shows their first digits only (E-20). What a client says is escaped and
//! shortened by [`told`]: no new line, escape or other control character of a client reaches a log.

#![cfg_attr(not(feature = "tracing"), allow(dead_code, unused_variables, clippy::needless_pass_by_value))]

use std::{
    borrow::Cow,
    fmt::Write as _,
    mem,
    sync::Mutex,
    time::{Duration, Instant},
};
#[cfg(feature = "tracing")]
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;

#[cfg(feature = "tracing")]
use crate::contain;
use crate::{
    proto::{ProtocolVersion, RequestId, RpcError, SessionId, TerminateReason},
    stats::Stats,
    sync::lock,
    terminate::ShutdownPhase,
    transport::Rejection,
};

/// What a filter names, wherever in core the event comes from.
#[cfg(feature = "tracing")]
const TARGET: &str = "mcp_session_core";

/// An event of this level, if anybody listens to it.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $($fields:tt)+) => {
        if is_enabled(tracing::Level::$level) {
            let _ = contain::call(|| {
                tracing::event!(target: TARGET, tracing::Level::$level, $($fields)+);
            });
        }
    };
}

/// Whether any subscriber listens to this level. Asks nobody: it is one load.
#[cfg(feature = "tracing")]
fn is_enabled(level: tracing::Level) -> bool {
    use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
    level <= STATIC_MAX_LEVEL && level <= LevelFilter::current()
}

/// How many characters of what a client says are told.
const TOLD: usize = 256;

/// What a client says, for a log: with control characters, line separators and the like escaped, and not longer than a line.
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
            '"' | '\'' => write!(told, "{c}"), // the subscriber's concern
            _ => write!(told, "{}", c.escape_debug()),
        };
    }
    Cow::Owned(told)
}

pub(crate) fn session_created(session: &SessionId, version: ProtocolVersion) {
    #[cfg(feature = "tracing")]
    event!(INFO, ?session, %version, "session created");
}

pub(crate) fn session_initialized(session: &SessionId) {
    #[cfg(feature = "tracing")]
    event!(INFO, ?session, "session initialized");
}

pub(crate) fn session_terminated(session: &SessionId, reason: TerminateReason, age: Duration) {
    #[cfg(feature = "tracing")]
    event!(INFO, ?session, %reason, ?age, "session terminated");
}

pub(crate) fn session_evicted(session: &SessionId) {
    #[cfg(feature = "tracing")]
    event!(INFO, ?session, "session makes room for another: the cap is reached, and it was never used");
}

pub(crate) fn hook_late(session: &SessionId, hook_timeout: Duration) {
    #[cfg(feature = "tracing")]
    event!(WARN, ?session, ?hook_timeout, "the `terminated` hook takes too long: it is dropped");
}

pub(crate) fn session_parked(session: &SessionId, reason: TerminateReason) {
    #[cfg(feature = "tracing")]
    event!(INFO, ?session, %reason, "session parked in the store");
}

pub(crate) fn session_failed(session: &SessionId, why: &str) {
    #[cfg(feature = "tracing")]
    event!(WARN, ?session, why, "session did not end as it should");
}

pub(crate) fn accept_failed(error: &std::io::Error) {
    #[cfg(feature = "tracing")]
    event!(WARN, error = %told(&error.to_string()), "accept failed");
}

pub(crate) fn signal_repeated() {
    #[cfg(feature = "tracing")]
    event!(INFO, "a signal so soon after the first is the same stop: it does not escalate");
}

pub(crate) fn response_stalled(timeout: Duration) {
    #[cfg(feature = "tracing")]
    event!(INFO, ?timeout, "response given up: its client did not take it");
}

pub(crate) fn session_adopted(session: &SessionId) {
    #[cfg(feature = "tracing")]
    event!(INFO, ?session, "session taken up from the store");
}

pub(crate) fn store_failed(session: &SessionId, why: &str) {
    #[cfg(feature = "tracing")]
    event!(WARN, ?session, why, "the store did not do what a session asked for");
}

/// Who has refused requests lately. A server that is overloaded, or found by a scanner, refuses thousands in a second: an
/// operator wants to see that it does and why, not each of them.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Vec<Refused>>);

#[derive(Debug)]
struct Refused {
    setting: &'static str,
    told_at: Instant,
    untold: u64,
}

/// For how long the next refusal over the same setting is not told again, except at `DEBUG`.
const QUIET: Duration = Duration::from_secs(1);

impl Refusals {
    /// Whether to tell of a refusal over this setting, and of how many before it nobody was told.
    fn tell(&self, setting: &'static str, now: Instant) -> Option<u64> {
        let mut all = lock(&self.0);
        match all.iter_mut().find(|refused| refused.setting == setting) {
            None => all.push(Refused { setting, told_at: now, untold: 0 }),
            Some(refused) if now.saturating_duration_since(refused.told_at) < QUIET => {
                refused.untold += 1;
                return None;
            }
            Some(refused) => {
                refused.told_at = now;
                return Some(mem::take(&mut refused.untold));
            }
        }
        Some(0)
    }
}

/// A request was not admitted. What an operator can change, or should know of, is told as a warning, with the setting.
pub(crate) fn rejected(rejection: &Rejection, refusals: &Refusals, now: impl FnOnce() -> Instant) {
    #[cfg(feature = "tracing")]
    {
        if !is_enabled(tracing::Level::ERROR) {
            return;
        }
        let (status, error) = (rejection.status().as_u16(), rejection.to_error().to_string());
        let error = told(&error);
        if let Rejection::Internal(_) = rejection {
            event!(ERROR, status, %error, "request rejected");
            return;
        }
        if let Some(setting) = rejection.setting() {
            if let Some(unreported) = refusals.tell(setting, now()) {
                event!(WARN, status, %error, setting, unreported, "request rejected");
                return;
            }
        }
        event!(DEBUG, status, %error, "request rejected");
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
            event!(
                DEBUG,
                ?session,
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
                ?session,
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
                ?session,
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
                ?session,
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
    event!(INFO, ?session, requests, "client is gone for good: its requests are cancelled");
}

pub(crate) fn ping_unanswered(session: &SessionId) {
    #[cfg(feature = "tracing")]
    event!(DEBUG, ?session, "client did not answer a ping: its GET stream is ended");
}

pub(crate) fn handler_panicked(method: &str) {
    #[cfg(feature = "tracing")]
    event!(ERROR, method = &*told(method), "handler panicked");
}

/// A handler kept its thread for too long without awaiting anything.
#[cold]
pub(crate) fn slow_poll(method: &str, elapsed: Duration) {
    #[cfg(feature = "tracing")]
    event!(
        WARN,
        method = &*told(method),
        ?elapsed,
        "handler blocked its thread: what blocks belongs in a pool of threads for that"
    );
}

/// Something of the application that is no handler has panicked.
pub(crate) fn panicked(what: &'static str) {
    #[cfg(feature = "tracing")]
    event!(ERROR, what, "the application's code panicked: that call has failed, and nothing else");
}

pub(crate) fn store_panicked(call: &'static str) {
    #[cfg(feature = "tracing")]
    event!(ERROR, call, "the store panicked: the call counts as not answered");
}

/// A session could not do what was due: that it cannot go on is our fault, and it is ended.
pub(crate) fn session_broken(session: &SessionId) {
    #[cfg(feature = "tracing")]
    event!(ERROR, ?session, "a session panicked: it is ended, and no other is concerned");
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

/// Puts a handler's work into a span of its own.
pub(crate) fn exchange<T: 'static>(
    session: &SessionId,
    request: &RequestId,
    method: &str,
    work: BoxFuture<'static, T>,
) -> BoxFuture<'static, T> {
    #[cfg(feature = "tracing")]
    if is_enabled(tracing::Level::DEBUG) {
        let span = contain::call(
            || tracing::debug_span!(target: TARGET, "exchange", ?session, ?request, method = &*told(method)),
        );
        if let Some(span) = span.ok().filter(|span| !span.is_disabled()) {
            return Box::pin(InSpan { work: Some(work), span: Some(span) });
        }
    }
    work
}

/// Work in a span, as `Instrument` does it: but a subscriber that panics takes nothing with it, and a panic of the work
/// finds no second one on its way out, which would end the process.
#[cfg(feature = "tracing")]
struct InSpan<T> {
    work: Option<BoxFuture<'static, T>>,
    span: Option<tracing::Span>,
}

#[cfg(feature = "tracing")]
impl<T> InSpan<T> {
    /// Runs something in the span.
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
        // Polled again after its end, it waits for ever: nobody does.
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
