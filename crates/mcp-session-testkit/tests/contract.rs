//! Each law of a runtime fails on one with a defect that breaks it.

use std::{
    fmt, io,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use async_io::Timer;
use futures::{
    FutureExt,
    executor::ThreadPool,
    future::{AbortHandle, abortable, poll_fn, ready},
};
use mcp_session_core::{BoxFuture, Runtime};
use mcp_session_testkit::{SimRuntime, TestBed, Watchdog, contract};

const MS: Duration = Duration::from_millis(1);

/// Without a defect, the bed of these tests breaks no law, so a test finds the defect.
#[test]
fn nothing_planted() {
    contract::suite("nothing_planted", || planted(|_| {})).check();
}

#[test]
#[should_panic(expected = "a sleep ended 1ms early")]
fn never_early_finds_an_early_wake() {
    contract::law_sleep_is_never_early(&sleep(|sim, deadline| sim.sleep_until(deadline - MS)));
}

#[test]
#[should_panic(expected = "a sleep ended 300µs early")]
fn never_early_finds_a_timer_that_rounds_down() {
    contract::law_sleep_is_never_early(&sleep(|sim, deadline| {
        let left = deadline.saturating_duration_since(sim.now());
        sim.sleep_until(deadline - Duration::from_nanos(u64::from(left.subsec_nanos() % 1_000_000)))
    }));
}

#[test]
#[should_panic(expected = "a sleep ended 10ms early")]
fn never_early_finds_a_sleep_that_trusts_every_wake() {
    contract::law_sleep_is_never_early(&sleep(|sim, deadline| {
        let (mut sleep, mut woken) = (sim.sleep_until(deadline), false);
        poll_fn(move |cx| {
            let first = !std::mem::replace(&mut woken, true);
            if first { sleep.poll_unpin(cx) } else { Poll::Ready(()) }
        })
        .boxed()
    }));
}

#[test]
#[should_panic(expected = "a sleep of 86400s ended at its first poll")]
fn never_early_finds_a_sleep_that_does_not() {
    contract::law_sleep_is_never_early(&sleep(|_, _| ready(()).boxed()));
}

#[test]
#[should_panic(expected = "a sleep of 3784320000s ended at its first poll")]
fn never_early_finds_a_timer_that_overflows() {
    contract::law_sleep_is_never_early(&sleep(|sim, deadline| {
        let left = deadline.saturating_duration_since(sim.now());
        let seconds = i32::try_from(left.as_secs()).unwrap_or(0); // a day fits, a lifetime does not
        sim.sleep_until(sim.now() + Duration::new(seconds.unsigned_abs().into(), left.subsec_nanos()))
    }));
}

#[test]
#[should_panic(expected = "a past deadline was pending at the first poll")]
fn past_deadline_finds_a_sleep_that_always_yields() {
    contract::law_past_deadline_is_ready(&sleep(|sim, deadline| {
        let (mut sleep, mut yielded) = (sim.sleep_until(deadline), false);
        poll_fn(move |cx| {
            if std::mem::replace(&mut yielded, true) {
                return sleep.poll_unpin(cx);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .boxed()
    }));
}

#[test]
#[should_panic(expected = "a dropped sleep called its waker")]
fn dropped_sleep_finds_a_timer_that_stays() {
    contract::law_dropped_sleep_is_silent(&sleep(|sim, deadline| {
        let (sim, mut sleep) = (sim.clone(), sim.sleep_until(deadline));
        poll_fn(move |cx| {
            let poll = sleep.poll_unpin(cx);
            if poll.is_pending() {
                let (timer, waker) = (sim.sleep_until(deadline), cx.waker().clone());
                sim.spawn(timer.map(|()| waker.wake()).boxed());
            }
            poll
        })
        .boxed()
    }));
}

#[test]
#[should_panic(expected = "a detached task was dropped before its start")]
fn spawn_detaches_finds_a_dropped_task() {
    contract::law_spawn_detaches(&spawn(|_, task| drop(task)));
}

#[test]
#[should_panic(expected = "a detached task was dropped")]
fn spawn_detaches_finds_a_task_cut_short() {
    // Like a handle that cancels at the end of its scope: the task is gone after one poll.
    contract::law_spawn_detaches(&spawn(|sim, task| sim.spawn(async { _ = task.now_or_never() }.boxed())));
}

#[test]
#[should_panic(expected = "a task spawned by a task was dropped")]
fn spawn_detaches_finds_a_lost_nested_task() {
    let spawned = AtomicBool::new(false);
    contract::law_spawn_detaches(&spawn(move |sim, task| {
        if !spawned.swap(true, Ordering::SeqCst) {
            sim.spawn(task);
        }
    }));
}

#[test]
#[should_panic(expected = "after a panic, a new task was dropped")]
fn panic_stays_inside_finds_a_runtime_that_dies() {
    let dead = Arc::new(AtomicBool::new(false));
    contract::law_panic_stays_inside(&spawn(move |sim, task| {
        if dead.load(Ordering::SeqCst) {
            return;
        }
        let dead = dead.clone();
        let task = AssertUnwindSafe(task).catch_unwind();
        sim.spawn(task.map(move |end| dead.store(end.is_err(), Ordering::SeqCst)).boxed());
    }));
}

#[test]
#[should_panic(expected = "a panic ended an earlier task")]
fn panic_stays_inside_finds_a_lost_neighbour() {
    let all = Arc::new(Mutex::new(Vec::<AbortHandle>::new()));
    contract::law_panic_stays_inside(&spawn(move |sim, task| {
        let (task, handle) = abortable(AssertUnwindSafe(task).catch_unwind());
        all.lock().expect("one thread").push(handle);
        let all = all.clone();
        sim.spawn(
            task.map(move |end| {
                if matches!(end, Ok(Err(_))) {
                    all.lock().expect("one thread").drain(..).for_each(|other| other.abort());
                }
            })
            .boxed(),
        );
    }));
}

#[test]
#[should_panic(expected = "planted by law_panic_stays_inside")]
fn panic_stays_inside_finds_a_panic_that_comes_out() {
    contract::law_panic_stays_inside(&spawn(|sim, mut task| {
        // Polls a task in place first, without catching panics.
        if task.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending() {
            sim.spawn(task);
        }
    }));
}

#[test]
#[should_panic(expected = "now went backwards by 1ms")]
fn now_finds_a_clock_that_is_corrected() {
    let reads = AtomicU32::new(0);
    contract::law_now_is_the_clock_of_sleep(&clock(move |sim| {
        // Like a wall clock that is corrected once, in the middle.
        let corrected = reads.fetch_add(1, Ordering::SeqCst) >= 500;
        sim.now() + if corrected { Duration::ZERO } else { MS }
    }));
}

#[test]
#[should_panic(expected = "early")]
fn now_finds_a_clock_that_stands_still() {
    let base = Instant::now();
    contract::law_now_is_the_clock_of_sleep(&clock(move |_| base));
}

#[test]
#[should_panic(expected = "past by now(), but pending in sleep_until")]
fn now_finds_a_clock_ahead_of_the_timers() {
    contract::law_now_is_the_clock_of_sleep(&clock(|sim| sim.now() + MS));
}

#[test]
#[should_panic(expected = "the runtime panicked on a foreign thread")]
fn any_thread_finds_a_runtime_bound_to_its_own() {
    let home = thread::current().id();
    contract::law_any_thread(&spawn(move |sim, task| {
        assert_eq!(thread::current().id(), home, "there is no reactor running on this thread");
        sim.spawn(task);
    }));
}

#[test]
#[should_panic(expected = "a foreign thread sees a different clock")]
fn any_thread_finds_a_clock_of_each_thread() {
    let home = thread::current().id();
    contract::law_any_thread(&clock(move |sim| {
        sim.now() + if thread::current().id() == home { Duration::ZERO } else { MS }
    }));
}

#[test]
#[should_panic(expected = "deadlock")]
fn any_thread_finds_a_sleep_that_keeps_its_first_waker() {
    contract::law_any_thread(&sleep(|sim, deadline| {
        let (mut sleep, mut first) = (sim.sleep_until(deadline), None);
        poll_fn(move |cx| {
            let first = first.get_or_insert_with(|| cx.waker().clone());
            sleep.poll_unpin(&mut Context::from_waker(first))
        })
        .boxed()
    }));
}

#[test]
#[should_panic(expected = "`random` repeated")]
fn random_finds_a_seed_for_each_thread() {
    contract::law_random_never_repeats(&random(|_| {
        thread_local!(static SEEDED: SimRuntime = SimRuntime::new(1));
        SEEDED.with(Runtime::random)
    }));
}

#[test]
#[should_panic(expected = "of `random` hardly changes")]
fn random_finds_a_counter() {
    let count = AtomicU32::new(0);
    contract::law_random_never_repeats(&random(move |_| {
        Ok(u128::from(count.fetch_add(1, Ordering::SeqCst)).to_le_bytes())
    }));
}

#[test]
#[should_panic(expected = "no random bytes: none today")]
fn random_finds_a_source_that_fails() {
    contract::law_random_never_repeats(&random(|_| Err(io::Error::other("none today"))));
}

/// A law that would hang on a real runtime fails nevertheless.
#[test]
#[should_panic(expected = "pool: no result after")]
fn panic_stays_inside_finds_a_pool_that_loses_threads() {
    let pool = ThreadPool::builder().pool_size(2).create().expect("threads");
    // This short because it must elapse.
    contract::law_panic_stays_inside(&Watchdog::new(Bare(pool)).with_patience(MS * 300));
}

/// A thread pool that does not catch panics.
#[derive(Debug, Clone)]
struct Bare(ThreadPool);

impl Runtime for Bare {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Timer::at(deadline).map(drop).boxed()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn_ok(task);
    }
}

impl TestBed for Bare {
    fn name(&self) -> &str {
        "pool"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        futures::executor::block_on(future)
    }
}

type Now = dyn Fn(&SimRuntime) -> Instant + Send + Sync;
type SleepUntil = dyn Fn(&SimRuntime, Instant) -> BoxFuture<'static, ()> + Send + Sync;
type Spawn = dyn Fn(&SimRuntime, BoxFuture<'static, ()>) + Send + Sync;
type Random = dyn Fn(&SimRuntime) -> io::Result<[u8; 16]> + Send + Sync;

/// A runtime that forwards everything to the simulation, except what a test replaces.
struct Planted {
    sim: SimRuntime,
    now: Box<Now>,
    sleep_until: Box<SleepUntil>,
    spawn: Box<Spawn>,
    random: Box<Random>,
}

impl Runtime for Planted {
    fn now(&self) -> Instant {
        (self.now)(&self.sim)
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        (self.sleep_until)(&self.sim, deadline)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        (self.spawn)(&self.sim, task);
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        (self.random)(&self.sim)
    }
}

impl fmt::Debug for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planted").field("sim", &self.sim).finish_non_exhaustive()
    }
}

struct Bed {
    sim: SimRuntime,
    runtime: Arc<Planted>,
}

impl TestBed for Bed {
    fn name(&self) -> &str {
        "planted"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.runtime.clone()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.sim.block_on(future)
    }
}

fn planted(defect: impl FnOnce(&mut Planted)) -> Bed {
    let sim = SimRuntime::new(1);
    let mut runtime = Planted {
        sim: sim.clone(),
        now: Box::new(Runtime::now),
        sleep_until: Box::new(Runtime::sleep_until),
        spawn: Box::new(Runtime::spawn),
        random: Box::new(Runtime::random),
    };
    defect(&mut runtime);
    Bed { sim, runtime: Arc::new(runtime) }
}

fn clock(now: impl Fn(&SimRuntime) -> Instant + Send + Sync + 'static) -> Bed {
    planted(|runtime| runtime.now = Box::new(now))
}

fn sleep(
    sleep_until: impl Fn(&SimRuntime, Instant) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Bed {
    planted(|runtime| runtime.sleep_until = Box::new(sleep_until))
}

fn spawn(spawn: impl Fn(&SimRuntime, BoxFuture<'static, ()>) + Send + Sync + 'static) -> Bed {
    planted(|runtime| runtime.spawn = Box::new(spawn))
}

fn random(random: impl Fn(&SimRuntime) -> io::Result<[u8; 16]> + Send + Sync + 'static) -> Bed {
    planted(|runtime| runtime.random = Box::new(random))
}
