//! [`Ledger`]: what was live when the shutdown began, and what became of it.

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
    session::{LATE, Signal},
    sync::lock,
};

/// What was live when the shutdown began, and what became of it. A session enters once, under its own lock, so
/// the totals at the end are those of the start (S9).
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
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
struct Books {
    sessions: u64,
    tally: Tally,
    /// What is left, by the numbers of the sessions: one that was parked and taken up again has the id of its first time.
    open: HashMap<u64, Open>,
    failures: Vec<Failure>,
}

impl Ledger {
    /// A session takes part. Called under its lock.
    pub(crate) fn enter(
        &self,
        number: u64,
        id: SessionId,
        machine: &proto::Session<Arc<Signal>>,
        alive: bool,
        hook: Option<Instant>,
    ) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut books = lock(&self.books);
        let afterword = hook.map(|begun| (Afterword::Hook, begun));
        books.open.insert(number, Open { session: id, afterword });
        books.sessions += u64::from(alive);
        books.tally += Tally {
            admitted: count(machine.unsettled()),
            running: i32::try_from(machine.running()).unwrap_or(i32::MAX),
            streams_opened: count(machine.streams()),
            ..Tally::default()
        };
    }

    /// Something happened in a session that takes part. Called under its lock. Returns whether nothing runs any more:
    /// [`Ledger::notify`] follows then.
    pub(crate) fn book(&self, tally: &Tally) -> bool {
        if *tally == Tally::default() {
            return false;
        }
        let mut books = lock(&self.books);
        books.tally += *tally;
        (tally.running, tally.lingering) != (0, 0) && (books.tally.running, books.tally.lingering) == (0, 0)
    }

    /// Tells whoever waits for it that nothing runs any more, or nothing is left.
    pub(crate) fn notify(&self) {
        self.changed.notify(usize::MAX);
    }

    /// All that is left of a session is this.
    pub(crate) fn begins(&self, now: Instant, number: u64, afterword: Afterword) {
        if let Some(left) = lock(&self.books).open.get_mut(&number) {
            left.afterword = Some((afterword, now));
        }
    }

    /// Time was up at `ceiling`: what had begun before and has not ended is a failure. What begins with the ceiling
    /// itself, because its client was cut then, has had no time and is not blamed.
    pub(super) fn blame(&self, ceiling: Instant) {
        let mut books = lock(&self.books);
        let Books { open, failures, .. } = &mut *books;
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
            let mut books = lock(&self.books);
            books.open.remove(&number);
            books.open.is_empty()
        };
        if last {
            self.notify();
        }
    }

    /// A session did not end cleanly.
    pub(crate) fn fail(&self, session: SessionId, reason: &'static str) {
        lock(&self.books).failures.push(Failure { session: session.prefix(), reason });
    }

    /// Requests that are owed an answer.
    pub(crate) fn running(&self) -> i32 {
        lock(&self.books).tally.running
    }

    /// Whether requests are owed an answer, or sessions wait for what their clients ask after one.
    pub(crate) fn is_busy(&self) -> bool {
        let tally = &lock(&self.books).tally;
        tally.running + tally.lingering > 0
    }

    /// Sessions of which something is left, their hooks included.
    pub(crate) fn open(&self) -> usize {
        lock(&self.books).open.len()
    }

    pub(crate) fn report(&self, phases: PhaseTimes, took: Duration) -> ShutdownReport {
        let mut books = lock(&self.books);
        let mut failures = mem::take(&mut books.failures);
        failures.sort();
        let tally = &books.tally;
        ShutdownReport {
            sessions: books.sessions,
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
        hub::Hub,
        proto::{ClientCapabilities, Json, ProtocolVersion, SessionConfig, TerminateReason},
        router::Router,
        session::Session,
        testing::Stopped,
    };

    #[test]
    fn s_1_a_session_that_is_being_born_is_counted_once() {
        let runtime = Arc::new(Stopped::default());
        let router = Box::new(Arc::new(Router::new("newborn", "1.0.0")));
        let hub = Arc::new(Hub::new(runtime, Config::default(), router));
        let (machine, key) = proto::Session::new(
            hub.runtime.now(),
            Arc::new(SessionConfig::default()),
            1.into(),
            Arc::new(Signal::default()),
            ProtocolVersion::LATEST,
            ClientCapabilities::default(),
        );
        let client = hub.clients.get(&serde_json::json!({}).into());
        let session = Session::new(SessionId::from_bits(1), None, client, Arc::clone(&hub), machine);
        // The shutdown visits it between its registration and the first look at it.
        let ledger = Arc::new(Ledger::default());
        session.join(&ledger, |machine, now| machine.drain(now, &crate::Schedule::default()));
        session.with(|_, _| ());
        assert_eq!((ledger.running(), hub.counters.stats().exchanges), (1, 1));
        session.with(|machine, now| machine.answer(now, key, &Json::new(&())));
        session.with(|machine, now| machine.poll_reply(now, key));
        session.with(|machine, now| machine.close(now, TerminateReason::Shutdown));
        let report = ledger.report(PhaseTimes::default(), Duration::ZERO);
        assert_eq!((ledger.running(), report.exchanges.total, report.exchanges.answered), (0, 1, 1));
    }
}
