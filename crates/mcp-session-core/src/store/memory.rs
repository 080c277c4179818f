//! [`MemoryStore`]: a store in memory, for several endpoints of one process.

mod inbox;
mod session;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use event_listener::{Event, EventListener};
use futures::FutureExt;
use mcp_session_proto::{Position, SessionId, after};

use self::{
    inbox::Inbox,
    session::{Moment, Session},
};
use super::{
    Append, AppendError, EventStore, LogId, NodeId, Page, PublishError, ReadError, Record, SessionStore,
    Unavailable, Update, Wakeup,
};
use crate::{
    runtime::{BoxFuture, Runtime},
    sync::{Mutex, MutexGuard, lock},
};

/// The limits of a [`MemoryStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreLimits {
    /// The maximum number of events of a session. 1,000, as [`ReplayConfig::events`](crate::ReplayConfig::events).
    pub events: usize,
    /// The maximum number of bytes of these events. 4 MiB, as [`ReplayConfig::bytes`](crate::ReplayConfig::bytes).
    pub bytes: usize,
    /// How long an event is kept. 5 minutes, as [`ReplayConfig::age`](crate::ReplayConfig::age).
    pub age: Duration,
    /// How long a session may be inactive. Its record may stay as long again, for a node to end it with
    /// [`SessionStore::sweep`]. 30 minutes, as [`idle_timeout`](crate::SessionConfig::idle_timeout). Must be longer than
    /// [`touch_interval`](super::Store::touch_interval).
    pub idle: Duration,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            events: 1_000,
            bytes: 4 * 1024 * 1024,
            age: Duration::from_secs(5 * 60),
            idle: Duration::from_secs(30 * 60),
        }
    }
}

/// A store in memory, for several endpoints of one process. Cheap to clone; each clone is the same store.
///
/// Use it in tests and examples, or in a process that replaces its endpoint while it runs. Nodes on several machines need
/// a store that all of them can reach.
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

/// The former name of [`MemoryStore`].
#[deprecated(since = "0.1.0", note = "renamed to `MemoryStore`")]
pub type SharedStore = MemoryStore;

/// The maximum number of sessions that one call sweeps.
const SWEPT: usize = 100;

struct Inner {
    runtime: Arc<dyn Runtime>,
    limits: StoreLimits,
    state: Mutex<State>,
    /// It has lost events.
    failover: Event,
}

#[derive(Default)]
struct State {
    /// By the bits of their ids. Ordered, so that sweeps take them in the same order in each run of a simulation.
    sessions: BTreeMap<[u64; 2], Session>,
    /// Ordered, so that announcements wake them in the same order in each run of a simulation.
    inboxes: BTreeMap<NodeId, Inbox>,
    /// What all nodes have agreed on.
    agreed: BTreeMap<String, Bytes>,
    /// Nodes that will never run again.
    gone: HashSet<NodeId>,
}

impl MemoryStore {
    /// Creates a store with the default limits. The runtime is its clock.
    pub fn new(runtime: impl Runtime) -> Self {
        Self::with_limits(runtime, StoreLimits::default())
    }

    /// Creates a store with these limits.
    pub fn with_limits(runtime: impl Runtime, limits: StoreLimits) -> Self {
        Self(Arc::new(Inner {
            runtime: Arc::new(runtime),
            limits,
            state: Mutex::default(),
            failover: Event::new(),
        }))
    }

    /// The number of sessions, and of their events and bytes.
    pub fn size(&self) -> (usize, usize, usize) {
        let state = self.lock();
        let sizes = state.sessions.values().map(Session::size);
        let (events, bytes) = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        (state.sessions.len(), events, bytes)
    }

    /// Marks a node as dead. A store for several machines finds this out when a lease expires.
    pub fn lose(&self, node: NodeId) {
        let changed: Vec<_> = {
            let mut state = self.lock();
            state.gone.insert(node);
            let inbox = state.inboxes.remove(&node).map(|inbox| inbox.changed);
            let serves = |session: &&Session| session.members().contains(&Some(node));
            let served = state.sessions.values().filter(serves).map(|session| Arc::clone(&session.changed));
            served.chain(inbox).collect()
        };
        for changed in changed {
            changed.notify(usize::MAX);
        }
    }

