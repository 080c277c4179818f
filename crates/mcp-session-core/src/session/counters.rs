//! [`Counters`]: the gauges and totals of an endpoint.

use mcp_session_proto::Tally;

use crate::{
    metrics::Stats,
    shutdown::ShutdownPhase,
    sync::{
        counting::{AtomicI64, AtomicU64, Ordering::Relaxed},
        shards,
    },
};

/// Gauges and totals of an endpoint. They are exact, but not read at one instant: see [`Stats`].
///
/// Every request changes them, from any thread. To avoid contention on cache lines, each session uses one of several
/// stripes; readers sum them up.
#[derive(Debug, Default)]
pub(crate) struct Counters([Stripe; STRIPES]);

const STRIPES: usize = shards(16);

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
            phase: ShutdownPhase::Running,
            sessions: gauge(|stripe| &stripe.sessions),
            exchanges: gauge(|stripe| &stripe.running),
            streams: opened.saturating_sub(ended + cut),
            subscriptions: 0,
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
    /// Takes the count of an admitted request back, which was refused after all.
    pub(crate) fn withdraw(&self) {
        self.admitted.fetch_sub(1, Relaxed);
        self.running.fetch_sub(1, Relaxed);
    }

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
