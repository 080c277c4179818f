//! [`Summary`]: one line a minute of what sessions and requests did. Their own lines are at `DEBUG`.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use event_listener::Event;
use futures::future::select;

#[cfg(feature = "tracing")]
use super::{contain, event, is_enabled};
use crate::{
    contain::Contained,
    metrics::Stats,
    runtime::Runtime,
    sync::counting::{AtomicBool, Ordering::SeqCst},
};

/// How much a line sums up. A minute: what a person who looks at a quiet log expects, and 1,440 lines a day.
const EVERY: Duration = Duration::from_secs(60);

/// Whether anything has happened that the next line sums up. While nothing does, there are no lines and no timers.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    noted: AtomicBool,
    changed: Event,
}

impl Summary {
    /// Something has happened. A line follows within a minute, if anybody listens.
    pub(crate) fn note(&self) {
        #[cfg(feature = "tracing")]
        if is_enabled(tracing::Level::INFO) && !self.noted.load(SeqCst) && !self.noted.swap(true, SeqCst) {
            self.changed.notify(1);
        }
    }

    /// Logs the lines while `work` runs.
    pub(crate) async fn beside(
        &self,
        work: impl Future<Output = ()>,
        runtime: &dyn Runtime,
        stats: impl Fn() -> Stats,
    ) {
        if cfg!(feature = "tracing") {
            select(pin!(work), pin!(self.keep(runtime, stats))).await;
        } else {
            work.await;
        }
    }

    async fn keep(&self, runtime: &dyn Runtime, stats: impl Fn() -> Stats) {
        let mut last = stats();
        loop {
            let changed = self.changed.listen();
            if !self.noted.load(SeqCst) {
                changed.await;
                continue;
            }
            let due: Instant = runtime.now() + EVERY;
            if Contained::new(|| runtime.sleep_until(due)).await.is_err() {
                return std::future::pending().await; // the runtime is ending
            }
            self.noted.store(false, SeqCst); // before the counts are read: what is missing in them gets a line of its own
            let now = stats();
            summed_up(&last, &now);
            last = now;
        }
    }
}

fn summed_up(last: &Stats, now: &Stats) {
    #[cfg(feature = "tracing")]
    event!(
        INFO,
        sessions = now.sessions,
        requests = now.exchanges,
        streams = now.streams,
        opened = now.sessions_created - last.sessions_created,
        ended = now.sessions_terminated - last.sessions_terminated,
        admitted = now.exchanges_admitted - last.exchanges_admitted,
        answered = now.exchanges_answered - last.exchanges_answered,
        synthesized = now.exchanges_synthesized - last.exchanges_synthesized,
        cancelled = now.exchanges_cancelled - last.exchanges_cancelled,
        cut = now.streams_cut - last.streams_cut,
        refused = now.requests_refused - last.requests_refused,
        "in the last minute"
    );
}
