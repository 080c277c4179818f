//! [`World`]: the nodes, their store, and the book of what happens.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use futures::FutureExt;
use mcp_session_core::{
    Endpoint, Json, RequestContext, RpcError, Runtime, SessionEvents, SessionId, Shutdown, ShutdownPhase,
    ShutdownPolicy,
    proto::{EventId, Position},
    store::{EventStore, LogId, MemoryStore, NodeId, ReadError, SessionStore, Store, StoreLimits},
};
use serde_json::json;

use super::{
    book::Book,
    handler::Actor,
    plan::{Happening, Plan, Script},
    process::{Life, Process, ProcessRuntime},
    store::{FaultyStore, SharedStore},
};
use crate::SimRuntime;

/// Everything in a run.
pub(super) struct World {
    pub(super) sim: SimRuntime,
    pub(super) plan: Arc<Plan>,
    weak: Weak<World>,
    store: Option<Arc<SharedStore>>,
    nodes: Mutex<Vec<Slot>>,
    book: Mutex<Book>,
    /// The number of requests of clients that are not over.
    pub(super) clients: AtomicUsize,
}

/// A place for a node.
struct Slot {
    process: Arc<Process>,
    /// `None` once the process was killed.
    endpoint: Option<Endpoint>,
    events: SessionEvents,
    id: Arc<OnceLock<NodeId>>,
    /// How many processes this place has had.
    generation: usize,
    shutdown: Option<Shutdown>,
}

impl World {
    pub(super) fn new(sim: &SimRuntime, plan: Arc<Plan>, book: Book) -> Arc<Self> {
        let store = plan.store.as_ref().map(|store| {
            let mut limits = StoreLimits::default();
            let session = &plan.limits.config.session;
            if let Some(replay) = &session.replay {
                (limits.events, limits.age) = (replay.events, replay.age);
            }
            limits.idle = session.idle_timeout.max(store.touch_interval * 3);
            SharedStore::new(sim.clone(), store, MemoryStore::with_limits(sim.clone(), limits))
        });
        let world = Arc::new_cyclic(|weak| Self {
            sim: sim.clone(),
            plan,
            weak: weak.clone(),
            store,
            nodes: Mutex::default(),
            book: Mutex::new(book),
            clients: AtomicUsize::new(0),
        });
        for node in 0..world.plan.nodes {
            let slot = world.start(node, 0);
            world.nodes().push(slot);
        }
        world
    }

