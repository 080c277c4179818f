//! [`DrainTracker`]: counts what was live when draining began and how it ended.

use std::{
    collections::HashMap,
    mem,
    time::{Duration, Instant},
};

use event_listener::Event;
use mcp_session_proto::{SessionId, Tally};

use crate::{
    shutdown::{ExchangeTotals, Failure, PhaseTimes, ShutdownReport, StreamTotals},
    sync::{Mutex, lock},
};

/// The failure of a session whose hook was dropped after `hook_timeout`, or did not end by the ceiling.
pub(crate) const LATE: &str = "the `terminated` hook did not end in time";

/// Counts what was live when draining began, and the list requests and streams that live sessions added since, and how
/// each ended. Each session, and each exchange without one, enters once, under its own lock, so nothing is missed or
/// counted twice (S9).
#[derive(Debug, Default)]
pub(crate) struct DrainTracker {
    counts: Mutex<Counts>,
    /// Notified when nothing runs any more or nothing is left.
    pub(crate) changed: Event,
}

/// The work that remains after a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterword {
    /// The session is parked in the store, or removed from it.
    Store,
    /// The `terminated` hook runs.
    Hook,
}

/// What a session, or an exchange without one, has open when it enters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entering {
    /// `None` for an exchange without a session.
    pub(crate) session: Option<SessionId>,
    /// Whether the session is alive.
    pub(crate) alive: bool,
    /// Requests that are not settled.
    pub(crate) unsettled: usize,
    /// Requests that are owed an answer.
    pub(crate) running: usize,
    /// Open streams.
    pub(crate) streams: usize,
    /// If only the hook is left: since when.
    pub(crate) hook: Option<Instant>,
}

/// A session, or an exchange without one, that has not left yet.
#[derive(Debug)]
struct Open {
    session: Option<SessionId>,
    /// If only an afterword is left: which, and since when.
    afterword: Option<(Afterword, Instant)>,
}

#[derive(Debug, Default)]
struct Counts {
    sessions: u64,
    stateless: u64,
    tally: Tally,
    /// The sessions and exchanges that are left, by number: a session that is parked and adopted again keeps its id.
    open: HashMap<u64, Open>,
    failures: Vec<Failure>,
}

impl DrainTracker {
    /// Adds a session, or an exchange without one. Called under its lock.
    pub(crate) fn enter(&self, number: u64, entering: Entering) {
        let Entering { session, alive, unsettled, running, streams, hook } = entering;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut counts = lock(&self.counts);
        let afterword = hook.map(|begun| (Afterword::Hook, begun));
        counts.open.insert(number, Open { session, afterword });
        counts.sessions += u64::from(alive);
        counts.stateless += u64::from(session.is_none() && unsettled > 0);
        counts.tally += Tally {
            admitted: count(unsettled),
            running: i32::try_from(running).unwrap_or(i32::MAX),
            streams_opened: count(streams),
            ..Tally::default()
        };
    }

    /// Adds the counts of an enrolled session. Called under its lock. Returns `true` if nothing runs any more: then
    /// the caller calls [`DrainTracker::notify`] next.
    pub(crate) fn track(&self, tally: &Tally) -> bool {
        if *tally == Tally::default() {
            return false;
        }
        let mut counts = lock(&self.counts);
        counts.tally += *tally;
        (tally.running, tally.lingering) != (0, 0) && (counts.tally.running, counts.tally.lingering) == (0, 0)
    }

    /// Wakes those who wait until nothing runs any more, or nothing is left.
    pub(crate) fn notify(&self) {
        self.changed.notify(usize::MAX);
    }

    /// Records that only this afterword of the session is left.
    pub(crate) fn begin_afterword(&self, now: Instant, number: u64, afterword: Afterword) {
        if let Some(left) = lock(&self.counts).open.get_mut(&number) {
            left.afterword = Some((afterword, now));
        }
    }

    /// Records every afterword that began before `ceiling` and has not ended as a failure. One that begins at the
    /// ceiling itself, because its client was cut then, has had no time and is not a failure.
    pub(crate) fn fail_unfinished(&self, ceiling: Instant) {
        let mut counts = lock(&self.counts);
        let Counts { open, failures, .. } = &mut *counts;
        for Open { session, afterword } in open.values() {
            if let Some((afterword, _)) = afterword.filter(|(_, begun)| *begun < ceiling) {
                let reason = match afterword {
                    Afterword::Hook => LATE,
                    Afterword::Store => "the store did not park or remove it in time",
                };
                failures.push(failure(*session, reason));
            }
        }
    }

