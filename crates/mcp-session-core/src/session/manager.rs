//! [`SessionManager`]: all sessions of an endpoint, for the application.

use std::sync::{Arc, Weak};

use mcp_session_proto::{Buffered, SessionId, State};

use super::{Session, cell::Machine, registry::Registry};
use crate::metrics::SessionEvents;

/// A handle to all sessions of an endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionManager(pub(crate) Arc<Registry>);

impl SessionManager {
    /// The session with this id, unless it is terminated.
    pub fn get(&self, id: &SessionId) -> Option<Session> {
        self.0.get(id).filter(|session| session.state() != State::Terminated)
    }

    /// All live sessions.
    pub fn sessions(&self) -> Vec<Session> {
        self.0.sessions().filter(|session| session.state() != State::Terminated).collect()
    }

    /// What the live sessions hold for their clients now. Looks at each of them, so it is for a scrape of metrics, not for a
    /// request. Requests without a session are not among them: what they hold is bounded by
    /// [`Config::max_stateless_requests`](crate::Config::max_stateless_requests).
    ///
    /// ```
    /// use mcp_session_core::SessionManager;
    ///
    /// fn is_idle(manager: &SessionManager) -> bool {
    ///     manager.buffered().queue_bytes == 0
    /// }
    /// # let _ = is_idle;
    /// ```
    pub fn buffered(&self) -> Buffered {
        self.0.sessions().map(|session| session.peek(Machine::buffered)).sum()
    }

    /// Subscribes to session events from now on. A subscriber that is `capacity` events behind misses the next ones, so
    /// that a slow observer never slows a session. A capacity of 0 counts as 1.
    pub fn events(&self, capacity: usize) -> SessionEvents {
        self.0.env.subscribe(capacity)
    }

    /// A handle that does not keep the endpoint alive. For a handler: the endpoint holds the handler, so a handler that
    /// holds a `SessionManager` would keep both forever.
    pub fn downgrade(&self) -> WeakSessionManager {
        WeakSessionManager(Arc::downgrade(&self.0))
    }
}

/// A handle to the sessions of an endpoint that does not keep the endpoint alive: see [`SessionManager::downgrade`].
///
/// ```
/// use mcp_session_core::{SessionManager, WeakSessionManager};
///
/// fn keep(manager: &SessionManager) -> WeakSessionManager {
///     let weak = manager.downgrade();
///     assert!(weak.upgrade().is_some()); // until the endpoint and its managers are dropped
///     weak
/// }
/// # let _ = keep;
/// assert!(WeakSessionManager::default().upgrade().is_none());
/// ```
#[derive(Debug, Clone, Default)]
pub struct WeakSessionManager(Weak<Registry>);

impl WeakSessionManager {
    /// The manager; `None` if the endpoint is gone.
    pub fn upgrade(&self) -> Option<SessionManager> {
        self.0.upgrade().map(SessionManager)
    }
}
