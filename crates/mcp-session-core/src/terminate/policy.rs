//! [`ShutdownPolicy`] and [`ShutdownPhase`]: how long each phase may take, and which there are.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::proto::{TerminatePolicy, after};

/// Where the shutdown of an endpoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ShutdownPhase {
    /// There is none.
    Running,
    /// Not ready any more, and everything is still served. HTTP/1.1 answers carry `Connection: close`.
    LameDuck,
    /// No new session and no new request (503), but for the lists of a session whose requests run; replies, cancels, pings and DELETE still arrive; what runs may end.
    Draining,
    /// Handlers have been told to stop.
    Cancelling,
    /// Everything is answered; what is queued leaves.
    Finishing,
    /// Nothing is left; ids answer 404.
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

/// How long each phase of a shutdown may take at the most. A phase with nothing left to do takes no time (S4).
///
/// The sum is the ceiling: no number of hung handlers or stalled readers moves it (S3). Set it below what the
/// environment allows, such as Kubernetes' `terminationGracePeriodSeconds` of 30 seconds.
///
/// ```
/// use std::time::Duration;
/// use mcp_session_core::ShutdownPolicy;
///
/// let policy = ShutdownPolicy { lame_duck: Duration::from_secs(5), ..ShutdownPolicy::default() };
/// assert_eq!(policy.ceiling(), Duration::from_secs(5 + 15 + 3 + 2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownPolicy {
    /// How long to go on serving while the readiness probe says no. Zero by default; behind a load balancer, as
    /// long as it needs to notice.
    pub lame_duck: Duration,
    /// How long running requests may take to finish. 15 seconds: most tool calls do.
    pub drain: Duration,
    /// How long handlers may take to answer once they are told to stop. 3 seconds.
    pub cancel: Duration,
    /// How long clients may take to read what is queued. 2 seconds.
    pub finish: Duration,
}

impl Default for ShutdownPolicy {
    fn default() -> Self {
        let TerminatePolicy { cancel, finish, .. } = TerminatePolicy::default();
        Self { lame_duck: Duration::ZERO, drain: Duration::from_secs(15), cancel, finish }
    }
}

impl ShutdownPolicy {
    /// The longest a shutdown may take.
    pub fn ceiling(&self) -> Duration {
        let Self { lame_duck, drain, cancel, finish } = *self;
        lame_duck.saturating_add(drain).saturating_add(cancel).saturating_add(finish)
    }

    /// The tighter of both in every phase.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            lame_duck: self.lame_duck.min(other.lame_duck),
            drain: self.drain.min(other.drain),
            cancel: self.cancel.min(other.cancel),
            finish: self.finish.min(other.finish),
        }
    }

    /// What remains of the policy at the beginning of `phase`.
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

/// When each phase begins at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    pub(crate) drain: Instant,
    pub(crate) cancel: Instant,
    pub(crate) finish: Instant,
    pub(crate) close: Instant,
}

impl Deadlines {
    pub(crate) fn new(now: Instant, policy: &ShutdownPolicy) -> Self {
        let drain = after(now, policy.lame_duck);
        let cancel = after(drain, policy.drain);
        let finish = after(cancel, policy.cancel);
        Self { drain, cancel, finish, close: after(finish, policy.finish) }
    }

    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            drain: self.drain.min(other.drain),
            cancel: self.cancel.min(other.cancel),
            finish: self.finish.min(other.finish),
            close: self.close.min(other.close),
        }
    }

    /// What a session is given that begins to drain now.
    pub(crate) fn schedule(&self, now: Instant) -> TerminatePolicy {
        TerminatePolicy {
            drain: self.cancel.saturating_duration_since(now),
            cancel: self.finish.saturating_duration_since(self.cancel.max(now)),
            finish: self.close.saturating_duration_since(self.finish.max(now)),
        }
    }
}
