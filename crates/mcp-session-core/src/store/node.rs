//! [`Node`]: one of the endpoints that share a store, and its calls to the store, each with a deadline.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_channel::{Receiver, Sender};
use bytes::Bytes;
use futures::future::{Either, join, select};
use mcp_session_proto::{Position, SessionId, TerminateReason, after};

use super::{
    receipts::Receipts,
    seals::{Seal, Seals},
};
use crate::{
    observer::Observer,
    runtime::Runtime,
    store::{
        LogId, NodeId, PeerMessage, PeerRequest, ReadError, Receipt, Record, Store, Unavailable, Update,
    },
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    trace,
};

/// How many times a small change of a record, or a message to another node, is tried.
const TRIES: usize = 3;

/// The maximum number of announcements that wait for the store. 1,000, as a store keeps for a session: they wait only
/// while the store does not answer.
const ANNOUNCEMENTS: usize = 1_000;

/// How long a node waits before it sends such a message again. It costs little, and is needed only after a loss.
const RESEND: Duration = Duration::from_millis(500);

/// What became of a message of a client that another node needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// That node has it.
    Taken,
    /// That node is gone, and what needed the message with it.
    Gone,
    /// That node did not say in time whether it has it.
    Late,
}

/// How many sources the announcements of a node have. 8: a store keeps some bytes of each for each session.
const SOURCES: u64 = 8;

/// One of the endpoints that share a store.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) store: Store,
    runtime: Arc<dyn Runtime>,
    outbox: Arc<Outbox>,
    receipts: Arc<Receipts>,
    seals: Arc<Seals>,
}

/// The announcements that wait for the store.
#[derive(Debug)]
struct Outbox {
    sender: Sender<Bytes>,
    receiver: Receiver<Bytes>,
    /// How many there were.
    announced: AtomicU64,
}

impl Node {
    /// Creates a node with a random id.
    ///
    /// # Errors
    ///
    /// If the runtime returns no random bytes: two nodes with the same id would get each other's messages.
    pub(crate) fn new(
        store: Store,
        runtime: Arc<dyn Runtime>,
        observer: Option<&Arc<dyn Observer>>,
    ) -> io::Result<Self> {
        let [a, b, c, d, e, f, g, h, ..] = runtime.random()?;
        let id = NodeId(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        let (sender, receiver) = async_channel::bounded(ANNOUNCEMENTS);
        let outbox = Arc::new(Outbox { sender, receiver, announced: AtomicU64::new(0) });
        let (receipts, seals) = (Arc::default(), Arc::default());
        Ok(Self { id, store: store.contained(&runtime, observer), runtime, outbox, receipts, seals })
    }

    /// Awaits a call of the store, at most for [`Store::timeout`].
    pub(crate) async fn within<T, E: From<Unavailable>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let deadline = self.runtime.sleep_until(self.deadline());
        match select(pin!(call), deadline).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(Unavailable.into()),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.runtime.now()
    }

    /// The deadline of a call that begins now.
    pub(crate) fn deadline(&self) -> Instant {
        after(self.now(), self.store.timeout)
    }

    pub(crate) async fn pause(&self, time: Duration) {
        self.runtime.sleep_until(after(self.runtime.now(), time)).await;
    }

