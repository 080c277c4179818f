//! [`Rotation`]: what a load balancer does, in a list. Each connection goes to the next node.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use mcp_session_examples::client::{Connection, Error, connect};

/// The nodes that take connections.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    nodes: Mutex<Vec<SocketAddr>>,
    next: AtomicUsize,
}

impl Rotation {
    pub(crate) fn add(&self, node: SocketAddr) {
        self.change(|nodes| nodes.push(node));
    }

    pub(crate) fn remove(&self, node: SocketAddr) {
        self.change(|nodes| nodes.retain(|known| *known != node));
    }

    /// A connection to the next node.
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        let turn = self.next.fetch_add(1, Relaxed);
        let node = self.change(|nodes| nodes.get(turn % nodes.len().max(1)).copied());
        connect(node.ok_or("no node is in the rotation")?).await
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<SocketAddr>) -> T) -> T {
        change(&mut self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