    /// Loses the events of a log after this position, and its end, and says so ([`EventStore::failover`]): as a store for
    /// several machines may when it fails over.
    pub fn lose_events(&self, log: LogId, after: Position) {
        self.with(log.session, |session, _| session.lose(log.stream, after));
        self.0.failover.notify(usize::MAX);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Calls `act` with a session, if it exists, and wakes its watchers.
    fn with<R>(&self, id: SessionId, act: impl FnOnce(&mut Session, Moment<'_>) -> R) -> Option<R> {
        let (result, changed) = {
            let mut state = self.lock();
            let at = Moment { now: self.0.runtime.now(), limits: &self.0.limits };
            let session = state.sessions.get_mut(&id.halves())?;
            if after(session.active, at.limits.idle) <= at.now {
                return None; // swept by a node, or dropped by the next `create`
            }
            session.trim(at);
            (act(session, at), Arc::clone(&session.changed))
        };
        changed.notify(usize::MAX);
        Some(result)
    }

    /// The events after a position. Wakes nobody.
    fn page(&self, log: LogId, after: Position, limit: usize) -> Result<Page, ReadError> {
        let mut state = self.lock();
        let at = Moment { now: self.0.runtime.now(), limits: &self.0.limits };
        let session = state.sessions.get_mut(&log.session.halves()).ok_or(ReadError::Unknown)?;
        session.trim(at);
        session.log(log.stream).ok_or(ReadError::Unknown)?.page(after, limit)
    }

    /// The wakeup for a reader, or a listener to wait for it.
    fn news(&self, log: LogId, after: Position) -> Result<Wakeup, EventListener> {
        let state = self.lock();
        let Some(session) = state.sessions.get(&log.session.halves()) else { return Ok(Wakeup::Grown) };
        match session.log(log.stream) {
            Some(log) if !log.has_news(after) => match &log.owner {
                Some((owner, _)) if state.gone.contains(owner) => Ok(Wakeup::OwnerGone),
                Some(_) | None => Err(session.changed.listen()),
            },
            Some(_) | None => Ok(Wakeup::Grown),
        }
    }

    fn forget(&self, id: SessionId) -> Option<Session> {
        let removed = self.lock().sessions.remove(&id.halves())?;
        removed.changed.notify(usize::MAX);
        Some(removed)
    }
}

impl EventStore for MemoryStore {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), AppendError>> {
        async move {
            let session = append.log.session;
            self.with(session, |session, at| session.append(append, at)).unwrap_or(Err(AppendError::Gone))
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
        async move {
            let published = self.with(session, |session, at| session.publish(node, token, event, at));
            published.ok_or(PublishError::Gone)
        }
        .boxed()
    }

    fn read(&self, log: LogId, after: Position, limit: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        async move { self.page(log, after, limit) }.boxed()
    }

    fn oldest(&self, log: LogId) -> BoxFuture<'_, Result<Position, ReadError>> {
        async move {
            let oldest =
                self.with(log.session, |session, _| session.log(log.stream).map(session::Log::oldest));
            oldest.flatten().ok_or(ReadError::Unknown)
        }
        .boxed()
    }

    fn attach(&self, log: LogId, _node: NodeId) -> BoxFuture<'_, Result<u64, ReadError>> {
        async move { self.with(log.session, |session, _| session.attach()).ok_or(ReadError::Unknown) }.boxed()
    }

    fn seal(&self, log: LogId, last: Option<Bytes>) -> BoxFuture<'_, Result<Position, ReadError>> {
        async move {
            let sealed = self.with(log.session, |session, at| session.seal(log.stream, last, at));
            sealed.flatten().ok_or(ReadError::Unknown)
        }
        .boxed()
    }

    fn watch(&self, log: LogId, after: Position) -> BoxFuture<'_, Wakeup> {
        async move {
            loop {
                match self.news(log, after) {
                    Ok(wakeup) => return wakeup,
                    Err(changed) => changed.await,
                }
            }
        }
        .boxed()
    }

    fn purge(&self, session: SessionId) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            // Its record goes with its logs, so that nothing can be appended later.
            self.with(session, |session, _| session.purge());
            self.forget(session);
            Ok(())
        }
        .boxed()
    }

    fn failover(&self) -> BoxFuture<'_, ()> {
        self.0.failover.listen().boxed()
    }
}

