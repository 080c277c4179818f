//! [`Seen`]: what came of one request, as its client saw it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Microseconds since 1970: comparable between processes of one machine.
pub(crate) type Micros = u64;

/// The present.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What a client does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Conduct {
    /// Reads all of it.
    Reads,
    /// Reads all of it, after it has closed its sending half: it counts as gone a second later.
    HalfCloses,
    /// Reads nothing until the server has exited.
    Stalls,
    /// Cuts its connection.
    Cuts,
    /// Sends the first part of a request.
    HalfSends,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    Initialize,
    /// `echo`, `tools/list` or `ping`: answered at once.
    Quick,
    Slow,
    Hang,
    Block,
    Panic,
    Listen,
    Delete,
    /// A GET stream: no request, and no answer.
    Get,
}

impl What {
    /// Returns `true` if it is a JSON-RPC request, which has an answer.
    pub(crate) fn is_request(self) -> bool {
        !matches!(self, Self::Delete | Self::Get)
    }
}

/// What the text of [`Outcome::Unanswered`] is if there was no connection.
pub(crate) const NO_CONNECTION: &str = "no connection";

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// One result, or for a stream without a request its proper end.
    Result,
    /// One error. The reason is in its data.
    Error { code: i64, reason: String },
    /// Another status than 200: it was not admitted.
    Refused(u16),
    /// No connection, or it ended before the first byte of a response.
    Unanswered(String),
    /// The proper end of a body without an answer.
    Silent,
    /// The connection ended within a response. `answered` if the answer was there by then.
    Cut { answered: bool },
    /// The client left on purpose.
    Left,
    /// More than one answer, an answer to another request, or no HTTP.
    Violated(String),
}

/// A request, or a GET stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Unique in the trial.
    pub(crate) id: u64,
    pub(crate) client: String,
    pub(crate) what: What,
    pub(crate) conduct: Conduct,
    /// On a connection of its own, and not on one that was kept.
    pub(crate) fresh: bool,
    /// When it was written.
    pub(crate) sent: Micros,
    /// When the head of a response was there.
    pub(crate) head: Option<Micros>,
    /// When its outcome was there.
    pub(crate) ended: Micros,
    pub(crate) outcome: Outcome,
    /// Its session may have been deleted before it arrived.
    pub(crate) deleted: bool,
}

impl Seen {
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.outcome, Outcome::Result | Outcome::Error { .. })
    }

    /// Returns `true` if the error says that the server shuts down, which only an admitted request is told.
    pub(crate) fn is_told_of_shutdown(&self) -> bool {
        matches!(&self.outcome, Outcome::Error { reason, .. } if reason == "shutdown")
    }
}
