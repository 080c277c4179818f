//! [`SessionManager`]: the registry of sessions, admission, and the way into shutdown.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::{Arc, Mutex, OnceLock, atomic::Ordering::Relaxed},
};

use event_listener::{Event, EventListener};
use futures::future::select;

use crate::{
    driver,
    env::Env,
    principal::Principal,
    proto::{
        self, ClientCapabilities, ExchangeKey, Json, Position, ProtocolVersion, RequestId, SessionId,
        TerminateReason, after,
    },
    quota::Quota,
    session::Session,
    stats::{SessionEvents, Stats},
    store::{Adoptions, LogId},
    sync::lock,
    terminate::{self, Shutdown, ShutdownPhase, ShutdownPolicy},
    transport::Rejection,
};

/// Shards of the registry. With 64, threads on one machine rarely meet; measured, a sharded mutex is five times
/// faster than one read-write lock.
const SHARDS: usize = 64;

/// Each in cache lines of its own: threads that use two of them should not meet in one line.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<SessionId, Session, BuildHasherDefault<IdHasher>>>);

/// The hash of an id is half of its bits: they are random, nobody else gives them, and the shard is from the other half.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u128(&mut self, bits: u128) {
        self.0 = (bits >> 64) as u64;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("an id hashes as one u128")
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The sessions of an endpoint, and where its shutdown stands.
pub(crate) struct Registry {
    pub(crate) env: Arc<Env>,
    shards: [Shard; SHARDS],
    /// Sessions in the shards: those alive, and those of which something is left.
    quota: Quota,
    /// Sessions that are being taken up from the store.
    pub(crate) adoptions: Adoptions,
    shutdown: OnceLock<Arc<terminate::Progress>>,
    shutdown_begun: Event,
}

impl Registry {
    pub(crate) fn new(env: Arc<Env>) -> Arc<Self> {
        let registry = Arc::new(Self {
            env,
            shards: std::array::from_fn(|_| Shard::default()),
            quota: Quota::default(),
            adoptions: Adoptions::default(),
            shutdown: OnceLock::new(),
            shutdown_begun: Event::new(),
        });
        let _ = registry.env.registry.set(Arc::downgrade(&registry)); // a env has one
        registry
    }

    fn shard(&self, id: &SessionId) -> &Shard {
        &self.shards[(id.bits() % SHARDS as u128) as usize]
    }

