//! The executor behind [`SimRuntime`](super::SimRuntime): tasks, timers and the seeded choice.
//!
//! One lock guards everything. No foreign code (a poll, a wake, a destructor) runs while it is held.

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use futures::{
    future::BoxFuture,
    task::{ArcWake, waker_ref},
};

/// Far above what a scenario polls at one instant, and still only seconds of work.
const POLL_LIMIT: u64 = 10_000_000;

/// Deadline first, so that the map is sorted by time; the number keeps equal deadlines apart.
pub(super) type TimerKey = (Instant, u64);

pub(super) struct Executor {
    pub(super) seed: u64,
    base: Instant,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) now: Instant,
    pub(super) poll_limit: u64,
    /// `None` while the task is being polled.
    pub(super) tasks: BTreeMap<u64, Option<BoxFuture<'static, ()>>>,
    pub(super) timers: BTreeMap<TimerKey, Waker>,
    pub(super) panics: Vec<String>,
    ready: VecDeque<Arc<Node>>,
    /// `None` for seed 0: first in, first out.
    rng: Option<Rng>,
    /// For `Runtime::random`. Apart from `rng`, so that one more id does not change the schedule.
    pub(super) ids: Rng,
    /// Polls since time last moved.
    polls: u64,
    last_id: u64,
    running: bool,
    closed: bool,
}

impl Executor {
    pub(super) fn new(seed: u64) -> Self {
        let base = Instant::now();
        let state = State {
            now: base,
            poll_limit: POLL_LIMIT,
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            panics: Vec::new(),
            ready: VecDeque::new(),
            rng: (seed != 0).then(|| Rng::with_seed(seed)),
            ids: Rng::with_seed(Rng::with_seed(seed).u64(..)),
            polls: 0,
            last_id: 0,
            running: false,
            closed: false,
        };
        Self { seed, base, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing foreign runs under the lock, so a poisoned state is still a consistent one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.lock().now - self.base
    }

    pub(super) fn spawn(self: &Arc<Self>, task: BoxFuture<'static, ()>) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return self.drop_task(task);
        }
        let node = self.queue(&mut state);
        state.tasks.insert(node.id, Some(task));
    }

    /// Queues the future of `block_on`, which has a place in the order but is not in `tasks`.
    pub(super) fn queue_main(self: &Arc<Self>) -> Arc<Node> {
        self.queue(&mut self.lock())
    }

    fn queue(self: &Arc<Self>, state: &mut State) -> Arc<Node> {
        let node = Arc::new(Node {
            id: state.next_id(),
            queued: AtomicBool::new(true),
            executor: Arc::downgrade(self),
        });
        state.ready.push_back(node.clone());
        node
    }

    /// Marks the simulation as driven until the guard is dropped.
    #[track_caller]
    pub(super) fn enter(&self) -> Running<'_> {
        let already = std::mem::replace(&mut self.lock().running, true);
        assert!(!already, "this SimRuntime is already being driven: inside a task, await instead");
        Running(self)
    }

    pub(super) fn run_ready(&self) {
        while let Some(node) = self.next_ready() {
            self.poll_task(&node);
        }
    }

    /// Takes the task to be polled next: the oldest, or the one that the seed picks.
    pub(super) fn next_ready(&self) -> Option<Arc<Node>> {
        let mut state = self.lock();
        let State { ready, rng, .. } = &mut *state;
        let index = match rng {
            Some(rng) if !ready.is_empty() => rng.usize(..ready.len()),
            _ => 0,
        };
        let node = ready.swap_remove_front(index)?;
        let livelock = state.count_poll();
        drop(state);
        if livelock {
            self.livelock();
        }
        // Before the poll, so that a wake during it queues the task again.
        node.queued.store(false, Ordering::SeqCst);
        Some(node)
    }

    /// Polls a task. A node without a task is a late wake of one that has ended: nothing happens.
    pub(super) fn poll_task(&self, node: &Arc<Node>) {
        let Some(mut task) = self.lock().tasks.get_mut(&node.id).and_then(Option::take) else {
            return;
        };
        let waker = waker_ref(node);
        let mut cx = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut cx)));
        match polled {
            Ok(poll) if poll.is_pending() => {
                if let Some(slot) = self.lock().tasks.get_mut(&node.id) {
                    *slot = Some(task);
                    return;
                }
                // Shut down from inside: there is no slot to return to.
            }
            Ok(_) => {}
            Err(panic) => self.store_panic(&*panic),
        }
        // The task counts as live until its destructors have run.
        self.drop_task(task);
        self.lock().tasks.remove(&node.id);
    }

    /// Moves time to the next timer and wakes all timers that are due then. Returns `false` if there is none, or
    /// none by `until`.
    pub(super) fn jump(&self, until: Option<Instant>) -> bool {
        let mut due = Vec::new();
        let mut state = self.lock();
        let Some(&(deadline, _)) = state.timers.keys().next() else { return false };
        if until.is_some_and(|until| deadline > until) {
            return false;
        }
        state.move_to(deadline);
        let now = state.now;
        while let Some(timer) = state.timers.first_entry().filter(|timer| timer.key().0 <= now) {
            due.push(timer.remove());
        }
        drop(state);
        due.into_iter().for_each(Waker::wake);
        true
    }

    pub(super) fn shutdown(&self) {
        let tasks = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.tasks)
        };
        tasks.into_values().flatten().for_each(|task| self.drop_task(task));
    }

    #[track_caller]
    pub(super) fn deadlock(&self) -> ! {
        panic!("deadlock: nothing is ready and no timer is set ({self:?})")
    }

    #[track_caller]
    pub(super) fn livelock(&self) -> ! {
        panic!("livelock: too many polls without time moving on ({self:?})")
    }

    fn drop_task(&self, task: BoxFuture<'static, ()>) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(task))) {
            self.store_panic(&*panic);
        }
    }

    fn store_panic(&self, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        self.lock().panics.push(text.unwrap_or("a panic without a message").to_owned());
    }
}

impl fmt::Debug for Executor {
    /// What is needed to replay a run; every panic contains it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (elapsed, tasks) = (self.elapsed(), self.lock().tasks.len());
        write!(f, "seed {}, virtual time {elapsed:?}, {tasks} tasks pending", self.seed)
    }
}

impl State {
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Moves the clock forward, never back.
    pub(super) fn move_to(&mut self, time: Instant) {
        if time > self.now {
            self.now = time;
            self.polls = 0;
        }
    }

    /// Counts a poll. Returns `true` if the limit is exceeded.
    pub(super) fn count_poll(&mut self) -> bool {
        self.polls += 1;
        self.polls > self.poll_limit
    }
}

/// A task's place in the ready queue, and its waker.
pub(super) struct Node {
    id: u64,
    queued: AtomicBool,
    /// Weak, because timers hold wakers: a strong one would keep the executor alive through itself.
    executor: Weak<Executor>,
}

impl ArcWake for Node {
    fn wake_by_ref(node: &Arc<Self>) {
        if !node.queued.swap(true, Ordering::SeqCst) {
            if let Some(executor) = node.executor.upgrade() {
                executor.lock().ready.push_back(node.clone());
            }
        }
    }
}

/// Held while a thread drives the simulation.
pub(super) struct Running<'a>(&'a Executor);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().running = false;
        if thread::panicking() {
            eprintln!("simulation: {:?}", self.0);
        }
    }
}
