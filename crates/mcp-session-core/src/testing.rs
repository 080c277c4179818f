//! What the machine's tests share.

use std::{sync::OnceLock, time::Instant};

use crate::runtime::{BoxFuture, Runtime};

/// Some point in time, for a test to begin at: everything after it is an argument.
#[allow(clippy::disallowed_methods, reason = "`Instant` has no other constructor")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// A runtime on which time stands still and no task is run.
#[derive(Debug, Default)]
pub(crate) struct Stopped(OnceLock<Instant>);

impl Runtime for Stopped {
    fn now(&self) -> Instant {
        *self.0.get_or_init(start)
    }

    fn sleep_until(&self, _: Instant) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(task);
    }
}
