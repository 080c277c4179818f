//! hyper's executor and timer, implemented with a [`Runtime`].

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::FutureExt;
use hyper::rt::{Executor, Sleep, Timer};
use mcp_session_core::{BoxFuture, Runtime};

use crate::streams::Streams;

/// hyper's timer on a [`Runtime`].
#[derive(Debug, Clone)]
pub(crate) struct HyperRuntime(pub(crate) Arc<dyn Runtime>);

/// hyper's executor for the streams of an HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct StreamTasks(pub(crate) Arc<dyn Runtime>, pub(crate) Arc<Streams>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamTasks {
    fn execute(&self, task: F) {
        self.0.spawn(match self.1.take_fresh() {
            Some(stream) => Box::pin(stream.run(task)),
            None => Box::pin(task),
        });
    }
}

impl Timer for HyperRuntime {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(SyncSleep(Mutex::new(self.0.sleep_until(deadline))))
    }

    fn now(&self) -> Instant {
        self.0.now()
    }
}

/// A sleep that is `Sync`, as hyper requires. The mutex is never locked: `poll` has exclusive access.
struct SyncSleep(Mutex<BoxFuture<'static, ()>>);

impl Future for SyncSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).poll_unpin(cx)
    }
}

impl Sleep for SyncSleep {}
