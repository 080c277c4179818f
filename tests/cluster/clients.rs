//! The clients: tasks that talk to the nodes through the balancer, and record what they see.

mod call;
mod http;
mod listen;
mod modern;
mod send;
mod session;
mod stream;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use fastrand::Rng;
use mcp_session_tests::Caller;
use serde_json::json;
use tokio::{task::JoinSet, time};

use crate::seen::{Call, Listened, Seen};

/// The nodes as their clients know them, and what they have seen.
#[derive(Debug)]
pub(crate) struct World {
    address: SocketAddr,
    ids: AtomicU64,
    seen: Mutex<Seen>,
    /// Sessions that were opened.
    opened: AtomicUsize,
    /// Calls with progress that run, as far as clients know.
    running: AtomicUsize,
    made: AtomicUsize,
    events: AtomicUsize,
    resting: AtomicBool,
}

impl World {
    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, SeqCst)
    }

    fn goes_on(&self) -> bool {
        !self.resting.load(SeqCst)
    }

    fn see(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn record(&self, call: Call) {
        self.made.fetch_add(1, SeqCst);
        self.see(|seen| seen.calls.push(call));
    }

    fn listened(&self, listened: Listened) {
        self.see(|seen| seen.listened.push(listened));
    }

    fn odd(&self, what: String) {
        self.see(|seen| seen.odd.push(what));
    }
}

/// The running clients.
#[derive(Debug)]
pub(crate) struct Clients {
    world: Arc<World>,
    tasks: JoinSet<()>,
}

impl Clients {
    /// Starts this many sessions, and a tenth of it without one.
    pub(crate) fn start(address: SocketAddr, sessions: u32, seed: u64) -> Self {
        let world = Arc::new(World {
            address,
            ids: AtomicU64::new(1),
            seen: Mutex::default(),
            opened: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            resting: AtomicBool::new(false),
        });
        let (mut rng, mut tasks) = (Rng::with_seed(seed), JoinSet::new());
        for _ in 0..sessions {
            tasks.spawn(session::client(Arc::clone(&world), rng.fork()));
        }
        for _ in 0..sessions.div_ceil(10) {
            tasks.spawn(modern::client(Arc::clone(&world), rng.fork()));
        }
        Self { world, tasks }
    }

    /// Calls with progress that run.
    pub(crate) fn running(&self) -> usize {
        self.world.running.load(SeqCst)
    }

    /// Calls that were made.
    pub(crate) fn made(&self) -> usize {
        self.world.made.load(SeqCst)
    }

    /// Sessions that were opened.
    pub(crate) fn opened(&self) -> usize {
        self.world.opened.load(SeqCst)
    }

    /// Events that were read.
    pub(crate) fn events(&self) -> usize {
        self.world.events.load(SeqCst)
    }

    /// Ends the load: what runs is read to its end.
    pub(crate) async fn rest(&mut self, limit: Duration) -> Result<Seen> {
        self.world.resting.store(true, SeqCst);
        let all = async {
            while let Some(client) = self.tasks.join_next().await {
                client.context("a client failed")?;
            }
            Ok::<_, anyhow::Error>(())
        };
        match time::timeout(limit, all).await {
            Ok(ended) => ended?,
            Err(_) => bail!("{} clients had not ended after {limit:?}", self.tasks.len()),
        }
        Ok(std::mem::take(&mut self.world.seen.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The pace of a client, not a wait.
async fn pause(rng: &mut Rng, most: u64) {
    time::sleep(Duration::from_millis(rng.u64(0..=most))).await;
}

/// The number of calls that a node runs.
pub(crate) async fn active(node: SocketAddr) -> Option<u64> {
    let request = Caller::Modern.tool(node, 0, "active", &json!({}), false);
    let answer = http::Response::to(node, &request).await?.json().await?;
    answer["result"]["content"][0]["text"].as_str()?.parse().ok()
}
