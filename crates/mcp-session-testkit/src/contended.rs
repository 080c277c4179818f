//! [`Contended`]: any runtime, as if on a busy machine.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant, SystemTime},
};

use fastrand::Rng;
use futures::FutureExt;
use mcp_session_core::{BoxFuture, Config, Runtime};

use crate::TestBed;

/// The longest delay of a poll: several times what must elapse in a scenario
/// ([`SOON`](crate::behaviour::fixture::SOON)).
const MOST: Duration = Duration::from_millis(200);

/// One poll in this many is delayed: often enough to separate any two steps, seldom enough that other tasks overtake.
const ONE_IN: usize = 4;

/// A [`TestBed`] that delays the polls of its tasks and of `block_on` now and then, like an overloaded scheduler: one
/// poll in four, at random, for up to 200 ms of the runtime's time. Timers stay exact.
///
/// A scenario that passes only on a fast machine fails on it. This is cheapest in virtual time, where a seed replays
/// the failure.
///
/// ```
/// use std::time::Duration;
/// use mcp_session_testkit::{SimRuntime, Contended, TestBed};
///
/// let limit = Duration::from_millis(40);
/// let in_time = |seed| {
///     let contended = Contended::new(SimRuntime::new(seed), seed);
///     let (runtime, begin) = (contended.runtime(), contended.runtime().now());
///     // Does a task that has nothing to wait for end within 40 ms?
///     let (sender, ended) = futures::channel::oneshot::channel();
///     runtime.spawn(Box::pin(async move { sender.send(()).expect("the test waits") }));
///     contended.block_on(ended).expect("the task ends");
///     runtime.now() <= begin + limit
/// };
/// assert!((0..100).any(in_time));
/// assert!(!(0..100).all(in_time)); // a test must not rely on it
/// ```
#[derive(Debug)]
pub struct Contended<B> {
    bed: B,
    runtime: Arc<ContendedRuntime>,
}

impl<B: TestBed> Contended<B> {
    /// Wraps this bed. `seed` decides which polls are delayed, and for how long.
    pub fn new(bed: B, seed: u64) -> Self {
        let (inner, rng) = (bed.runtime(), Mutex::new(Rng::with_seed(seed)));
        Self { bed, runtime: Arc::new(ContendedRuntime { inner, rng: Arc::new(rng) }) }
    }
}

impl<B: TestBed> TestBed for Contended<B> {
    fn name(&self) -> &str {
        "slow"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.runtime.clone()
    }

    fn configure(&self, config: &mut Config) {
        self.bed.configure(config);
    }

    #[track_caller]
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.bed.block_on(self.runtime.hold_up(Box::pin(future)))
    }
}

#[derive(Debug)]
struct ContendedRuntime {
    inner: Arc<dyn Runtime>,
    rng: Arc<Mutex<Rng>>,
}

impl ContendedRuntime {
    fn hold_up<F>(&self, future: F) -> HeldUp<F> {
        HeldUp { future, runtime: self.inner.clone(), rng: self.rng.clone(), delay: None }
    }
}

impl Runtime for ContendedRuntime {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.inner.sleep_until(deadline)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(self.hold_up(task).boxed());
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.inner.random()
    }

    fn system_time(&self) -> SystemTime {
        self.inner.system_time()
    }
}

/// A future whose polls are delayed at random.
struct HeldUp<F> {
    future: F,
    runtime: Arc<dyn Runtime>,
    rng: Arc<Mutex<Rng>>,
    delay: Option<BoxFuture<'static, ()>>,
}

impl<F: Future + Unpin> Future for HeldUp<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { runtime, rng, delay, .. } = &mut *self;
        let delay = match delay {
            Some(delay) => delay,
            None => {
                let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
                let held_up = rng.usize(..ONE_IN) == 0;
                let time = if held_up { MOST.mul_f64(rng.f64()) } else { Duration::ZERO };
                delay.insert(runtime.sleep_until(runtime.now() + time))
            }
        };
        ready!(delay.poll_unpin(cx));
        self.delay = None;
        self.future.poll_unpin(cx)
    }
}
