//! The reason for which a session ends, the phases in which it does, and their budgets.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::timer::after;
use crate::message::{ErrorCode, RpcError};

/// Why a session was terminated. The hook, the log, the counters and the error's `data` all get this one reason (S12).
///
/// A new reason has to be in [`ALL`](Self::ALL), which the wire form of messages between nodes goes by, and in each `match`
/// of its methods and of [`SessionConfig::unused_before`](crate::SessionConfig::unused_before). The compiler asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TerminateReason {
    /// The client sent DELETE.
    ClientDelete,
    /// The client did not use the session in time after `initialize`, not even with `notifications/initialized`.
    InitializeTimeout,
    /// Nothing happened for [`idle_timeout`](super::SessionConfig::idle_timeout).
    Idle,
    /// The session reached [`max_age`](super::SessionConfig::max_age).
    MaxAge,
    /// The session had to make room: the application ended it, or it was the oldest half-open one at the cap of
    /// sessions.
    Evicted,
    /// The endpoint shuts down.
    Shutdown,
    /// `initialize` failed, or the session cannot continue after an error.
    Error,
}

impl TerminateReason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[
        Self::ClientDelete,
        Self::InitializeTimeout,
        Self::Idle,
        Self::MaxAge,
        Self::Evicted,
        Self::Shutdown,
        Self::Error,
    ];

    /// The name in logs, reports and `data.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientDelete => "client_delete",
            Self::InitializeTimeout => "initialize_timeout",
            Self::Idle => "idle",
            Self::MaxAge => "max_age",
            Self::Evicted => "evicted",
            Self::Shutdown => "shutdown",
            Self::Error => "error",
        }
    }

    /// Whether the client may send the request again in a new session.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::ClientDelete => false,
            Self::InitializeTimeout
            | Self::Idle
            | Self::MaxAge
            | Self::Evicted
            | Self::Shutdown
            | Self::Error => true,
        }
    }

    /// Whether a session that ends at one node for this reason may live on at others, if they share a store.
    pub fn may_live_on(self) -> bool {
        match self {
            Self::Shutdown | Self::Idle | Self::InitializeTimeout => true,
            Self::ClientDelete | Self::MaxAge | Self::Evicted | Self::Error => false,
        }
    }

    /// The error that answers a request whose handler did not answer: `data` names the reason and says whether to retry
    /// (S5).
    pub fn to_error(self, code: ErrorCode) -> RpcError {
        let data = serde_json::json!({ "reason": self.as_str(), "retryable": self.is_retryable() });
        RpcError::new(code, format!("the session ended before the request was answered: {self}"))
            .with_data(data)
    }
}

impl fmt::Display for TerminateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error that the handler of a terminated session may answer with: the same that the session would synthesize.
impl From<TerminateReason> for RpcError {
    fn from(reason: TerminateReason) -> Self {
        reason.to_error(ErrorCode::CONNECTION_CLOSED)
    }
}

/// How long each phase of an ending may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminatePolicy {
    /// Draining: how long running requests may go on undisturbed. Zero by default: a session that is terminated alone
    /// should not go on.
    pub drain: Duration,
    /// Cancelling: how long handlers may take to answer after they were told to stop. 3 seconds by default: enough for
    /// a clean-up, not for the work. Zero: the session answers with an error at once.
    pub cancel: Duration,
    /// Finishing: how long readers may take to read queued events. 2 seconds by default: a reader that is connected
    /// needs milliseconds.
    pub finish: Duration,
}

/// The former name of [`TerminatePolicy`].
#[deprecated(since = "0.1.0", note = "renamed to `TerminatePolicy`")]
pub type Schedule = TerminatePolicy;

impl Default for TerminatePolicy {
    fn default() -> Self {
        Self { drain: Duration::ZERO, cancel: Duration::from_secs(3), finish: Duration::from_secs(2) }
    }
}

