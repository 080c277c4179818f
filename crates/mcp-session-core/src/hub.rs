//! [`Hub`]: what all sessions of an endpoint share, and what they count.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    Config, Runtime, SessionConfig, SessionEvent, SessionEvents, Stats, driver::Timers,
    handler::ErasedHandler, proto::Tally, store::Node,
};

/// What all sessions of an endpoint share.
pub(crate) struct Hub {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) config: Config,
    pub(crate) session_config: Arc<SessionConfig>,
    pub(crate) handler: Box<dyn ErasedHandler>,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
    /// Among which others it is, if there is a store.
    pub(crate) node: Option<Node>,
    listeners: Mutex<Vec<async_channel::Sender<SessionEvent>>>,
}

impl Hub {
    pub(crate) fn new(runtime: Arc<dyn Runtime>, config: Config, handler: Box<dyn ErasedHandler>) -> Self {
        Self {
            session_config: Arc::new(config.session.clone()),
            node: config.store.clone().map(|store| Node::new(store, Arc::clone(&runtime))),
            runtime,
            config,
            handler,
            timers: Timers::default(),
            counters: Counters::default(),
            listeners: Mutex::default(),
        }
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> SessionEvents {
        let (sender, receiver) = async_channel::bounded(capacity.max(1));
        lock(&self.listeners).push(sender);
        receiver
    }

    /// Tells every subscriber. One that has not kept up misses the event: a slow observer must not slow a session.
    pub(crate) fn publish(&self, event: &SessionEvent) {
        let listeners = {
            let mut listeners = lock(&self.listeners);
            listeners.retain(|listener| !listener.is_closed());
            listeners.clone()
        };
        for listener in listeners {
            let _ = listener.try_send(*event); // full, or closed just now
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("runtime", &self.runtime)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Gauges and totals of an endpoint. Each is exact; read together they may be a moment apart.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sessions: AtomicI64,
    pub(crate) sessions_created: AtomicU64,
    pub(crate) sessions_terminated: AtomicU64,
    running: AtomicI64,
    admitted: AtomicU64,
    answered: AtomicU64,
    synthesized: AtomicU64,
    cancelled: AtomicU64,
    forced: AtomicU64,
    streams_opened: AtomicU64,
    streams_ended: AtomicU64,
    streams_cut: AtomicU64,
    pub(crate) requests_refused: AtomicU64,
    pings_unanswered: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, tally: &Tally) {
        let add = |counter: &AtomicU64, n: u32| {
            if n != 0 {
                counter.fetch_add(n.into(), Relaxed);
            }
        };
        if tally.running != 0 {
            self.running.fetch_add(tally.running.into(), Relaxed);
        }
        add(&self.admitted, tally.admitted);
        add(&self.answered, tally.answered);
        add(&self.synthesized, tally.synthesized);
        add(&self.cancelled, tally.cancelled);
        add(&self.forced, tally.forced);
        add(&self.streams_opened, tally.streams_opened);
        add(&self.streams_ended, tally.streams_ended);
        add(&self.streams_cut, tally.streams_cut);
        add(&self.pings_unanswered, tally.pings_unanswered);
    }

    /// Fills in everything that is counted; the phase is the manager's.
    pub(crate) fn stats(&self) -> Stats {
        let (opened, ended, cut) = (
            self.streams_opened.load(Relaxed),
            self.streams_ended.load(Relaxed),
            self.streams_cut.load(Relaxed),
        );
        let gauge = |value: i64| u64::try_from(value).unwrap_or(0);
        Stats {
            phase: crate::ShutdownPhase::Running,
            sessions: gauge(self.sessions.load(Relaxed)),
            exchanges: gauge(self.running.load(Relaxed)),
            streams: opened.saturating_sub(ended + cut),
            sessions_created: self.sessions_created.load(Relaxed),
            sessions_terminated: self.sessions_terminated.load(Relaxed),
            exchanges_admitted: self.admitted.load(Relaxed),
            exchanges_answered: self.answered.load(Relaxed),
            exchanges_synthesized: self.synthesized.load(Relaxed),
            exchanges_cancelled: self.cancelled.load(Relaxed),
            exchanges_forced: self.forced.load(Relaxed),
            streams_ended: ended,
            streams_cut: cut,
            requests_refused: self.requests_refused.load(Relaxed),
            pings_unanswered: self.pings_unanswered.load(Relaxed),
        }
    }
}

/// Locks, also after a panic: every critical section leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
