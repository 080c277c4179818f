//! [`Peers`]: messages and announcements, each in a stream of the node that gets it.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use mcp_session_core::{
    BoxFuture,
    store::{NodeId, PeerMessage, Peers, Unavailable},
};
use redis::Value;

use crate::{
    config::{INBOX, TOMBSTONE, millis},
    core::{Core, add_notice, inbox_life},
    error::Trouble,
    script,
    store::RedisStore,
};

impl Core {
    /// The nodes that may run, except this one. As of some moments ago: whoever has just joined may miss an announcement.
    async fn others(&self, from: NodeId) -> Result<Vec<NodeId>, Trouble> {
        let fresh = self.nodes.others(self.now(), self.config().lease / 10);
        let nodes = match fresh {
            Some(nodes) => nodes,
            None => {
                let mut members = redis::cmd("SMEMBERS");
                members.arg(self.keys.nodes());
                let members: Vec<String> = redis::from_redis_value(self.link.command(members, 0).await?)
                    .map_err(|_| Trouble::Unreadable)?;
                let nodes: Arc<[NodeId]> = members.iter().filter_map(|node| node.parse().ok()).collect();
                self.nodes.set_others(self.now(), Arc::clone(&nodes));
                nodes
            }
        };
        Ok(nodes.iter().copied().filter(|node| *node != from).collect())
    }
}

impl Peers for RedisStore {
    fn send(&self, to: NodeId, message: PeerMessage) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            let core = self.core();
            let text = serde_json::to_vec(&message).expect("a message has strings for keys");
            let keys = core.keys.node(to);
            let mut send = script::call(&script::SEND, &[&keys.inbox, &keys.left]);
            send.arg(&text[..]).arg(millis(inbox_life(core.config()))).arg(INBOX);
            match core.link.command(send, text.len()).await {
                Ok(Value::BulkString(said)) if said == b"sent" || said == b"left" => Ok(()),
                Ok(_) => {
                    core.link.note(&Trouble::InboxFull);
                    Err(Unavailable)
                }
                Err(_) => Err(Unavailable),
            }
        }
        .boxed()
    }

    fn receive(&self, node: NodeId) -> BoxFuture<'_, Option<PeerMessage>> {
        async move {
            self.core().nodes.join(node, true);
            self.core().nodes.message(node).await
        }
        .boxed()
    }

    fn announce(&self, from: NodeId, announcement: Bytes) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            let core = self.core();
            let others = core.others(from).await.map_err(|_| Unavailable)?;
            if others.is_empty() {
                return Ok(());
            }
            let mut tell = redis::pipe();
            for node in &others {
                tell.add_command(add_notice(&core.keys.node(*node).notices, "a", &announcement));
            }
            let size = (announcement.len() + 128) * others.len();
            let told = core.link.pipeline(&tell, size).await.map_err(|_| Unavailable)?;
            let gone = others.iter().zip(told).filter(|(_, told)| *told == Value::Nil);
            let gone: Vec<_> = gone.map(|(node, _)| node.to_string()).collect();
            if !gone.is_empty() {
                let mut forget = redis::cmd("SREM");
                forget.arg(core.keys.nodes()).arg(&gone);
                let _ = core.link.command(forget, 0).await; // tried again with the next announcement
            }
            Ok(())
        }
        .boxed()
    }

    fn announced(&self, node: NodeId) -> BoxFuture<'_, Option<Bytes>> {
        async move {
            self.core().nodes.join(node, true);
            self.core().nodes.announcement(node).await
        }
        .boxed()
    }

    fn is_gone(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        async move { self.core().is_gone(node).await.map_err(|_| Unavailable) }.boxed()
    }

    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            let core = self.core();
            core.nodes.leave(node); // no sign of life from now on
            let keys = core.keys.node(node);
            let mut leave = redis::pipe();
            let mut script =
                script::call(&script::LEAVE, &[&keys.lease, &keys.inbox, &keys.notices, &keys.left]);
            script.arg(millis(TOMBSTONE));
            leave.add_command(script).cmd("SREM").arg(core.keys.nodes()).arg(node.to_string());
            let left = core.link.pipeline(&leave, 0).await;
            core.watchers.notify_all();
            left.map(drop).map_err(|_| Unavailable)
        }
        .boxed()
    }
}
