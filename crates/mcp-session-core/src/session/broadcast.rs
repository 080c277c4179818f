//! [`SessionManager::broadcast`]: one notification for every session.

use mcp_session_proto::SendError;
use serde::Serialize;

use super::{manager::SessionManager, notification};

/// The result of a [`SessionManager::broadcast`]. Each live session counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Broadcast {
    /// The number of sessions whose GET stream took it, or that keep it for the next one
    /// ([`replay`](crate::SessionConfig::replay)).
    pub taken: usize,
    /// The number of sessions whose GET stream is full: their clients do not keep up, and miss it.
    pub full: usize,
    /// The number of sessions where nobody gets it: they have neither a GET stream nor replay, are not initialized yet, or
    /// are ending (D-24, C-06).
    pub unheard: usize,
}

impl SessionManager {
    /// Sends a notification that belongs to no request, such as `notifications/tools/list_changed`, once to every session,
    /// on its GET stream (D-17, D-21). It does not wait: a client that does not keep up misses it, and its session is
    /// counted as [`full`](Broadcast::full). If every client must get it, use
    /// [`Session::notify`](crate::Session::notify), which waits.
    ///
    /// A handler uses [`RequestContext::sessions`](crate::RequestContext::sessions), or keeps a
    /// [`WeakSessionManager`](crate::WeakSessionManager).
    ///
    /// ```
    /// # use mcp_session_core::{Endpoint, SendError};
    /// # fn example(endpoint: &Endpoint) {
    /// let told = endpoint.manager().broadcast("notifications/tools/list_changed", None::<&()>).unwrap();
    /// assert_eq!(told.taken + told.full + told.unheard, endpoint.manager().sessions().len());
    /// let refused = endpoint.manager().broadcast("notifications/x", Some(&[1, 2]));
    /// assert_eq!(refused, Err(SendError::Invalid));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendError::Invalid`] if the params are not a JSON object. Then nothing was sent.
    pub fn broadcast<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
    ) -> Result<Broadcast, SendError> {
        let event = notification(method, params)?;
        let mut told = Broadcast::default();
        for session in self.sessions() {
            let (heard, sent) =
                session.with(|machine, now| (machine.is_listening(), machine.notify_standalone(now, &event)));
            match sent {
                Ok(()) if heard => told.taken += 1,
                Err(SendError::Full) => told.full += 1,
                Ok(()) | Err(_) => told.unheard += 1,
            }
        }
        Ok(told)
    }
}
