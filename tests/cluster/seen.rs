//! [`Call`]: what came of one call, as its client saw it.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::{Duration, Instant},
};

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Reads a call with progress to its answer.
    Slow,
    /// Answers a question of the call.
    Asked,
    /// Cancels it on the way.
    Cancels,
    /// Deletes the session on the way.
    Deletes,
    /// Has the server notify the GET stream.
    Announces,
    /// A call of 2026-07-28, without a session: a cut connection cancels it.
    Modern,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Result,
    /// An error with this reason.
    Error(String),
    /// A stream that ended without an answer, after the call was cancelled or its session deleted.
    Ended,
    /// The connection ended before the client could know an event: nobody knows what came of it.
    Unknown,
    /// An answer that never came, and why.
    Lost(String),
}

/// A call and all that was read of it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) session: Arc<str>,
    /// The number of its stream; none if it was answered as JSON, or without a session.
    pub(crate) stream: Option<u64>,
    /// The hashes of its events, by position.
    pub(crate) events: Vec<u64>,
    /// The last step that was read.
    pub(crate) step: u64,
    pub(crate) outcome: Outcome,
    /// What no stream may have: events twice, steps out of order, a second answer.
    pub(crate) doubled: Vec<String>,
    /// Events of another stream or call.
    pub(crate) foreign: Vec<String>,
    /// Cancelled, and answered much later.
    pub(crate) ignored: bool,
    pub(crate) moves: Vec<Move>,
    pub(crate) ended: Instant,
}

/// A reconnection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    /// From the first try until the head of the response was there.
    pub(crate) attach: Duration,
    /// Until the first event was there.
    pub(crate) next: Option<Duration>,
}

impl Call {
    pub(crate) fn new(id: u64, kind: Kind, session: Arc<str>) -> Self {
        Self {
            id,
            kind,
            session,
            stream: None,
            events: Vec::new(),
            step: 0,
            outcome: Outcome::Unknown,
            doubled: Vec::new(),
            foreign: Vec::new(),
            ignored: false,
            moves: Vec::new(),
            ended: Instant::now(),
        }
    }

    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.outcome, Outcome::Result | Outcome::Error(_))
    }
}

/// The GET stream of a session.
#[derive(Debug, Clone)]
pub(crate) struct Listened {
    pub(crate) session: Arc<str>,
    /// The hashes of its events, by position.
    pub(crate) events: Vec<u64>,
    /// Calls that had the server send an event, and were answered.
    pub(crate) told: usize,
    /// The same without an answer.
    pub(crate) perhaps: usize,
    pub(crate) doubled: Vec<String>,
    pub(crate) lost: Vec<String>,
    /// Its session was deleted, so the end of the stream may be missing.
    pub(crate) deleted: bool,
}

/// What all clients saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) calls: Vec<Call>,
    pub(crate) listened: Vec<Listened>,
    /// Requests that were refused with 503 and sent again.
    pub(crate) refused: usize,
    /// What went wrong beside the calls: replies, cancels and DELETEs that were refused.
    pub(crate) odd: Vec<String>,
}

/// The data of an event, as it is compared with the log.
pub(crate) fn hash(data: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}
