//! [`Env`]: what all sessions of an endpoint share.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use mcp_session_proto::SessionConfig;

use super::{
    Inner, client::Clients, counters::Counters, data::AllData, hooks::Hooks, registry::Registry,
    timers::Timers, wishes::AllWishes,
};
use crate::{
    config::Config,
    discard::Discarded,
    metrics::{SessionEvent, SessionEvents},
    runtime::Runtime,
    shutdown::Phases,
    store::node::Node,
    sync::{Mutex, OnceLock, atomic::AtomicUsize, lock},
    trace::{Refusals, Summary},
    transport::Limits,
};

/// Shared by all sessions of an endpoint.
pub(crate) struct Env {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) config: Config,
    pub(crate) session_config: Arc<SessionConfig>,
    /// What the application does for each session.
    pub(crate) hooks: Box<dyn Hooks>,
    pub(crate) timers: Timers<Inner>,
    /// Holds the sessions. Empty once the endpoint is dropped.
    pub(crate) registry: OnceLock<Weak<Registry>>,
    pub(crate) counters: Counters,
    /// The number of bytes of bodies that are arriving, as limited by [`Config::bodies_in_flight`].
    pub(crate) bodies: AtomicUsize,
    /// The handler's data of the sessions.
    pub(crate) data: AllData,
    /// What the clients of the sessions have asked to be told.
    pub(crate) wishes: AllWishes,
    /// This node's id and store, if a store is configured.
    pub(crate) node: Option<Node>,
    pub(crate) clients: Clients,
    /// Recent refusals, for the log.
    pub(crate) refusals: Refusals,
    /// What the log sums up.
    pub(crate) summary: Summary,
    /// The phase of its shutdown.
    pub(crate) phases: Arc<Phases>,
    /// Events that are freed later.
    pub(crate) discarded: Discarded,
    listeners: Mutex<Vec<async_channel::Sender<SessionEvent>>>,
}

impl Env {
    pub(crate) fn new(
        runtime: Arc<dyn Runtime>,
        config: Config,
        node: Option<Node>,
        hooks: Box<dyn Hooks>,
    ) -> Self {
        Self {
            session_config: Arc::new(config.session.clone()),
            node,
            timers: Timers::new(runtime.now()),
            clients: Clients::default(),
            runtime,
            config,
            hooks,
            registry: OnceLock::new(),
            counters: Counters::default(),
            bodies: AtomicUsize::new(0),
            refusals: Refusals::default(),
            summary: Summary::default(),
            data: AllData::default(),
            wishes: AllWishes::default(),
            phases: Arc::default(),
            discarded: Discarded::default(),
            listeners: Mutex::default(),
        }
    }

    /// The limits for reading a request.
    pub(crate) fn limits(&self) -> Limits<'_> {
        let Self { config, runtime, bodies, phases, .. } = self;
        Limits { config, runtime: &**runtime, bodies, phases }
    }

    /// Who holds the sessions, unless it is gone.
    pub(crate) fn registry(&self) -> Option<Arc<Registry>> {
        self.registry.get().and_then(Weak::upgrade)
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> SessionEvents {
        let (sender, receiver) = async_channel::bounded(capacity.max(1));
        lock(&self.listeners).push(sender);
        SessionEvents::new(receiver)
    }

    /// Sends an event to every subscriber. A subscriber whose channel is full misses it: it must not slow a session.
    pub(crate) fn publish(&self, event: &SessionEvent) {
        let listeners = {
            let mut listeners = lock(&self.listeners);
            if listeners.is_empty() {
                return;
            }
            listeners.retain(|listener| !listener.is_closed());
            listeners.clone()
        };
        for listener in listeners {
            let _ = listener.try_send(*event); // full, or closed just now
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("runtime", &self.runtime)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
