//! [`ServerState`] and [`ServerStats`]: what can be seen of a server from outside.

use std::time::Duration;

use serde::Serialize;

/// What a server can do at the moment. Only [`ServerState::Ready`] is ready for new clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
pub enum ServerState {
    /// [`Server::start`](super::Server::start) has not finished.
    Starting,
    /// It serves.
    Ready,
    /// The shared child has died; the next is about to start.
    Restarting {
        /// The number of failures in a row.
        failures: u32,
    },
    /// Children die or do not start, time after time.
    CrashLoop {
        /// The number of failures in a row.
        failures: u32,
        /// Until the next attempt.
        #[serde(rename = "retry_in_seconds", serialize_with = "seconds")]
        retry_in: Duration,
    },
    /// As many children run as may.
    AtLimit,
    /// [`Server::drain`](super::Server::drain) or [`Server::close`](super::Server::close) was called.
    Draining,
}

impl ServerState {
    /// Whether it is ready for new clients.
    pub fn is_ready(self) -> bool {
        self == Self::Ready
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Restarting { .. } => "restarting",
            Self::CrashLoop { .. } => "crash_loop",
            Self::AtLimit => "at_limit",
            Self::Draining => "draining",
        }
    }
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Counts of one server. The first three are of this moment, the others only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct ServerStats {
    /// Children that run or are ending.
    pub children: usize,
    /// Sessions with a child of their own, or that use the shared one.
    pub sessions: usize,
    /// Calls that run.
    pub calls: usize,
    /// Children that were started.
    pub spawned: u64,
    /// Children that could not be started, or not initialized.
    pub failed: u64,
    /// Children that ended by themselves while they were needed.
    pub died: u64,
    /// Children that got SIGTERM because they did not end when their stdin was closed.
    pub terminated: u64,
    /// Children that got SIGKILL.
    pub killed: u64,
    /// Calls that were sent to children.
    pub calls_total: u64,
    /// Calls that were answered with an error because their child had died.
    pub calls_lost: u64,
    /// Calls that were refused at a limit.
    pub refused: u64,
    /// Lines of children that were no message: no JSON, too long, or for nobody.
    pub lines_dropped: u64,
    /// Notifications of children that were dropped because their client did not keep up.
    pub notifications_dropped: u64,
}

/// How children have ended since [`Server::drain`](super::Server::drain), or else since [`Server::close`](super::Server::close).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct ChildrenReport {
    /// All of them. Those that are in no other count have ended by themselves.
    pub children: usize,
    /// Those that ended when their stdin was closed.
    pub closed: usize,
    /// Those that ended after SIGTERM.
    pub terminated: usize,
    /// Those that got SIGKILL.
    pub killed: usize,
    /// Those of whose group something was left. 0 unless the kernel holds a process.
    pub left: usize,
}

impl ChildrenReport {
    /// Adds another server's.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            children: self.children + other.children,
            closed: self.closed + other.closed,
            terminated: self.terminated + other.terminated,
            killed: self.killed + other.killed,
            left: self.left + other.left,
        }
    }
}
