//! [`SessionConfig`]: the limits of one session.

use std::time::{Duration, Instant};

use super::timer::after;
use crate::proto::ending::TerminatePolicy;

/// Whether a request is answered as JSON or as a stream of events.
///
/// It holds for clients that accept both forms. One whose `Accept` names only one of them is answered in that form,
/// whatever the mode is (B-45): with `application/json` alone as in [`ResponseMode::Json`], with `text/event-stream` alone
/// as in [`ResponseMode::Sse`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResponseMode {
    /// JSON when the answer comes first, events as soon as anything precedes it.
    ///
    /// When the head of the response goes out, which is what a timeout in front of the server waits for, and a load balancer,
    /// goes by the revision of the session:
    ///
    /// | the handler | 2025-11-25, with [`replay`](SessionConfig::replay) | 2025-06-18 and 2025-03-26, or without replay |
    /// |---|---|---|
    /// | answers at its first poll | at once: JSON | at once: JSON |
    /// | waits | at once: events, of which the first has an id and no data (D-08), so that the client can come back | when it sends something, as events; when it answers, as JSON; after [`heartbeat`](SessionConfig::heartbeat) of silence, as events |
    ///
    /// So a timeout in front (`tower::timeout`, `TimeoutLayer`, a proxy's) that is longer than the heartbeat, which is 15
    /// seconds, never hits a call that waits, at any revision. With a shorter one, set a shorter heartbeat, or
    /// [`ResponseMode::Sse`], which sends the head at once. Where such a timeout strikes, the client counts as gone, and the
    /// call goes on (D-12). `initialize` is the exception: its head carries the session's id, and waits for the handler's
    /// answer in every mode. An error's status is decided with the head, too: see [`AuthError`](crate::AuthError).
    #[default]
    Auto,
    /// Always events. The head goes out at once.
    Sse,
    /// Always JSON. The head waits for the answer, however long that takes: a timeout in front has to be longer than the
    /// slowest call. Notifications of the handler are dropped and its requests to the client fail (D-14).
    Json,
}

/// What becomes of a second standalone (GET) stream of a session (D-22).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SecondStream {
    /// It gets 409, unless the first one has stopped reading: then it takes over (D-23). A client behind a proxy that
    /// hides its leave is kept out until a `ping` finds that out: see [`SessionConfig::ping_interval`].
    Refuse,
    /// It takes over, and the first one ends: the default, because a client that comes again has lost its connection,
    /// whatever a proxy in between says (D-23). When the stream has been taken over three times within 30 seconds of each
    /// other, the client that has it is asked by `ping` first: if it answers within seconds, it keeps the stream, and the
    /// newer one gets 409; if not, the newer one has it, six times in a row at the most. So two clients of one session do
    /// not take it from each other for ever.
    #[default]
    Replace,
}

/// What a session keeps so that a client that lost its connection can go on where it was: see
/// [`SessionConfig::replay`].
///
/// The bounds are of a whole session: what was sent, or missed, first is forgotten first, whatever its stream. The end of
/// a stream counts as an event. A client that comes back for what is forgotten gets 400: a gap is never skipped silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayConfig {
    /// Events. 1,000: some minutes of a busy call.
    pub events: usize,
    /// Bytes of events. 4 MiB: the largest request, once.
    pub bytes: usize,
    /// How long after it was sent, or missed. 5 minutes: a lift, a tunnel, a laptop that changes networks; whoever is
    /// away for longer has as a rule started over.
    pub age: Duration,
    /// How long a client waits before it comes back, where this node ends its connections because it drains and another
    /// node goes on: told on the last event, never before (D-44). 1 second: what the SDKs' clients wait by themselves. Zero: it
    /// comes back at once.
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

/// The limits of one session. Every field has a default with a reason. A cap or a deadline of zero is refused
/// ([`ConfigError`](crate::ConfigError)), except where it says what zero means.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionConfig {
    /// How long a session without a running request or a healthy GET stream lives, from the end of its last
    /// exchange. 30 minutes: longer than a pause for lunch costs little (an idle session takes half a kilobyte),
    /// shorter makes clients start over.
    ///
    /// Losing the connection does not cancel a call (D-12), but one whose answer nobody can fetch is not kept for ever: as
    /// long as this after its client has gone, without an event id to come back with, it is cancelled
    /// ([`CancelReason::Orphaned`](super::CancelReason::Orphaned)) and no activity any more. A client that has an id is
    /// waited for as long as [`ReplayConfig::age`], if that is longer.
    pub idle_timeout: Duration,
    /// How long a session may take from `initialize`, the handler's part included, until its client uses it: sends
    /// `notifications/initialized`, a request, a GET, anything. 30 seconds: it is one round trip. One that is in use lives
    /// by [`idle_timeout`](Self::idle_timeout), whether or not its client ever sends `initialized` (C-10, C-18, E-14).
    pub initialize_timeout: Duration,
    /// How long a session lives at the most, however busy. `None` by default: the spec sets no limit.
    pub max_age: Option<Duration>,
    /// Events that may wait in one stream; the next sender waits. 256: a burst, not a backlog.
    pub queue_events: usize,
    /// Bytes that may wait in one stream. 1 MiB. One event is always taken when the queue is empty.
    pub queue_bytes: usize,
    /// After how much silence a stream gets a comment. 15 seconds: proxies commonly close after 30 to 60. Zero:
    /// never; then a client that has silently gone keeps its GET stream, and so its session.
    pub heartbeat: Duration,
    /// After how much silence a client with a GET stream is asked by `ping` whether it is there (C-15); with as much
    /// silence again, its stream is ended, and the session may become idle. 5 minutes: some times within the idle
    /// timeout, and next to nothing for a client. Zero: never; then one that has gone behind a proxy which goes on
    /// reading for it keeps its GET stream, and so its session.
    pub ping_interval: Duration,
    /// JSON or events.
    pub response_mode: ResponseMode,
    /// A second GET stream: it takes over by default.
    pub second_stream: SecondStream,
    /// What is kept for a client that comes back with `Last-Event-ID`. Nothing is kept of answers in JSON, and no memory
    /// is taken before the first event. `None`: events have no ids, `Last-Event-ID` is ignored (D-35), and what a client
    /// misses is lost.
    pub replay: Option<ReplayConfig>,
    /// How long a handler may go on after its client cancelled, or has gone for good, before it is dropped. 3 seconds: as
    /// long as the Cancelling phase. Zero: it is dropped at once.
    pub cancel_grace: Duration,
    /// Requests that one session may have at a time, running or with a reply that is not read yet; the next gets
    /// 503. 1,000: no interactive client comes near it, and one that floods cannot take the server's memory.
    pub max_exchanges: usize,
    /// In a shutdown: how long a session whose answer was handed over stays for what its client asks next, requests for
    /// lists (`tools/list` and its kin) among it. Not where no answer was handed over meanwhile, and never beyond the drain. 250
    /// ms: the Python client asks for the tools before it takes a result, right away; across an ocean that is a quarter of a
    /// second. Zero: not at all.
    pub linger: Duration,
    /// Budgets for terminating this session alone: DELETE, expiry, eviction, [`Session::terminate`](crate::Session::terminate).
    pub terminate: TerminatePolicy,
}

impl SessionConfig {
    /// When a stream that is silent since then gets a comment.
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
