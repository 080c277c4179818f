//! A session that was opened at another node, taken up here.

use std::sync::Arc;

use super::{LogId, Node, Record};
use crate::{
    Principal, SessionEvent, SessionId, TerminateReason,
    error::Rejection,
    manager::Registry,
    proto::{self, State},
    session::Session,
    trace,
};

impl Registry {
    /// The session of this id, as far as this caller may know of it: one of this node's, or one that the store has.
    ///
    /// # Errors
    ///
    /// [`Rejection::UnknownSession`]: none, or somebody else's (E-07). Others: try again, here or elsewhere.
    pub(crate) async fn find(
        self: &Arc<Self>,
        id: SessionId,
        principal: Option<&Principal>,
    ) -> Result<Session, Rejection> {
        if let Some(session) = self.get(&id) {
            if session.principal() != principal {
                return Err(Rejection::UnknownSession);
            }
            let parked = matches!(session.reason(), Some(TerminateReason::Idle | TerminateReason::Shutdown));
            // What is left of it here is on its way out; in the store it lives on.
            return match &self.hub.node {
                Some(_) if parked && session.state() == State::Terminated => Err(Rejection::Moving),
                Some(_) | None => Ok(session),
            };
        }
        match &self.hub.node {
            // In a box: it is rare, and would make the future of every request a kilobyte longer.
            Some(node) => Box::pin(self.adopt(node, id, principal)).await,
            None => Err(Rejection::UnknownSession),
        }
    }

    async fn adopt(
        self: &Arc<Self>,
        node: &Node,
        id: SessionId,
        principal: Option<&Principal>,
    ) -> Result<Session, Rejection> {
        let record = node.load(id).await.map_err(|_| Rejection::StoreUnavailable)?;
        let Some(record) = record.filter(|record| record.principal.as_ref() == principal) else {
            return Err(Rejection::UnknownSession);
        };
        self.admits()?;
        let sessions = &node.store.sessions;
        let member =
            node.within(sessions.enlist(id, node.id)).await.map_err(|_| Rejection::StoreUnavailable)?;
        let member = member.ok_or(Rejection::UnknownSession)?;
        if record.home.is_none() {
            let _ = node.within(sessions.claim(id, node.id, None)).await; // a matter of affinity
        }
        let Record { version, capabilities, initialized, heard, principal, .. } = record;
        let (config, now) = (Arc::clone(&self.hub.session_config), self.hub.runtime.now());
        let mut machine = proto::Session::adopt(now, config, version, capabilities, initialized);
        machine.share(member, LogId::SHARED, heard);
        let session = Session::new(id, principal, Arc::clone(&self.hub), machine);
        session.attach()?; // before another request of its client finds it
        let entered = match self.enter(session.clone()) {
            Err(Rejection::TooManySessions) => {
                self.with_room(session.principal(), || self.enter(session.clone())).await?
            }
            entered => entered?,
        };
        // Whoever removed it meanwhile may have told this node before it had it.
        if node.load(id).await == Ok(None) {
            entered.terminate(TerminateReason::ClientDelete);
            return Err(Rejection::UnknownSession);
        }
        if entered.is(&session) {
            trace::session_adopted(&id);
            self.hub.publish(&SessionEvent::Adopted(id));
        }
        Ok(entered) // another request of its client may have been faster
    }
}
