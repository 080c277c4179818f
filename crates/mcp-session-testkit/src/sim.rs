//! [`SimRuntime`]: a single-threaded runtime in virtual time, replayable from a seed.

mod executor;
mod sleep;

use std::{
    fmt, io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use futures::{FutureExt, future::BoxFuture, task::waker};
use mcp_session_core::Runtime;

use executor::Executor;
use sleep::Sleep;

/// The wall-clock time at virtual time zero: days from 1970 to 2026-07-28, the revision that needs a wall clock.
const EPOCH: Duration = Duration::from_secs(20662 * 24 * 60 * 60);

/// A [`Runtime`] without threads and without waiting. Time stands still while any task can run, and jumps to
/// the next timer when none can.
///
/// # Replay
///
/// The seed decides the order in which ready tasks run, and the ids of sessions and nodes. The same program with the
/// same seed takes the same schedule, so a failing run can be replayed; when a run panics, its seed and virtual time go
/// to stderr. Seed 0 is first in, first out: the simplest schedule. Timers with different deadlines always fire in order.
///
/// Two runtimes with the same seed give the same ids, so nodes that share a store need one runtime, or two seeds.
///
/// Only what happens on the driving thread is replayed. `spawn`, `now`, `sleep_until` and wakes work from any
/// thread, but a run does not wait for other threads: join them before going on.
///
/// # A test fails instead of hanging
///
/// When nothing is ready and no timer is set, [`block_on`](Self::block_on) panics with `deadlock: ...`. When
/// tasks are polled 10 million times while time stands still, every driving method panics with `livelock: ...`.
///
/// # Who owns the tasks
///
/// Tasks usually hold a clone of their runtime, so they and the runtime would keep each other alive. Therefore only
/// the value returned by [`new`](Self::new) owns the tasks, not its clones: dropping it calls
/// [`shutdown`](Self::shutdown), however many clones are left.
///
/// # Example
///
/// ```
/// use std::{panic::catch_unwind, time::Duration};
/// use futures::{FutureExt, future::pending};
/// use mcp_session_core::Runtime;
/// use mcp_session_testkit::SimRuntime;
///
/// let sim = SimRuntime::new(7);
/// let hour = Duration::from_secs(3600);
///
/// // An hour passes at once.
/// sim.block_on(sim.sleep_until(sim.now() + hour));
/// assert_eq!(sim.elapsed(), hour);
///
/// // A task runs in the background, and a panic stays inside it.
/// sim.spawn(async { panic!("oops") }.boxed());
/// sim.run_until_stalled();
/// assert_eq!(sim.panics(), ["oops"]);
/// assert_eq!(sim.tasks(), 0);
///
/// // A future that can never finish makes `block_on` panic.
/// assert!(catch_unwind(|| SimRuntime::new(7).block_on(pending::<()>())).is_err());
/// ```
pub struct SimRuntime {
    executor: Arc<Executor>,
    /// Whether dropping this value drops the tasks.
    owner: bool,
}

impl SimRuntime {
    /// Creates a runtime at virtual time zero. `seed` determines its schedule.
    pub fn new(seed: u64) -> Self {
        Self { executor: Arc::new(Executor::new(seed)), owner: true }
    }

    /// Sets how many polls while time stands still count as a livelock. The default is 10 million: seconds of
    /// polling, and far more than a scenario needs at one instant.
    ///
    /// ```should_panic
    /// use std::{future::poll_fn, task::Poll};
    /// use mcp_session_testkit::SimRuntime;
    ///
    /// SimRuntime::new(0).with_poll_limit(1_000).block_on(poll_fn(|cx| {
    ///     cx.waker().wake_by_ref(); // for ever busy: panics with "livelock: ..."
    ///     Poll::<()>::Pending
    /// }));
    /// ```
    #[must_use]
    pub fn with_poll_limit(self, limit: u64) -> Self {
        self.executor.lock().poll_limit = limit;
        self
    }

    /// Runs `future` together with all tasks, and returns its output as soon as it completes. Unfinished tasks wait
    /// until the runtime is driven again.
    ///
    /// The future takes part in the seeded order like a task, but need be neither `Send` nor `'static`.
    ///
    /// # Panics
    ///
    /// If `future` panics; on a deadlock or a livelock; if this runtime is already being driven, that is from
    /// inside one of its tasks (await there instead) or from a second thread.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _running = self.executor.enter();
        let mut future = pin!(future);
        let main = self.executor.queue_main();
        let waker = waker(main.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.executor.next_ready() {
                Some(node) if Arc::ptr_eq(&node, &main) => {
                    if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                        return output;
                    }
                }
                Some(node) => self.executor.poll_task(&node),
                None if self.executor.jump(None) => {}
                None => self.executor.deadlock(),
            }
        }
    }

    /// Runs tasks until none is ready. Time does not move.
    ///
    /// ```
    /// use std::time::Duration;
    /// use mcp_session_core::Runtime;
    /// use mcp_session_testkit::SimRuntime;
    ///
    /// let sim = SimRuntime::new(0);
    /// sim.spawn(Box::pin(async {}));
    /// sim.spawn(sim.sleep_until(sim.now() + Duration::from_secs(1)));
    /// sim.run_until_stalled();
    /// assert_eq!(sim.tasks(), 1); // the sleeping one
    /// assert_eq!(sim.elapsed(), Duration::ZERO);
    /// ```
    ///
    /// # Panics
    ///
    /// On a livelock, or when this runtime is already being driven.
    #[track_caller]
    pub fn run_until_stalled(&self) {
        let _running = self.executor.enter();
        self.executor.run_ready();
    }

    /// Advances virtual time by `duration`. Timers that come due on the way fire in order, at their own time, and
    /// the tasks that they wake run before time moves on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use mcp_session_core::Runtime;
    /// use mcp_session_testkit::SimRuntime;
    ///
    /// let sim = SimRuntime::new(0);
    /// sim.spawn(sim.sleep_until(sim.now() + Duration::from_millis(10)));
    /// sim.advance(Duration::from_millis(9));
    /// assert_eq!(sim.tasks(), 1);
    /// sim.advance(Duration::from_millis(1));
    /// assert_eq!(sim.tasks(), 0);
    /// ```
    ///
    /// # Panics
    ///
    /// On a livelock, or when this runtime is already being driven (inside a task, `sleep_until` instead).
    #[track_caller]
    pub fn advance(&self, duration: Duration) {
        let _running = self.executor.enter();
        let target = self.executor.lock().now + duration;
        self.executor.run_ready();
        while self.executor.jump(Some(target)) {
            self.executor.run_ready();
        }
        self.executor.lock().move_to(target);
    }

    /// Drops every task, and from now on every task that is spawned. Destructors run in this call; their panics are
    /// stored in [`panics`](Self::panics). Further calls have no effect.
    ///
    /// ```
    /// use std::{future::pending, sync::Arc};
    /// use mcp_session_core::Runtime;
    /// use mcp_session_testkit::SimRuntime;
    ///
    /// let sim = SimRuntime::new(0);
    /// let held = Arc::new(());
    /// let (sim2, held2) = (sim.clone(), held.clone());
    /// sim.spawn(Box::pin(async move {
    ///     let _held = (sim2, held2);
    ///     pending().await
    /// }));
    /// sim.shutdown();
    /// assert_eq!((sim.tasks(), Arc::strong_count(&held)), (0, 1));
    ///
    /// sim.spawn(Box::pin(async {}));
    /// assert_eq!(sim.tasks(), 0); // refused
    /// ```
    pub fn shutdown(&self) {
        self.executor.shutdown();
    }

    /// The seed of the schedule.
    pub fn seed(&self) -> u64 {
        self.executor.seed
    }

    /// The virtual time that has passed since [`new`](Self::new).
    pub fn elapsed(&self) -> Duration {
        self.executor.elapsed()
    }

    /// The number of tasks that were spawned and have not ended. If it is zero at the end of a test, no task
    /// leaked.
    pub fn tasks(&self) -> usize {
        self.executor.lock().tasks.len()
    }

    /// The number of sleeps that were polled and have neither come due nor been dropped.
    pub fn timers(&self) -> usize {
        self.executor.lock().timers.len()
    }

    /// The messages of the panics caught in tasks so far, in order. A test that expects none must assert that this
    /// is empty: a panic inside a task does not fail the test by itself.
    pub fn panics(&self) -> Vec<String> {
        self.executor.lock().panics.clone()
    }
}

