//! The laws of [`Runtime`], as tests.
//!
//! [`suite`] makes a test of each law for a runtime; each law is also a public function. A law panics if the runtime
//! breaks it. It only waits for states and never asserts that something was fast, so it passes on a slow machine. If a
//! runtime loses a wake, a law hangs; the suite turns that into a failure (see [`Watchdog`](crate::Watchdog)).
//!
//! | law | broken, for example, by |
//! |---|---|
//! | [`law_sleep_is_never_early`] | a timer that rounds down, or that treats every wake as its own |
//! | [`law_past_deadline_is_ready`] | a sleep that always yields once |
//! | [`law_dropped_sleep_is_silent`] | a timer that stays in the heap after it is dropped |
//! | [`law_spawn_detaches`] | a task handle that cancels on drop |
//! | [`law_panic_stays_inside`] | a thread pool that loses a thread to each panic |
//! | [`law_now_is_the_clock_of_sleep`] | a wall clock; a paused clock with real timers |
//! | [`law_any_thread`] | a runtime that can be used only from its own threads |
//! | [`law_random_never_repeats`] | a seed; a counter; a clock |

use std::{
    collections::HashSet,
    io,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Context,
    thread,
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    channel::oneshot,
    future::join_all,
    task::{ArcWake, noop_waker, waker},
};
use mcp_session_core::Runtime;

use crate::{
    SimRuntime, TestBed,
    suite::{Suite, scenarios},
};

/// Short, because a real runtime really waits; long enough to expose a coarse timer that fires early.
const SHORT: Duration = Duration::from_millis(10);

/// Longer than any run of the laws.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The furthest deadline that core uses: a shutdown has four phases, and an unlimited phase counts as 30 years.
const FOR_EVER: Duration = Duration::from_secs(4 * 30 * 365 * 24 * 60 * 60);

/// Every law of [`Runtime`], as tests `name::law`. `bed` makes a new [`TestBed`] for each.
///
/// ```no_run
/// use std::process::ExitCode;
/// use mcp_session_testkit::{SimRuntime, contract, suite};
///
/// fn main() -> ExitCode {
///     suite::run([contract::suite("sim", || SimRuntime::new(1))])
/// }
/// ```
///
/// The same by hand, law by law:
///
/// ```
/// use mcp_session_testkit::{SimRuntime, contract};
///
/// contract::law_sleep_is_never_early(&SimRuntime::new(1));
/// ```
///
/// A runtime that breaks a law fails the test of that name:
///
/// ```should_panic
/// # use std::{sync::Arc, time::{Duration, Instant}};
/// # use mcp_session_core::{BoxFuture, Runtime};
/// # use mcp_session_testkit::{SimRuntime, TestBed, contract};
/// #[derive(Debug)]
/// struct Early(SimRuntime);
///
/// impl Runtime for Early {
///     fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
///         self.0.sleep_until(deadline - Duration::from_millis(1))
///     }
///     # fn now(&self) -> Instant { self.0.now() }
///     # fn spawn(&self, task: BoxFuture<'static, ()>) { self.0.spawn(task); }
///     // ...
/// }
/// # struct Bed(SimRuntime);
/// # impl TestBed for Bed {
/// #     fn name(&self) -> &str { "early" }
/// #     fn runtime(&self) -> Arc<dyn Runtime> { Arc::new(Early(self.0.clone())) }
/// #     fn block_on<F: Future>(&self, future: F) -> F::Output { self.0.block_on(future) }
/// # }
/// contract::law_sleep_is_never_early(&Bed(SimRuntime::new(1)));
/// ```
pub fn suite<B: TestBed + 'static>(
    name: impl Into<String>,
    bed: impl Fn() -> B + Clone + Send + 'static,
) -> Suite {
    Suite::new(name, scenarios(), bed)
}

scenarios! {
    TestBed;
    law_sleep_is_never_early,
    law_past_deadline_is_ready,
    law_dropped_sleep_is_silent,
    law_spawn_detaches,
    law_panic_stays_inside,
    law_now_is_the_clock_of_sleep,
    law_any_thread,
    law_random_never_repeats,
}

/// `sleep_until` never completes early: not among several sleeps, not when polled again before its deadline, and not
/// with a deadline far in the future.
///
/// # Panics
///
/// If a sleep ends while `now` is before its deadline.
pub fn law_sleep_is_never_early(bed: &impl TestBed) {
    let runtime = bed.runtime();
    bed.block_on(async {
        for far in [DAY, FOR_EVER] {
            let ended = runtime.sleep_until(runtime.now() + far).now_or_never();
            assert!(ended.is_none(), "{}: a sleep of {far:?} ended at its first poll", bed.name());
        }

        // Unordered, two of them equal, and one that is no whole number of milliseconds, to which many timers round.
        let start = runtime.now();
        let deadlines =
            [15_000, 5_000, 20_000, 10_000, 10_000, 7_300].map(|us| start + Duration::from_micros(us));
        // A short join_all polls every one of them at each wake.
        join_all(deadlines.map(|deadline| {
            let (runtime, sleep) = (&runtime, runtime.sleep_until(deadline));
            async move {
                sleep.await;
                not_early(bed, runtime.now(), deadline);
            }
        }))
        .await;

        // The same in a task, which reads the time before the test is woken.
        let deadline = runtime.now() + SHORT;
        let woken = in_task(&runtime, {
            let runtime = runtime.clone();
            async move {
                runtime.sleep_until(deadline).await;
                runtime.now()
            }
        });
        not_early(bed, woken.await.expect("the task runs to its end"), deadline);
    });
}

