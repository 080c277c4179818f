//! [`Registry`]: the sessions of an endpoint, and their admission.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use event_listener::{Event, EventListener};
use futures::future::select;
use mcp_session_proto::{
    self as proto, ClientCapabilities, ExchangeKey, Json, Position, ProtocolVersion, RequestId, SessionId,
    TerminateReason, after,
};

use crate::{
    metrics::Stats,
    principal::Principal,
    session::{Session, adoptions::Adoptions, broadcast::Subscribers, env::Env, quota::Quota, timers::Timed},
    shutdown::{self, Shutdown, ShutdownPhase},
    store::LogId,
    sync::{Mutex, OnceLock, atomic::Ordering::Relaxed, lock, shards},
    transport::Rejection,
};

/// The number of shards of the registry. With 64, threads rarely contend; measured, a sharded mutex is five times faster
/// than a single read-write lock.
const SHARDS: usize = shards(64);

/// Aligned to its own cache lines, so that threads that use different shards do not share a line.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<SessionId, Session, BuildHasherDefault<IdHasher>>>);

/// Hashes an id to its first half. It is random and made by this crate; the shard is chosen by the other half.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("an id hashes as one u64")
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The sessions of an endpoint, and its shutdown.
pub(crate) struct Registry {
    pub(crate) env: Arc<Env>,
    shards: [Shard; SHARDS],
    /// Counts the sessions in the shards: live ones, and those of which something is left.
    quota: Quota,
    /// Sessions that are being adopted from the store.
    pub(crate) adoptions: Adoptions,
    /// The streams of `subscriptions/listen`, which get broadcasts too.
    pub(crate) subscribers: OnceLock<Arc<dyn Subscribers>>,
    pub(crate) shutdown: OnceLock<Arc<shutdown::Progress>>,
    pub(crate) shutdown_begun: Event,
}

impl Registry {
    pub(crate) fn new(env: Arc<Env>) -> Arc<Self> {
        let registry = Arc::new(Self {
            env,
            shards: std::array::from_fn(|_| Shard::default()),
            quota: Quota::default(),
            adoptions: Adoptions::default(),
            subscribers: OnceLock::new(),
            shutdown: OnceLock::new(),
            shutdown_begun: Event::new(),
        });
        let _ = registry.env.registry.set(Arc::downgrade(&registry)); // set only here
        registry
    }

    fn shard(&self, id: &SessionId) -> &Shard {
        &self.shards[(id.halves()[1] % SHARDS as u64) as usize]
    }

    /// Admits an `initialize`: registers the session, which owes its answer from now on.
    ///
    /// The shard's lock orders admission and shutdown: a shutdown first sets the phase and then visits every shard. So
    /// either the phase is seen here, or the session is in its shard when that is visited (S1).
    pub(crate) fn create(
        self: &Arc<Self>,
        initialize: RequestId,
        version: ProtocolVersion,
        capabilities: ClientCapabilities,
        principal: Option<Principal>,
        params: &Json,
    ) -> Result<(Session, ExchangeKey), Rejection> {
        let bytes = self.env.runtime.random();
        let bytes = bytes.map_err(|_| Rejection::Internal("the system returned no random bits"))?;
        let id = SessionId::from_bits(u128::from_le_bytes(bytes));
        let config = Arc::clone(&self.env.session_config);
        let now = self.env.runtime.now();
        let (mut machine, key) = proto::Session::new(now, config, initialize, None, version, capabilities);
        if self.env.node.is_some() {
            machine.share(0, LogId::STANDALONE, Position::START);
        }
        let client = self.env.clients.get(params);
        let session = Session::new(id, principal, client, Arc::clone(&self.env), machine);
        let number = session.0.number();
        self.acquire_quota(session.principal())?;
        let entered = self.enter(session)?;
        if entered.0.number() == number {
            Ok((entered, key))
        } else {
            Err(Rejection::Internal("the runtime repeated its random bits")) // it is somebody else's session
        }
    }

    /// Acquires a place for a session of this principal, until it is given back.
    pub(crate) fn acquire_quota(&self, principal: Option<&Principal>) -> Result<(), Rejection> {
        let taken = self.quota.acquire(&self.env.config, principal);
        if taken { Ok(()) } else { Err(Rejection::TooManySessions) }
    }

    /// Gives an unused place back.
    pub(crate) fn give_place_back(&self, principal: Option<&Principal>) {
        self.quota.release(principal);
    }

    /// A listener for the next freed place.
    pub(crate) fn freed(&self) -> EventListener {
        self.quota.freed.listen()
    }

    /// Registers a session that has a place. Returns the registered session, which may be an earlier one with the same id.
    /// The place is given back if that is so, or if the session is refused.
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
        session.with(|_, _| ()); // registers its deadlines and counts its first exchange
        Ok(session)
    }

    /// Fails if the endpoint admits no sessions any more.
    pub(crate) fn admits(&self) -> Result<(), Rejection> {
        if self.phase() >= ShutdownPhase::Draining { Err(Rejection::ShuttingDown) } else { Ok(()) }
    }

    /// Ends expired sessions, in case the driver is late. Returns `true` if there were any.
    async fn reap(&self) -> bool {
        let due = self.env.timers.catch_up(&*self.env.runtime).await;
        due.into_iter().map(Session::from).any(|session| session.state() == proto::State::Terminated)
    }

    /// Repeats `attempt` until there is a place, at most for `retry_after`. Makes room first: ends expired sessions, or else
    /// evicts the oldest half-open one, of this principal if it is at its own cap, otherwise of all (E-15).
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
            // The end of a session may take time; do not wait longer than a client is told to.
            select(freed, runtime.sleep_until(deadline)).await;
        }
    }

    /// Notes a new session, whose client is being told its id, as half-open.
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

    /// Evicts the oldest half-open session. Returns `true` if there was one.
    fn evict(&self, principal: Option<&Principal>) -> bool {
        let owner = principal.filter(|principal| self.quota.is_full_for(&self.env.config, principal));
        while let Some(id) = self.quota.pop_half_open(owner) {
            if self.get(&id).is_some_and(|session| session.evict()) {
                return true;
            }
        }
        false
    }

    /// The session with this id at this node.
    ///
    /// # Errors
    ///
    /// [`Rejection::UnknownSession`] if it belongs to another principal: its id is as unknown as one that was never issued
    /// (E-07).
    pub(crate) fn find(
        &self,
        id: &SessionId,
        principal: Option<&Principal>,
    ) -> Result<Option<Session>, Rejection> {
        match self.get(id) {
            Some(session) if session.principal() != principal => Err(Rejection::UnknownSession),
            session => Ok(session),
        }
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<Session> {
        lock(&self.shard(id).0).get(id).cloned()
    }

    /// Removes this session, but not another one with the same id that was adopted from the store since.
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

    /// Iterates over all sessions, shard by shard. No lock is held between items.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = Session> {
        self.shards.iter().flat_map(|shard| lock(&shard.0).values().cloned().collect::<Vec<_>>())
    }

    pub(crate) fn phase(&self) -> ShutdownPhase {
        self.env.phases.get()
    }

    /// Waits until a shutdown begins.
    pub(crate) async fn shutdown_begun(self: Arc<Self>) -> Shutdown {
        loop {
            let begun = self.shutdown_begun.listen();
            if let Some(progress) = self.shutdown.get() {
                let progress = Arc::clone(progress);
                return Shutdown::new(Arc::clone(&self.env.runtime), progress);
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
        // No deadlines are kept any more: running work must not wait for them.
        self.env.timers.close();
        // With a store, other endpoints may continue the sessions.
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
