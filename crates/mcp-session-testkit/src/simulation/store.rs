//! [`FaultyStore`]: what a node sees of the store that all nodes share, with its faults.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use event_listener::Event;
use fastrand::Rng;
use futures::FutureExt;
use mcp_session_core::{
    BoxFuture, Runtime, SessionId,
    proto::Position,
    store::{
        Append, AppendError, EventStore, LogId, MemoryStore, NodeId, Page, PeerMessage, PeerRequest, Peers,
        PublishError, ReadError, Record, SessionStore, Unavailable, Update, Wakeup,
    },
};

use super::{
    plan::StorePlan,
    process::{Life, Process},
};
use crate::{SimRuntime, behaviour::fixture::planted};

/// How often a call of a store goes wrong, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct StoreFaults {
    /// It takes up to [`StoreFaults::SLOW`].
    pub(super) slow: u8,
    /// It fails, without an effect.
    pub(super) fails: u8,
    /// It fails, and has its effect.
    pub(super) fails_after: u8,
    /// It takes a minute.
    pub(super) hangs: u8,
    pub(super) panics: u8,
    /// An append that was acknowledged is lost; the store says so a little later. Or a client's reply or cancel to another node
    /// that was accepted, or that node's word that it has it; the store does not say so.
    pub(super) loses: u8,
    /// A message to a node takes up to a second.
    pub(super) late_messages: u8,
    pub(super) repeats_messages: u8,
}

impl StoreFaults {
    /// How long a slow call takes at most.
    pub(super) const SLOW: Duration = Duration::from_millis(300);

    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A store that all nodes of a plan share.
pub(super) struct SharedStore {
    sim: SimRuntime,
    pub(super) memory: MemoryStore,
    faults: StoreFaults,
    rng: Mutex<Rng>,
    failover: Event,
}

/// What goes wrong with a call.
enum Fault {
    None,
    Slow(Duration),
    /// It has its effect at once, and says so late.
    SlowAfter(Duration),
    Fails,
    FailsAfter,
    Panics,
    Loses,
}

impl SharedStore {
    pub(super) fn new(sim: SimRuntime, plan: &StorePlan, memory: MemoryStore) -> Arc<Self> {
        let rng = Mutex::new(Rng::with_seed(plan.seed));
        Arc::new(Self { sim, memory, faults: plan.faults, rng, failover: Event::new() })
    }

    /// Says that it may have lost acknowledged events.
    pub(super) fn fail_over(&self) {
        self.failover.notify(usize::MAX);
    }

    fn chance(&self, percent: u8) -> bool {
        percent > 0 && self.random(100) < u64::from(percent)
    }

    fn random(&self, below: u64) -> u64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).u64(..below)
    }

    fn draw(&self) -> Fault {
        let StoreFaults { slow, fails, fails_after, hangs, panics, .. } = self.faults;
        if self.faults.is_none() {
            Fault::None
        } else if self.chance(slow) {
            let time = Duration::from_millis(self.random(StoreFaults::SLOW.as_millis() as u64));
            if self.random(2) == 0 { Fault::Slow(time) } else { Fault::SlowAfter(time) }
        } else if self.chance(fails) {
            Fault::Fails
        } else if self.chance(fails_after) {
            Fault::FailsAfter
        } else if self.chance(hangs) {
            Fault::Slow(Duration::from_secs(60))
        } else if self.chance(panics) {
            Fault::Panics
        } else {
            Fault::None
        }
    }
}

/// The store as one node sees it.
pub(super) struct FaultyStore {
    pub(super) shared: Arc<SharedStore>,
    pub(super) process: Arc<Process>,
    /// The id of the node, once it is known.
    pub(super) node: Arc<OnceLock<NodeId>>,
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.memory.fmt(f)
    }
}

impl FaultyStore {
    async fn sleep(&self, time: Duration) {
        self.shared.sim.sleep_until(self.shared.sim.now() + time).await;
    }

    /// Waits for ever if the process is dead: nothing of it reaches the store.
    async fn alive(&self) {
        if self.process.life() == Life::Killed {
            std::future::pending::<()>().await;
        }
    }

    async fn call<T, E: From<Unavailable>>(
        &self,
        fault: Fault,
        call: BoxFuture<'_, Result<T, E>>,
    ) -> Result<T, E> {
        self.alive().await;
        match fault {
            Fault::None | Fault::Loses => {}
            Fault::Slow(time) => {
                self.sleep(time).await;
                self.alive().await;
            }
            Fault::SlowAfter(time) => {
                let said = call.await;
                self.sleep(time).await;
                return said;
            }
            Fault::Fails => return Err(Unavailable.into()),
            Fault::FailsAfter => {
                let _ = call.await;
                return Err(Unavailable.into());
            }
            Fault::Panics => planted("the store panics"),
        }
        call.await
    }

    fn with_faults<'a, T: Send + 'a, E: From<Unavailable> + Send + 'a>(
        &'a self,
        call: BoxFuture<'a, Result<T, E>>,
    ) -> BoxFuture<'a, Result<T, E>> {
        let fault = self.shared.draw();
        self.call(fault, call).boxed()
    }
}

