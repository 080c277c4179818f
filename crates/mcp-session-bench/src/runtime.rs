//! Runtimes for work without a socket: each polls a task once, on request, and keeps pending tasks. Hooks are ready by then,
//! and no deadline fires during a measurement.

use std::{
    cell::RefCell,
    fmt, io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::Instant,
};

use futures::{FutureExt as _, future::pending};
use mcp_session_core::{BoxFuture, Runtime};

/// A runtime whose tasks are polled by whoever has called core.
pub(crate) trait PollNew: Runtime {
    /// Polls each new task once.
    fn poll_new(&self);
}

#[derive(Default)]
struct Tasks {
    new: Vec<BoxFuture<'static, ()>>,
    pending: Vec<BoxFuture<'static, ()>>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

/// A runtime for one thread. The ids of its sessions are multiples of 64, so that all are in one shard of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inline(Arc<Mutex<(Tasks, u64)>>);

impl Inline {
    fn lock(&self) -> MutexGuard<'_, (Tasks, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of tasks that were not ready.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        self.lock().0.pending.len()
    }
}

impl PollNew for Inline {
    fn poll_new(&self) {
        let new = mem::take(&mut self.lock().0.new);
        for mut task in new {
            if task.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending() {
                self.lock().0.pending.push(task);
            }
        }
    }
}

impl Runtime for Inline {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, _: Instant) -> BoxFuture<'static, ()> {
        Box::pin(pending())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.lock().0.new.push(task);
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let ids = &mut self.lock().1;
        *ids += 64;
        Ok((u128::from(*ids) | u128::from(*ids) << 64).to_le_bytes())
    }
}

/// A runtime that shares nothing among threads: each polls the tasks that were spawned on it, and has random ids of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct PerThread;

thread_local! {
    static TASKS: RefCell<Tasks> = RefCell::default();
}

impl PerThread {
    /// Drops the tasks of this thread, which keep what they work for.
    pub(crate) fn drop_pending() {
        loop {
            let Tasks { new, pending } = TASKS.take();
            if new.is_empty() && pending.is_empty() {
                return;
            }
        }
    }
}

impl PollNew for PerThread {
    fn poll_new(&self) {
        let new = TASKS.with_borrow_mut(|tasks| mem::take(&mut tasks.new));
        for mut task in new {
            if task.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending() {
                TASKS.with_borrow_mut(|tasks| tasks.pending.push(task));
            }
        }
    }
}

impl Runtime for PerThread {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, _: Instant) -> BoxFuture<'static, ()> {
        Box::pin(pending())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        TASKS.with_borrow_mut(|tasks| tasks.new.push(task));
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        Ok(fastrand::u128(..).to_le_bytes())
    }
}
