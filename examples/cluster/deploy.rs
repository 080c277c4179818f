//! [`deploy`]: a rolling update. Each node leaves the rotation, drains, and is replaced.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mcp_session_examples::client::Error;
use tokio::time::sleep;

use crate::{
    node::{Ended, Node, Shared},
    rotation::Rotation,
};

/// The number of nodes.
pub(crate) const NODES: usize = 3;

/// The pause in which the load settles, before each node is replaced.
const SETTLING: Duration = Duration::from_secs(1);

/// What runs in one place of the cluster: one node after the other.
pub(crate) struct Place {
    pub(crate) running: Arc<AtomicU64>,
    node: Node,
}

/// A node that was replaced.
pub(crate) struct Replaced {
    /// The calls that it ran when it was stopped.
    pub(crate) running: u64,
    pub(crate) ended: Ended,
}

/// Starts all nodes.
pub(crate) async fn start(shared: &Shared, rotation: &Rotation) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    for _ in 0..NODES {
        let running = Arc::default();
        let node = Node::start(shared, &running).await?;
        rotation.add(node.address);
        places.push(Place { running, node });
    }
    Ok(places)
}

/// Replaces the nodes, one after the other. `number` says which one it is at.
pub(crate) async fn deploy(
    shared: &Shared,
    rotation: &Rotation,
    places: Vec<Place>,
    number: &AtomicU64,
) -> Result<(Vec<Node>, Vec<Replaced>), Error> {
    let (mut nodes, mut replaced) = (Vec::new(), Vec::new());
    for Place { running, node } in places {
        sleep(SETTLING).await;
        number.fetch_add(1, Relaxed);
        rotation.remove(node.address);
        let ran = running.load(Relaxed);
        replaced.push(Replaced { running: ran, ended: node.stop().await? });
        let node = Node::start(shared, &running).await?;
        rotation.add(node.address);
        nodes.push(node);
    }
    number.fetch_add(1, Relaxed);
    Ok((nodes, replaced))
}
