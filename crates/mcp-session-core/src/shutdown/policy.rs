//! [`ShutdownPhase`], the phases of a shutdown, and [`ShutdownPolicy`], their time limits.

use std::{
    fmt,
    time::{Duration, Instant},
};

use mcp_session_proto::{TerminatePolicy, after};
use serde::Serialize;

/// The phase of an endpoint's shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum ShutdownPhase {
    /// No shutdown has begun.
    Running,
    /// Not ready any more, but everything is still served. HTTP/1.1 responses carry `Connection: close`.
    LameDuck,
    /// New sessions and new requests get 503, except list requests of a session with running or just answered requests.
    /// Replies, cancels, pings and DELETE still arrive. Running requests may finish.
    Draining,
    /// Handlers have been told to stop.
    Cancelling,
    /// Every request is answered; queued events are delivered.
    Finishing,
    /// Nothing is left; session ids get 404.
    Closed,
}

impl ShutdownPhase {
    pub(crate) fn from_u8(phase: u8) -> Self {
        use ShutdownPhase as P;
        [P::Running, P::LameDuck, P::Draining, P::Cancelling, P::Finishing]
            .into_iter()
            .find(|known| *known as u8 == phase)
            .unwrap_or(P::Closed)
    }
}

impl fmt::Display for ShutdownPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::LameDuck => "lame duck",
            Self::Draining => "draining",
            Self::Cancelling => "cancelling",
            Self::Finishing => "finishing",
            Self::Closed => "closed",
        })
    }
}

/// The maximum time of each phase of a shutdown. A phase with nothing left to do takes no time (S4).
///
/// The sum is the ceiling, which no number of hung handlers or stalled readers moves (S3). Set it below the limit of
/// the environment, such as Kubernetes' `terminationGracePeriodSeconds` of 30 seconds.
///
/// ```
/// use std::time::Duration;
/// use mcp_session_core::ShutdownPolicy;
///
/// let policy = ShutdownPolicy { lame_duck: Duration::from_secs(5), ..ShutdownPolicy::default() };
/// assert_eq!(policy.ceiling(), Duration::from_secs(5 + 15 + 3 + 2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a policy names the budget of each phase; a new phase is a new policy"
)]
pub struct ShutdownPolicy {
    /// How long to keep serving while the readiness probe fails. Zero by default; behind a load balancer, the time
    /// that it needs to notice.
    pub lame_duck: Duration,
    /// How long running requests may take to finish. 15 seconds: enough for most tool calls.
    pub drain: Duration,
    /// How long handlers may take to answer after they are told to stop. 3 seconds.
    pub cancel: Duration,
    /// How long clients may take to read queued events. 2 seconds.
    pub finish: Duration,
}

impl Default for ShutdownPolicy {
    fn default() -> Self {
        let TerminatePolicy { cancel, finish, .. } = TerminatePolicy::default();
        Self { lame_duck: Duration::ZERO, drain: Duration::from_secs(15), cancel, finish }
    }
}

impl ShutdownPolicy {
    /// The maximum time of the whole shutdown: the sum of the phases.
    pub fn ceiling(&self) -> Duration {
        let Self { lame_duck, drain, cancel, finish } = *self;
        lame_duck.saturating_add(drain).saturating_add(cancel).saturating_add(finish)
    }

    /// The shorter time of both in every phase.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            lame_duck: self.lame_duck.min(other.lame_duck),
            drain: self.drain.min(other.drain),
            cancel: self.cancel.min(other.cancel),
            finish: self.finish.min(other.finish),
        }
    }

    /// The part of the policy that remains at the start of `phase`.
    pub(crate) fn from(&self, phase: ShutdownPhase) -> Self {
        use ShutdownPhase as P;
        let unless_over = |next: P, budget| if phase >= next { Duration::ZERO } else { budget };
        Self {
            lame_duck: unless_over(P::Draining, self.lame_duck),
            drain: unless_over(P::Cancelling, self.drain),
            cancel: unless_over(P::Finishing, self.cancel),
            finish: unless_over(P::Closed, self.finish),
        }
    }
}

/// Minimum time for connections to flush, even at the ceiling, and for clients to read an answer that came late.
pub(crate) const FLUSH: Duration = Duration::from_millis(100);

/// The latest start of each phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    pub(crate) drain: Instant,
    pub(crate) cancel: Instant,
    pub(crate) finish: Instant,
    pub(crate) close: Instant,
    /// The least time of `Finishing`, if it begins late: [`FLUSH`], unless the policy gives it less.
    flush: Duration,
}

impl Deadlines {
    pub(crate) fn new(now: Instant, policy: &ShutdownPolicy) -> Self {
        let drain = after(now, policy.lame_duck);
        let cancel = after(drain, policy.drain);
        let finish = after(cancel, policy.cancel);
        Self { drain, cancel, finish, close: after(finish, policy.finish), flush: policy.finish.min(FLUSH) }
    }

    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            drain: self.drain.min(other.drain),
            cancel: self.cancel.min(other.cancel),
            finish: self.finish.min(other.finish),
            close: self.close.min(other.close),
            flush: self.flush.min(other.flush),
        }
    }

    /// The end of `Finishing` if it begins now. Beyond [`close`](Self::close) only if it begins late: the process was
    /// stopped, or starved of CPU, and clients that have done nothing wrong still get their answers (S5).
    pub(crate) fn close_from(&self, now: Instant) -> Instant {
        self.close.max(after(now, self.flush))
    }

    /// The policy for a session that starts to drain now.
    pub(crate) fn schedule(&self, now: Instant) -> TerminatePolicy {
        TerminatePolicy {
            drain: self.cancel.saturating_duration_since(now),
            cancel: self.finish.saturating_duration_since(self.cancel.max(now)),
            finish: self.close_from(now).saturating_duration_since(self.finish.max(now)),
        }
    }
}
