//! [`Nodes`]: three nodes behind a balancer, each with a link of its own to one Redis.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use mcp_session_tests::{Link, Process, RedisServer};
use tokio::{task::block_in_place, time};

use crate::{args::Play, balancer::Balancer};

/// The number of nodes.
pub(crate) const NODES: usize = 3;

/// How long a node may take until it is ready, and until it has exited after its budgets.
const PATIENCE: Duration = Duration::from_secs(60);

/// The nodes, their links, their Redis and the balancer.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub(crate) redis: RedisServer,
    /// A second Redis, and its link to the first.
    pub(crate) replica: Option<(RedisServer, Link)>,
    pub(crate) links: Vec<Link>,
    pub(crate) balancer: Balancer,
    nodes: Vec<Option<Process>>,
    started: usize,
    directory: PathBuf,
}

impl Nodes {
    /// Starts all, and waits until each node is ready.
    pub(crate) async fn start(play: Play, bind: SocketAddr, directory: &Path) -> Result<Self> {
        let options: &[&str] = match play {
            Play::RestartAof => &["--appendonly", "yes", "--appendfsync", "everysec"],
            _ => &[],
        };
        let redis = block_in_place(|| RedisServer::start(options));
        let replica = (play == Play::Failover).then(|| block_in_place(|| replicate(&redis)));
        let links = (0..NODES).map(|_| Link::start(redis.port)).collect();
        let balancer = Balancer::start(bind).await?;
        let directory = directory.to_owned();
        let mut nodes = Self { redis, replica, links, balancer, nodes: Vec::new(), started: 0, directory };
        nodes.nodes.resize_with(NODES, || None);
        for slot in 0..NODES {
            nodes.launch(slot).await?;
        }
        nodes.all_ready().await?;
        Ok(nodes)
    }

    /// Starts a node in this slot, and adds it to the balancer.
    pub(crate) async fn launch(&mut self, slot: usize) -> Result<()> {
        self.started += 1;
        let name = format!("node-{}", self.started);
        let log = File::create(self.directory.join(format!("{name}.log")))?;
        let store = format!("redis://127.0.0.1:{}/0", self.links[slot].port);
        // A load balancer needs a moment to see that a node stops.
        let args = ["--store", &store, "--node", &name, "--lame-duck", "300ms"];
        let node = Process::start_with("tokio", &args, Stdio::from(log)).await;
        self.balancer.add(node.addr);
        self.nodes[slot] = Some(node);
        Ok(())
    }

    /// Waits until every node is in the rotation.
    pub(crate) async fn all_ready(&self) -> Result<()> {
        let begun = Instant::now();
        while self.balancer.ready() < NODES {
            ensure!(begun.elapsed() < PATIENCE, "{} of {NODES} nodes are ready", self.balancer.ready());
            time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn node(&self, slot: usize) -> Result<&Process> {
        self.nodes[slot].as_ref().context("a node that runs")
    }

    pub(crate) fn address(&self, slot: usize) -> Result<SocketAddr> {
        Ok(self.node(slot)?.addr)
    }

    pub(crate) async fn signal(&self, slot: usize, name: &str) -> Result<()> {
        self.node(slot)?.signal(name).await;
        Ok(())
    }

    /// SIGTERM. Returns how long the node took to exit, and what it reports if that was not clean.
    pub(crate) async fn stop(&mut self, slot: usize) -> Result<(Duration, Option<String>)> {
        let node = self.nodes[slot].take().context("a node that runs")?;
        let (address, begun) = (node.addr, Instant::now());
        node.signal("TERM").await;
        let ended = time::timeout(PATIENCE, node.exited()).await;
        let took = begun.elapsed();
        self.balancer.remove(address);
        let Ok((status, report)) = ended else { bail!("no exit after {PATIENCE:?}") };
        let unclean = (!status.success()).then(|| {
            let failures = report["failures"].as_array().map_or(&[][..], Vec::as_slice);
            let first = failures.first().map_or("", |failure| failure["reason"].as_str().unwrap_or_default());
            let (count, exchanges, phases) = (failures.len(), &report["exchanges"], &report["phases"]);
            format!("a node ended with {status}: {count} failures, {first}; {exchanges}, {phases}")
        });
        Ok((took, unclean))
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self, slot: usize) -> Result<()> {
        let node = self.nodes[slot].take().context("a node that runs")?;
        let address = node.addr;
        node.kill().await;
        self.balancer.remove(address);
        Ok(())
    }
}

/// A replica, and its link to the primary.
fn replicate(primary: &RedisServer) -> (RedisServer, Link) {
    let link = Link::start(primary.port);
    let replica = RedisServer::start(&["--replicaof", &format!("127.0.0.1 {}", link.port)]);
    replica.until(&["INFO", "replication"], "master_link_status:up");
    (replica, link)
}
