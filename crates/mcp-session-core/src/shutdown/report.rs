//! [`ShutdownReport`]: what a shutdown found and how it ended.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

use crate::shutdown::ShutdownPhase;

/// How requests ended.
///
/// A client may be disconnected when its request is answered. If it disconnected by itself, the answer counts as
/// delivered and is kept as long as the session lives, but the shutdown does not wait for the client: it may never come
/// back. If its connection was closed by [`close_stream`](crate::RequestContext::close_stream), the shutdown expects it
/// back: the answer is delivered when it reconnects, and `forced` if it does not before the end. With a
/// [`store`](crate::store), delivered means that the store has the answer: the client gets it at another node, and the
/// shutdown does not wait for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExchangeTotals {
    /// Requests that were owed an answer when draining began, and list requests admitted since: the sum of the other
    /// fields.
    pub total: u64,
    /// Answered by their handlers.
    pub answered: u64,
    /// Answered with an error by the session, because the handler did not answer in time.
    pub synthesized: u64,
    /// Cancelled by their client.
    pub cancelled: u64,
    /// Their answer could not be delivered in time.
    pub forced: u64,
}

/// How streams ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StreamTotals {
    /// Streams that were open when draining began, and those that running requests opened since: the sum of the other
    /// fields.
    pub total: u64,
    /// Ended properly, or their client had disconnected.
    pub ended: u64,
    /// Cut, because their client did not read them to the end in time.
    pub cut: u64,
}

/// How long each phase took. Serialized as milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PhaseTimes {
    /// Not ready, but everything was served.
    #[serde(rename = "lame_duck_ms", serialize_with = "milliseconds")]
    pub lame_duck: Duration,
    /// Running requests could finish.
    #[serde(rename = "draining_ms", serialize_with = "milliseconds")]
    pub draining: Duration,
    /// Handlers were told to stop.
    #[serde(rename = "cancelling_ms", serialize_with = "milliseconds")]
    pub cancelling: Duration,
    /// Queued events were delivered.
    #[serde(rename = "finishing_ms", serialize_with = "milliseconds")]
    pub finishing: Duration,
}

impl PhaseTimes {
    pub(crate) fn add(&mut self, phase: ShutdownPhase, time: Duration) {
        match phase {
            ShutdownPhase::LameDuck => self.lame_duck += time,
            ShutdownPhase::Draining => self.draining += time,
            ShutdownPhase::Cancelling => self.cancelling += time,
            ShutdownPhase::Finishing => self.finishing += time,
            ShutdownPhase::Running | ShutdownPhase::Closed => {}
        }
    }
}

/// A session, or a request without one, that did not end cleanly; it does not affect the others (S8).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Failure {
    /// The first digits of the session id, or [`Failure::STATELESS`].
    pub session: String,
    /// What went wrong.
    pub reason: &'static str,
}

impl Failure {
    /// Stands in [`Failure::session`] for a request without a session.
    pub const STATELESS: &'static str = "stateless";
}

/// What a shutdown found when it began to drain, and how it ended (S9). `Display` prints a short table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The number of live sessions when draining began.
    pub sessions: u64,
    /// The number of running requests without a session when draining began, `subscriptions/listen` included. They are
    /// part of [`exchanges`](Self::exchanges).
    pub stateless: u64,
    /// How requests ended.
    pub exchanges: ExchangeTotals,
    /// How streams ended.
    pub streams: StreamTotals,
    /// The number of connections that the HTTP server had to drop, with bytes unwritten or a request half read. Set by
    /// the server: the endpoint does not see connections.
    pub connections_cut: u64,
    /// Sessions that did not end cleanly.
    pub failures: Vec<Failure>,
    /// The time of each phase.
    pub phases: PhaseTimes,
    /// The total time. Serialized as milliseconds.
    #[serde(rename = "took_ms", serialize_with = "milliseconds")]
    pub took: Duration,
}

impl ShutdownReport {
    /// Combines the reports of endpoints that shut down together: totals are summed, times are the longest.
    pub(crate) fn sum(reports: impl IntoIterator<Item = Self>) -> Self {
        let nothing = Self {
            sessions: 0,
            stateless: 0,
            exchanges: ExchangeTotals::default(),
            streams: StreamTotals::default(),
            connections_cut: 0,
            failures: Vec::new(),
            phases: PhaseTimes::default(),
            took: Duration::ZERO,
        };
        let mut sum = reports.into_iter().reduce(Self::plus).unwrap_or(nothing);
        sum.failures.sort();
        sum
    }

    fn plus(self, other: Self) -> Self {
        let (exchanges, streams, phases) = (other.exchanges, other.streams, other.phases);
        Self {
            sessions: self.sessions + other.sessions,
            stateless: self.stateless + other.stateless,
            exchanges: ExchangeTotals {
                total: self.exchanges.total + exchanges.total,
                answered: self.exchanges.answered + exchanges.answered,
                synthesized: self.exchanges.synthesized + exchanges.synthesized,
                cancelled: self.exchanges.cancelled + exchanges.cancelled,
                forced: self.exchanges.forced + exchanges.forced,
            },
            streams: StreamTotals {
                total: self.streams.total + streams.total,
                ended: self.streams.ended + streams.ended,
                cut: self.streams.cut + streams.cut,
            },
            connections_cut: self.connections_cut + other.connections_cut,
            failures: [self.failures, other.failures].concat(),
            phases: PhaseTimes {
                lame_duck: self.phases.lame_duck.max(phases.lame_duck),
                draining: self.phases.draining.max(phases.draining),
                cancelling: self.phases.cancelling.max(phases.cancelling),
                finishing: self.phases.finishing.max(phases.finishing),
            },
            took: self.took.max(other.took),
        }
    }

    /// Returns `true` if every answer was delivered, every stream ended properly, and nothing else failed.
    pub fn is_clean(&self) -> bool {
        let cut = self.exchanges.forced + self.streams.cut + self.connections_cut;
        cut == 0 && self.failures.is_empty()
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, stateless, exchanges, streams, connections_cut, failures, phases, took } = self;
        let ms = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        let verdict = match (self.is_clean(), exchanges.synthesized) {
            (true, 0) => "clean",
            (true, _) => "clean, although some handlers did not answer in time",
            (false, _) => "not clean",
        };
        writeln!(f, "shutdown    {:>12}   {verdict}", ms(took))?;
        writeln!(f, "sessions    {sessions:>12}")?;
        if *stateless > 0 {
            writeln!(f, "stateless   {stateless:>12}   exchanges without a session")?;
        }
        writeln!(
            f,
            "exchanges   {:>12}   answered {}, synthesized {}, cancelled {}, forced {}",
            exchanges.total, exchanges.answered, exchanges.synthesized, exchanges.cancelled, exchanges.forced
        )?;
        writeln!(f, "streams     {:>12}   ended {}, cut {}", streams.total, streams.ended, streams.cut)?;
        writeln!(f, "lame duck   {:>12}", ms(&phases.lame_duck))?;
        writeln!(f, "draining    {:>12}", ms(&phases.draining))?;
        writeln!(f, "cancelling  {:>12}", ms(&phases.cancelling))?;
        write!(f, "finishing   {:>12}", ms(&phases.finishing))?;
        if *connections_cut > 0 {
            write!(f, "\nconnections {connections_cut:>12}   dropped, not closed")?;
        }
        for failure in failures {
            write!(f, "\nfailed      {:>12}   {}", failure.session, failure.reason)?;
        }
        Ok(())
    }
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}
