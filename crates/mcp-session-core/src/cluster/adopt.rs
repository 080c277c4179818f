//! Adopts sessions that were opened at another node.

use std::sync::Arc;

use futures::future::select;
use mcp_session_proto::{self as proto, SessionId, State, TerminateReason};

use crate::{
    metrics::SessionEvent,
    principal::Principal,
    session::{
        Session,
        adoptions::{Adoption, Failure},
        registry::Registry,
    },
    store::node::Node,
    store::{LogId, Record, Unavailable},
    sync::{atomic::Ordering::Relaxed, lock},
    trace,
    transport::Rejection,
};

/// Ends an adoption in any case, even if a store panics or the runtime drops the task.
struct Underway {
    registry: Arc<Registry>,
    id: SessionId,
    adoption: Arc<Adoption>,
}

impl Drop for Underway {
    fn drop(&mut self) {
        let _ = self.adoption.outcome.set(Err(Failure::Unavailable)); // if it has none yet
        lock(&self.registry.adoptions.0).remove(&self.id);
        self.adoption.over.notify(usize::MAX);
    }
}

/// A reserved place for a session that is being adopted. Released on drop.
struct Place<'a> {
    registry: &'a Registry,
    principal: Option<&'a Principal>,
    taken: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.taken {
            self.registry.give_place_back(self.principal);
        }
    }
}

impl Registry {
    /// Finds the session with this id and principal in the store, or here once it is known what the store knows.
    ///
    /// # Errors
    ///
    /// [`Rejection::UnknownSession`] if there is none, or if it belongs to somebody else (E-07). After other errors the
    /// client may try again, here or at another node.
    pub(crate) async fn find_in_store(
        self: &Arc<Self>,
        node: &Node,
        id: SessionId,
        principal: Option<&Principal>,
    ) -> Result<Session, Rejection> {
        let patience = node.deadline();
        loop {
            let freed = self.freed();
            match self.get(&id).filter(|session| session.principal() == principal) {
                // It is ending here, but lives on in the store, unless another node has ended it meanwhile.
                Some(session) if session.is_parting() => {
                    if self.admits().is_err() || node.now() >= patience {
                        return Err(self.or_moving(node, id, Rejection::UnknownSession).await);
                    }
                    select(freed, self.env.runtime.sleep_until(patience)).await;
                }
                // E-11: it may be dead.
                Some(session) if session.is_unconfirmed() => {
                    let adoption = lock(&self.adoptions.0).get(&id).cloned();
                    match adoption {
                        Some(adoption) => _ = adoption.ends().await?,
                        None if session.is_unconfirmed() => return Err(Rejection::StoreUnavailable), // its task was dropped
                        None => {}
                    }
                }
                Some(session) if session.state() == State::AwaitingInitialized => {
                    return match node.load(id).await {
                        Ok(Some(record)) => {
                            if record.initialized {
                                session.with(proto::Session::handle_initialized);
                            }
                            Ok(session)
                        }
                        Ok(None) => Err(Rejection::UnknownSession),
                        Err(Unavailable) => Ok(session), // use what is known here
                    };
                }
                Some(session) => return Ok(session),
                None => {
                    let record = node.load(id).await.map_err(|_| Rejection::StoreUnavailable)?;
                    let Some(record) = record.filter(|record| record.principal.as_ref() == principal) else {
                        return Err(Rejection::UnknownSession);
                    };
                    let session = self.adopt(node, record).await?;
                    if !session.is_parting() {
                        return Ok(session);
                    } // it went idle again before this request could use it
                }
            }
        }
    }

    /// Maps the refusal of a session that ended after it was found: if it was only parked meanwhile, perhaps adopted again, returns
    /// [`Rejection::Moving`], so that its client tries again and its id is not reported as unknown (E-11).
    pub(crate) async fn or_moving(&self, node: &Node, id: SessionId, refused: Rejection) -> Rejection {
        let lives = match self.get(&id) {
            Some(session) if session.state() == State::Terminated && !session.is_parting() => false,
            // It is parting, or another request has adopted it again meanwhile.
            Some(_) => node.load(id).await != Ok(None),
            None => matches!(node.load(id).await, Ok(Some(_))),
        };
        if lives { Rejection::Moving } else { refused }
    }

