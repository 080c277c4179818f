//! [`Ledger`]: what was live when the shutdown began, and what became of it.

use std::{
    collections::HashSet,
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use event_listener::Event;

use super::{ExchangeTotals, Failure, PhaseTimes, ShutdownReport, StreamTotals};
use crate::{
    SessionId,
    hub::lock,
    proto::{self, Tally},
    session::Signal,
};

/// What was live when the shutdown began, and what became of it. A session enters once, under its own lock, so
/// the totals at the end are those of the start (S9).
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    /// Fewer are running, or fewer are left.
    pub(super) changed: Event,
}

#[derive(Debug, Default)]
struct Books {
    sessions: u64,
    running: i64,
    tally: Tally,
    open: HashSet<SessionId>,
    failures: Vec<Failure>,
}

impl Ledger {
    /// A session takes part. Called under its lock.
    pub(crate) fn enter(&self, id: SessionId, machine: &proto::Session<Arc<Signal>>, alive: bool) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut books = lock(&self.books);
        books.open.insert(id);
        books.sessions += u64::from(alive);
        books.running += i64::try_from(machine.running()).unwrap_or(i64::MAX);
        books.tally.admitted += count(machine.unsettled());
        books.tally.streams_opened += count(machine.streams());
    }

    /// Something happened in a session that takes part.
    pub(crate) fn add(&self, tally: &Tally) {
        if *tally == Tally::default() {
            return;
        }
        {
            let mut books = lock(&self.books);
            books.running += i64::from(tally.running);
            books.tally.admitted += tally.admitted;
            books.tally.answered += tally.answered;
            books.tally.synthesized += tally.synthesized;
            books.tally.cancelled += tally.cancelled;
            books.tally.forced += tally.forced;
            books.tally.streams_opened += tally.streams_opened;
            books.tally.streams_ended += tally.streams_ended;
            books.tally.streams_cut += tally.streams_cut;
        }
        self.changed.notify(usize::MAX);
    }

    /// Nothing of a session is left.
    pub(crate) fn leave(&self, session: SessionId, failure: Option<&'static str>) {
        {
            let mut books = lock(&self.books);
            books.open.remove(&session);
        }
        if let Some(reason) = failure {
            self.fail(session, reason);
        }
        self.changed.notify(usize::MAX);
    }

    /// A session did not end cleanly.
    pub(crate) fn fail(&self, session: SessionId, reason: &'static str) {
        lock(&self.books).failures.push(Failure { session: session.prefix(), reason });
    }

    /// Requests that are owed an answer.
    pub(crate) fn running(&self) -> i64 {
        lock(&self.books).running
    }

    /// Sessions of which something is left, their hooks included.
    pub(crate) fn open(&self) -> usize {
        lock(&self.books).open.len()
    }

    pub(crate) fn report(&self, phases: PhaseTimes, took: Duration) -> ShutdownReport {
        let mut books = lock(&self.books);
        let mut failures = mem::take(&mut books.failures);
        failures.extend(books.open.iter().map(|session| Failure {
            session: session.prefix(),
            reason: "the `terminated` hook did not end in time",
        }));
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
            failures,
            phases,
            took,
        }
    }
}