/// The phase of a session's ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The session is not ending.
    Running,
    /// Standalone streams have ended; running requests go on.
    Draining,
    /// Handlers have been told to stop.
    Cancelling,
    /// Every request is answered; queued events can still be read.
    Finishing,
    /// Nothing is left.
    Closed,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Cancelling => "cancelling",
            Self::Finishing => "finishing",
            Self::Closed => "closed",
        })
    }
}

/// The state of an ending session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) reason: TerminateReason,
    pub(super) phase: Phase,
    pub(super) cancel_at: Instant,
    pub(super) finish_at: Instant,
    pub(super) close_at: Instant,
    /// Until when a session without running requests waits for the client's next requests, once it sent an answer.
    pub(super) linger: Option<Instant>,
    /// How long Finishing may take if it begins early.
    finish: Duration,
}

impl Ending {
    pub(super) fn new(now: Instant, reason: TerminateReason, schedule: &TerminatePolicy) -> Self {
        let cancel_at = after(now, schedule.drain);
        let finish_at = after(cancel_at, schedule.cancel);
        Self {
            reason,
            phase: Phase::Draining,
            cancel_at,
            finish_at,
            close_at: after(finish_at, schedule.finish),
            linger: None,
            finish: schedule.finish,
        }
    }

    /// Moves the deadlines closer, never further away (S10).
    pub(super) fn tighten(&mut self, now: Instant, schedule: &TerminatePolicy) {
        let tighter = Self::new(now, self.reason, schedule);
        self.cancel_at = self.cancel_at.min(tighter.cancel_at);
        self.finish_at = self.finish_at.min(tighter.finish_at);
        self.close_at = self.close_at.min(tighter.close_at);
        self.finish = self.finish.min(tighter.finish);
    }

    /// Every request is answered, perhaps early: readers get their budget from now, and no more than that.
    pub(super) fn finish_early(&mut self, now: Instant) {
        self.close_at = self.close_at.min(after(now, self.finish));
    }

    /// Every request is answered. If that is late, because the process was stopped, readers get their budget from now.
    pub(super) fn finish_late(&mut self, now: Instant) {
        self.close_at = self.close_at.max(after(now, self.finish));
    }

    /// Whether a session without running requests still waits for the client's next requests.
    pub(super) fn lingers(&self, now: Instant) -> bool {
        self.phase == Phase::Draining && self.linger.is_some_and(|until| now < until.min(self.cancel_at))
    }

    /// The latest end of the current phase.
    pub(super) fn deadline(&self, running: u32) -> Option<Instant> {
        match self.phase {
            Phase::Draining if running == 0 => {
                Some(self.linger.map_or(self.cancel_at, |until| until.min(self.cancel_at)))
            }
            Phase::Draining => Some(self.cancel_at),
            Phase::Cancelling => Some(self.finish_at),
            Phase::Finishing => Some(self.close_at),
            Phase::Running | Phase::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, TerminateReason as R};

    #[test]
    fn all_reasons_are_listed() {
        // A new reason needs its place in the list: it is named here first.
        let place = |reason: &R| match reason {
            R::ClientDelete => 0,
            R::InitializeTimeout => 1,
            R::Idle => 2,
            R::MaxAge => 3,
            R::Evicted => 4,
            R::Shutdown => 5,
            R::Error => 6,
        };
        assert!(R::ALL.iter().map(place).eq(0..R::ALL.len()));
    }

    /// S13: only what ends at one node because of that node may go on at another.
    #[test]
    fn s_13_which_reasons_leave_the_session_to_other_nodes() {
        let may: Vec<_> = R::ALL.iter().copied().filter(|reason| reason.may_live_on()).collect();
        assert_eq!(may, [R::InitializeTimeout, R::Idle, R::Shutdown]);
    }

    #[test]
    fn phases_have_names() {
        let phases = [Phase::Running, Phase::Draining, Phase::Cancelling, Phase::Finishing, Phase::Closed];
        let names = phases.map(|phase| phase.to_string());
        assert_eq!(names, ["running", "draining", "cancelling", "finishing", "closed"]);
    }
}
