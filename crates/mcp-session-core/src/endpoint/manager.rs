//! [`SessionManager`]: all sessions of an endpoint, for the application.

use std::sync::Arc;

use mcp_session_proto::{self as proto, SessionId};

use super::shutdown;
use crate::{
    metrics::{SessionEvents, Stats},
    session::{Session, registry::Registry},
    shutdown::{Progress, Shutdown, ShutdownPhase, ShutdownPolicy},
};

/// A handle to all sessions of an endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionManager(pub(crate) Arc<Registry>);

impl SessionManager {
    /// The session with this id, unless it is terminated.
    pub fn get(&self, id: &SessionId) -> Option<Session> {
        self.0.get(id).filter(|session| session.state() != proto::State::Terminated)
    }

    /// All live sessions.
    pub fn sessions(&self) -> Vec<Session> {
        self.0.sessions().filter(|session| session.state() != proto::State::Terminated).collect()
    }

    /// A snapshot of gauges and totals (S15).
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Returns `false` as soon as a shutdown begins: the answer for a readiness probe.
    pub fn is_ready(&self) -> bool {
        self.0.phase() == ShutdownPhase::Running
    }

    /// Subscribes to session events from now on. A subscriber that is `capacity` events behind misses the next ones, so
    /// that a slow observer never slows a session. A capacity of 0 counts as 1.
    pub fn events(&self, capacity: usize) -> SessionEvents {
        self.0.env.subscribe(capacity)
    }

    /// Shuts down: see [`Endpoint::shutdown`](crate::Endpoint::shutdown).
    pub fn shutdown(&self, policy: ShutdownPolicy) -> Shutdown {
        let mut first = false;
        let progress = self.0.shutdown.get_or_init(|| {
            first = true;
            let env = &self.0.env;
            Arc::new(Progress::new(env.runtime.now(), policy, Arc::clone(&env.phases)))
        });
        if first {
            shutdown::start(&self.0, progress);
            self.0.shutdown_begun.notify(usize::MAX);
        } else {
            progress.tighten(self.0.env.runtime.now(), policy);
        }
        Shutdown::new(Arc::clone(&self.0.env.runtime), Arc::clone(progress))
    }
}
