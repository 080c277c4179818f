//! The terminate protocol for a whole endpoint: [`Shutdown`], its phases, its policy and its report.
//!
//! Each session ends by itself, by the deadlines that it gets (`proto::Session::drain`). This module sets the
//! deadlines, counts what is left, and enters the next phase.

mod phase;
mod policy;
mod progress;
mod report;
mod tracker;

use std::{
    fmt,
    future::{Future, IntoFuture},
    sync::Arc,
    time::Instant,
};

use futures::{FutureExt, future::BoxFuture};

use crate::runtime::Runtime;

pub(crate) use phase::Phases;
pub(crate) use policy::{Deadlines, FLUSH};
pub use policy::{ShutdownPhase, ShutdownPolicy};
pub(crate) use progress::Progress;
pub use report::{ExchangeTotals, Failure, PhaseTimes, ShutdownReport, StreamTotals};
pub(crate) use tracker::{Afterword, DrainTracker, Entering, LATE};

/// A handle to a running shutdown. Several tasks can await, tighten or escalate it; dropping it changes nothing (S10).
///
/// ```
/// # use mcp_session_core::{Endpoint, ShutdownPolicy};
/// # use std::time::Duration;
/// # async fn example(endpoint: Endpoint) {
/// let shutdown = endpoint.shutdown(ShutdownPolicy::default());
/// assert!(!endpoint.is_ready());
/// // The same shutdown, with less time.
/// let hurried = endpoint.shutdown(ShutdownPolicy { drain: Duration::from_secs(1), ..Default::default() });
/// let report = shutdown.await;
/// assert_eq!(report, hurried.await); // one outcome
/// # }
/// ```
#[derive(Clone)]
pub struct Shutdown {
    runtime: Arc<dyn Runtime>,
    progress: Arc<Progress>,
}

impl Shutdown {
    pub(crate) fn new(runtime: Arc<dyn Runtime>, progress: Arc<Progress>) -> Self {
        Self { runtime, progress }
    }

    /// The current phase.
    pub fn phase(&self) -> ShutdownPhase {
        self.progress.phase()
    }

    /// The latest end of the shutdown. It only ever moves closer.
    pub fn ceiling(&self) -> Instant {
        self.progress.deadlines().close
    }

    /// When the whole budget is used up, even if phases ended early: for work outside the endpoint.
    pub(crate) fn whole_ceiling(&self) -> Instant {
        self.progress.whole()
    }

    /// The tightest policy so far.
    pub(crate) fn policy(&self) -> ShutdownPolicy {
        self.progress.policy()
    }

    /// Gives the shutdown less time: from now on no phase lasts longer than `policy` says. It never gets more time.
    pub fn tighten(&self, policy: ShutdownPolicy) {
        self.progress.tighten(self.runtime.now(), policy);
    }

    /// Ends the current phase now, as a second signal does: from `LameDuck` or `Draining` to `Cancelling`, from
    /// `Cancelling` to `Finishing`, from `Finishing` to `Closed`.
    pub fn escalate(&self) {
        let next = match self.phase() {
            ShutdownPhase::Running | ShutdownPhase::LameDuck | ShutdownPhase::Draining => {
                ShutdownPhase::Cancelling
            }
            ShutdownPhase::Cancelling => ShutdownPhase::Finishing,
            ShutdownPhase::Finishing | ShutdownPhase::Closed => ShutdownPhase::Closed,
        };
        self.progress.end_present(self.runtime.now(), next);
    }

    /// Waits for the report.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the shutdown.
    pub fn wait(&self) -> impl Future<Output = ShutdownReport> + Send + 'static {
        let progress = Arc::clone(&self.progress);
        async move {
            loop {
                match progress.report() {
                    Ok(report) => return report,
                    Err(changed) => changed.await,
                }
            }
        }
    }
}

impl IntoFuture for Shutdown {
    type Output = ShutdownReport;
    type IntoFuture = BoxFuture<'static, ShutdownReport>;

    fn into_future(self) -> Self::IntoFuture {
        self.wait().boxed()
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
