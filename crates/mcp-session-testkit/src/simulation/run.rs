//! Runs one plan.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{join, join_all, select},
};
use mcp_session_core::Runtime;

use super::{
    book::{Book, Violation, undelivered},
    client::Client,
    coverage::Coverage,
    log,
    network::sleep,
    plan::Plan,
    probe::probe,
    world::World,
};
use crate::SimRuntime;

/// What a run has shown.
pub(super) struct Outcome {
    pub(super) violation: Option<Violation>,
    pub(super) trace: String,
    pub(super) coverage: Coverage,
}

/// The longest time that clients have for their steps.
const STEPS: Duration = Duration::from_secs(120);

/// How long everything may take after the last shutdown has begun: stopped nodes, and slow readers.
const END: Duration = Duration::from_secs(300);

/// How many polls without time moving on are too many.
const POLLS: u64 = 200_000;

pub(super) fn run(plan: Plan, traced: bool) -> Outcome {
    let plan = Arc::new(plan);
    log::with_log(plan.log_panics, plan.seed, || run_quietly(&plan, traced))
}

fn run_quietly(plan: &Arc<Plan>, traced: bool) -> Outcome {
    let sim = SimRuntime::new(plan.order).with_poll_limit(POLLS);
    let world = World::new(&sim, Arc::clone(plan), Book::new(&sim, plan, traced));
    let ran = catch_unwind(AssertUnwindSafe(|| {
        sim.block_on(drive(Arc::clone(&world)));
        sim.run_until_stalled();
    }));
    if let Err(panic) = ran {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.book().violation("hangs", || text.unwrap_or_default());
    }
    let (tasks, timers, panics) = (sim.tasks(), sim.timers(), sim.panics());
    let mut book = world.book();
    if !panics.is_empty() {
        book.violation("panic", || format!("in a task: {panics:?}"));
    }
    if (tasks, timers) != (0, 0) {
        book.violation("left", || format!("{tasks} tasks and {timers} timers at the end"));
    }
    let (violation, trace, coverage) = book.take();
    drop(book);
    sim.shutdown();
    Outcome { violation, trace, coverage }
}

async fn drive(world: Arc<World>) {
    let sim = world.sim.clone();
    let events = events(Arc::clone(&world)).boxed();
    let clients = join_all((0..world.plan.clients.len()).map(|number| {
        let (done, finished) = oneshot::channel();
        let client = Client::new(&world, number);
        sim.spawn(Box::pin(async move {
            client.live().await;
            let _ = done.send(()); // the time for it may be over
        }));
        finished
    }));
    let steps = select(clients, sim.sleep_until(sim.now() + STEPS));
    join(events, steps).await;
    sleep(&sim, 1_000).await;
    if world.plan.seed % 2 == 0 {
        outlast(&world).await;
    }

    probe(&world).await;

    for node in 0..world.plan.nodes {
        world.shut_down(node, world.plan.limits.last, true);
    }
    let end = sim.now() + END;
    while sim.now() < end && !(world.book().all_closed() && world.clients() == 0) {
        if world.book().is_violated() {
            return; // the first one counts
        }
        sleep(&sim, 100).await;
    }
    let waiting = world.clients();
    if waiting > 0 {
        world.book().violation("hangs", || format!("{waiting} requests of clients have no end"));
    }
    for (node, stats) in world.end() {
        if undelivered(&stats) != 0 || stats.exchanges + stats.streams + stats.sessions > 0 {
            world.book().violation("left", || format!("node {node}: {stats:?}"));
        }
    }
    sleep(&sim, 120_000).await; // hooks and stores that hang
    world.book().finish();
}

/// Waits until everything that nobody uses must have ended by itself.
async fn outlast(world: &World) {
    let config = &world.plan.limits.config.session;
    let kept = config.replay.as_ref().map_or(Duration::ZERO, |replay| replay.age);
    let (idle, minute) = (config.idle_timeout.max(config.initialize_timeout), Duration::from_secs(60));
    if idle > minute || kept > minute {
        return; // too many heartbeats for what there is to see
    }
    // A call whose client left is given up, and then its session is idle.
    // First its stream may have to end, because nobody answers its pings.
    for _ in 0..2 {
        world.sim.sleep_until(world.sim.now() + idle * 2 + kept * 2 + minute).await;
        if world.clients() > 0 {
            return; // somebody may be in need of something
        }
    }
    let running = world.running();
    let mut book = world.book();
    if book.may_be_late() {
        return;
    }
    for (node, stats) in running {
        if stats.sessions + stats.exchanges + stats.streams > 0 {
            book.violation("left", || format!("nobody uses node {node}, and it has {stats:?}"));
        }
    }
}

async fn events(world: Arc<World>) {
    let begun = world.sim.now();
    for event in &world.plan.events {
        world.sim.sleep_until(begun + Duration::from_millis(event.at)).await;
        world.happens(event.node, &event.what);
    }
}
