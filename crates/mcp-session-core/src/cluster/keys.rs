//! The key that seals `requestState`, the same at all nodes of a store (G-67).

use std::sync::Arc;

use async_channel::Sender;
use bytes::Bytes;

use crate::{config::state_keys::StateKeys, handler::state::Sealer, store::node::Node};

/// What the store knows the key by.
const NAME: &str = "state-key";

/// Gets the key of all nodes from the store: a new one, if there is none yet. `first` is dropped when the store was asked for
/// the first time; from then on the node seals with a key of its own until the store answers.
pub(crate) async fn share(sealer: Arc<Sealer>, node: Node, first: Sender<()>) {
    let mut untried = Some(first);
    loop {
        if let Ok(key) = sealer.propose() {
            let proposed = Bytes::copy_from_slice(&key);
            let agreed = node.within(node.store.sessions.agree(NAME, proposed)).await;
            if let Some(keys) = agreed.ok().as_deref().and_then(StateKeys::of_bytes) {
                return sealer.share(keys);
            }
        }
        drop(untried.take());
        node.pause(node.store.touch_interval).await;
    }
}
