//! Requests of many threads, to one endpoint that they share or to one each: what it costs a request that threads share an
//! endpoint. Without a socket, with a handler and a runtime that share nothing, so that what is shared is core's.

use std::{
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderValue;
use memchr::memmem;

use crate::{
    runtime::PerThread,
    thread_cpu,
    tools::endpoint_that_shares_nothing,
    work::{CALL, Echo, MODERN_CALL, call_in, modern_call, stateless_call},
};

/// What the threads ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Calls, each thread in a session of its own.
    OwnSessions,
    /// Calls, all in the same session of the endpoint.
    OneSession,
    /// Calls of 2025-11-25 without a session.
    Stateless,
    /// Calls of 2026-07-28.
    Modern,
    /// Sessions that are created and deleted at once; each counts as one request.
    Churn,
    /// No requests but an atomic addition to one counter, or to one each, and [`LOCAL`] additions to a counter of the thread's own in
    /// between: the price of a cache line that another core has written.
    Addition,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::OwnSessions, Self::OneSession, Self::Stateless, Self::Modern, Self::Churn, Self::Addition];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnSessions => "own-sessions",
            Self::OneSession => "one-session",
            Self::Stateless => "stateless",
            Self::Modern => "modern",
            Self::Churn => "created-and-deleted",
            Self::Addition => "one-addition",
        }
    }
}

/// Whose endpoints the threads call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    /// All call the same one.
    Shared,
    /// Each calls its own: the floor.
    Own,
}

/// How much to ask, and how.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// What each thread asks for.
    pub kind: Kind,
    /// Whom it asks.
    pub endpoints: Endpoints,
    /// The number of threads.
    pub threads: usize,
    /// The threads end after this time, whoever has not run by then after [`BATCH`] requests.
    pub time: Duration,
    /// The maximum number of requests of each thread; at least [`BATCH`].
    pub most: u64,
}

/// What was asked, and what it cost.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// The requests of all threads, each of which was answered as it should be.
    pub requests: u64,
    /// Those that the endpoints have counted as answered meanwhile.
    pub answered: u64,
    /// The processor time of all threads, from their first request to their last.
    pub cpu: Duration,
    /// The time from the first request to the last.
    pub elapsed: Duration,
}

/// So many additions are between two to the counter that may be shared: about half a microsecond, as between two writes of a request.
pub const LOCAL: u64 = 100;

/// The number of requests between two looks at the clock.
pub const BATCH: u64 = 16;

/// The requests of each thread before the measured ones: by then its allocator has what it needs.
const WARM_UP: u64 = 4 * BATCH;

/// Runs the threads, each of which calls `begin` with its number first.
///
/// # Panics
///
/// If a request is not answered at once, or otherwise than it should be.
pub fn run(load: &Load, begin: impl Fn(usize) + Sync) -> Report {
    if load.kind == Kind::Addition {
        return race(load, begin, Counter::default);
    }
    race(load, begin, || {
        let echo = Echo::on(PerThread, endpoint_that_shares_nothing);
        PerThread::drop_pending();
        echo
    })
}

/// What is asked.
trait Target: Send + Sync {
    /// What one thread needs to ask it.
    type Client;

    fn client(&self, kind: Kind, number: usize) -> Self::Client;

    fn ask(&self, client: &Self::Client);

    /// The number of answers so far.
    fn answered(&self) -> u64;
}

fn race<T: Target>(load: &Load, begin: impl Fn(usize) + Sync, new: impl Fn() -> T + Sync) -> Report {
    // By a thread of its own, as one that is not shared: allocators place what threads have apart.
    let by_a_thread = || thread::scope(|scope| scope.spawn(&new).join().expect("there is an endpoint"));
    let shared = (load.endpoints == Endpoints::Shared).then(by_a_thread);
    let shared = shared.as_ref();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..load.threads)
            .map(|number| {
                let ((ready, is_ready), (go, goes)) = (channel(), channel());
                let (begin, new) = (&begin, &new);
                let thread = scope.spawn(move || {
                    begin(number);
                    let own = shared.is_none().then(new);
                    let target = shared.or(own.as_ref()).expect("it is one or the other");
                    ask(target, load, number, &ready, &goes)
                });
                (thread, is_ready, go)
            })
            .collect();
        // A thread that panics has no channel any more, and then nobody waits.
        threads.iter().for_each(|(_, is_ready, _)| is_ready.recv().expect("the thread is there"));
        let before = shared.map(T::answered);
        let begun = Instant::now();
        for (_, _, go) in &threads {
            go.send(begun + load.time).expect("the thread waits");
        }
        let parts: Vec<_> =
            threads.into_iter().map(|(thread, ..)| thread.join().expect("all is answered")).collect();
        let ended = parts.iter().map(|part| part.ended).max().unwrap_or(begun);
        Report {
            requests: parts.iter().map(|part| part.requests).sum(),
            answered: match shared.zip(before) {
                Some((target, before)) => target.answered() - before,
                None => parts.iter().map(|part| part.answered).sum(),
            },
            cpu: parts.iter().map(|part| part.cpu).sum(),
            elapsed: ended - begun,
        }
    })
}