    /// Spawns a background task.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(Box::pin(work));
    }

    pub(crate) async fn load(&self, session: SessionId) -> Result<Option<Record>, Unavailable> {
        self.within(self.store.sessions.load(session)).await
    }

    /// As [`load`](Self::load), again and again for [`Store::patience`] if the store cannot be reached.
    pub(crate) async fn load_patiently(&self, session: SessionId) -> Option<Record> {
        let until = after(self.now(), self.store.patience);
        loop {
            match self.load(session).await {
                Ok(record) => return record,
                Err(Unavailable) if self.now() >= until => return None,
                Err(Unavailable) => self.pause(RESEND).await,
            }
        }
    }

    pub(crate) async fn update(&self, session: SessionId, update: Update) {
        for _ in 0..TRIES {
            if self.within(self.store.sessions.update(session, update)).await.is_ok() {
                return;
            }
        }
        trace::store_failed(&session, "its record could not be changed");
    }

    /// Records what only this node knows of a session that is about to be parked here.
    pub(crate) async fn settle(
        &self,
        session: SessionId,
        listener: u64,
        heard: Position,
        unused: Option<Duration>,
    ) {
        // One after the other: at once, each would make the other one try again.
        if listener > 0 {
            self.update(session, Update::Settled(listener, heard)).await;
        } else if heard > Position::START {
            self.update(session, Update::Heard(heard)).await;
        }
        if let Some(unused) = unused {
            self.update(session, Update::Used(unused)).await;
        }
    }

    /// Removes this node from the session's record. The session lives on.
    pub(crate) async fn park(&self, session: SessionId) {
        for _ in 0..TRIES {
            if self.within(self.store.sessions.park(self.id, vec![session])).await.is_ok() {
                return;
            }
        }
        trace::store_failed(&session, "it could not be parked");
    }

    /// Returns `true` if another node has served this session, or the store does not say.
    pub(crate) async fn shares(&self, session: SessionId) -> bool {
        let alone = |record: Option<Record>| record.is_none_or(|record| record.members.len() <= 1);
        !self.load(session).await.is_ok_and(alone)
    }

    /// Removes this node from the record of a session that nobody has used here for `idle`. Returns `true` if that ended it.
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

    /// Ends a session everywhere: its record, its logs, and its state at other nodes. Returns `Some(true)` if this call
    /// ended it, `Some(false)` if another one did, and `None` if the store cannot be reached.
    pub(crate) async fn remove(&self, session: SessionId, reason: TerminateReason) -> Option<bool> {
        for _ in 0..TRIES {
            let Ok(removed) = self.within(self.store.sessions.remove(session)).await else { continue };
            let Some(members) = removed else { return Some(false) }; // another node was first, and does the rest
            let others = members.into_iter().filter(|member| *member != self.id);
            // Concurrently: readers of a purged log look for the reason, which should reach them soon.
            join(self.tell(session, others, &PeerRequest::Terminated(reason)), self.purge(session)).await;
            return Some(true);
        }
        trace::store_failed(&session, "it could not be removed");
        None
    }

    /// Ends the sessions that no node serves and nobody uses. The caller runs their hooks.
    pub(crate) async fn sweep(&self, idle: Duration) -> Vec<Record> {
        let swept = self.within(self.store.sessions.sweep(idle)).await.unwrap_or_default(); // retried at the next sweep
        for record in &swept {
            self.purge(record.id).await;
        }
        swept
    }

    /// The number of a new connection for which the log is read; `None` if the store does not give one.
    pub(crate) async fn attach(&self, log: LogId) -> Option<u64> {
        for _ in 0..TRIES {
            match self.within(self.store.events.attach(log, self.id)).await {
                Ok(number) => return Some(number),
                Err(ReadError::Unavailable) => {}
                Err(ReadError::Unknown | ReadError::Behind) => return None,
            }
        }
        trace::store_failed(&log.session, "a connection got no number");
        None
    }

    /// Ends a log whose owner is gone, and remembers it: see [`Node::seal_again`].
    pub(crate) async fn seal(&self, log: LogId, last: Option<Bytes>) -> bool {
        let sealed = self.within(self.store.events.seal(log, last.clone())).await.is_ok();
        if sealed {
            self.seals.add(self.now(), log, last);
        } // otherwise a reader seals it again
        sealed
    }

    /// The store may have lost acknowledged events: ends the logs again that this node has sealed lately.
    pub(crate) async fn seal_again(&self) {
        for Seal { log, last, .. } in self.seals.recent(self.now()) {
            let _ = self.within(self.store.events.seal(log, last)).await; // whoever reads it may seal it as well
        }
    }

    async fn purge(&self, session: SessionId) {
        if self.within(self.store.events.purge(session)).await.is_err() {
            trace::store_failed(&session, "its logs could not be purged");
        }
    }

    /// Sends a request to these nodes.
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

    /// Sends a request to all other nodes that serve the session.
    pub(crate) async fn tell_others(&self, session: SessionId, request: PeerRequest) {
        let Ok(Some(record)) = self.load(session).await else { return };
        self.tell(session, self.others(&record), &request).await;
    }

    /// The other nodes that serve the session.
    pub(crate) fn others(&self, record: &Record) -> Vec<NodeId> {
        let mut nodes = record.nodes();
        nodes.retain(|node| *node != self.id);
        nodes
    }

    /// Sends a message of the client to this node, again and again until the node says that it has taken it: a store that
    /// fails over may lose a message that it has accepted. A repetition harms nobody. Gives up after `patience`.
    pub(crate) async fn deliver(
        &self,
        session: SessionId,
        to: NodeId,
        message: Bytes,
        patience: Duration,
    ) -> Delivery {
        let expected = self.receipts.expect();
        let receipt = Some(Receipt::new(self.id, expected.number));
        let message = PeerMessage::new(session, PeerRequest::Posted { message, receipt });
        let sending = async {
            loop {
                let sent = self.within(self.store.peers.send(to, message.clone()));
                let _ = join(sent, self.pause(RESEND)).await; // sent again in any case
                if self.within(self.store.peers.is_gone(to)).await == Ok(true) {
                    return Delivery::Gone;
                }
            }
        };
        let late = pin!(self.pause(patience));
        let (taken, sending) = (pin!(expected.taken()), pin!(sending));
        match select(taken, select(sending, late)).await {
            Either::Left(((), _)) => Delivery::Taken,
            Either::Right((Either::Left((gone, _)), _)) => gone,
            Either::Right((Either::Right(((), _)), _)) => Delivery::Late,
        }
    }

    /// Acknowledges a message of another node.
    pub(crate) fn acknowledge(&self, session: SessionId, receipt: Receipt) {
        let node = self.clone();
        self.spawn(
            async move { node.tell(session, [receipt.node], &PeerRequest::Taken(receipt.number)).await },
        );
    }

    /// Another node has taken the message of this node with this number.
    pub(crate) fn was_taken(&self, number: u64) {
        self.receipts.taken(number);
    }

    /// The source and the token under which each node publishes the next announcement of this node.
    ///
    /// Announcements may be published in any order, and by nodes that miss some of them, but the tokens of a source have to
    /// grow. So each node has several sources, which take turns: what is late by less than that is not taken for old.
    pub(crate) fn next_announcement(&self) -> (u64, u64) {
        let count = self.outbox.announced.fetch_add(1, Relaxed);
        // No node has these ids: a store publishes for sources that never joined.
        (self.id.0.wrapping_add(1 + count % SOURCES), 1 + count / SOURCES)
    }

    /// Queues an announcement for all other nodes. Does not wait: if too many are queued, the oldest is dropped.
    pub(crate) fn announce(&self, announcement: Bytes) {
        let _ = self.outbox.sender.force_send(announcement); // it is open as long as this node is
    }

    /// Sends the queued announcements, one after the other, for ever. None is sent twice: one that fails is dropped.
    pub(crate) async fn send_announcements(&self) {
        while let Ok(announcement) = self.outbox.receiver.recv().await {
            if self.within(self.store.peers.announce(self.id, announcement)).await.is_err() {
                trace::announcement_failed();
            }
        }
    }

    pub(crate) async fn leave(&self) {
        let _ = self.within(self.store.peers.leave(self.id)).await; // otherwise the store finds out by itself
    }

    /// The id of a stream's log.
    pub(crate) fn log(session: SessionId, stream: u64) -> LogId {
        LogId { session, stream }
    }
}
