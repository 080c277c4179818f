//! The laws of [`Runtime`], as tests.
//!
//! [`runtime_contract!`](crate::runtime_contract) turns all of them into `#[test]`s for one runtime; each is also
//! a function of its own. A law panics when it is broken. It waits for states only and never asserts that
//! something was fast, so a slow machine does not fail it. A runtime that loses a wake makes a law hang: the macro
//! watches for that (see [`Watchdog`](crate::Watchdog)).
//!
//! | law | what breaks it, for instance |
//! |---|---|
//! | [`law_sleep_is_never_early`] | a timer that rounds down, or that takes every wake for its own |
//! | [`law_past_deadline_is_ready`] | a sleep that always yields once |
//! | [`law_dropped_sleep_is_silent`] | a timer that nobody takes out of the heap |
//! | [`law_spawn_detaches`] | a task handle that cancels when it is dropped |
//! | [`law_panic_stays_inside`] | a pool that loses a thread to each panic |
//! | [`law_now_is_the_clock_of_sleep`] | a wall clock; a paused clock beside real timers |
//! | [`law_any_thread`] | a runtime that is only found on its own threads |

use std::{
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

use crate::{SimRuntime, TestBed};

/// Short, because a real runtime really waits; long enough that a coarse timer can show that it is early.
const SHORT: Duration = Duration::from_millis(10);

/// Longer than any run of the laws.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The furthest deadline that core has: each of the four phases of a shutdown that may last for ever counts 30 years.
const FOR_EVER: Duration = Duration::from_secs(4 * 30 * 365 * 24 * 60 * 60);

/// Generates a module with one `#[test]` for each law of [`Runtime`](mcp_session_core::Runtime).
///
/// The first argument names the module, the second is an expression that makes a [`TestBed`](crate::TestBed). It
/// is evaluated once for each test and sees the names around the macro.
///
/// ```
/// use mcp_session_testkit::{SimRuntime, contract, runtime_contract};
///
/// runtime_contract!(sim, SimRuntime::new(1));
///
/// # fn main() {
/// // The same by hand, law by law:
/// contract::law_sleep_is_never_early(&SimRuntime::new(1));
/// # }
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
#[macro_export]
macro_rules! runtime_contract {
    ($module:ident, $bed:expr $(,)?) => {
        $crate::runtime_contract! { @laws $module, $bed;
            law_sleep_is_never_early
            law_past_deadline_is_ready
            law_dropped_sleep_is_silent
            law_spawn_detaches
            law_panic_stays_inside
            law_now_is_the_clock_of_sleep
            law_any_thread
        }
    };
    (@laws $module:ident, $bed:expr; $($law:ident)+) => {
        mod $module {
            #[allow(unused_imports, clippy::wildcard_imports)] // the expression may name nothing from outside
            use super::*;
            $(
                #[test]
                fn $law() {
                    $crate::contract::$law(&$crate::Watchdog::new($bed));
                }
            )+
        }
    };
}

/// `sleep_until` is never early: not among several, not when polled again before its time, not far away.
///
/// # Panics
///
/// When a sleep ends while `now` is before its deadline.
pub fn law_sleep_is_never_early(bed: &impl TestBed) {
    let runtime = bed.runtime();
    bed.block_on(async {
        for far in [DAY, FOR_EVER] {
            let ended = runtime.sleep_until(runtime.now() + far).now_or_never();
            assert!(ended.is_none(), "{}: a sleep of {far:?} ended at its first poll", bed.name());
        }

        // Out of order, equal ones, and one off the grid of milliseconds that many timers round to.
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

        // The same inside a task, where the time is read before the test is woken.
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

/// A deadline that is not after `now` is ready at the first poll, without a turn of the executor.
///
/// # Panics
///
/// When such a sleep is pending.
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

/// Dropping a sleep cancels it: its waker is not called any more, and sleeps of the same deadline still end.
///
/// # Panics
///
/// When the waker of a dropped sleep is called.
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
                continue; // this thread was held up past the deadline: a wake could have been on its way
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

/// `spawn` detaches: it returns before the task ends, and the task runs to its end although nobody awaits it and
/// what spawned it is gone. So does a task spawned by a task.
///
/// # Panics
///
/// When a task is dropped before its end.
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
    // The future that spawned it has ended, the task has not. If it was dropped, so was its end of the gate.
    bed.block_on(async {
        assert!(open.send(()).is_ok(), "{}: a detached task was dropped", bed.name());
        assert!(outer.await.is_ok(), "{}: a detached task was dropped before its end", bed.name());
        assert!(nested.await.is_ok(), "{}: a task spawned by a task was dropped", bed.name());
    });
}

/// A panic ends its task and nothing else: tasks that were there go on, new ones run, sleeps end.
///
/// # Panics
///
/// When the panic comes out of the runtime, or takes another task with it.
pub fn law_panic_stays_inside(bed: &impl TestBed) {
    let runtime = bed.runtime();
    bed.block_on(async {
        let (open, gate) = oneshot::channel::<()>();
        let earlier = in_task(&runtime, gate);
        // So many that a pool that loses a thread with each panic has none left.
        for _ in 0..2 * thread::available_parallelism().map_or(8, usize::from).max(4) {
            let panicked = in_task(&runtime, async { panic!("planted by law_panic_stays_inside") });
            let output: Result<(), oneshot::Canceled> = panicked.await;
            assert!(output.is_err(), "{}: a panicking task had an output", bed.name());
        }
        let later = in_task(&runtime, runtime.sleep_until(runtime.now() + SHORT));
        assert!(later.await.is_ok(), "{}: after a panic, a new task was dropped", bed.name());
        runtime.sleep_until(runtime.now() + SHORT).await;
        assert!(open.send(()).is_ok(), "{}: a panic took an earlier task with it", bed.name());
        assert!(earlier.await.is_ok(), "{}: a panic took an earlier task with it", bed.name());
    });
}

/// `now` never goes backwards, also from task to task, and it is the clock that `sleep_until` waits on: the two
/// agree on what is past.
///
/// # Panics
///
/// When a later `now` is smaller, stands still over a sleep, or is past for one and not for the other.
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
            assert!(again.is_some(), "{}: past for now, but not for sleep_until", bed.name());
        }
    });
}

/// `now`, `sleep_until` and `spawn` may be called from any thread, also one that knows nothing of this runtime,
/// and from inside another runtime. There is one clock for all of them.
///
/// # Panics
///
/// When one of them panics there, or what was started there does not end.
pub fn law_any_thread(bed: &impl TestBed) {
    let runtime = bed.runtime();
    let start = {
        let runtime = runtime.clone();
        move || {
            let now = runtime.now();
            let mut sleep = runtime.sleep_until(now + SHORT);
            // Polled here and awaited elsewhere: the last waker is the one that counts.
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
                panic!("{}: the runtime panicked on a thread of another's", bed.name());
            };
            assert!((before..=after).contains(&now), "{}: another thread has another clock", bed.name());
            sleep.await;
            not_early(bed, runtime.now(), now + SHORT);
            assert!(task.await.is_ok(), "{}: a task from another thread was dropped", bed.name());
        }
    });
}

/// Runs `future` in a task of its own. Its output arrives on the channel, which is cancelled if it has none.
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