    pub(super) fn weak(&self) -> Weak<Self> {
        self.weak.clone()
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of requests of clients that are not over.
    pub(super) fn clients(&self) -> usize {
        self.clients.load(Relaxed)
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process.
    fn start(&self, node: usize, generation: usize) -> Slot {
        let (process, id) = (Process::new(), Arc::default());
        let mut config = self.plan.limits.config.clone();
        if let (Some(shared), Some(plan)) = (&self.store, &self.plan.store) {
            let (shared, process, node) = (Arc::clone(shared), Arc::clone(&process), Arc::clone(&id));
            let mut store = Store::new(FaultyStore { shared, process, node });
            store.timeout = plan.timeout;
            store.patience = plan.patience;
            store.touch_interval = plan.touch_interval;
            config.store = Some(store);
        }
        let runtime =
            ProcessRuntime { sim: self.sim.clone(), process: Arc::clone(&process), world: self.weak.clone() };
        let actor = Actor { world: self.weak.clone(), node, generation };
        let endpoint = Endpoint::with_config(runtime, actor, config).expect("limits that work");
        let events = endpoint.manager().events(10_000);
        Slot { process, endpoint: Some(endpoint), events, id, generation, shutdown: None }
    }

    /// The process of a node and its endpoint, if it listens.
    pub(super) fn connect(&self, node: usize) -> Option<(Arc<Process>, Endpoint)> {
        let nodes = self.nodes();
        let slot = nodes.get(node)?;
        Some((Arc::clone(&slot.process), slot.endpoint.clone()?))
    }

    /// Returns `true` once all nodes are gone for good.
    pub(super) fn is_over(&self) -> bool {
        self.nodes().is_empty()
    }

    /// The node that a balancer chooses. It prefers those that are ready, but not always.
    pub(super) fn balance(&self, luck: u64) -> usize {
        let mut rng = Rng::with_seed(luck);
        let nodes = self.nodes();
        let any = rng.usize(..nodes.len().max(1)); // none in the end
        if rng.bool() {
            return any;
        }
        let ready: Vec<_> = (0..nodes.len())
            .filter(|node| nodes[*node].endpoint.as_ref().is_some_and(Endpoint::is_ready))
            .collect();
        if ready.is_empty() { any } else { ready[rng.usize(..ready.len())] }
    }

    /// Returns the phase and the generation of a node; `None` if nothing listens.
    pub(super) fn phase(&self, node: usize) -> Option<(ShutdownPhase, usize)> {
        let nodes = self.nodes();
        let slot = nodes.get(node)?;
        Some((slot.endpoint.as_ref()?.stats().phase, slot.generation))
    }

    /// A client received an event of a session. The store has it, too: whoever has an id can come back with it.
    pub(super) fn receives(&self, session: SessionId, id: EventId, data: &str) {
        self.book().receives(session, id, data);
        let Some(store) = &self.store else { return };
        let stores = self.book().stores_events();
        let live = store.memory.load(session).now_or_never();
        let log = LogId { session, stream: id.stream };
        let known = store.memory.read(log, id.position, 1).now_or_never();
        let before = Position { seq: id.position.seq.saturating_sub(1), ..id.position };
        if let Some(Ok(page)) = store.memory.read(log, before, 1).now_or_never() {
            let event = page.events.first().filter(|(position, _)| *position == id.position);
            let same = |event: &Bytes| String::from_utf8_lossy(event).contains(data);
            if let Some((_, event)) =
                event.filter(|(_, event)| !same(event) && !self.book().may_lose_events())
            {
                self.book().violation("unstored", || {
                    format!("{id:?} of {session} is {data}, and in the store {event:?}")
                });
            }
        }
        if stores
            && matches!((live, known), (Some(Ok(Some(_))), Some(Err(ReadError::Unknown | ReadError::Behind))))
        {
            self.book().violation("unstored", || {
                format!("a client has {id:?} of {session}, and the store has not: {data}")
            });
        }
    }

    /// A handler begins with a call. Returns what it is to do.
    pub(super) fn begins(
        &self,
        token: usize,
        node: usize,
        generation: usize,
        cx: &RequestContext,
    ) -> Option<Script> {
        self.book().begins(token, node, generation, cx)
    }

    /// A handler returns.
    pub(super) fn returns(&self, token: usize, result: &Result<Json, RpcError>) {
        self.book().returns(token, result);
    }

    /// Something happens to a node.
    pub(super) fn happens(self: &Arc<Self>, node: usize, what: &Happening) {
        let now = self.sim.now();
        self.book().note(|| format!("node {node}: {what:?}"));
        match what {
            Happening::Shutdown { policy, held } => self.shut_down(node, *policy, *held),
            Happening::Tighten(policy) => {
                if let Some(shutdown) = self.shutdown(node) {
                    let phase = shutdown.phase();
                    shutdown.tighten(*policy);
                    self.book().tightened(node, now, phase, Some(*policy), shutdown.ceiling());
                }
            }
            Happening::Escalate => {
                if let Some(shutdown) = self.shutdown(node) {
                    let next = match shutdown.phase() {
                        ShutdownPhase::Running | ShutdownPhase::LameDuck | ShutdownPhase::Draining => {
                            ShutdownPhase::Cancelling
                        }
                        ShutdownPhase::Cancelling => ShutdownPhase::Finishing,
                        _ => ShutdownPhase::Closed,
                    };
                    shutdown.escalate();
                    self.book().tightened(node, now, next, None, shutdown.ceiling());
                }
            }
            Happening::Vanish => self.vanish(node),
            Happening::Pause(time) => self.pause(node, *time),
            Happening::Restart => {
                let free = |slot: &Slot| match &slot.endpoint {
                    None => true,
                    Some(endpoint) => endpoint.stats().phase == ShutdownPhase::Closed,
                };
                let generation = self.nodes().get(node).filter(|slot| free(slot)).map(|slot| slot.generation);
                if let Some(generation) = generation {
                    self.check();
                    let slot = self.start(node, generation + 1);
                    let old = std::mem::replace(&mut self.nodes()[node], slot);
                    self.book().restarted(node, generation + 1);
                    drop(old);
                }
            }
            Happening::Broadcast => {
                if let Some((_, endpoint)) =
                    self.connect(node).filter(|(process, _)| process.life() == Life::Runs)
                {
                    let params = serde_json::json!({ "broadcast": self.book().broadcasts(node) });
                    let sent = endpoint.notify("notifications/tools/list_changed", Some(&params));
                    self.book().note(|| format!("node {node}: {sent:?}"));
                }
            }
            Happening::End(client) => {
                let session = self.book().session_of(*client);
                if let (Some(session), Some((_, endpoint))) = (session, self.connect(node)) {
                    if let Some(session) = endpoint.manager().get(&session) {
                        self.book().session_ends(session.id());
                        drop(session.terminate(mcp_session_core::TerminateReason::Evicted));
                    }
                }
            }
            Happening::Failover => {
                if let Some(store) = &self.store {
                    store.fail_over();
                }
            }
        }
        self.check();
    }

    fn shutdown(&self, node: usize) -> Option<Shutdown> {
        self.nodes().get(node)?.shutdown.clone()
    }

    /// Begins the shutdown of a node, or joins it.
    pub(super) fn shut_down(self: &Arc<Self>, node: usize, policy: ShutdownPolicy, held: bool) {
        let Some((process, endpoint)) = self.connect(node) else { return };
        let now = self.sim.now();
        let begun = self.shutdown(node);
        let phase = begun.as_ref().map_or(ShutdownPhase::Running, Shutdown::phase);
        let first = begun.is_none();
        let shutdown = endpoint.shutdown(policy);
        let generation = {
            let mut nodes = self.nodes();
            nodes[node].shutdown = Some(shutdown.clone());
            nodes[node].generation
        };
        if first {
            self.book().shutdown_begins(node, generation, now, policy, process.stopped(now));
            self.check();
            let (world, waits) = (self.weak(), shutdown.wait());
            let watched = async move {
                let report = waits.await;
                let Some(world) = world.upgrade() else { return };
                world.check(); // what the endpoint says about its sessions comes before its report
                let now = world.sim.now();
                let stats = endpoint.stats();
                drop(endpoint);
                world.book().shutdown_ends(node, generation, now, process.stopped(now), &report, &stats);
            };
            // Watched from outside, also while the process is stopped.
            self.sim.spawn(Box::pin(watched));
        } else {
            self.book().tightened(node, now, phase, Some(policy), shutdown.ceiling());
        }
        if held {
            let waits = shutdown.wait();
            self.sim.spawn(Box::pin(async move { drop(waits.await) }));
        } // else it is dropped
    }

    fn vanish(self: &Arc<Self>, node: usize) {
        let (process, endpoint, id, generation) = {
            let mut nodes = self.nodes();
            let Some(slot) = nodes.get_mut(node) else { return };
            let Some(endpoint) = slot.endpoint.take() else { return };
            slot.shutdown = None;
            (Arc::clone(&slot.process), endpoint, Arc::clone(&slot.id), slot.generation)
        };
        self.book().vanished(node, generation);
        process.enter(Life::Killed, self.sim.now());
        drop(endpoint);
        if let (Some(store), Some(plan)) = (self.store.clone(), &self.plan.store) {
            let (sim, lease) = (self.sim.clone(), plan.lease);
            self.sim.spawn(Box::pin(async move {
                sim.sleep_until(sim.now() + lease).await;
                if let Some(id) = id.get() {
                    store.memory.lose(*id);
                }
            }));
        }
    }

    fn pause(self: &Arc<Self>, node: usize, time: u64) {
        let Some((process, _)) = self.connect(node) else { return };
        process.enter(Life::Paused, self.sim.now());
        self.book().paused();
        let sim = self.sim.clone();
        self.sim.spawn(Box::pin(async move {
            sim.sleep_until(sim.now() + Duration::from_millis(time)).await;
            process.enter(Life::Runs, sim.now());
        }));
    }

    /// Sends a notification on the standalone stream of a session, from this node. Returns `true` if it was accepted.
    pub(super) async fn tell(&self, node: usize, session: SessionId) -> Option<u64> {
        let (_, endpoint) = self.connect(node)?;
        let known = endpoint.manager().get(&session)?;
        let n = self.book().next_tell(session);
        let params = json!({ "session": session.to_string(), "n": n });
        let told = known.notify("notifications/tell", Some(&params)).await;
        self.book().told(session, n, told);
        told.is_ok().then_some(n)
    }

    /// What must be true at every step.
    pub(super) fn check(&self) {
        let nodes = self.nodes();
        let mut book = self.book();
        let config = &self.plan.limits.config;
        let capped = config.max_sessions < 100 || config.max_subscriptions < 100;
        for (node, slot) in nodes.iter().enumerate() {
            while let Some(event) = slot.events.try_recv() {
                // What a killed process says in its last moment, nobody hears.
                if slot.endpoint.is_some() {
                    book.session_event(node, slot.generation, event);
                }
            }
            let Some(endpoint) = &slot.endpoint else { continue };
            if slot.shutdown.is_some() {
                book.drains(node, slot.generation, || endpoint.stats());
            } else if capped {
                book.counts(node, &endpoint.stats());
            }
        }
    }

    /// What every node counts that runs and has nothing to do with a shutdown.
    pub(super) fn running(&self) -> Vec<(usize, mcp_session_core::Stats)> {
        let nodes = self.nodes();
        let stats =
            nodes.iter().enumerate().filter_map(|(n, slot)| Some((n, slot.endpoint.as_ref()?.stats())));
        stats.filter(|(_, stats)| stats.phase == ShutdownPhase::Running).collect()
    }

    /// Lets go of all nodes. Returns the totals of each.
    pub(super) fn end(&self) -> Vec<(usize, mcp_session_core::Stats)> {
        self.check();
        let slots = std::mem::take(&mut *self.nodes());
        slots
            .iter()
            .enumerate()
            .filter_map(|(node, slot)| Some((node, slot.endpoint.as_ref()?.stats())))
            .collect()
    }
}
