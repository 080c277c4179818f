//! The ladder by which a child ends: its stdin is closed, then SIGTERM to its group, then SIGKILL.

use std::time::Duration;

/// How long a child has on each rung before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LadderBudgets {
    /// After its stdin was closed. 2 seconds: a server that obeys ends in milliseconds; Node and Python flush and exit well within.
    pub close: Duration,
    /// After SIGTERM. 2 seconds, for the same reason.
    pub terminate: Duration,
}

impl Default for LadderBudgets {
    fn default() -> Self {
        Self { close: Duration::from_secs(2), terminate: Duration::from_secs(2) }
    }
}
