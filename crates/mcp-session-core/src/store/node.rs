//! [`Node`]: an endpoint among those that share a store, and its calls to the store, each with a deadline.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{Either, join, select};

use super::{LogId, NodeId, PeerMessage, PeerRequest, Record, Store, Unavailable, Update};
use crate::{
    proto::{Position, SessionId, TerminateReason, after},
    runtime::Runtime,
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
        let deadline = self.runtime.sleep_until(self.deadline());
        match select(std::pin::pin!(call), deadline).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(Unavailable.into()),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.runtime.now()
    }

    /// When a call that begins now has to have ended.
    pub(crate) fn deadline(&self) -> Instant {
        after(self.now(), self.store.timeout)
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

    /// A session is about to be parked here: others learn what only this node knows.
    pub(crate) async fn settle(
        &self,
        session: SessionId,
        listener: u64,
        heard: Position,
        unused: Option<Duration>,
    ) {
        let settled = async {
            if listener > 0 {
                self.update(session, Update::Settled(listener, heard)).await;
            } else if heard > Position::START {
                self.update(session, Update::Heard(heard)).await;
            }
        };
        let used = async {
            if let Some(unused) = unused {
                self.update(session, Update::Used(unused)).await;
            }
        };
        join(settled, used).await;
    }

    /// Takes this node out of the session's record. It lives on.
    pub(crate) async fn park(&self, session: SessionId) {
        for _ in 0..TRIES {
            if self.within(self.store.sessions.park(self.id, vec![session])).await.is_ok() {
                return;
            }
        }
        trace::store_failed(&session, "it could not be parked");
    }

    /// Takes this node out of the record of a session that nobody has used here for `idle`. Returns whether that was its end.
    pub(crate) async fn retire(&self, session: SessionId, idle: Duration) -> bool {
        for _ in 0..TRIES {
            let Ok(ended) = self.within(self.store.sessions.retire(session, self.id, idle)).await else {
                continue;
            };
            if ended {
                self.purge(session).await;
            }
            return ended;
        }
        trace::store_failed(&session, "it could not be parked");
        false
    }

    /// Ends a session everywhere: its record, its logs, and what other nodes have of it. Returns whether it was this call that
    /// did; `None` if the store cannot be reached.
    pub(crate) async fn remove(&self, session: SessionId, reason: TerminateReason) -> Option<bool> {
        for _ in 0..TRIES {
            let Ok(removed) = self.within(self.store.sessions.remove(session)).await else { continue };
            let Some(members) = removed else { return Some(false) }; // somebody else was first, and does the rest
            let others = members.into_iter().filter(|member| *member != self.id);
            // Together: who reads a log that is gone looks for the reason, and the sooner it has come the better.
            join(self.tell(session, others, &PeerRequest::Terminated(reason)), self.purge(session)).await;
            return Some(true);
        }
        trace::store_failed(&session, "it could not be removed");
        None
    }

    /// Ends what no node serves and nobody uses: what is to be told of each is for the caller to do.
    pub(crate) async fn sweep(&self, idle: Duration) -> Vec<Record> {
        let swept = self.within(self.store.sessions.sweep(idle)).await.unwrap_or_default(); // the next time, then
        for record in &swept {
            self.purge(record.id).await;
        }
        swept
    }

    async fn purge(&self, session: SessionId) {
        if self.within(self.store.events.purge(session)).await.is_err() {
            trace::store_failed(&session, "its logs could not be purged");
        }
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
