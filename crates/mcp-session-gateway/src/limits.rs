//! [`Limits`] of one server, each with its reason.

use std::time::Duration;

/// The limits of one named server. Those of HTTP requests, such as [`body`](Self::body), are core's; the rest is kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum number of sessions. 1,000: at 10 MB of process each, 10 GB.
    pub sessions: usize,
    /// The maximum number of child processes, those that are ending included. 1,000, as sessions.
    pub children: usize,
    /// The maximum number of calls that run at the same time; more get an error at once. 10,000, as core's requests
    /// without a session.
    pub in_flight: usize,
    /// The maximum length of a line of a child, in bytes. 16 MiB: a screenshot in base64 fits several times.
    pub line: usize,
    /// The maximum length of a POST body, in bytes. 16 MiB, as a line.
    pub body: usize,
    /// How much of what a child sends for one call may wait for its client, in bytes; further notifications of the call are
    /// dropped and counted. 4 MiB, beside core's own queue of 1 MiB.
    pub backlog: usize,
    /// How long a child may take from its start to its answer to `initialize`. 60 seconds: `npx` may have to download
    /// the server first.
    pub init_timeout: Duration,
    /// How long a call may take; then the child is told to cancel it and its client gets an error. `None` by default: core
    /// and the client have their own limits.
    pub call_timeout: Option<Duration>,
    /// How long a session without a call and without a GET stream lives. 30 minutes, as core's.
    pub idle: Duration,
    /// The maximum lifetime of a session, however busy. `None` by default.
    pub max_life: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 1_000,
            children: 1_000,
            in_flight: 10_000,
            line: 16 * 1024 * 1024,
            body: 16 * 1024 * 1024,
            backlog: 4 * 1024 * 1024,
            init_timeout: Duration::from_secs(60),
            call_timeout: None,
            idle: Duration::from_secs(30 * 60),
            max_life: None,
        }
    }
}
