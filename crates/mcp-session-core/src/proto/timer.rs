//! [`Timer`]: the earliest of many deadlines.

use std::time::{Duration, Instant};

/// A lower bound of the next deadline.
///
/// Deadlines are only ever *lowered* by [`Timer::arm`]; one that moved away or was cancelled makes the timer fire
/// early once, which costs a look at the state, and then [`Timer::rearm`] computes it anew. So the common case, a
/// deadline that moves into the future with every message, costs nothing.
///
/// ```
/// use std::time::{Duration, Instant};
/// use mcp_session_core::proto::Timer;
///
/// let now = Instant::now();
/// let mut timer = Timer::default();
/// timer.arm(now + Duration::from_secs(2));
/// timer.arm(now + Duration::from_secs(5));
/// assert!(!timer.is_due(now + Duration::from_secs(1)));
/// assert!(timer.is_due(now + Duration::from_secs(2)));
/// assert_eq!(timer.deadline(), Some(now + Duration::from_secs(2)));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timer(Option<Instant>);

impl Timer {
    /// Fires at `deadline` at the latest.
    pub fn arm(&mut self, deadline: Instant) {
        if self.0.is_none_or(|current| deadline < current) {
            self.0 = Some(deadline);
        }
    }

    /// Replaces the deadline by the earliest of these.
    pub fn rearm(&mut self, deadlines: impl IntoIterator<Item = Instant>) {
        self.0 = deadlines.into_iter().min();
    }

    /// Whether the deadline has been reached.
    pub fn is_due(&self, now: Instant) -> bool {
        self.0.is_some_and(|deadline| deadline <= now)
    }

    /// When to look again, if ever.
    pub fn deadline(&self) -> Option<Instant> {
        self.0
    }
}

/// `duration` after `since`. `Duration::MAX` says "never", and a sum of it would overflow.
pub(crate) fn after(since: Instant, duration: Duration) -> Instant {
    // 30 years: out of everybody's sight, and far enough from the end of every clock.
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    since + duration.min(NEVER)
}
