//! [`Timer`]: the earliest of many deadlines.

use std::time::{Duration, Instant};

/// A lower bound of the next deadline.
///
/// [`Timer::arm`] only ever *lowers* the deadline. If a deadline moves into the future or is cancelled, the timer fires
/// early once; the caller then checks its state and calls [`Timer::rearm`] with the current deadlines. So the common
/// case, a deadline that moves into the future with every message, costs nothing.
///
/// ```
/// use std::time::{Duration, Instant};
/// use mcp_session_proto::Timer;
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
    /// Lowers the deadline to `deadline` if that is earlier.
    pub fn arm(&mut self, deadline: Instant) {
        if self.0.is_none_or(|current| deadline < current) {
            self.0 = Some(deadline);
        }
    }

    /// Replaces the deadline with the earliest of these.
    pub fn rearm(&mut self, deadlines: impl IntoIterator<Item = Instant>) {
        self.0 = deadlines.into_iter().min();
    }

    /// Whether the deadline has been reached.
    pub fn is_due(&self, now: Instant) -> bool {
        self.0.is_some_and(|deadline| deadline <= now)
    }

    /// The deadline, if there is one.
    pub fn deadline(&self) -> Option<Instant> {
        self.0
    }
}

/// `since + duration` without overflow: `Duration::MAX` means "never".
pub fn after(since: Instant, duration: Duration) -> Instant {
    // 30 years: longer than any process runs, and far from the end of every clock.
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    since + duration.min(NEVER)
}
