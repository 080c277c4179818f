//! [`DrainTracker`]: what was live when the shutdown began, and what became of it.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use event_listener::Event;

use super::{ExchangeTotals, Failure, PhaseTimes, ShutdownReport, StreamTotals};
use crate::{
    proto::{self, SessionId, Tally},
    session::{LATE, Waiters},
    sync::lock,
};

/// What was live when the shutdown began, and what became of it. A session enters once, under its own lock, so
/// the totals at the end are those of the start (S9).
#[derive(Debug, Default)]
pub(crate) struct DrainTracker {
    counts: Mutex<Counts>,
    /// Nothing runs any more, or nothing is left.
    pub(super) changed: Event,
}

/// What happens when a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterword {
    /// It is parked in the store, or removed from it.
    Store,
    /// The application is told.
    Hook,
}

/// What is left of a session.
#[derive(Debug)]
struct Open {
    session: SessionId,
    /// If that is only an afterword, since when it is going on.
    afterword: Option<(Afterword, Instant)>,
}

#[derive(Debug, Default)]
struct Counts {
    sessions: u64,
    tally: Tally,
    /// What is left, by the numbers of the sessions: one that was parked and taken up again has the id of its first time.
    open: HashMap<u64, Open>,
    failures: Vec<Failure>,
}

impl DrainTracker {
    /// A session takes part. Called under its lock.
    pub(crate) fn enter(
        &self,
        number: u64,
        id: SessionId,
        machine: &proto::Session<Arc<Waiters>>,
        alive: bool,
        hook: Option<Instant>,
    ) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut counts = lock(&self.counts);
        let afterword = hook.map(|begun| (Afterword::Hook, begun));
        counts.open.insert(number, Open { session: id, afterword });
        counts.sessions += u64::from(alive);
        counts.tally += Tally {
            admitted: count(machine.unsettled()),
            running: i32::try_from(machine.running()).unwrap_or(i32::MAX),
            streams_opened: count(machine.streams()),
            ..Tally::default()
        };
    }

    /// Something happened in a session that takes part. Called under its lock. Returns whether nothing runs any more:
    /// [`DrainTracker::notify`] follows then.
    pub(crate) fn track(&self, tally: &Tally) -> bool {
        if *tally == Tally::default() {
            return false;
        }
        let mut counts = lock(&self.counts);
        counts.tally += *tally;
        (tally.running, tally.lingering) != (0, 0) && (counts.tally.running, counts.tally.lingering) == (0, 0)
    }

    /// Tells whoever waits for it that nothing runs any more, or nothing is left.
    pub(crate) fn notify(&self) {
        self.changed.notify(usize::MAX);
    }

    /// All that is left of a session is this.
    pub(crate) fn begin_afterword(&self, now: Instant, number: u64, afterword: Afterword) {
        if let Some(left) = lock(&self.counts).open.get_mut(&number) {
            left.afterword = Some((afterword, now));
        }
    }

    /// Time was up at `ceiling`: what had begun before and has not ended is a failure. What begins with the ceiling
    /// itself, because its client was cut then, has had no time and is not blamed.
    pub(super) fn fail_unfinished(&self, ceiling: Instant) {
        let mut counts = lock(&self.counts);
        let Counts { open, failures, .. } = &mut *counts;
        for Open { session, afterword } in open.values() {
            if let Some((afterword, _)) = afterword.filter(|(_, begun)| *begun < ceiling) {
                let reason = match afterword {
                    Afterword::Hook => LATE,
                    Afterword::Store => "the store did not take it back in time",
                };
                failures.push(Failure { session: session.prefix(), reason });
            }
        }
    }

    /// Nothing of a session is left.
    pub(crate) fn leave(&self, number: u64, session: SessionId, failure: Option<&'static str>) {
        if let Some(reason) = failure {
            self.fail(session, reason);
        }
        let last = {
            let mut counts = lock(&self.counts);
            counts.open.remove(&number);
            counts.open.is_empty()
        };
        if last {
            self.notify();
        }
    }

    /// A session did not end cleanly.
    pub(crate) fn fail(&self, session: SessionId, reason: &'static str) {
        lock(&self.counts).failures.push(Failure { session: session.prefix(), reason });
    }

    /// Requests that are owed an answer.
    pub(crate) fn running(&self) -> i32 {
        lock(&self.counts).tally.running
    }

    /// Whether requests are owed an answer, or sessions wait for what their clients ask after one.
    pub(crate) fn is_busy(&self) -> bool {
        let tally = &lock(&self.counts).tally;
        tally.running + tally.lingering > 0
    }

    /// Sessions of which something is left, their hooks included.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        env::Env,
        proto::{ClientCapabilities, Json, ProtocolVersion, SessionConfig, TerminateReason},
        router::Router,
        session::Session,
        testing::Stopped,
    };

    #[test]
    fn s_1_a_session_that_is_being_born_is_counted_once() {
        let runtime = Arc::new(Stopped::default());
        let router = Box::new(Arc::new(Router::new("newborn", "1.0.0")));
        let env = Arc::new(Env::new(runtime, Config::default(), router));
        let (machine, key) = proto::Session::new(
            env.runtime.now(),
            Arc::new(SessionConfig::default()),
            1.into(),
            Arc::new(Waiters::default()),
            ProtocolVersion::LATEST,
            ClientCapabilities::default(),
        );
        let client = env.clients.get(&serde_json::json!({}).into());
        let session = Session::new(SessionId::from_bits(1), None, client, Arc::clone(&env), machine);
        // The shutdown visits it between its registration and the first look at it.
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
