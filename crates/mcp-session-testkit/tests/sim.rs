//! The promises of `SimRuntime` beyond the laws of a `Runtime`.

#[path = "sim/replay.rs"]
mod replay;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    thread,
    time::Duration,
};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{join_all, pending, poll_fn, select},
};
use mcp_session_core::{BoxFuture, Runtime};
use mcp_session_testkit::{SimRuntime, behaviour::fixture::yield_now};

const SECOND: Duration = Duration::from_secs(1);

/// Records what tasks did, in order.
type Log<T> = Arc<Mutex<Vec<T>>>;

fn push<T>(log: &Log<T>, entry: T) {
    log.lock().expect("no test panics here").push(entry);
}

fn take<T>(log: &Log<T>) -> Vec<T> {
    std::mem::take(&mut log.lock().expect("no test panics here"))
}

fn sleep(sim: &SimRuntime, duration: Duration) -> BoxFuture<'static, ()> {
    sim.sleep_until(sim.now() + duration)
}

/// The message that `run` panics with.
fn panic_of<T>(run: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).err().expect("a panic");
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref().map(|s: &&str| s.to_string()))
        .unwrap()
}

#[test]
fn time_jumps_and_does_not_pass() {
    let sim = SimRuntime::new(1);
    sim.block_on(sleep(&sim, 100_000 * SECOND));
    assert_eq!(sim.elapsed(), 100_000 * SECOND);
    sim.block_on(async { (0..100).for_each(|_| assert_eq!(sim.elapsed(), 100_000 * SECOND)) });
}

#[test]
fn block_on_stops_at_the_earliest_timer_that_it_needs() {
    let sim = SimRuntime::new(1);
    sim.spawn(sleep(&sim, 10 * SECOND));
    sim.block_on(sleep(&sim, 2 * SECOND));
    assert_eq!((sim.elapsed(), sim.tasks(), sim.timers()), (2 * SECOND, 1, 1));
    sim.advance(7 * SECOND);
    assert_eq!((sim.elapsed(), sim.tasks(), sim.timers()), (9 * SECOND, 1, 1));
    sim.advance(SECOND);
    assert_eq!((sim.elapsed(), sim.tasks(), sim.timers()), (10 * SECOND, 0, 0));
}

#[test]
fn a_dropped_sleep_does_not_pull_time_along() {
    let sim = SimRuntime::new(1);
    sim.block_on(async {
        select(sleep(&sim, SECOND), sleep(&sim, 9 * SECOND)).await; // drops the longer one
    });
    assert_eq!((sim.elapsed(), sim.timers()), (SECOND, 0));
    let never_polled = sleep(&sim, SECOND);
    sim.run_until_stalled();
    assert_eq!(sim.timers(), 0);
    drop(never_polled);
}

#[test]
fn advance_runs_everything_on_the_way_in_order_at_its_time() {
    for seed in 0..20 {
        let sim = SimRuntime::new(seed);
        let log = Log::default();
        for seconds in [5, 1, 3, 12] {
            let (sim2, log) = (sim.clone(), log.clone());
            sim.spawn(
                async move {
                    sleep(&sim2, seconds * SECOND).await;
                    push(&log, sim2.elapsed());
                    sleep(&sim2, SECOND / 2).await; // set on the way, due on the way
                    push(&log, sim2.elapsed());
                }
                .boxed(),
            );
        }
        sim.advance(10 * SECOND);
        assert_eq!(take(&log), [2, 3, 6, 7, 10, 11].map(|halves| halves * SECOND / 2));
        assert_eq!((sim.elapsed(), sim.tasks()), (10 * SECOND, 1));
    }
}

/// Twenty tasks of a few steps each; returns the order in which the steps ran.
fn schedule(seed: u64) -> Vec<(u32, u32)> {
    let sim = SimRuntime::new(seed);
    let log = Log::default();
    for task in 0..20 {
        let (sim2, log) = (sim.clone(), log.clone());
        sim.spawn(
            async move {
                for step in 0..4 {
                    push(&log, (task, step));
                    yield_now().await;
                }
                sleep(&sim2, SECOND).await; // all at the same time
                push(&log, (task, 4));
            }
            .boxed(),
        );
    }
    sim.advance(SECOND);
    assert_eq!(sim.tasks(), 0);
    take(&log)
}

