//! [`Env`]: shared by all sessions of an endpoint, with their counters.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    config::Config,
    discard::Discarded,
    handler::ErasedHandler,
    metrics::{SessionEvent, SessionEvents, Stats},
    proto::{SessionConfig, Tally},
    runtime::Runtime,
    session::{client::Clients, data::AllData, host::Host, timers::Timers},
    shutdown::Phases,
    store::node::Node,
    sync::lock,
    trace::Refusals,
    transport::Limits,
};

/// Shared by all sessions of an endpoint.
pub(crate) struct Env {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) config: Config,
    pub(crate) session_config: Arc<SessionConfig>,
    pub(crate) handler: Box<dyn ErasedHandler>,
    pub(crate) timers: Timers,
    /// Who holds the sessions.
    pub(crate) host: OnceLock<Weak<dyn Host>>,
    pub(crate) counters: Counters,
    /// The number of bytes of bodies that are arriving, as limited by [`Config::bodies_in_flight`].
    pub(crate) bodies: AtomicUsize,
    /// The handler's data of the sessions.
    pub(crate) data: AllData,
    /// This node's id and store, if a store is configured.
    pub(crate) node: Option<Node>,
    pub(crate) clients: Clients,
    /// Recent refusals, for the log.
    pub(crate) refusals: Refusals,
    /// The phase of its shutdown.
    pub(crate) phases: Phases,
    /// Events that are freed later.
    pub(crate) discarded: Discarded,
    listeners: Mutex<Vec<async_channel::Sender<SessionEvent>>>,
}

impl Env {
    pub(crate) fn new(
        runtime: Arc<dyn Runtime>,
        config: Config,
        node: Option<Node>,
        handler: Box<dyn ErasedHandler>,
    ) -> Self {
        Self {
            session_config: Arc::new(config.session.clone()),
            node,
            timers: Timers::new(runtime.now()),
            clients: Clients::default(),
            runtime,
            config,
            handler,
            host: OnceLock::new(),
            counters: Counters::default(),
            bodies: AtomicUsize::new(0),
            refusals: Refusals::default(),
            data: AllData::default(),
            phases: Phases::default(),
            discarded: Discarded::default(),
            listeners: Mutex::default(),
        }
    }

    /// The limits for reading a request.
    pub(crate) fn limits(&self) -> Limits<'_> {
        let Self { config, runtime, bodies, phases, .. } = self;
        Limits { config, runtime: &**runtime, bodies, phases }
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> SessionEvents {
        let (sender, receiver) = async_channel::bounded(capacity.max(1));
        lock(&self.listeners).push(sender);
        receiver
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

/// Gauges and totals of an endpoint. They are exact, but not read at one instant: see [`Stats`].
///
/// Every request changes them, from any thread. To avoid contention on cache lines, each session uses one of several
/// stripes; readers sum them up.
#[derive(Debug, Default)]
pub(crate) struct Counters([Stripe; STRIPES]);

const STRIPES: usize = 16;

/// Aligned to two cache lines, because processors fetch two at a time.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stripe {
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
    pub(crate) responses_stalled: AtomicU64,
    pings_unanswered: AtomicU64,
    orphaned: AtomicU64,
    pub(crate) sessions_evicted: AtomicU64,
}

impl Counters {
    /// The stripe of the session with this number.
    pub(crate) fn stripe(&self, number: u64) -> &Stripe {
        &self.0[(number % STRIPES as u64) as usize]
    }

    /// Returns all counts. The caller sets the phase.
    pub(crate) fn stats(&self) -> Stats {
        let total = |counter: fn(&Stripe) -> &AtomicU64| {
            self.0.iter().map(|stripe| counter(stripe).load(Relaxed)).sum()
        };
        let gauge = |counter: fn(&Stripe) -> &AtomicI64| {
            let sum: i64 = self.0.iter().map(|stripe| counter(stripe).load(Relaxed)).sum();
            u64::try_from(sum).unwrap_or(0)
        };
        let (opened, ended, cut): (u64, u64, u64) = (
            total(|stripe| &stripe.streams_opened),
            total(|stripe| &stripe.streams_ended),
            total(|stripe| &stripe.streams_cut),
        );
        Stats {
            phase: crate::shutdown::ShutdownPhase::Running,
            sessions: gauge(|stripe| &stripe.sessions),
            exchanges: gauge(|stripe| &stripe.running),
            streams: opened.saturating_sub(ended + cut),
            sessions_created: total(|stripe| &stripe.sessions_created),
            sessions_terminated: total(|stripe| &stripe.sessions_terminated),
            exchanges_admitted: total(|stripe| &stripe.admitted),
            exchanges_answered: total(|stripe| &stripe.answered),
            exchanges_synthesized: total(|stripe| &stripe.synthesized),
            exchanges_cancelled: total(|stripe| &stripe.cancelled),
            exchanges_forced: total(|stripe| &stripe.forced),
            streams_ended: ended,
            streams_cut: cut,
            requests_refused: total(|stripe| &stripe.requests_refused),
            responses_stalled: total(|stripe| &stripe.responses_stalled),
            pings_unanswered: total(|stripe| &stripe.pings_unanswered),
            exchanges_orphaned: total(|stripe| &stripe.orphaned),
            sessions_evicted: total(|stripe| &stripe.sessions_evicted),
        }
    }
}

impl Stripe {
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
        add(&self.orphaned, tally.orphaned);
    }
}
