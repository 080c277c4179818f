//! [`SessionConfig`]: the limits of one session.

use std::time::{Duration, Instant};

use super::timer::after;
use crate::ending::{TerminatePolicy, TerminateReason};

/// Whether a request is answered as JSON or as a stream of events.
///
/// The mode applies to clients that accept both forms. If `Accept` names only one form, that form is used in any mode:
/// `application/json` alone is answered as in [`ResponseMode::Json`], `text/event-stream` alone as in
/// [`ResponseMode::Sse`] (B-45).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseMode {
    /// JSON if the answer comes first, events as soon as anything precedes it.
    ///
    /// Timeouts and load balancers in front of the server wait for the head of the response. When it is sent depends on
    /// the session's revision:
    ///
    /// | the handler | 2025-11-25, with [`replay`](SessionConfig::replay) | 2025-06-18 and 2025-03-26, or without replay |
    /// |---|---|---|
    /// | answers at its first poll | at once: JSON | at once: JSON |
    /// | waits | at once: events, of which the first has an id and no data (D-08), so that the client can come back | when it sends something, as events; when it answers, as JSON; after [`heartbeat`](SessionConfig::heartbeat) of silence, as events |
    ///
    /// So a timeout in front of the server (`tower::timeout`, `TimeoutLayer`, a proxy's) that is longer than the
    /// heartbeat (15 seconds by default) never hits a waiting call, at any revision. For a shorter timeout, set a
    /// shorter heartbeat, or use [`ResponseMode::Sse`], which sends the head at once. If such a timeout strikes, the
    /// client counts as disconnected, and the call goes on (D-12).
    ///
    /// `initialize` is an exception: its head carries the session's id and waits for the handler's answer in every mode.
    /// An error's status is decided with the head, too: see `AuthError`.
    #[default]
    Auto,
    /// Always events. The head is sent at once.
    Sse,
    /// Always JSON. The head waits for the answer, however long that takes: a timeout in front of the server must be
    /// longer than the slowest call. Notifications of the handler are dropped, and its requests to the client fail
    /// (D-14).
    Json,
}

/// What happens to a second standalone (GET) stream of a session (D-22).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecondStream {
    /// The second stream gets 409, unless the first one has stopped reading: then the second takes over (D-23). If a
    /// proxy hides that the client of the first one has gone, a `ping` has to find out first: see
    /// [`SessionConfig::ping_interval`].
    Refuse,
    /// The second stream takes over, and the first one ends (D-23). The default, because a client that connects again has
    /// lost its connection, even if a proxy in between keeps that open.
    ///
    /// After three takeovers within 30 seconds of each other, the client that has the stream is asked by `ping` first.
    /// If it answers within seconds, it keeps the stream, and the newer one gets 409. If not, the newer one gets the
    /// stream, up to six takeovers in a row. So two clients of one session do not take the stream from each other
    /// forever.
    #[default]
    Replace,
}

/// What a session keeps so that a client that lost its connection can continue its streams: see
/// [`SessionConfig::replay`].
///
/// The bounds apply to a whole session: events that were sent (or missed) first are forgotten first, whatever their
/// stream. The end of a stream counts as an event. A client that asks for a forgotten event gets 400: a gap is never
/// skipped silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayConfig {
    /// The number of events. 1,000 by default: some minutes of a busy call.
    pub events: usize,
    /// Bytes of events. 4 MiB by default: the largest request, once.
    pub bytes: usize,
    /// How long an event is kept after it was sent, or missed. 5 minutes by default: a lift, a tunnel, a laptop that
    /// changes networks. A client that is away for longer has usually started over.
    pub age: Duration,
    /// How long a client waits before it reconnects, if this node closes its connections because it drains and another
    /// node takes over. Sent in the last event, never before (D-44). 1 second by default, as the SDKs' clients wait by
    /// themselves. Zero: the client reconnects at once.
    pub retry: Duration,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self {
            events: 1_000,
            bytes: 4 * 1024 * 1024,
            age: Duration::from_secs(5 * 60),
            retry: Duration::from_secs(1),
        }
    }
}