#[test]
fn a_seed_replays_and_another_seed_differs() {
    for seed in [0, 1, 2, 3, u64::MAX] {
        assert_eq!(schedule(seed), schedule(seed), "seed {seed}");
    }
    let mut orders: Vec<_> = (0..50).map(schedule).collect();
    orders.sort_unstable();
    orders.dedup();
    assert_eq!(orders.len(), 50, "two seeds chose the same order of 100 steps");
}

#[test]
fn seed_zero_is_first_in_first_out() {
    let expected: Vec<_> = (0..5).flat_map(|step| (0..20).map(move |task| (task, step))).collect();
    assert_eq!(schedule(0), expected);
}

#[test]
fn a_deadlock_panics_and_says_where() {
    let sim = SimRuntime::new(42);
    sim.spawn(pending().boxed());
    sim.spawn(pending().boxed());
    let message = panic_of(|| {
        sim.block_on(async {
            sleep(&sim, 3 * SECOND).await;
            pending::<()>().await;
        });
    });
    assert!(message.starts_with("deadlock: "), "{message}");
    for part in ["seed 42", "virtual time 3s", "2 tasks pending"] {
        assert!(message.contains(part), "{message}");
    }
    // The runtime can still be used.
    sim.block_on(sleep(&sim, SECOND));
    assert_eq!(sim.elapsed(), 4 * SECOND);
}

#[test]
fn a_busy_task_is_a_livelock() {
    let busy = |sim: &SimRuntime| {
        sim.spawn(
            async {
                loop {
                    yield_now().await;
                }
            }
            .boxed(),
        );
    };
    for drive in [
        (|sim| sim.run_until_stalled()) as fn(&SimRuntime),
        |sim| sim.advance(SECOND),
        |sim| sim.block_on(pending::<()>()),
    ] {
        let sim = SimRuntime::new(5).with_poll_limit(1_000);
        busy(&sim);
        let message = panic_of(|| drive(&sim));
        assert!(message.starts_with("livelock: ") && message.contains("seed 5"), "{message}");
    }
}

#[test]
fn a_loop_over_a_past_deadline_is_a_livelock() {
    let sim = SimRuntime::new(5).with_poll_limit(1_000);
    let sim2 = sim.clone();
    sim.spawn(
        async move {
            loop {
                sim2.sleep_until(sim2.now()).await; // ready at once: never returns to the executor
            }
        }
        .boxed(),
    );
    let message = panic_of(|| sim.block_on(sleep(&sim, SECOND)));
    assert!(message.starts_with("livelock: "), "{message}");
}

#[test]
fn polls_with_time_moving_on_are_no_livelock() {
    let sim = SimRuntime::new(5).with_poll_limit(100);
    sim.block_on(async {
        for _ in 0..1_000 {
            sleep(&sim, SECOND).await;
        }
    });
    assert_eq!(sim.elapsed(), 1_000 * SECOND);
}

#[test]
fn a_panic_ends_its_task_and_is_stored() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("in the destructor");
        }
    }

    let sim = SimRuntime::new(0);
    let number = 7;
    sim.spawn(async { panic!("a literal") }.boxed());
    sim.spawn(async move { panic!("a format, {number}") }.boxed());
    sim.spawn(async { std::panic::panic_any(7) }.boxed());
    let held = PanicsWhenDropped;
    sim.spawn(
        poll_fn(move |_| {
            let _held = &held; // dropped with the task, after its last poll
            Poll::Ready(())
        })
        .boxed(),
    );
    let held = PanicsWhenDropped;
    sim.spawn(async move { pending::<()>().map(|()| drop(held)).await }.boxed());
    sim.run_until_stalled();
    assert_eq!(sim.panics(), ["a literal", "a format, 7", "a panic without a message", "in the destructor"]);
    assert_eq!(sim.tasks(), 1);
    sim.shutdown();
    assert_eq!((sim.panics().len(), sim.tasks()), (5, 0));
}

#[test]
fn a_panic_of_the_awaited_future_comes_out() {
    let sim = SimRuntime::new(0);
    assert_eq!(panic_of(|| sim.block_on(async { panic!("an assertion") })), "an assertion");
    assert!(sim.panics().is_empty());
    assert_eq!(sim.block_on(async { 1 }), 1);
}