impl EventStore for FaultyStore {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), AppendError>> {
        let fault = match self.shared.draw() {
            Fault::None if self.shared.chance(self.shared.faults.loses) => Fault::Loses,
            fault => fault,
        };
        async move {
            if let Fault::Loses = fault {
                self.alive().await;
                let shared = Arc::clone(&self.shared);
                if append.ends {
                    // A shutdown does not wait for news of a loss, so there would be nobody to write the end again.
                    shared.fail_over();
                    return Ok(());
                }
                let time = Duration::from_millis(shared.random(200));
                let sim = shared.sim.clone();
                sim.clone().spawn(Box::pin(async move {
                    sim.sleep_until(sim.now() + time).await;
                    shared.fail_over();
                }));
                return Ok(());
            }
            self.call(fault, self.shared.memory.append(append)).await
        }
        .boxed()
    }

    fn publish(
        &self,
        session: SessionId,
        node: NodeId,
        token: u64,
        event: Bytes,
    ) -> BoxFuture<'_, Result<Position, PublishError>> {
        self.with_faults(self.shared.memory.publish(session, node, token, event))
    }

    fn read(&self, log: LogId, after: Position, limit: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.with_faults(self.shared.memory.read(log, after, limit))
    }

    fn oldest(&self, log: LogId) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.with_faults(self.shared.memory.oldest(log))
    }

    fn attach(&self, log: LogId, node: NodeId) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.with_faults(self.shared.memory.attach(log, node))
    }

    fn seal(&self, log: LogId, last: Option<Bytes>) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.with_faults(self.shared.memory.seal(log, last))
    }

    fn watch(&self, log: LogId, after: Position) -> BoxFuture<'_, Wakeup> {
        let fault = self.shared.draw();
        async move {
            match fault {
                Fault::Slow(time) => self.sleep(time).await,
                Fault::Panics => planted("a wait of the store panics"),
                Fault::None | Fault::SlowAfter(_) | Fault::Fails | Fault::FailsAfter | Fault::Loses => {}
            }
            self.shared.memory.watch(log, after).await
        }
        .boxed()
    }

    fn purge(&self, session: SessionId) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.with_faults(self.shared.memory.purge(session))
    }

    fn failover(&self) -> BoxFuture<'_, ()> {
        self.shared.failover.listen().boxed()
    }
}

impl SessionStore for FaultyStore {
    fn create(&self, record: Record) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.with_faults(self.shared.memory.create(record))
    }

    fn load(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Record>, Unavailable>> {
        self.with_faults(self.shared.memory.load(id))
    }

    fn update(&self, id: SessionId, update: Update) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.with_faults(self.shared.memory.update(id, update))
    }

    fn touch(&self, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.with_faults(self.shared.memory.touch(ids))
    }

    fn remove(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Vec<NodeId>>, Unavailable>> {
        self.with_faults(self.shared.memory.remove(id))
    }

    fn enlist(&self, id: SessionId, node: NodeId) -> BoxFuture<'_, Result<Option<u32>, Unavailable>> {
        self.with_faults(self.shared.memory.enlist(id, node))
    }

    fn agree(&self, name: &str, value: Bytes) -> BoxFuture<'_, Result<Bytes, Unavailable>> {
        self.with_faults(self.shared.memory.agree(name, value))
    }

    fn claim(
        &self,
        id: SessionId,
        node: NodeId,
        from: Option<NodeId>,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.with_faults(self.shared.memory.claim(id, node, from))
    }

    fn park(&self, node: NodeId, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.with_faults(self.shared.memory.park(node, ids))
    }

    fn retire(
        &self,
        id: SessionId,
        node: NodeId,
        idle: Duration,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.with_faults(self.shared.memory.retire(id, node, idle))
    }

    fn sweep(&self, idle: Duration) -> BoxFuture<'_, Result<Vec<Record>, Unavailable>> {
        // An answer of `sweep` that is lost loses the hook of its sessions: only what has no effect fails.
        match self.shared.draw() {
            Fault::Fails | Fault::FailsAfter => {
                self.call(Fault::Fails, self.shared.memory.sweep(idle)).boxed()
            }
            _ => self.call(Fault::None, self.shared.memory.sweep(idle)).boxed(),
        }
    }
}

impl Peers for FaultyStore {
    fn send(&self, to: NodeId, message: PeerMessage) -> BoxFuture<'_, Result<(), Unavailable>> {
        let StoreFaults { late_messages, repeats_messages, loses, .. } = self.shared.faults;
        let sent_again = matches!(message.request, PeerRequest::Posted { .. } | PeerRequest::Taken(_));
        if sent_again && self.shared.chance(loses) {
            return self.call(Fault::None, async { Ok(()) }.boxed()).boxed();
        }
        let times = 1 + usize::from(self.shared.chance(repeats_messages));
        let delays: Vec<_> = (0..times)
            .map(|_| if self.shared.chance(late_messages) { self.shared.random(1_000) } else { 0 })
            .collect();
        if delays == [0] {
            return self.with_faults(self.shared.memory.send(to, message));
        }
        let fault = self.shared.draw();
        let accepted = async move {
            for delay in delays {
                let (shared, message, sim) =
                    (Arc::clone(&self.shared), message.clone(), self.shared.sim.clone());
                sim.clone().spawn(Box::pin(async move {
                    sim.sleep_until(sim.now() + Duration::from_millis(delay)).await;
                    let _ = shared.memory.send(to, message).await; // always accepted
                }));
            }
            Ok(())
        };
        self.call(fault, accepted.boxed()).boxed()
    }

    fn receive(&self, node: NodeId) -> BoxFuture<'_, Option<PeerMessage>> {
        let _ = self.node.set(node);
        self.shared.memory.receive(node)
    }

    fn announce(&self, from: NodeId, announcement: Bytes) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.with_faults(self.shared.memory.announce(from, announcement))
    }

    fn announced(&self, node: NodeId) -> BoxFuture<'_, Option<Bytes>> {
        self.shared.memory.announced(node)
    }

    fn is_gone(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.with_faults(self.shared.memory.is_gone(node))
    }

    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.with_faults(self.shared.memory.leave(node))
    }
}
