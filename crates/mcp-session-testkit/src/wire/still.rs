//! [`Still`]: a runtime whose timers can be held up.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant, SystemTime},
};

use futures::{
    channel::oneshot,
    future::{Either, select},
};
use mcp_session_core::{BoxFuture, Runtime};

/// How often a timer that is held up looks whether it still is.
const LOOK: Duration = Duration::from_millis(2);

/// A runtime on which no timer fires for as long as the scenario wants: what happens meanwhile waits for no time to pass.
#[derive(Debug, Clone)]
pub(super) struct Still {
    inner: Arc<dyn Runtime>,
    stands_still: Arc<AtomicBool>,
}

impl Still {
    /// Creates a runtime whose timers are those of `inner` at first.
    pub(super) fn new(inner: Arc<dyn Runtime>) -> Self {
        Self { inner, stands_still: Arc::default() }
    }

    /// From now on no timer fires, not even one that was started before.
    pub(super) fn stand_still(&self) {
        self.stands_still.store(true, SeqCst);
    }

    /// From now on timers fire again, and those that are due fire soon.
    pub(super) fn go_on(&self) {
        self.stands_still.store(false, SeqCst);
    }
}

impl Runtime for Still {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let runtime = self.clone();
        let (mut fire, fired) = oneshot::channel();
        // A task of its own: whoever sleeps is not even woken while timers are held up.
        self.inner.spawn(Box::pin(async move {
            let due = pin!(async {
                runtime.inner.sleep_until(deadline).await;
                while runtime.stands_still.load(SeqCst) {
                    let look = runtime.inner.now() + LOOK;
                    runtime.inner.sleep_until(look).await;
                }
            });
            if let Either::Left(_) = select(due, fire.cancellation()).await {
                let _ = fire.send(()); // whoever slept may have left
            }
        }));
        Box::pin(async {
            let _ = fired.await; // it fails if the runtime ends
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }

    fn spawn_keeper(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn_keeper(task);
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.inner.random()
    }

    fn system_time(&self) -> SystemTime {
        self.inner.system_time()
    }
}