#[test]
fn driving_from_inside_is_refused() {
    let sim = SimRuntime::new(0);
    for nested in [(|sim| sim.block_on(async {})) as fn(&SimRuntime), SimRuntime::run_until_stalled, |sim| {
        sim.advance(SECOND);
    }] {
        let message = panic_of(|| sim.block_on(async { nested(&sim) }));
        assert!(message.contains("already being driven"), "{message}");
    }
    // Another simulation inside is allowed.
    assert_eq!(sim.block_on(async { SimRuntime::new(0).block_on(async { 1 }) }), 1);
}

#[test]
fn nothing_is_left_of_a_runtime_whose_tasks_hold_it() {
    let sim = SimRuntime::new(1);
    let held = Arc::new(());
    let weak: Weak<()> = Arc::downgrade(&held);
    let (runtime, sim2): (Arc<dyn Runtime>, _) = (Arc::new(sim.clone()), sim.clone());
    sim.spawn(
        async move {
            let _held = held;
            sleep(&sim2, SECOND).await;
            runtime.sleep_until(runtime.now() + SECOND).await;
        }
        .boxed(),
    );
    sim.run_until_stalled();
    let clone = sim.clone();
    assert_eq!((clone.tasks(), clone.timers()), (1, 1));
    drop(clone); // a clone owns nothing
    let clone = sim.clone();
    assert_eq!((clone.tasks(), clone.timers(), weak.strong_count()), (1, 1, 1));
    drop(sim);
    assert_eq!((clone.tasks(), clone.timers(), weak.strong_count()), (0, 0, 0));
}

#[test]
fn shutdown_from_inside_a_task_and_spawning_destructors() {
    struct SpawnsWhenDropped(SimRuntime);
    impl Drop for SpawnsWhenDropped {
        fn drop(&mut self) {
            self.0.spawn(async { panic!("must not run") }.boxed());
        }
    }

    for seed in 0..20 {
        let sim = SimRuntime::new(seed);
        for _ in 0..3 {
            let held = SpawnsWhenDropped(sim.clone());
            sim.spawn(async move { pending::<()>().map(|()| drop(held)).await }.boxed());
        }
        let sim2 = sim.clone();
        sim.spawn(
            async move {
                sim2.shutdown();
                yield_now().await;
                panic!("must not go on");
            }
            .boxed(),
        );
        sim.run_until_stalled();
        assert_eq!((sim.tasks(), sim.panics().len()), (0, 0));
    }
}

#[test]
fn many_tasks_leave_nothing_behind() {
    let sim = SimRuntime::new(9);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..1_000).map(|_| oneshot::channel()).unzip();
    for (sender, millis) in senders.into_iter().zip((0..10).cycle()) {
        let sim2 = sim.clone();
        sim.spawn(
            async move {
                sleep(&sim2, Duration::from_millis(millis)).await;
                let _ = sender.send(millis);
            }
            .boxed(),
        );
    }
    assert_eq!(sim.tasks(), 1_000);
    let sum: u64 = sim.block_on(join_all(receivers)).into_iter().map(|millis| millis.expect("sent")).sum();
    assert_eq!(sum, 4_500);
    sim.run_until_stalled();
    assert_eq!((sim.tasks(), sim.timers()), (0, 0));
}

#[test]
fn spawning_and_waking_from_other_threads() {
    let sim = SimRuntime::new(3);
    let (sender, receiver) = oneshot::channel();
    let (sim2, main) = (sim.clone(), thread::current().id());
    sim.spawn(async move { receiver.await.expect("sent") }.boxed());
    sim.run_until_stalled(); // registers the waker
    thread::spawn(move || {
        sender.send(()).expect("the task waits");
        sim2.spawn(async move { assert_eq!(thread::current().id(), main) }.boxed());
    })
    .join()
    .expect("no panic");
    assert_eq!(sim.tasks(), 2); // nothing runs on the other thread
    sim.run_until_stalled();
    assert_eq!((sim.tasks(), sim.panics().len()), (0, 0));
}

