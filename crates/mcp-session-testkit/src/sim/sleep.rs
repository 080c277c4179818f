//! [`Sleep`]: one timer of the simulation.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::executor::{Executor, TimerKey};

/// Registered at its first pending poll and removed on drop, so that virtual time never jumps to a sleep that nobody
/// awaits.
#[derive(Debug)]
pub(super) struct Sleep {
    executor: Arc<Executor>,
    deadline: Instant,
    timer: Option<TimerKey>,
}

impl Sleep {
    pub(super) fn new(executor: Arc<Executor>, deadline: Instant) -> Self {
        Self { executor, deadline, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let waker = cx.waker().clone();
        let mut state = this.executor.lock();
        if state.now >= this.deadline {
            // Counted, because a loop over a past deadline never returns to the executor.
            let livelock = state.count_poll();
            drop(state);
            if livelock {
                this.executor.livelock();
            }
            return Poll::Ready(());
        }
        let key = *this.timer.get_or_insert_with(|| (this.deadline, state.next_id()));
        let replaced = state.timers.insert(key, waker);
        drop(state);
        drop(replaced); // a foreign waker may run code when dropped: never under the lock
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer {
            let removed = self.executor.lock().timers.remove(&key);
            drop(removed); // after the lock, for the same reason
        }
    }
}