    /// Adopts a session, or waits for an adoption that is under way. A task does it, so the waiting requests may be dropped.
    async fn adopt(self: &Arc<Self>, node: &Node, record: Record) -> Result<Session, Failure> {
        let id = record.id;
        let (adoption, first) = {
            let mut adoptions = lock(&self.adoptions.0);
            // Another request may have adopted it since the lookup.
            let usable = |session: &Session| !session.is_parting() && !session.is_unconfirmed();
            if let Some(session) = self.get(&id).filter(usable) {
                return Ok(session);
            }
            let known = adoptions.get(&id).cloned();
            let first = known.is_none();
            let adoption = known.unwrap_or_default();
            adoptions.insert(id, Arc::clone(&adoption));
            (adoption, first)
        };
        if first {
            let underway = Underway { registry: Arc::clone(self), id, adoption: Arc::clone(&adoption) };
            let node = node.clone();
            node.clone().spawn(async move {
                let outcome = underway.registry.take_up(&node, record).await;
                let _ = underway.adoption.outcome.set(outcome);
            });
        }
        adoption.ends().await
    }

    /// A failure leaves nothing behind: neither a place nor a member in the record.
    async fn take_up(self: &Arc<Self>, node: &Node, record: Record) -> Result<Session, Failure> {
        let id = record.id;
        self.admits().map_err(|_| Failure::ShuttingDown)?;
        let mut place = Place { registry: self, principal: record.principal.as_ref(), taken: false };
        if self.acquire_quota(place.principal).is_err() {
            let room = self.with_room(place.principal, || self.acquire_quota(place.principal)).await;
            room.map_err(|_| Failure::TooMany)?;
        }
        place.taken = true;
        let sessions = &node.store.sessions;
        let member = match node.within(sessions.enlist(id, node.id)).await {
            Ok(member) => member.ok_or(Failure::Unknown)?,
            Err(Unavailable) => {
                node.park(id).await; // the call may have had its effect
                return Err(Failure::Unavailable);
            }
        };
        if record.home.is_none() {
            let _ = node.within(sessions.claim(id, node.id, None)).await; // only for affinity
        }
        let session = self.revive(member, &record);
        session.kept();
        session.set_unconfirmed(true);
        // Before any request finds the session.
        if session.attach().is_err() {
            node.park(id).await;
            return Err(Failure::Panicked);
        }
        place.taken = false; // the session owns it now
        let entered = match self.enter(session.clone()) {
            Ok(entered) => entered,
            Err(_) => {
                node.park(id).await;
                return Err(Failure::ShuttingDown);
            }
        };
        // If it was removed meanwhile, the message may have arrived before this node had the session.
        let removed = node.load(id).await == Ok(None);
        if removed {
            entered.terminate(TerminateReason::ClientDelete);
        }
        session.set_unconfirmed(false);
        if removed {
            return Err(Failure::Unknown);
        }
        if entered.is(&session) {
            self.adopted(&session, &record);
        }
        // It may have exceeded its maximum age before it was adopted.
        entered.with(proto::Session::handle_timeout);
        let dead = entered.state() == State::Terminated && !entered.is_parting();
        if dead { Err(Failure::Unknown) } else { Ok(entered) }
    }

    /// Ends a session that the store has removed because no node served it, and runs its hook. The record is gone, so the
    /// hook runs even if there is no place for the session, or if this endpoint has begun to shut down; then the shutdown
    /// does not wait for it.
    pub(crate) fn end_swept(&self, record: &Record) {
        let session = self.revive(0, record);
        if session.attach().is_err() {
            trace::panicked("`session_data` for a session that has ended");
        }
        let place = self.acquire_quota(record.principal.as_ref());
        let entered = place.and_then(|()| self.enter(session.clone()));
        if !entered.is_ok_and(|entered| entered.is(&session)) {
            session.stripe().sessions.fetch_add(1, Relaxed); // counted, although it is not registered
        }
        session.terminate(TerminateReason::Idle);
    }

    /// Creates the session of this record, in which this node has the number `member`.
    fn revive(&self, member: u32, record: &Record) -> Session {
        let Record { version, capabilities, initialized, heard, age, .. } = *record;
        let (config, now) = (Arc::clone(&self.env.session_config), self.env.runtime.now());
        let mut machine = proto::Session::adopt(now, config, version, capabilities, initialized);
        machine.share(member, LogId::STANDALONE, heard);
        machine.set_age(age);
        let client = self.env.clients.get(&record.initialize);
        Session::new(record.id, record.principal.clone(), client, Arc::clone(&self.env), machine)
    }

    /// Reports an adopted session, before any request gets it.
    fn adopted(&self, session: &Session, _record: &Record) {
        let id = session.id();
        trace::session_adopted(&self.env.summary, &id);
        self.env.publish(&SessionEvent::Adopted(id));
        session.run("adopted".into(), || self.env.hooks.adopted(session.clone()));
    }
}