#[test]
fn two_wakes_are_one_poll() {
    let sim = SimRuntime::new(0);
    let polls = Arc::new(AtomicU32::new(0));
    let polls2 = polls.clone();
    sim.spawn(
        poll_fn(move |cx| {
            if polls2.fetch_add(1, Ordering::SeqCst) == 0 {
                cx.waker().wake_by_ref();
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .boxed(),
    );
    sim.run_until_stalled();
    assert_eq!(polls.load(Ordering::SeqCst), 2);
}

#[test]
fn a_late_wake_of_a_task_that_ended_does_nothing() {
    let sim = SimRuntime::new(0);
    let waker = sim.block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    waker.wake_by_ref();
    waker.wake();
    sim.run_until_stalled();
    let outlived = sim.block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    drop(sim);
    outlived.wake();
}

#[test]
fn debug_names_the_seed_and_the_counts() {
    let sim = SimRuntime::new(3);
    sim.spawn(pending().boxed());
    let text = format!("{sim:?}");
    assert!(text.contains("seed: 3") && text.contains("tasks: 1"), "{text}");
    assert_eq!(sim.seed(), 3);
}

#[test]
fn a_shutdown_whose_runtime_ends_still_has_a_report() {
    let (sim, other) = (SimRuntime::new(1), SimRuntime::new(2));
    let endpoint =
        mcp_session_core::Endpoint::new(sim.clone(), mcp_session_core::Router::new("gone", "1.0.0"));
    let shutdown = endpoint.shutdown(mcp_session_core::ShutdownPolicy::default());
    sim.shutdown();
    assert!(other.block_on(shutdown.wait()).is_clean());
}

/// A runtime whose tasks pause while it is stopped, as after SIGSTOP, while its clock continues.
#[derive(Debug)]
struct Stoppable(SimRuntime, Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    stopped: std::sync::atomic::AtomicBool,
    goes_on: event_listener::Event,
}

impl Runtime for Stoppable {
    fn now(&self) -> std::time::Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> BoxFuture<'static, ()> {
        self.0.sleep_until(deadline)
    }

    fn spawn(&self, mut task: BoxFuture<'static, ()>) {
        let gate = Arc::clone(&self.1);
        let mut waits: Option<event_listener::EventListener> = None;
        self.0.spawn(Box::pin(poll_fn(move |cx| {
            while gate.stopped.load(Ordering::SeqCst) {
                let listener = waits.get_or_insert_with(|| gate.goes_on.listen());
                if listener.poll_unpin(cx).is_pending() {
                    return Poll::Pending;
                }
                waits = None;
            }
            task.poll_unpin(cx)
        })));
    }

    fn random(&self) -> std::io::Result<[u8; 16]> {
        self.0.random()
    }
}

/// E-14, C-10, C-15: after the process was stopped for longer than a deadline, bytes that clients sent in time are
/// read before the deadline counts. A silent client still expires.
#[test]
fn e_14_what_waits_in_the_sockets_of_a_stopped_process_counts() {
    use mcp_session_testkit::behaviour::fixture::{Fixture, notification, reply, request};
    for seed in 0..20 {
        let sim = SimRuntime::new(seed);
        let gate = Arc::new(Gate::default());
        let fixture = Fixture::on(Arc::new(Stoppable(sim.clone(), Arc::clone(&gate))), |config| {
            config.session.idle_timeout = 30 * SECOND;
            config.session.initialize_timeout = 30 * SECOND;
            config.session.ping_interval = 20 * SECOND;
            config.session.heartbeat = 15 * SECOND;
        });
        sim.block_on(async {
            let (busy, silent) = (fixture.client().await, fixture.client().await);
            let mut half_open = fixture.stranger();
            half_open.initialize("2025-06-18").await;
            let listening = fixture.json_client().await;
            let mut stream = listening.get().await;
            stream.opened().await;
            while stream.message().await.expect("it is open")["method"] != "ping" {}
            for client in [&busy, &silent] {
                assert_eq!(client.post(&request(1, "ping")).await.status, 200);
            }
            gate.stopped.store(true, Ordering::SeqCst);
            sleep(&sim, 32 * SECOND).await;
            gate.stopped.store(false, Ordering::SeqCst);
            gate.goes_on.notify(usize::MAX);
            sleep(&sim, Duration::from_millis(100)).await; // timers come first
            assert_eq!(busy.post(&request(2, "echo")).await.status, 200);
            assert_eq!(half_open.post(&notification("notifications/initialized")).await.status, 202);
            assert_eq!(listening.post(&reply(0, serde_json::json!({}))).await.status, 202);
            sleep(&sim, 2 * SECOND).await;
            assert_eq!(silent.post(&request(2, "echo")).await.status, 404);
            for client in [&busy, &half_open, &listening] {
                assert_eq!(client.post(&request(3, "echo")).await.status, 200);
            }
            assert_eq!((fixture.endpoint.stats().streams, fixture.endpoint.stats().pings_unanswered), (1, 0));
        });
    }
}
