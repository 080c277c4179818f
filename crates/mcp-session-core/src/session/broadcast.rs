//! [`SessionManager::broadcast`]: one notification for every session and subscription.

use bytes::Bytes;
use mcp_session_proto::{Json, SendError};
use serde::Serialize;

use super::{Session, announcement::Announcement, manager::SessionManager, notification, object};
use crate::store::node::Node;

/// The result of a [`SessionManager::broadcast`]. Each live session, and each subscription that asked for the notification,
/// counts once. Those of other nodes are not counted.
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
    /// The number of `subscriptions/listen` streams that took it.
    pub subscriptions: usize,
    /// The number of `subscriptions/listen` streams that were full, and were ended in band: their clients do not keep up,
    /// and subscribe again (G-59).
    pub subscriptions_ended: usize,
}

/// The subscriptions of an endpoint.
pub(crate) trait Subscribers: Send + Sync {
    /// Sends a notification to those that asked for it, and counts them in `told`.
    fn notify(&self, method: &str, params: Option<&Json>, told: &mut Broadcast);
}

impl SessionManager {
    /// Sends a notification that belongs to no request, such as `notifications/tools/list_changed`, once to every session,
    /// on its GET stream (D-17, D-21), and once to every `subscriptions/listen` stream that asked for it (G-54, G-58).
    /// It does not wait: a client that does not keep up misses it, and its session is
    /// counted as [`full`](Broadcast::full). If every client must get it, use
    /// [`Session::notify`](crate::Session::notify), which waits.
    ///
    /// With a [`Config::store`](crate::Config::store), the sessions and subscriptions of all other nodes get it too, if the
    /// store carries announcements ([`Peers`](crate::store::Peers)): best effort, without being waited for, and not counted in
    /// the result. Up to 1,000 wait for a store that does not answer, then the oldest is dropped. A session that several nodes
    /// serve gets it once; one that no node serves at the moment does not get it.
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
        self.tell(method, object(params)?.as_ref(), None)
    }

    /// Sends a notification to every session, or to those that are subscribed to this resource.
    pub(super) fn tell(
        &self,
        method: &str,
        params: Option<&Json>,
        subscribed: Option<&str>,
    ) -> Result<Broadcast, SendError> {
        let event = notification(method, params)?;
        let mut told = Broadcast::default();
        let announced = self.0.env.node.as_ref().map(Node::next_announcement);
        let wants = |session: &Session| subscribed.is_none_or(|uri| session.is_subscribed(uri));
        for session in self.sessions().into_iter().filter(wants) {
            match session.broadcast(&event, announced) {
                Ok(true) => told.taken += 1,
                Err(SendError::Full) => told.full += 1,
                Ok(false) | Err(_) => told.unheard += 1,
            }
        }
        if let Some(subscribers) = self.0.subscribers.get() {
            subscribers.notify(method, params, &mut told);
        }
        if let Some((node, announced)) = self.0.env.node.as_ref().zip(announced) {
            if let Some(announcement) = Announcement::encode(method, params, subscribed, announced) {
                node.announce(announcement);
            }
        }
        Ok(told)
    }
}

impl Session {
    /// Sends an event on the GET stream, under the source and the token of its announcement if there is a store. Returns
    /// whether anybody will get it.
    pub(super) fn broadcast(&self, event: &Bytes, announced: Option<(u64, u64)>) -> Result<bool, SendError> {
        self.with(|machine, now| {
            let heard = machine.is_listening();
            machine.broadcast(now, event, announced).map(|()| heard)
        })
    }
}
