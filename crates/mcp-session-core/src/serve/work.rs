//! [`Work`]: whether a connection waits for the application or for its client.

use std::{future::Future, sync::Arc};

use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The number of requests of a connection that wait for the application, not for their client: see
/// [`ConnectionContext::work`](crate::ConnectionContext::work).
///
/// During a shutdown, a connection whose client does not read is dropped after
/// [`ShutdownPolicy::finish`](crate::ShutdownPolicy::finish); one on which the application is working gets the rest of the
/// whole budget. The adapter tells them apart: a request waits for the application until its response begins, and whenever
/// the response body has nothing ready. A connection that reports nothing is treated as if its client did not read.
#[derive(Debug, Clone, Default)]
pub struct Work(Arc<WorkCounts>);

#[derive(Debug, Default)]
struct WorkCounts {
    waiting: AtomicUsize,
    /// How often a request began to wait.
    changes: AtomicUsize,
}

impl Work {
    /// Records that one more request waits for the application.
    pub fn begin(&self) {
        self.0.waiting.fetch_add(1, Relaxed);
        self.0.changes.fetch_add(1, Relaxed);
    }

    /// Records that a request no longer waits for the application, but for its client.
    pub fn end(&self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }

    /// Awaits `future`; meanwhile a request waits for the application.
    pub async fn during<F: Future>(&self, future: F) -> F::Output {
        /// Ends the wait even if the future is dropped or panics.
        struct During<'a>(&'a Work);
        impl Drop for During<'_> {
            fn drop(&mut self) {
                self.0.end();
            }
        }
        self.begin();
        let _during = During(self);
        future.await
    }

    /// Whether a request waits now, and how often one began to wait.
    pub(super) fn look(&self) -> (bool, usize) {
        (self.0.waiting.load(Relaxed) > 0, self.0.changes.load(Relaxed))
    }
}