    /// Admits an `initialize`: the session exists from here on, and so does its owed answer.
    ///
    /// Admission and shutdown meet at the shard's lock (S1): shutdown first sets the phase and then visits every
    /// shard, so either the phase is seen here, or the session is there when its shard is visited.
    pub(crate) fn create(
        self: &Arc<Self>,
        initialize: RequestId,
        version: ProtocolVersion,
        capabilities: ClientCapabilities,
        principal: Option<Principal>,
        params: &Json,
    ) -> Result<(Session, ExchangeKey), Rejection> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|_| Rejection::Internal("the system gives no random bits"))?;
        let id = SessionId::from_bits(u128::from_ne_bytes(bits));
        let config = Arc::clone(&self.env.session_config);
        let now = self.env.runtime.now();
        let (mut machine, key) = proto::Session::new(now, config, initialize, None, version, capabilities);
        if self.env.node.is_some() {
            machine.share(0, LogId::STANDALONE, Position::START);
        }
        let client = self.env.clients.get(params);
        let session = Session::new(id, principal, client, Arc::clone(&self.env), machine);
        self.acquire_quota(session.principal())?;
        Ok((self.enter(session)?, key))
    }

    /// A place for a session of this principal, for as long as it is not given back.
    pub(crate) fn acquire_quota(&self, principal: Option<&Principal>) -> Result<(), Rejection> {
        let taken = self.quota.acquire(&self.env.config, principal);
        if taken { Ok(()) } else { Err(Rejection::TooManySessions) }
    }

    /// Nobody takes it: it is free again.
    pub(crate) fn give_place_back(&self, principal: Option<&Principal>) {
        self.quota.release(principal);
    }

    /// Waits for a session to give up its place.
    pub(crate) fn freed(&self) -> EventListener {
        self.quota.freed.listen()
    }

    /// Lets a session in that has a place. The place is free again if it is not let in, or one with its id is here: then it is
    /// that one.
    pub(crate) fn enter(&self, session: Session) -> Result<Session, Rejection> {
        {
            let mut shard = lock(&self.shard(&session.id()).0);
            let first = shard.get(&session.id()).cloned();
            if let Some(refused) = self.admits().err().map(Err).or(first.map(Ok)) {
                drop(shard);
                self.give_place_back(session.principal());
                return refused;
            }
            session.stripe().sessions.fetch_add(1, Relaxed);
            shard.insert(session.id(), session.clone());
        }
        session.with(|_, _| ()); // its deadlines and its first exchange count from here
        Ok(session)
    }

    /// Whether sessions are let in.
    pub(crate) fn admits(&self) -> Result<(), Rejection> {
        if self.phase() >= ShutdownPhase::Draining { Err(Rejection::ShuttingDown) } else { Ok(()) }
    }

    /// Lets what has expired go, should the driver be late. Returns whether there was any.
    async fn reap(&self) -> bool {
        let due = driver::catch_up(&self.env).await;
        due.iter().any(|session| session.state() == proto::State::Terminated)
    }

    /// Tries until there is a place, for as long as a client is told to wait: what has expired goes first, and then a
    /// session that was never used, the oldest one: of this principal, if it has as many as it may, else of all (E-15).
    pub(crate) async fn with_room<R>(
        &self,
        principal: Option<&Principal>,
        mut attempt: impl FnMut() -> Result<R, Rejection>,
    ) -> Result<R, Rejection> {
        let Env { runtime, config, .. } = &*self.env;
        let deadline = after(runtime.now(), config.retry_after);
        let mut made = false;
        loop {
            let freed = self.quota.freed.listen();
            match attempt() {
                Err(Rejection::TooManySessions) => {}
                done => return done,
            }
            if made && runtime.now() >= deadline {
                return Err(Rejection::TooManySessions);
            }
            if !made {
                made = self.reap().await || self.evict(principal);
                if !made {
                    return Err(Rejection::TooManySessions);
                }
            }
            // The application may take its time over the end of a session: not longer than a client is told to wait.
            select(freed, runtime.sleep_until(deadline)).await;
        }
    }

    /// A new session's client is being told its id.
    pub(crate) fn note_half_open(&self, session: &Session) {
        self.push_half_open(None, session.id());
        if let Some(owner) = session.principal() {
            self.push_half_open(Some(owner), session.id());
        }
    }

    fn push_half_open(&self, owner: Option<&Principal>, session: SessionId) {
        if let Some(mut kept) = self.quota.push_half_open(owner, session) {
            kept.retain(|id| self.get(id).is_some_and(|session| session.is_half_open()));
            self.quota.put_back_half_open(owner, kept);
        }
    }

    /// Lets the oldest session go that was never used. Returns whether there was one.
    fn evict(&self, principal: Option<&Principal>) -> bool {
        let owner = principal.filter(|principal| self.quota.is_full_for(&self.env.config, principal));
        while let Some(id) = self.quota.pop_half_open(owner) {
            if self.get(&id).is_some_and(|session| session.evict()) {
                return true;
            }
        }
        false
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<Session> {
        lock(&self.shard(id).0).get(id).cloned()
    }

    /// Takes this session out, and not another one that was taken up from the store under its id since.
    pub(crate) fn remove(&self, session: &Session) {
        let id = session.id();
        let removed = match lock(&self.shard(&id).0).entry(id) {
            Entry::Occupied(registered) if registered.get().is(session) => Some(registered.remove()),
            Entry::Occupied(_) | Entry::Vacant(_) => None,
        };
        if let Some(removed) = removed {
            self.quota.release(removed.principal());
        }
    }

    /// Every session, shard by shard. No lock is held while the caller works on one.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = Session> {
        self.shards.iter().flat_map(|shard| lock(&shard.0).values().cloned().collect::<Vec<_>>())
    }

    pub(crate) fn phase(&self) -> ShutdownPhase {
        self.env.phases.get()
    }

    /// Waits for the shutdown to begin.
    pub(crate) async fn shutdown_begun(self: Arc<Self>) -> Shutdown {
        loop {
            let begun = self.shutdown_begun.listen();
            if let Some(progress) = self.shutdown.get() {
                let progress = Arc::clone(progress);
                return Shutdown::new(self, progress);
            }
            begun.await;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { phase: self.phase(), ..self.env.counters.stats() }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Nobody is left to keep their deadlines: what still runs must not wait for them.
        self.env.timers.close();
        // Where there is a store, other endpoints may go on.
        let reason = match &self.env.node {
            Some(_) => TerminateReason::Shutdown,
            None => TerminateReason::Error,
        };
        Session::each(self.sessions(), |session| session.with(|machine, now| machine.close(now, reason)));
        if let Some(node) = self.env.node.clone().filter(|_| self.phase() != ShutdownPhase::Closed) {
            node.clone().spawn(async move { node.leave().await });
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A handle to all sessions of an endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionManager(pub(crate) Arc<Registry>);

impl SessionManager {
    /// The session with this id, unless it is terminated.
    pub fn get(&self, id: &SessionId) -> Option<Session> {
        self.0.get(id).filter(|session| session.state() != proto::State::Terminated)
    }

    /// All sessions that are alive.
    pub fn sessions(&self) -> Vec<Session> {
        self.0.sessions().filter(|session| session.state() != proto::State::Terminated).collect()
    }

    /// A snapshot of gauges and totals (S15).
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// False from the first moment of a shutdown: what a readiness probe should say.
    pub fn is_ready(&self) -> bool {
        self.0.phase() == ShutdownPhase::Running
    }

    /// What happens to sessions from now on. A subscriber that is `capacity` events behind misses the next ones: a
    /// slow observer never slows a session. A capacity of 0 counts as 1.
    pub fn events(&self, capacity: usize) -> SessionEvents {
        self.0.env.subscribe(capacity)
    }

    /// Shuts down: see [`Endpoint::shutdown`](crate::Endpoint::shutdown).
    pub fn shutdown(&self, policy: ShutdownPolicy) -> Shutdown {
        let mut first = false;
        let progress = self.0.shutdown.get_or_init(|| {
            first = true;
            self.0.env.phases.set(ShutdownPhase::LameDuck); // before anybody can know of the shutdown
            Arc::new(terminate::Progress::new(self.0.env.runtime.now(), policy))
        });
        if first {
            terminate::start(&self.0, progress);
            self.0.shutdown_begun.notify(usize::MAX);
        } else {
            progress.tighten(self.0.env.runtime.now(), policy);
        }
        Shutdown::new(Arc::clone(&self.0), Arc::clone(progress))
    }
}
