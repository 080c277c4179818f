//! [`Host`]: what a session needs of whoever holds it.

use super::Session;

/// Holds the sessions of an endpoint. A session knows it by this trait only.
pub(crate) trait Host: Send + Sync {
    /// The client of a new session is being told its id.
    fn established(&self, session: &Session);

    /// Nothing of a session is left, its hook included.
    fn left(&self, session: &Session);
}
