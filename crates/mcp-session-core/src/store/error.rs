//! Why a store did not do what it was asked to.

/// The store cannot be reached, or cannot answer. It may have done what it was asked to, and may be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is not available")]
pub struct Unavailable;

/// The log was not appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Somebody else has ended the log, because its owner seemed to be gone. The owner stops.
    #[error("the log has been ended by somebody else")]
    Sealed,
    /// Something before this is missing, as after a failover: the owner goes back, and appends from here.
    #[error("the log is behind: its next position is {next}")]
    Behind {
        /// The position that comes next.
        next: u64,
    },
    /// The session has been removed.
    #[error("the session is gone")]
    Gone,
    /// [`Unavailable`].
    #[error("the store is not available")]
    Unavailable,
}

/// The event was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The session has been removed.
    #[error("the session is gone")]
    Gone,
    /// [`Unavailable`].
    #[error("the store is not available")]
    Unavailable,
}

/// The log was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No such log, no such position in it, or something that followed it is forgotten (D-37).
    #[error("nothing can be read from there")]
    Unknown,
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
