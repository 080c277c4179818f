//! [`Nodes`]: the nodes that use this store: their signs of life, and what has arrived for them. One, outside of tests.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use event_listener::Event;
use mcp_session_core::store::{NodeId, PeerMessage};

/// The maximum number of announcements that wait here. 1,000, as in core: a node that runs fetches each at once.
const ANNOUNCEMENTS: usize = 1_000;

/// The number of messages here above which no more are fetched: then they wait in the inbox, whose end is told to senders.
const MESSAGES: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Nodes {
    state: Mutex<State>,
    /// A node has a lease, or has left, or something has arrived for it.
    pub(crate) changed: Event,
    /// A node is new, or needs a reader.
    pub(crate) joined: Event,
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<NodeId, Local>,
    /// The node whose reader gets the notices.
    reader: Option<NodeId>,
    /// All nodes that may run, and when Redis said so.
    all: Option<(Instant, Arc<[NodeId]>)>,
}

/// A node that uses this store.
#[derive(Debug, Default)]
struct Local {
    /// It has had a lease.
    up: bool,
    left: bool,
    /// It needs, and has, a connection that waits for what others send.
    reads: bool,
    reading: bool,
    inbox: VecDeque<PeerMessage>,
    announcements: VecDeque<Bytes>,
}

impl Nodes {
    /// Adds a node. Returns `true` if it has a lease, or needs none because it has left.
    pub(crate) fn join(&self, id: NodeId, reads: bool) -> bool {
        let (up, news) = {
            let mut state = self.lock();
            let first = *state.reader.get_or_insert(id) == id;
            let node = state.nodes.entry(id).or_default();
            let reads = (first || reads) && !node.reads;
            node.reads |= reads;
            (node.up || node.left, !node.up || reads)
        };
        if news {
            self.joined.notify(usize::MAX);
        }
        up
    }

    /// The node that notices are sent to.
    pub(crate) fn reader(&self) -> Option<NodeId> {
        let state = self.lock();
        state.reader.filter(|id| state.nodes.get(id).is_some_and(|node| !node.left))
    }

    /// All nodes that may run, if Redis has said it within this time.
    pub(crate) fn others(&self, now: Instant, fresh: Duration) -> Option<Arc<[NodeId]>> {
        let state = self.lock();
        let (since, nodes) = state.all.as_ref()?;
        (now.saturating_duration_since(*since) < fresh).then(|| Arc::clone(nodes))
    }

    pub(crate) fn set_others(&self, now: Instant, nodes: Arc<[NodeId]>) {
        self.lock().all = Some((now, nodes));
    }

    /// The nodes that need a lease.
    pub(crate) fn running(&self) -> Vec<NodeId> {
        self.lock().nodes.iter().filter(|(_, node)| !node.left).map(|(id, _)| *id).collect()
    }

    /// The nodes that need a reader and have none. They have one from now on.
    pub(crate) fn unread(&self) -> Vec<NodeId> {
        let mut state = self.lock();
        let unread = state.nodes.iter_mut().filter(|(_, node)| node.reads && !node.reading && !node.left);
        unread
            .map(|(id, node)| {
                node.reading = true;
                *id
            })
            .collect()
    }

    pub(crate) fn is_up(&self, ids: &[NodeId]) {
        {
            let mut state = self.lock();
            for id in ids {
                if let Some(node) = state.nodes.get_mut(id) {
                    node.up = true;
                }
            }
        }
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn leave(&self, id: NodeId) {
        {
            let mut state = self.lock();
            let node = state.nodes.entry(id).or_default();
            node.left = true;
            node.inbox.clear();
            node.announcements.clear();
        }
        self.changed.notify(usize::MAX);
    }

    /// Whether a node uses this store; `Some(false)` if it has left.
    pub(crate) fn runs(&self, id: NodeId) -> Option<bool> {
        self.lock().nodes.get(&id).map(|node| !node.left)
    }

    pub(crate) fn has_room(&self, id: NodeId) -> bool {
        self.lock().nodes.get(&id).is_none_or(|node| node.inbox.len() < MESSAGES)
    }

    pub(crate) fn deliver(&self, id: NodeId, messages: Vec<PeerMessage>, announcements: Vec<Bytes>) {
        {
            let mut state = self.lock();
            let Some(node) = state.nodes.get_mut(&id).filter(|node| !node.left) else { return };
            node.inbox.extend(messages);
            node.announcements.extend(announcements);
            let excess = node.announcements.len().saturating_sub(ANNOUNCEMENTS);
            node.announcements.drain(..excess);
        }
        self.changed.notify(usize::MAX);
    }

    /// Waits for the next message; `None` when the node has left.
    pub(crate) async fn message(&self, id: NodeId) -> Option<PeerMessage> {
        self.next(id, |node| node.inbox.pop_front()).await
    }

    /// Waits for the next announcement; `None` when the node has left.
    pub(crate) async fn announcement(&self, id: NodeId) -> Option<Bytes> {
        self.next(id, |node| node.announcements.pop_front()).await
    }

    async fn next<T>(&self, id: NodeId, take: impl Fn(&mut Local) -> Option<T>) -> Option<T> {
        loop {
            let changed = self.changed.listen();
            {
                let mut state = self.lock();
                let node = state.nodes.entry(id).or_default();
                if node.left {
                    return None;
                }
                if let Some(taken) = take(node) {
                    return Some(taken);
                }
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