/// The limits of one session. Every field has a default with a reason. A cap or deadline of zero is refused with
/// `ConfigError`, unless its documentation says what zero means.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionConfig {
    /// How long a session without a running request or a healthy GET stream lives, from the end of its last exchange.
    /// 30 minutes by default: an idle session takes half a kilobyte, so it can outlast a lunch break at little cost; a
    /// shorter timeout makes clients start over.
    ///
    /// Losing the connection does not cancel a call (D-12). But if nobody can fetch its answer, because the client left
    /// without an event id to come back with, the call is cancelled after this time
    /// ([`CancelReason::Orphaned`](super::CancelReason::Orphaned)) and does not count as activity. A client with an
    /// event id is waited for as long as [`ReplayConfig::age`], if that is longer.
    pub idle_timeout: Duration,
    /// How long a session may take from `initialize`, the handler's part included, until its client first uses it:
    /// sends `notifications/initialized`, a request, a GET, anything. 30 seconds by default: it is one round trip. A
    /// session in use lives by [`idle_timeout`](Self::idle_timeout), whether or not its client ever sends `initialized`
    /// (C-10, C-18, E-14).
    pub initialize_timeout: Duration,
    /// The maximum lifetime of a session, however busy. `None` by default: the spec sets no limit.
    pub max_age: Option<Duration>,
    /// The number of events that may wait in one stream; the next sender waits. 256 by default: a burst, not a backlog.
    pub queue_events: usize,
    /// Bytes that may wait in one stream. 1 MiB by default. An empty queue always takes one event.
    pub queue_bytes: usize,
    /// The silence after which a stream gets a comment. 15 seconds by default: proxies commonly close after 30 to 60.
    /// Zero: never; a client that has silently gone keeps its GET stream then, and so its session.
    pub heartbeat: Duration,
    /// The silence after which a client with a GET stream gets a `ping` (C-15). After as much silence again, its stream
    /// is ended, and the session can become idle. 5 minutes by default: several times within the idle timeout, and
    /// little work for a client. Zero: never; a client that has gone behind a proxy that still reads keeps its GET
    /// stream then, and so its session.
    pub ping_interval: Duration,
    /// Whether requests are answered as JSON or as events.
    pub response_mode: ResponseMode,
    /// What happens to a second GET stream: it takes over by default.
    pub second_stream: SecondStream,
    /// What is kept for a client that comes back with `Last-Event-ID`. Answers in JSON are not kept, and no memory is
    /// allocated before the first event. `None`: events have no ids, `Last-Event-ID` is ignored, and events that a
    /// client misses are lost (D-35).
    pub replay: Option<ReplayConfig>,
    /// How long a handler may go on after its client cancelled or has gone for good, before it is dropped. 3 seconds by
    /// default: as long as the Cancelling phase. Zero: it is dropped at once.
    pub cancel_grace: Duration,
    /// The number of requests that one session may have at a time, running or with a reply that was not read yet; the
    /// next gets 503. 1,000 by default: no interactive client needs that many, and a client that floods cannot exhaust
    /// the server's memory.
    pub max_exchanges: usize,
    /// In a shutdown: how long a session that delivered an answer waits for the client's next requests, requests for
    /// lists (`tools/list` and similar) included. It does not wait if it delivered no answer, and never beyond the
    /// drain. 250 ms by default: the Python client lists the tools before it accepts a result, at once, and an
    /// intercontinental round trip takes a quarter of a second. Zero: it does not wait.
    pub linger: Duration,
    /// Budgets for terminating this session alone: DELETE, expiry, eviction,
    /// [`Session::terminate`](crate::Session::terminate).
    pub terminate: TerminatePolicy,
}

impl SessionConfig {
    /// How long a session was unused before it ended for this reason; `None` if that does not matter.
    pub fn unused_before(&self, reason: TerminateReason) -> Option<Duration> {
        match reason {
            TerminateReason::Idle => Some(self.idle_timeout),
            TerminateReason::InitializeTimeout => Some(self.initialize_timeout),
            TerminateReason::Shutdown
            | TerminateReason::ClientDelete
            | TerminateReason::MaxAge
            | TerminateReason::Evicted
            | TerminateReason::Error => None,
        }
    }

    /// When a stream that has been silent since `silent_since` gets a comment.
    pub(super) fn heartbeat_due(&self, silent_since: Instant) -> Option<Instant> {
        (!self.heartbeat.is_zero()).then(|| after(silent_since, self.heartbeat))
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(30 * 60),
            initialize_timeout: Duration::from_secs(30),
            max_age: None,
            queue_events: 256,
            queue_bytes: 1024 * 1024,
            heartbeat: Duration::from_secs(15),
            ping_interval: Duration::from_secs(5 * 60),
            response_mode: ResponseMode::Auto,
            second_stream: SecondStream::Replace,
            replay: Some(ReplayConfig::default()),
            cancel_grace: Duration::from_secs(3),
            max_exchanges: 1_000,
            linger: Duration::from_millis(250),
            terminate: TerminatePolicy::default(),
        }
    }
}
