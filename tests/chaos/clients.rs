//! The clients of a trial: tasks that talk to one server over sockets, and record what came of each request.

mod ask;
mod bad;
mod readers;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use fastrand::Rng;
use mcp_session_tests::Caller;
use tokio::{sync::Notify, task::JoinSet, time};

use crate::{
    draw::{Draw, Mix},
    seen::Seen,
};

/// Where ids of requests begin in a process of clients apart, so that an id is unique in its trial.
const APART: u64 = 1_000_000;

/// A server as its clients know it, and what they have seen.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    ids: AtomicU64,
    seen: Mutex<Vec<Seen>>,
    /// No new work: what runs is read to its end, and sessions are deleted.
    resting: AtomicBool,
    /// The server has exited.
    over: AtomicBool,
    changed: Notify,
    /// The longest call.
    longest: Duration,
}

impl World {
    fn new(address: SocketAddr, first: u64, longest: Duration) -> Arc<Self> {
        Arc::new(Self {
            address,
            ids: AtomicU64::new(first),
            seen: Mutex::default(),
            resting: AtomicBool::new(false),
            over: AtomicBool::new(false),
            changed: Notify::new(),
            longest,
        })
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, SeqCst)
    }

    fn record(&self, seen: Seen) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    /// Whether a client begins another request.
    fn goes_on(&self) -> bool {
        !self.resting.load(SeqCst) && !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// Waits until clients rest or the server has exited.
    async fn paused(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.goes_on() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the server has exited.
    async fn exited(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_over() {
                return;
            }
            changed.await;
        }
    }

    fn set(&self, flag: &AtomicBool) {
        flag.store(true, SeqCst);
        self.changed.notify_waiters();
    }
}

/// The running clients of a trial.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) world: Arc<World>,
    tasks: JoinSet<()>,
}

impl Clients {
    /// Starts the clients of this process.
    pub(crate) fn start(draw: &Draw, address: SocketAddr) -> Self {
        let mut rng = Rng::with_seed(draw.seed ^ 0xC11E);
        let world = World::new(address, 1, draw.longest_call);
        let mut tasks = JoinSet::new();
        spawn_readers(&mut tasks, &world, draw.readers, &mut rng);
        for _ in 0..draw.flooding {
            tasks.spawn(bad::flooding(Arc::clone(&world), rng.fork()));
        }
        for _ in 0..draw.half_closing {
            tasks.spawn(readers::half_closing(Arc::clone(&world), rng.fork()));
        }
        for _ in 0..draw.stalled {
            tasks.spawn(bad::stalled(Arc::clone(&world), rng.fork()));
        }
        for _ in 0..draw.cutting {
            tasks.spawn(bad::cutting(Arc::clone(&world), rng.fork()));
        }
        for _ in 0..draw.half_sent {
            tasks.spawn(bad::half_sent(Arc::clone(&world), rng.fork()));
        }
        for _ in 0..draw.hangs {
            tasks.spawn(readers::hanging(Arc::clone(&world), rng.fork()));
        }
        for &block in &draw.blocks {
            tasks.spawn(readers::blocking(Arc::clone(&world), rng.fork(), block));
        }
        Self { world, tasks }
    }

    /// Starts those that have a process of their own.
    pub(crate) fn start_apart(draw: &Draw, address: SocketAddr) -> Self {
        let mut rng = Rng::with_seed(draw.seed ^ 0xA9A2);
        let world = World::new(address, APART, draw.longest_call);
        let mut tasks = JoinSet::new();
        if let Some((mix, _)) = draw.apart {
            spawn_readers(&mut tasks, &world, mix, &mut rng);
        }
        Self { world, tasks }
    }

    /// Ends the load. Returns once every client has ended, or this time is over.
    pub(crate) async fn rest(&mut self, limit: Duration) -> Result<(), String> {
        self.world.set(&self.world.resting);
        self.end(limit).await
    }

    /// Tells the clients that the server has exited, and waits for what they read then.
    pub(crate) async fn server_has_exited(&mut self, limit: Duration) -> Result<(), String> {
        self.world.set(&self.world.over);
        self.end(limit).await
    }

    /// Waits for the clients. Fails if one panicked, which the client of the testkit does at bytes that are no HTTP.
    pub(crate) async fn end(&mut self, limit: Duration) -> Result<(), String> {
        let all = async {
            let mut ended = Ok(());
            while let Some(client) = self.tasks.join_next().await {
                if let Err(error) = client {
                    ended = Err(format!("a client failed: {error}"));
                }
            }
            ended
        };
        match time::timeout(limit, all).await {
            Ok(ended) => ended,
            Err(_) => Err(format!("clients had not ended after {limit:?}")),
        }
    }

    /// What they have seen.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.world.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn spawn_readers(tasks: &mut JoinSet<()>, world: &Arc<World>, mix: Mix, rng: &mut Rng) {
    for number in 0..mix.sessions {
        tasks.spawn(readers::in_session(Arc::clone(world), rng.fork(), number % 2 == 0));
    }
    for _ in 0..mix.stateless {
        tasks.spawn(readers::without(Arc::clone(world), rng.fork(), Caller::Stateless));
    }
    for _ in 0..mix.modern {
        tasks.spawn(readers::without(Arc::clone(world), rng.fork(), Caller::Modern));
    }
    for _ in 0..mix.listeners {
        tasks.spawn(readers::listening(Arc::clone(world)));
    }
}

/// A pause of at most this many milliseconds: the pace of a client, not a wait.
async fn pause(rng: &mut Rng, most: u64) {
    time::sleep(Duration::from_millis(rng.u64(0..=most))).await;
}
