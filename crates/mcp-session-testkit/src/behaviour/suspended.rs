//! A process that is stopped while its clients are quiet, for example by a debugger or a suspended machine.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use mcp_session_core::{BoxFuture, Runtime};

use super::fixture::{Fixture, NEVER, request};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    e_14_a_session_is_not_idle_while_the_process_is_stopped,
}

/// E-14: a session whose time passed while the process was stopped expires only if its client sends nothing after the stop either.
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
