//! [`Node`]: an endpoint among those that share a store, and its calls to the store, each with a deadline.

use std::{future::Future, sync::Arc, time::Duration};

use futures::future::{Either, select};

use super::{LogId, NodeId, PeerMessage, PeerRequest, Record, Store, Unavailable, Update};
use crate::{
    Runtime, SessionId, TerminateReason,
    proto::{Position, after},
    trace,
};

/// How often a small change of a record is tried.
const TRIES: usize = 3;

/// An endpoint among those that share a store.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) store: Store,
    runtime: Arc<dyn Runtime>,
}

impl Node {
    pub(crate) fn new(store: Store, runtime: Arc<dyn Runtime>) -> Self {
        // A system that gives no random bits gives no session ids either: then nothing gets as far as this node's.
        let id = NodeId(getrandom::u64().unwrap_or_default());
        Self { id, store: store.contained(&runtime), runtime }
    }

    /// Waits for the store, for as long as a call may take.
    pub(crate) async fn within<T, E: From<Unavailable>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let deadline = self.runtime.sleep_until(after(self.runtime.now(), self.store.timeout));
        match select(std::pin::pin!(call), deadline).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(Unavailable.into()),
        }
    }

    pub(crate) async fn pause(&self, time: Duration) {
        self.runtime.sleep_until(after(self.runtime.now(), time)).await;
    }

    /// Does something in the background: nobody waits for it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(Box::pin(work));
    }

    pub(crate) async fn load(&self, session: SessionId) -> Result<Option<Record>, Unavailable> {
        self.within(self.store.sessions.load(session)).await
    }

    pub(crate) async fn update(&self, session: SessionId, update: Update) {
        for _ in 0..TRIES {
            if self.within(self.store.sessions.update(session, update)).await.is_ok() {
                return;
            }
        }
        trace::store_failed(&session, "its record could not be changed");
    }

    /// A session ends here. Where it may live on, this node is taken out of its record; else it ends everywhere.
    pub(crate) async fn part(&self, session: SessionId, reason: TerminateReason, heard: Position) {
        match reason {
            TerminateReason::Shutdown | TerminateReason::Idle => {
                if heard > Position::START {
                    self.update(session, Update::Heard(heard)).await;
                }
                for _ in 0..TRIES {
                    if self.within(self.store.sessions.park(self.id, vec![session])).await.is_ok() {
                        return;
                    }
                }
                trace::store_failed(&session, "it could not be parked");
            }
            TerminateReason::ClientDelete
            | TerminateReason::InitializeTimeout
            | TerminateReason::MaxAge
            | TerminateReason::Evicted
            | TerminateReason::Error => self.remove(session, reason).await,
        }
    }

    /// Ends a session everywhere: its record, its logs, and what other nodes have of it.
    pub(crate) async fn remove(&self, session: SessionId, reason: TerminateReason) {
        for _ in 0..TRIES {
            let Ok(removed) = self.within(self.store.sessions.remove(session)).await else { continue };
            let Some(members) = removed else { return }; // somebody else was first, and does the rest
            if self.within(self.store.events.purge(session)).await.is_err() {
                trace::store_failed(&session, "its logs could not be purged");
            }
            let others = members.into_iter().filter(|member| *member != self.id);
            self.tell(session, others, &PeerRequest::Terminated(reason)).await;
            return;
        }
        trace::store_failed(&session, "it could not be removed");
    }

    /// Sends other nodes what is theirs.
    pub(crate) async fn tell(
        &self,
        session: SessionId,
        nodes: impl IntoIterator<Item = NodeId>,
        request: &PeerRequest,
    ) {
        for node in nodes {
            let message = || PeerMessage { session, request: request.clone() };
            for _ in 0..TRIES {
                if self.within(self.store.peers.send(node, message())).await.is_ok() {
                    break;
                }
            }
        }
    }

    /// Sends it to the node of this number in the session, or to all others.
    pub(crate) async fn tell_member(&self, session: SessionId, member: Option<u32>, request: PeerRequest) {
        let Ok(Some(record)) = self.load(session).await else { return };
        let members = (0..).zip(&record.members);
        let meant = members.filter(|(number, _)| member.is_none_or(|member| member == *number));
        let mut nodes: Vec<NodeId> =
            meant.filter_map(|(_, node)| *node).filter(|node| *node != self.id).collect();
        nodes.sort_unstable();
        nodes.dedup();
        self.tell(session, nodes, &request).await;
    }

    pub(crate) async fn leave(&self) {
        let _ = self.within(self.store.peers.leave(self.id)).await; // a lease runs out, too
    }

    /// The log of a stream.
    pub(crate) fn log(session: SessionId, stream: u64) -> LogId {
        LogId { session, stream }
    }
}
