//! A process that is stopped (SIGSTOP, a debugger, a frozen container, a suspended machine) in a shutdown.

use std::{
    future::IntoFuture,
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use mcp_session_core::{BoxFuture, Runtime, ShutdownPhase, ShutdownPolicy};
use serde_json::json;

use super::{
    fixture::{Fixture, NEVER, SOON},
    shutdown::{begin, begin_stream},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    s_5_hung_calls_are_answered_after_a_stop_beyond_the_ceiling,
    s_3_a_stop_beyond_the_ceiling_is_followed_by_a_moment,
}

const POLICY: ShutdownPolicy =
    ShutdownPolicy { lame_duck: NEVER, drain: NEVER, cancel: NEVER, finish: NEVER };

/// The moment for clients to read after such a stop.
const MOMENT: Duration = Duration::from_millis(100);

fn fixture(runtime: &Arc<Stopped>) -> Fixture {
    Fixture::on(runtime.clone(), |config| {
        config.session.idle_timeout = Duration::MAX;
        config.session.ping_interval = Duration::MAX;
        config.session.heartbeat = Duration::MAX;
    })
}

/// S5: if the process is stopped until after the ceiling, in whichever phase, requests that are owed an answer get it, and
/// their clients, which read, can read it.
fn s_5_hung_calls_are_answered_after_a_stop_beyond_the_ceiling(bed: &impl TestBed) {
    for phase in [ShutdownPhase::LameDuck, ShutdownPhase::Draining, ShutdownPhase::Cancelling] {
        let runtime = Stopped::standing(bed);
        let mut fixture = fixture(&runtime);
        bed.block_on(async {
            let (one, other) = (fixture.json_client().await, fixture.client().await);
            let (running, _hangs) = begin(&mut fixture, &one, 1).await;
            let (mut stream, _hangs_too) = begin_stream(&mut fixture, &other, 2).await;
            let shutdown = fixture.endpoint.shutdown(POLICY);
            while shutdown.phase() < phase {
                let before = shutdown.phase();
                runtime.stop_for(NEVER);
                runtime.until(|| shutdown.phase() > before).await;
            }
            runtime.stop_for(POLICY.ceiling());
            let reading = async {
                let answer = stream.message().await.expect("an answer");
                assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(2), &json!(-32000)));
                assert_eq!(stream.message().await, None);
            };
            let (report, reply, ()) = futures::join!(shutdown.into_future(), running.head(), reading);
            assert_eq!(reply.answer().await["error"]["data"]["reason"], "shutdown");
            assert!(report.is_clean() && report.exchanges.synthesized == 2, "{phase}: {report}");
        });
    }
}

/// S3: after such a stop a client that reads nothing delays the end by a moment, and not at all if the policy gives clients no
/// time to read.
fn s_3_a_stop_beyond_the_ceiling_is_followed_by_a_moment(bed: &impl TestBed) {
    for finish in [NEVER, Duration::ZERO] {
        let runtime = Stopped::standing(bed);
        let mut fixture = fixture(&runtime);
        bed.block_on(async {
            let client = fixture.client().await;
            let (_unread, _hangs) = begin_stream(&mut fixture, &client, 1).await;
            let shutdown = fixture.endpoint.shutdown(ShutdownPolicy { finish, ..POLICY });
            runtime.stop_for(POLICY.ceiling());
            if !finish.is_zero() {
                runtime.until(|| shutdown.phase() == ShutdownPhase::Finishing).await;
                runtime.stop_for(MOMENT);
            }
            let report = shutdown.await;
            assert_eq!((report.exchanges.forced, report.streams.cut), (1, 1), "{report}");
        });
    }
}

/// A runtime of a process that is stopped now and then, for example by a debugger or a frozen container: its clock
/// jumps.
#[derive(Debug, Clone)]
pub(super) struct Stopped {
    inner: Arc<dyn Runtime>,
    /// The time at which the clock stands still between jumps.
    standing: Option<Instant>,
    for_so_long: Arc<Mutex<Duration>>,
}

impl Stopped {
    pub(super) fn new(bed: &impl TestBed) -> Arc<Self> {
        Arc::new(Self { inner: bed.runtime(), standing: None, for_so_long: Arc::default() })
    }

    /// With a clock that does nothing but jump, so that nothing depends on the speed of the machine.
    fn standing(bed: &impl TestBed) -> Arc<Self> {
        let inner = bed.runtime();
        let standing = Some(inner.now());
        Arc::new(Self { inner, standing, for_so_long: Arc::default() })
    }

    /// The process is continued: its clock has gone on meanwhile.
    pub(super) fn stop_for(&self, time: Duration) {
        *self.for_so_long.lock().unwrap() += time;
    }

    /// Waits until `state` is true.
    async fn until(&self, mut state: impl FnMut() -> bool) {
        while !state() {
            self.pause().await;
        }
    }

    async fn pause(&self) {
        self.inner.sleep_until(self.inner.now() + SOON / 4).await;
    }
}

impl Runtime for Stopped {
    fn now(&self) -> Instant {
        self.standing.unwrap_or_else(|| self.inner.now()) + *self.for_so_long.lock().unwrap()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let runtime = self.clone();
        Box::pin(async move {
            // Polls repeatedly: the timers of the inner runtime do not know about a jump.
            while runtime.now() < deadline {
                runtime.pause().await;
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
