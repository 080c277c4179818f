//! [`Process`]: a process with an endpoint, which can be stopped and killed.

use std::{
    collections::BTreeMap,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use mcp_session_core::{BoxFuture, Runtime};

use super::world::World;
use crate::SimRuntime;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Runs,
    /// Stopped, as by SIGSTOP.
    Paused,
    /// Gone, as by SIGKILL: nothing of it ever runs again.
    Killed,
}

/// A process: the tasks of one endpoint, and of its connections.
pub(super) struct Process {
    state: Mutex<State>,
}

struct State {
    life: Life,
    /// The wakers of its tasks, by their numbers.
    wakers: BTreeMap<u64, Waker>,
    next: u64,
    /// How long it has been stopped so far.
    stopped: Duration,
    stopped_at: Option<Instant>,
}

impl Process {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            life: Life::Runs,
            wakers: BTreeMap::new(),
            next: 0,
            stopped: Duration::ZERO,
            stopped_at: None,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn life(&self) -> Life {
        self.lock().life
    }

    /// Stops it, lets it go on, or kills it. A killed process stays killed.
    pub(super) fn enter(&self, life: Life, now: Instant) {
        let wakers: Vec<_> = {
            let mut state = self.lock();
            if state.life == Life::Killed {
                return;
            }
            if let Some(at) = state.stopped_at.take() {
                state.stopped += now - at;
            }
            state.stopped_at = (life == Life::Paused).then_some(now);
            state.life = life;
            state.wakers.values().cloned().collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How long it has been stopped so far.
    pub(super) fn stopped(&self, now: Instant) -> Duration {
        let state = self.lock();
        state.stopped + state.stopped_at.map_or(Duration::ZERO, |at| now - at)
    }

    /// `task`, as a part of this process.
    pub(super) fn run(
        self: &Arc<Self>,
        world: Weak<World>,
        task: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, ()> {
        let number = {
            let mut state = self.lock();
            state.next += 1;
            state.next
        };
        Box::pin(Task { process: Arc::clone(self), world, number, task: Some(task) })
    }
}

/// A task of a process. It is not polled while the process is stopped, and dropped when it is killed.
struct Task {
    process: Arc<Process>,
    world: Weak<World>,
    number: u64,
    task: Option<BoxFuture<'static, ()>>,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let life = {
            let mut state = self.process.lock();
            state.wakers.insert(self.number, cx.waker().clone());
            state.life
        };
        let polled = match (life, &mut self.task) {
            (Life::Paused, _) => return Poll::Pending,
            (Life::Killed, task) => {
                drop(task.take());
                Poll::Ready(())
            }
            (Life::Runs, Some(task)) => task.as_mut().poll(cx),
            (Life::Runs, None) => Poll::Ready(()),
        };
        if polled.is_ready() {
            self.task = None;
        }
        if let Some(world) = self.world.upgrade() {
            world.check();
        }
        polled
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.process.lock().wakers.remove(&self.number);
    }
}

/// The runtime of an endpoint in a process.
pub(super) struct ProcessRuntime {
    pub(super) sim: SimRuntime,
    pub(super) process: Arc<Process>,
    pub(super) world: Weak<World>,
}

impl fmt::Debug for ProcessRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessRuntime").finish_non_exhaustive()
    }
}

impl Runtime for ProcessRuntime {
    fn now(&self) -> Instant {
        self.sim.now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.sim.sleep_until(deadline)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        if self.process.life() != Life::Killed {
            self.sim.spawn(self.process.run(self.world.clone(), task));
        }
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.sim.random()
    }

    fn system_time(&self) -> SystemTime {
        self.sim.system_time()
    }
}
