//! Helpers of the unit tests.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime},
};

use crate::runtime::{BoxFuture, Runtime};

/// The start time of a test. All later times are computed from it.
#[allow(clippy::disallowed_methods, reason = "`Instant` has no other constructor")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// A runtime whose time stands still and which runs no task.
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

    fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}