impl Runtime for SimRuntime {
    fn now(&self) -> Instant {
        self.executor.lock().now
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Sleep::new(self.executor.clone(), deadline).boxed()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.executor.spawn(task);
    }

    /// Bytes from the seed: anybody can guess them.
    fn random(&self) -> io::Result<[u8; 16]> {
        Ok(self.executor.lock().ids.u128(..).to_le_bytes())
    }

    /// The start of 2026-07-28, UTC, and the virtual time that has passed since: the same in each run.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use mcp_session_core::Runtime;
    /// use mcp_session_testkit::SimRuntime;
    ///
    /// let sim = SimRuntime::new(0);
    /// sim.advance(Duration::from_secs(1));
    /// assert_eq!(sim.system_time(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_196_801));
    /// ```
    fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + EPOCH + self.elapsed()
    }
}

impl Clone for SimRuntime {
    /// Another handle to the same runtime, which does not own the tasks.
    fn clone(&self) -> Self {
        Self { executor: self.executor.clone(), owner: false }
    }
}

impl Drop for SimRuntime {
    fn drop(&mut self) {
        if self.owner {
            self.shutdown();
        }
    }
}

impl fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRuntime")
            .field("seed", &self.seed())
            .field("elapsed", &self.elapsed())
            .field("tasks", &self.tasks())
            .field("timers", &self.timers())
            .finish_non_exhaustive()
    }
}