impl SessionStore for MemoryStore {
    fn create(&self, record: Record) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            let mut state = self.lock();
            let now = self.0.runtime.now();
            let kept = self.0.limits.idle.saturating_mul(2);
            state.sessions.retain(|_, session| after(session.active, kept) > now);
            state.sessions.entry(record.id.halves()).or_insert_with(|| Session::new(now, record));
            Ok(())
        }
        .boxed()
    }

    fn load(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Record>, Unavailable>> {
        async move {
            Ok(self.with(id, |session, at| {
                session.active = at.now;
                session.record(at.now)
            }))
        }
        .boxed()
    }

    fn update(&self, id: SessionId, update: Update) -> BoxFuture<'_, Result<bool, Unavailable>> {
        async move { Ok(self.with(id, |session, at| session.update(at.now, update)).is_some()) }.boxed()
    }

    fn touch(&self, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            for id in ids {
                self.with(id, |session, at| session.active = at.now);
            }
            Ok(())
        }
        .boxed()
    }

    fn remove(&self, id: SessionId) -> BoxFuture<'_, Result<Option<Vec<NodeId>>, Unavailable>> {
        async move { Ok(self.forget(id).map(|removed| removed.record(self.0.runtime.now()).nodes())) }.boxed()
    }

    fn enlist(&self, id: SessionId, node: NodeId) -> BoxFuture<'_, Result<Option<u32>, Unavailable>> {
        async move { Ok(self.with(id, |session, at| session.enlist(at.now, node)).flatten()) }.boxed()
    }

    fn claim(
        &self,
        id: SessionId,
        node: NodeId,
        from: Option<NodeId>,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        async move { Ok(self.with(id, |session, _| session.claim(node, from)).unwrap_or(false)) }.boxed()
    }

    fn park(&self, node: NodeId, ids: Vec<SessionId>) -> BoxFuture<'_, Result<(), Unavailable>> {
        async move {
            for id in ids {
                self.with(id, |session, _| session.park(node));
            }
            Ok(())
        }
        .boxed()
    }

    fn retire(
        &self,
        id: SessionId,
        node: NodeId,
        idle: Duration,
    ) -> BoxFuture<'_, Result<bool, Unavailable>> {
        async move {
            self.with(id, |session, _| session.park(node));
            let ended = {
                let mut state = self.lock();
                let State { sessions, .. } = &mut *state;
                let now = self.0.runtime.now();
                // A lost node may have known of later uses: its sessions are swept instead.
                let over = sessions.get(&id.halves()).is_some_and(|session| {
                    session.members().iter().all(Option::is_none) && after(session.used, idle) <= now
                });
                if over { sessions.remove(&id.halves()) } else { None }
            };
            ended.iter().for_each(|ended| _ = ended.changed.notify(usize::MAX));
            Ok(ended.is_some())
        }
        .boxed()
    }

    fn agree(&self, name: &str, value: Bytes) -> BoxFuture<'_, Result<Bytes, Unavailable>> {
        let name = name.to_owned();
        async move { Ok(self.lock().agreed.entry(name).or_insert(value).clone()) }.boxed()
    }

    fn sweep(&self, idle: Duration) -> BoxFuture<'_, Result<Vec<Record>, Unavailable>> {
        async move {
            let now = self.0.runtime.now();
            let idle = idle.min(self.0.limits.idle);
            let swept: Vec<Session> = {
                let mut state = self.lock();
                let State { sessions, gone, .. } = &mut *state;
                let over = |session: &Session| {
                    let served = session.members().iter().flatten().any(|node| !gone.contains(node));
                    // The last `touch` of a lost node counts as well.
                    !served && after(session.used.max(session.active), idle) <= now
                };
                let ids: Vec<_> = sessions
                    .iter()
                    .filter(|(_, session)| over(session))
                    .map(|(id, _)| *id)
                    .take(SWEPT)
                    .collect();
                ids.iter().filter_map(|id| sessions.remove(id)).collect()
            };
            Ok(swept
                .iter()
                .map(|session| {
                    session.changed.notify(usize::MAX);
                    session.record(now)
                })
                .collect())
        }
        .boxed()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sessions, events, bytes) = self.size();
        f.debug_struct("MemoryStore")
            .field("sessions", &sessions)
            .field("events", &events)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::testing::Stopped;
    use mcp_session_proto::ProtocolVersion;

    #[test]
    fn a_position_of_the_standalone_log_is_given_once_even_if_its_event_is_lost() {
        let (store, id) = (MemoryStore::new(Stopped::default()), SessionId::from_bits(1));
        let record = Record::new(id, ProtocolVersion::LATEST_WITH_HANDSHAKE);
        store.create(record).now_or_never().expect("nothing to wait for").expect("the store is there");
        let publish = |token| {
            let published = store.publish(id, NodeId(1), token, "event".into());
            published.now_or_never().expect("nothing to wait for")
        };
        let read = |after: u64| {
            let read = store.read(LogId::shared(id), after.into(), 10).now_or_never();
            read.expect("nothing to wait for").map(|page| page.events.len())
        };
        assert_eq!([1, 2].map(publish), [Ok(1.into()), Ok(2.into())]);
        store.lose_events(LogId::shared(id), 1.into());
        assert_eq!([0, 1, 2].map(read), [Err(ReadError::Unknown), Err(ReadError::Unknown), Ok(0)]);
        assert_eq!(publish(3), Ok(3.into()));
        assert_eq!([1, 2, 3].map(read), [Err(ReadError::Unknown), Ok(1), Ok(0)]);
    }

    #[test]
    fn e_14_a_sweep_is_bounded_and_the_next_ones_take_the_rest() {
        let store = MemoryStore::new(Stopped::default());
        for bits in 0..250 {
            let record = Record::new(SessionId::from_bits(bits), ProtocolVersion::LATEST_WITH_HANDSHAKE); // no node serves it
            store.create(record).now_or_never().expect("nothing to wait for").expect("the store is there");
        }
        let sweep = |idle| {
            let swept = store.sweep(idle).now_or_never().expect("nothing to wait for");
            swept.expect("the store is there").len()
        };
        assert_eq!(sweep(Duration::from_secs(1)), 0); // none is idle for so long
        assert_eq!([(); 4].map(|()| sweep(Duration::ZERO)), [SWEPT, SWEPT, 50, 0]);
        assert_eq!(store.size().0, 0);
    }
}
