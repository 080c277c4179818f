//! [`Inbox`]: what waits for a node, and [`Peers`] for the store in memory.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use event_listener::Event;
use futures::FutureExt;

use super::MemoryStore;
use crate::{
    runtime::BoxFuture,
    store::{NodeId, PeerMessage, Peers, Unavailable},
};

/// The maximum number of announcements that wait for a node. 1,000, as the events of a session: a node that runs fetches
/// each at once, so more are waiting only for a node that is stuck, or that died without leaving.
const ANNOUNCEMENTS: usize = 1_000;

/// What other nodes have sent to a node.
#[derive(Default)]
pub(super) struct Inbox {
    messages: VecDeque<PeerMessage>,
    announcements: VecDeque<Bytes>,
    /// A message or an announcement has arrived, or the node has left.
    pub(super) changed: Arc<Event>,
}

impl Inbox {
    fn push_announcement(&mut self, announcement: Bytes) {
        if self.announcements.len() >= ANNOUNCEMENTS {
            self.announcements.pop_front();
        }
        self.announcements.push_back(announcement);
    }
}

impl MemoryStore {
    /// Waits until `take` finds something in the inbox of a node; `None` when the node has left.
    async fn next<T>(&self, node: NodeId, take: impl Fn(&mut Inbox) -> Option<T>) -> Option<T> {
        loop {
            let changed = {
                let mut state = self.lock();
                if state.gone.contains(&node) {
                    return None;
                }
                let inbox = state.inboxes.entry(node).or_default();
                let changed = inbox.changed.listen();
                if let Some(taken) = take(inbox) {
                    return Some(taken);
                }
                changed
            };
            changed.await;
        }
    }
}

impl Peers for MemoryStore {
    fn send(&self, to: NodeId, message: PeerMessage) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            let changed = {
                let mut state = self.lock();
                if state.gone.contains(&to) {
                    return Ok(());
                }
                let inbox = state.inboxes.entry(to).or_default();
                inbox.messages.push_back(message);
                Arc::clone(&inbox.changed)
            };
            changed.notify(usize::MAX);
            Ok(())
        }
        .boxed()
    }

    fn receive(&self, node: NodeId) -> BoxFuture<'_, Option<PeerMessage>> {
        self.next(node, |inbox| inbox.messages.pop_front()).boxed()
    }

    fn announce(&self, from: NodeId, announcement: Bytes) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            let changed: Vec<_> = {
                let mut state = self.lock();
                let others = state.inboxes.iter_mut().filter(|(node, _)| **node != from);
                others
                    .map(|(_, inbox)| {
                        inbox.push_announcement(announcement.clone());
                        Arc::clone(&inbox.changed)
                    })
                    .collect()
            };
            for changed in changed {
                changed.notify(usize::MAX);
            }
            Ok(())
        }
        .boxed()
    }

    fn announced(&self, node: NodeId) -> BoxFuture<'_, Option<Bytes>> {
        self.next(node, |inbox| inbox.announcements.pop_front()).boxed()
    }

    fn is_gone(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        async move { Ok(self.lock().gone.contains(&node)) }.boxed()
    }

    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            self.lose(node);
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Stopped;

    #[test]
    fn s_13_a_node_that_does_not_fetch_misses_the_oldest_announcements() {
        let store = MemoryStore::new(Stopped::default());
        let next = || store.announced(NodeId(1)).now_or_never();
        assert_eq!(next(), None); // registers the node
        for number in 0..ANNOUNCEMENTS + 3 {
            let announced = store.announce(NodeId(2), number.to_string().into()).now_or_never();
            announced.expect("nothing to wait for").expect("the store is there");
        }
        for number in 3..ANNOUNCEMENTS + 3 {
            assert_eq!(next(), Some(Some(number.to_string().into())));
        }
        assert_eq!(next(), None);
    }
}