    /// Removes a session, or an exchange without one, of which nothing is left.
    pub(crate) fn leave(&self, number: u64) {
        let last = {
            let mut counts = lock(&self.counts);
            counts.open.remove(&number);
            counts.open.is_empty()
        };
        if last {
            self.notify();
        }
    }

    /// Records that a session, or an exchange without one, did not end cleanly.
    pub(crate) fn fail(&self, session: Option<SessionId>, reason: &'static str) {
        lock(&self.counts).failures.push(failure(session, reason));
    }

    /// The number of requests that are owed an answer.
    pub(crate) fn running(&self) -> i32 {
        lock(&self.counts).tally.running
    }

    /// Returns `true` if requests are owed an answer, or sessions linger for their clients' next requests.
    pub(crate) fn is_busy(&self) -> bool {
        let tally = &lock(&self.counts).tally;
        tally.running + tally.lingering > 0
    }

    /// The number of sessions, and of exchanges without one, of which something is left, hooks included.
    pub(crate) fn open(&self) -> usize {
        lock(&self.counts).open.len()
    }

    pub(crate) fn report(&self, phases: PhaseTimes, took: Duration) -> ShutdownReport {
        let mut counts = lock(&self.counts);
        let mut failures = mem::take(&mut counts.failures);
        failures.sort();
        let tally = &counts.tally;
        ShutdownReport {
            sessions: counts.sessions,
            stateless: counts.stateless,
            exchanges: ExchangeTotals {
                total: tally.admitted.into(),
                answered: tally.answered.into(),
                synthesized: tally.synthesized.into(),
                cancelled: tally.cancelled.into(),
                forced: tally.forced.into(),
            },
            streams: StreamTotals {
                total: tally.streams_opened.into(),
                ended: tally.streams_ended.into(),
                cut: tally.streams_cut.into(),
            },
            connections_cut: 0,
            failures,
            phases,
            took,
        }
    }
}

fn failure(session: Option<SessionId>, reason: &'static str) -> Failure {
    Failure { session: session.map_or_else(|| Failure::STATELESS.to_owned(), |id| id.prefix()), reason }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::Config, handler::router::Router, session::Session, session::cell::SharedWaiters,
        session::env::Env, testing::Stopped,
    };
    use mcp_session_proto::{
        self as proto, ClientCapabilities, Json, ProtocolVersion, SessionConfig, TerminateReason,
    };

    #[test]
    fn s_1_a_session_that_is_being_opened_is_counted_once() {
        let runtime = Arc::new(Stopped::default());
        let router = Box::new(Arc::new(Router::new("newborn", "1.0.0")));
        let env = Arc::new(Env::new(runtime, Config::default(), None, router));
        let (machine, key) = proto::Session::new(
            env.runtime.now(),
            Arc::new(SessionConfig::default()),
            1.into(),
            SharedWaiters::default(),
            ProtocolVersion::LATEST_WITH_HANDSHAKE,
            ClientCapabilities::default(),
        );
        let client = env.clients.get(&serde_json::json!({}).into());
        let session = Session::new(SessionId::from_bits(1), None, client, Arc::clone(&env), machine);
        // The shutdown enrolls it between its registration and its first output.
        let tracker = Arc::new(DrainTracker::default());
        session.enroll(&tracker, |machine, now| machine.drain(now, &crate::TerminatePolicy::default()));
        session.with(|_, _| ());
        assert_eq!((tracker.running(), env.counters.stats().exchanges), (1, 1));
        session.with(|machine, now| machine.answer(now, key, &Json::new(&())));
        session.with(|machine, now| machine.poll_reply(now, key));
        session.with(|machine, now| machine.close(now, TerminateReason::Shutdown));
        let report = tracker.report(PhaseTimes::default(), Duration::ZERO);
        assert_eq!((tracker.running(), report.exchanges.total, report.exchanges.answered), (0, 1, 1));
    }
}
