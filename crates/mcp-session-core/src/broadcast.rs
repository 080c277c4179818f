//! [`SessionManager::broadcast`]: one notification for every session.

use serde::Serialize;

use crate::{manager::SessionManager, proto::SendError, session::notification};

/// What became of a [`SessionManager::broadcast`]: each session that was alive counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Broadcast {
    /// Sessions whose GET stream took it, or which keep it for the next one
    /// ([`replay`](crate::SessionConfig::replay)).
    pub taken: usize,
    /// Sessions whose GET stream is full: their clients do not keep up, and miss it.
    pub full: usize,
    /// Sessions that have nobody to tell: without a GET stream and without replay, not initialized yet, or ending (D-24,
    /// C-06).
    pub unheard: usize,
}

impl SessionManager {
    /// Sends a notification that belongs to no request, such as `notifications/tools/list_changed`, to every session, once
    /// each, on its GET stream (D-17, D-21). Waits for nobody: a client that does not keep up misses it, and its session
    /// is counted as [`full`](Broadcast::full). What every client must get, send by
    /// [`Session::notify`](crate::Session::notify), which waits.
    ///
    /// A handler must not hold a manager, because that holds the handler: broadcast from a task beside it.
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
    /// [`SendError::Invalid`] if the params are no JSON object. Then nobody was told.
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
                Ok(()) | Err(SendError::Closed | SendError::Invalid) => told.unheard += 1,
            }
        }
        Ok(told)
    }
}
