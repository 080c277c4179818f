//! The errors of a store.

/// The store cannot be reached or does not answer. The call may have had its effect, and may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is not available")]
#[expect(clippy::exhaustive_structs, reason = "a store returns it, and says the rest in its log")]
pub struct Unavailable;

/// The error of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Another node has ended the log, because its owner seemed to be gone. The owner stops.
    #[error("the log has been ended by another node")]
    Sealed,
    /// Earlier events are missing, as after a failover: the owner goes back and appends from `next`.
    #[error("the log is behind: its next position is {next}")]
    Behind {
        /// The next position of the log.
        next: u64,
    },
    /// The session has been removed.
    #[error("the session is gone")]
    Gone,
    /// [`Unavailable`].
    #[error("the store is not available")]
    Unavailable,
}

/// The error of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The session has been removed.
    #[error("the session is gone")]
    Gone,
    /// [`Unavailable`].
    #[error("the store is not available")]
    Unavailable,
}

/// The error of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No such log, no such position in it, or an event after it was dropped (D-37).
    #[error("unknown log or position")]
    Unknown,
    /// The log is open and does not have this position yet, or no longer, as after a failover: then its owner writes it
    /// again. A reader that knows the position waits for that, but not for ever.
    #[error("the log is behind this position")]
    Behind,
    /// [`Unavailable`].
    #[error("the store is not available")]
    Unavailable,
}

impl From<Unavailable> for AppendError {
    fn from(Unavailable: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl From<Unavailable> for PublishError {
    fn from(Unavailable: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl From<Unavailable> for ReadError {
    fn from(Unavailable: Unavailable) -> Self {
        Self::Unavailable
    }
}
