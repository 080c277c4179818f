//! [`Owner`]: who hears what a child says outside of calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use mcp_session_core::{Json, SendError, Session, SessionId, SessionManager, WeakSessionManager};
use serde::Deserialize;

use super::{core::lock, link::LinkInner};

/// Who hears what a child says outside of calls.
#[derive(Debug, Clone, Default)]
pub(crate) enum Owner {
    /// Nobody: it serves a request without a session, or none yet.
    #[default]
    Nobody,
    /// The client of this session.
    Session(Session),
    /// All clients.
    Everyone(Arc<Audience>),
}

/// The clients of a shared child.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    /// Once it is known, it also reaches the subscriptions of 2026-07-28.
    manager: Mutex<WeakSessionManager>,
    sessions: Mutex<HashMap<SessionId, Session>>,
}

impl Audience {
    pub(crate) fn set_manager(&self, manager: &SessionManager) {
        *lock(&self.manager) = manager.downgrade();
    }

    /// Remembers the manager that a request knows, unless there is one.
    pub(crate) fn learn(&self, manager: impl FnOnce() -> Option<SessionManager>) {
        let mut known = lock(&self.manager);
        let manager = if known.upgrade().is_none() { manager() } else { None };
        if let Some(manager) = manager {
            *known = manager.downgrade();
        }
    }

    pub(crate) fn join(&self, session: &Session) {
        lock(&self.sessions).insert(session.id(), session.clone());
    }

    pub(crate) fn leave(&self, session: SessionId) {
        lock(&self.sessions).remove(&session);
    }

    /// The sessions that are subscribed to this resource.
    pub(crate) fn subscribed(&self, uri: &str) -> usize {
        lock(&self.sessions).values().filter(|session| session.is_subscribed(uri)).count()
    }

    /// Returns the number of clients that missed it.
    fn tell(&self, method: &str, params: Option<&Json>) -> usize {
        let manager = lock(&self.manager).upgrade();
        if let Some(uri) = updated(method, params) {
            return match manager {
                Some(manager) => {
                    let told = manager.resource_updated(&uri);
                    told.full + told.subscriptions_ended
                }
                None => self.each(method, params, |session| session.is_subscribed(&uri)),
            };
        }
        match manager {
            Some(manager) => {
                let told = manager.broadcast(method, params).unwrap_or_default();
                told.full + told.subscriptions_ended
            }
            None => self.each(method, params, |_| true),
        }
    }

    fn each(&self, method: &str, params: Option<&Json>, wants: impl Fn(&Session) -> bool) -> usize {
        let sessions: Vec<_> = lock(&self.sessions).values().cloned().collect();
        let full = |session: &&Session| session.try_notify(method, params) == Err(SendError::Full);
        sessions.iter().filter(|session| wants(session)).filter(full).count()
    }
}

/// The resource that has changed, if that is the notification.
fn updated(method: &str, params: Option<&Json>) -> Option<String> {
    #[derive(Deserialize)]
    struct Updated {
        uri: String,
    }
    if method != "notifications/resources/updated" {
        return None;
    }
    params?.parse::<Updated>().ok().map(|updated| updated.uri)
}

impl LinkInner {
    /// Tells whoever owns the child, without waiting: who does not keep up misses it.
    pub(crate) fn tell_owner(&self, method: &str, params: Option<&Json>) {
        let missed = match self.owner() {
            Owner::Nobody => 0,
            Owner::Session(session) => {
                usize::from(session.try_notify(method, params) == Err(SendError::Full))
            }
            Owner::Everyone(audience) => audience.tell(method, params),
        };
        for _ in 0..missed {
            self.count_unheard();
        }
    }
}
