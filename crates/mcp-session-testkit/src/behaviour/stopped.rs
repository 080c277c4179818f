//! A process that is stopped for a while, for example by a debugger, a frozen container, or a suspended machine.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use futures::channel::mpsc;
use http::{Method, StatusCode};
use mcp_session_core::{BoxFuture, Runtime};

use super::fixture::{Fixture, NEVER, SOON, SlowBody, request};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    what_arrives_while_the_process_is_stopped_counts,
    e_14_a_session_is_not_idle_while_the_process_is_stopped,
}

/// A deadline that passed while the process was stopped does not count against the client: what it sent meanwhile is
/// read.
fn what_arrives_while_the_process_is_stopped_counts(bed: &impl TestBed) {
    let runtime = Arc::new(Stopped { inner: bed.runtime(), for_so_long: Arc::default() });
    let fixture = Fixture::on(runtime.clone(), |config| {
        config.session.idle_timeout = Duration::MAX;
        config.session.ping_interval = Duration::MAX;
        config.session.heartbeat = Duration::MAX;
    });
    bed.block_on(async {
        let client = fixture.client().await;
        let body = request(1, "echo").to_string();
        let (sender, receiver) = mpsc::unbounded();
        sender.unbounded_send(body[..10].to_owned().into()).unwrap();
        let post = client.send(client.request(Method::POST).body(SlowBody(receiver)).unwrap());
        let stop = async {
            fixture.elapse(SOON).await;
            *runtime.for_so_long.lock().unwrap() += NEVER * 2;
            fixture.elapse(SOON).await; // the deadline fires, and the bytes come after it
            sender.unbounded_send(body[10..].to_owned().into()).unwrap();
            drop(sender);
        };
        let (reply, ()) = futures::join!(post, stop);
        assert_eq!(reply.status, StatusCode::OK);
        // If nothing is sent then either, the client is late.
        let (_open, receiver) = mpsc::unbounded();
        let post = client.send(client.request(Method::POST).body(SlowBody(receiver)).unwrap());
        let stop = async {
            fixture.elapse(SOON).await;
            *runtime.for_so_long.lock().unwrap() += NEVER * 2;
        };
        assert_eq!(futures::join!(post, stop).0.status, StatusCode::REQUEST_TIMEOUT);
    });
}

/// A runtime of a process that is stopped now and then, for example by a debugger or a frozen container: its clock
/// jumps.
#[derive(Debug, Clone)]
struct Stopped {
    inner: Arc<dyn Runtime>,
    for_so_long: Arc<Mutex<Duration>>,
}

impl Runtime for Stopped {
    fn now(&self) -> Instant {
        self.inner.now() + *self.for_so_long.lock().unwrap()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let runtime = self.clone();
        Box::pin(async move {
            // Polls repeatedly: the timers of the inner runtime do not know about a jump.
            while runtime.now() < deadline {
                let soon = runtime.inner.now() + SOON / 4;
                runtime.inner.sleep_until(soon).await;
            }
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.inner.random()
    }
}

/// E-14: the same for a session: it expires only if its client sends nothing after the stop either.
fn e_14_a_session_is_not_idle_while_the_process_is_stopped(bed: &impl TestBed) {
    let clock = Clock::new(bed.runtime());
    let fixture = Fixture::on(Arc::new(clock.clone()), |config| {
        config.session.ping_interval = Duration::MAX;
        config.session.heartbeat = Duration::MAX;
    });
    bed.block_on(async {
        let client = fixture.client().await;
        // Until the endpoint has seen that the deadline of its session is over.
        let stop = async || {
            let waits = clock.waits();
            clock.pass(NEVER * 2);
            clock.until(|| clock.waits() > waits || fixture.endpoint.stats().sessions == 0).await;
        };
        for _ in 0..3 {
            stop().await;
            assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::OK);
        }
        stop().await;
        clock.pass(MOMENT);
        clock.until(|| fixture.endpoint.stats().sessions == 0).await;
        assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::NOT_FOUND);
    });
}

/// How long the endpoint waits after a stop for what may have come meanwhile.
const MOMENT: Duration = Duration::from_secs(1);

/// A runtime whose time passes only when the scenario says so.
#[derive(Debug, Clone)]
struct Clock {
    inner: Arc<dyn Runtime>,
    now: Arc<Mutex<Instant>>,
    /// How many timers were started.
    waits: Arc<AtomicUsize>,
}

impl Clock {
    fn new(inner: Arc<dyn Runtime>) -> Self {
        let now = Arc::new(Mutex::new(inner.now()));
        Self { inner, now, waits: Arc::default() }
    }

    fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    fn waits(&self) -> usize {
        self.waits.load(SeqCst)
    }

    /// Waits until `state` is true, while no time passes.
    async fn until(&self, state: impl Fn() -> bool) {
        while !state() {
            self.look().await;
        }
    }

    async fn look(&self) {
        self.inner.sleep_until(self.inner.now() + Duration::from_millis(1)).await;
    }
}

impl Runtime for Clock {
    fn now(&self) -> Instant {
        *self.now.lock().unwrap()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.waits.fetch_add(1, SeqCst);
        let clock = self.clone();
        Box::pin(async move { clock.until(|| clock.now() >= deadline).await })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.inner.random()
    }
}