/// What one thread has done.
struct Part {
    requests: u64,
    /// By the target's count; useful only if nobody else asked it.
    answered: u64,
    cpu: Duration,
    ended: Instant,
}

/// Warms up, tells that it is ready, waits for the end that is set, and asks until then. Not inlined: the same code runs whoever
/// is asked.
#[inline(never)]
fn ask<T: Target>(
    target: &T,
    load: &Load,
    number: usize,
    ready: &Sender<()>,
    go: &Receiver<Instant>,
) -> Part {
    let client = target.client(load.kind, number);
    (0..WARM_UP).for_each(|_| target.ask(&client));
    let before = target.answered();
    ready.send(()).expect("somebody waits");
    let end = go.recv().expect("somebody sets the end");
    let (mut requests, begun) = (0, thread_cpu());
    let ended = loop {
        (0..BATCH).for_each(|_| target.ask(&client));
        requests += BATCH;
        let now = Instant::now();
        if now >= end || requests + BATCH > load.most {
            break now;
        }
    };
    let cpu = thread_cpu() - begun;
    Part { requests, answered: target.answered() - before, cpu, ended }
}

/// What one thread needs for its requests. It has its own copies of all that they consist of, as if they were read from its connections.
struct Client {
    kind: Kind,
    session: HeaderValue,
    /// With an id of its own: two requests of one session must not have the same.
    call: Bytes,
}

impl Target for Echo {
    type Client = Client;

    fn client(&self, kind: Kind, number: usize) -> Client {
        let session = if kind == Kind::OwnSessions { self.open() } else { self.session().clone() };
        let session = HeaderValue::from_bytes(session.as_bytes()).expect("it is a copy");
        let text = if kind == Kind::Modern { MODERN_CALL } else { CALL };
        Client { kind, session, call: with_id(text, number) }
    }

    fn ask(&self, client: &Client) {
        let call = || client.call.clone();
        let request = match client.kind {
            Kind::OwnSessions | Kind::OneSession => call_in(&client.session, call()),
            Kind::Stateless => stateless_call(call()),
            Kind::Modern => modern_call(call()),
            Kind::Churn => return self.open_and_delete(),
            Kind::Addition => unreachable!("an endpoint adds nothing"),
        };
        assert!(self.read(request) > 0, "the answer has a body");
    }

    fn answered(&self) -> u64 {
        self.endpoint().stats().exchanges_answered
    }
}

/// The call with another id.
fn with_id(call: &[u8], number: usize) -> Bytes {
    const ID: &[u8] = b"1000007";
    let at = memmem::find(call, ID).expect("it has an id");
    let id = (1_000_000 + number).to_string();
    [&call[..at], id.as_bytes(), &call[at + ID.len()..]].concat().into()
}

/// Aligned to two cache lines, because processors fetch two at a time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counter(AtomicU64);

impl Target for Counter {
    type Client = Self;

    fn client(&self, _: Kind, _: usize) -> Self {
        Self::default()
    }

    fn ask(&self, own: &Self) {
        self.0.fetch_add(1, Relaxed);
        (0..LOCAL).for_each(|_| _ = own.0.fetch_add(1, Relaxed));
    }

    fn answered(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So long that each thread ends by its number of requests.
    const TIME: Duration = Duration::from_secs(600);

    #[test]
    fn every_request_of_every_thread_is_answered_and_counted_by_the_endpoints() {
        for (kind, endpoints) in
            Kind::ALL.into_iter().flat_map(|kind| [(kind, Endpoints::Shared), (kind, Endpoints::Own)])
        {
            let begun = AtomicU64::new(0);
            let load = Load { kind, endpoints, threads: 3, time: TIME, most: 2 * BATCH + 1 };
            let report = run(&load, |number| _ = begun.fetch_add(1 << (8 * number), Relaxed));
            assert_eq!(begun.into_inner(), 0x01_01_01, "each thread has begun once");
            assert_eq!((report.requests, report.answered), (6 * BATCH, 6 * BATCH), "{load:?}");
            assert!(report.cpu > Duration::ZERO && report.elapsed > Duration::ZERO, "{report:?}");
        }
    }

    #[test]
    fn threads_end_when_their_time_is_over() {
        let load = Load {
            kind: Kind::OwnSessions,
            endpoints: Endpoints::Shared,
            threads: 2,
            time: Duration::ZERO,
            most: u64::MAX,
        };
        assert_eq!(run(&load, |_| ()).requests, 2 * BATCH);
    }
}