/// `sleep_until` with a deadline at or before `now` is ready at the first poll, without yielding to the executor.
///
/// # Panics
///
/// If such a sleep is pending.
pub fn law_past_deadline_is_ready(bed: &impl TestBed) {
    let runtime = bed.runtime();
    bed.block_on(async {
        let start = runtime.now();
        runtime.sleep_until(start + SHORT).await;
        for past in [start, start + SHORT, runtime.now()] {
            let first_poll = runtime.sleep_until(past).now_or_never();
            assert!(first_poll.is_some(), "{}: a past deadline was pending at the first poll", bed.name());
        }
    });
}

/// Dropping a sleep cancels it: its waker is no longer called, and other sleeps with the same deadline still end.
///
/// # Panics
///
/// If the waker of a dropped sleep is called.
pub fn law_dropped_sleep_is_silent(bed: &impl TestBed) {
    let runtime = bed.runtime();
    bed.block_on(async {
        loop {
            let wakes = Arc::new(CountWakes::default());
            let waker = waker(wakes.clone());
            let deadline = runtime.now() + SHORT;
            let mut dropped = runtime.sleep_until(deadline);
            let first_poll = dropped.poll_unpin(&mut Context::from_waker(&waker));
            let neighbour = runtime.sleep_until(deadline);
            drop(dropped);
            let before = wakes.0.load(Ordering::SeqCst);
            if runtime.now() >= deadline {
                continue; // this thread was delayed past the deadline: a wake could already have been in flight
            }
            assert!(first_poll.is_pending(), "{}: a sleep ended at its first poll, early", bed.name());
            neighbour.await;
            runtime.sleep_until(deadline + SHORT).await;
            let after = wakes.0.load(Ordering::SeqCst);
            assert_eq!(before, after, "{}: a dropped sleep called its waker", bed.name());
            break;
        }
    });
}

/// `spawn` detaches: it returns before the task ends, and the task runs to completion even if nobody awaits it and
/// the future that spawned it has ended. The same holds for a task spawned by a task.
///
/// # Panics
///
/// If a task is dropped before its end.
pub fn law_spawn_detaches(bed: &impl TestBed) {
    let runtime = bed.runtime();
    let (started, begun) = oneshot::channel();
    let (open, gate) = oneshot::channel::<()>();
    let (ended, outer) = oneshot::channel();
    let (nested_ended, nested) = oneshot::channel();
    bed.block_on(async {
        let inside = runtime.clone();
        runtime.spawn(
            async move {
                started.send(()).expect("the test waits");
                gate.await.expect("the test opens the gate");
                inside.sleep_until(inside.now() + SHORT).await;
                inside.spawn(async move { nested_ended.send(()).expect("the test waits") }.boxed());
                ended.send(()).expect("the test waits");
            }
            .boxed(),
        );
        assert!(begun.await.is_ok(), "{}: a detached task was dropped before its start", bed.name());
    });
    // The spawning future has ended, the task has not. If the task was dropped, its end of the gate was dropped too.
    bed.block_on(async {
        assert!(open.send(()).is_ok(), "{}: a detached task was dropped", bed.name());
        assert!(outer.await.is_ok(), "{}: a detached task was dropped before its end", bed.name());
        assert!(nested.await.is_ok(), "{}: a task spawned by a task was dropped", bed.name());
    });
}

/// A panic ends its task and nothing else: existing tasks continue, new tasks run, sleeps end.
///
/// # Panics
///
/// If the panic propagates out of the runtime, or ends another task.
pub fn law_panic_stays_inside(bed: &impl TestBed) {
    let runtime = bed.runtime();
    bed.block_on(async {
        let (open, gate) = oneshot::channel::<()>();
        let earlier = in_task(&runtime, gate);
        // Enough panics that a pool that loses a thread to each has none left.
        for _ in 0..2 * thread::available_parallelism().map_or(8, usize::from).max(4) {
            let panicked =
                in_task(&runtime, async { resume_unwind(Box::new("planted by law_panic_stays_inside")) });
            let output: Result<(), oneshot::Canceled> = panicked.await;
            assert!(output.is_err(), "{}: a panicking task had an output", bed.name());
        }
        let later = in_task(&runtime, runtime.sleep_until(runtime.now() + SHORT));
        assert!(later.await.is_ok(), "{}: after a panic, a new task was dropped", bed.name());
        runtime.sleep_until(runtime.now() + SHORT).await;
        assert!(open.send(()).is_ok(), "{}: a panic ended an earlier task", bed.name());
        assert!(earlier.await.is_ok(), "{}: a panic ended an earlier task", bed.name());
    });
}

