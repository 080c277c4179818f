//! What a session needs of those above it: [`Host`] and [`Hooks`].

use futures::future::BoxFuture;
use mcp_session_proto::TerminateReason;

use super::{Session, data::SessionData};

/// Holds the sessions of an endpoint. A session knows it by this trait only.
pub(crate) trait Host: Send + Sync {
    /// The client of a new session is being told its id.
    fn established(&self, session: &Session);

    /// Nothing of a session is left, its hook included.
    fn left(&self, session: &Session);
}

/// What the application does for a session: see [`Handler`](crate::Handler).
pub(crate) trait Hooks: Send + Sync {
    fn session_data(&self, session: &Session) -> SessionData;

    fn terminated(&self, session: Session, reason: TerminateReason) -> BoxFuture<'static, ()>;
}