/// `now` never goes backwards, also across tasks, and is the clock that `sleep_until` uses: both agree on which
/// deadlines have passed.
///
/// # Panics
///
/// If a later `now` is smaller, if `now` does not advance over a sleep, or if `now` and `sleep_until` disagree on
/// whether a deadline has passed.
pub fn law_now_is_the_clock_of_sleep(bed: &impl TestBed) {
    let runtime = bed.runtime();
    bed.block_on(async {
        let mut last = runtime.now();
        let mut check = |now: Instant| {
            assert!(now >= last, "{}: now went backwards by {:?}", bed.name(), last - now);
            last = now;
        };
        for _ in 0..4 {
            (0..1_000).for_each(|_| check(runtime.now()));
            let in_the_task = in_task(&runtime, {
                let runtime = runtime.clone();
                async move { runtime.now() }
            });
            check(in_the_task.await.expect("the task runs to its end"));
            let deadline = runtime.now() + SHORT / 2;
            runtime.sleep_until(deadline).await;
            let now = runtime.now();
            check(now);
            not_early(bed, now, deadline);
            let again = runtime.sleep_until(now).now_or_never();
            assert!(again.is_some(), "{}: past by now(), but pending in sleep_until", bed.name());
        }
    });
}

/// `now`, `sleep_until` and `spawn` can be called from any thread, including threads outside this runtime and threads
/// of another runtime. All threads see the same clock.
///
/// # Panics
///
/// If one of them panics there, or if a sleep or task that was started there does not end.
pub fn law_any_thread(bed: &impl TestBed) {
    let runtime = bed.runtime();
    let start = {
        let runtime = runtime.clone();
        move || {
            let now = runtime.now();
            let mut sleep = runtime.sleep_until(now + SHORT);
            // Polled here and awaited elsewhere: only the last waker counts.
            let _ = sleep.poll_unpin(&mut Context::from_waker(&noop_waker()));
            (now, sleep, in_task(&runtime, async {}))
        }
    };
    let inside_another = {
        let start = start.clone();
        move || SimRuntime::new(0).block_on(async { start() })
    };
    let before = runtime.now();
    let started = [thread::spawn(start).join(), thread::spawn(inside_another).join()];
    let after = runtime.now();
    bed.block_on(async {
        for started in started {
            let Ok((now, sleep, task)) = started else {
                panic!("{}: the runtime panicked on a foreign thread", bed.name());
            };
            assert!(
                (before..=after).contains(&now),
                "{}: a foreign thread sees a different clock",
                bed.name()
            );
            sleep.await;
            not_early(bed, runtime.now(), now + SHORT);
            assert!(task.await.is_ok(), "{}: a task from another thread was dropped", bed.name());
        }
    });
}

/// `random` never returns the same bytes twice, whichever thread calls it, and each byte takes many values. No test can
/// show that nobody can guess them.
///
/// # Panics
///
/// If there are no bytes, if they repeat, or if one of them hardly changes.
pub fn law_random_never_repeats(bed: &impl TestBed) {
    let runtime = bed.runtime();
    let draw = move || (0..1_000).map(|_| runtime.random()).collect::<io::Result<Vec<_>>>();
    let inside_another = {
        let draw = draw.clone();
        move || SimRuntime::new(0).block_on(async { draw() })
    };
    let here = draw();
    let drawn = [Ok(here), thread::spawn(draw).join(), thread::spawn(inside_another).join()];
    let mut all = HashSet::new();
    for drawn in drawn {
        let Ok(drawn) = drawn else { panic!("{}: `random` panicked on a foreign thread", bed.name()) };
        let drawn = drawn.unwrap_or_else(|error| panic!("{}: no random bytes: {error}", bed.name()));
        for bytes in drawn {
            assert!(all.insert(bytes), "{}: `random` repeated {bytes:?}", bed.name());
        }
    }
    for at in 0..16 {
        let values: HashSet<u8> = all.iter().map(|bytes| bytes[at]).collect();
        assert!(values.len() > 128, "{}: byte {at} of `random` hardly changes", bed.name());
    }
}

/// Runs `future` in its own task. The channel receives its output, or is cancelled if the task has none.
fn in_task<T: Send + 'static>(
    runtime: &Arc<dyn Runtime>,
    future: impl Future<Output = T> + Send + 'static,
) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    runtime.spawn(
        async move {
            let _ = sender.send(future.await); // refused only if the law has already failed
        }
        .boxed(),
    );
    receiver
}

#[track_caller]
fn not_early(bed: &impl TestBed, now: Instant, deadline: Instant) {
    assert!(now >= deadline, "{}: a sleep ended {:?} early", bed.name(), deadline - now);
}

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl ArcWake for CountWakes {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.fetch_add(1, Ordering::SeqCst);
    }
}
