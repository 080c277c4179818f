//! The terminate protocol for a whole endpoint: [`Shutdown`], its phases, its policy and its report.
//!
//! Each session ends by itself, by the deadlines that it gets (`proto::Session::drain`). This module sets the
//! deadlines, counts what is left, and enters the next phase.

mod phase;
mod policy;
mod report;
mod tracker;

use std::{
    fmt,
    future::{Future, IntoFuture},
    sync::{Arc, Mutex},
    time::Instant,
};

use event_listener::{Event, EventListener};
use futures::{
    FutureExt,
    future::{BoxFuture, select},
};

pub(crate) use phase::Phases;
use policy::Deadlines;
pub use policy::{ShutdownPhase, ShutdownPolicy};
pub use report::{ExchangeTotals, Failure, PhaseTimes, ShutdownReport, StreamTotals};
pub(crate) use tracker::{Afterword, DrainTracker};

use crate::{
    proto::{TerminateReason, after},
    session::{Session, registry::Registry},
    sync::lock,
    trace,
};

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
    registry: Arc<Registry>,
    progress: Arc<Progress>,
}

/// Shared by the task of a shutdown and its handles.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    state: Mutex<State>,
    /// Notified when the deadlines have changed or the report is ready.
    changed: Event,
    tracker: Arc<DrainTracker>,
}

#[derive(Debug)]
struct State {
    /// The current phase. Under the same lock as the deadlines, so that `tighten` sees both consistently.
    phase: ShutdownPhase,
    /// The tightest policy so far.
    policy: ShutdownPolicy,
    deadlines: Deadlines,
    /// When the whole budget is used up. Does not move when a phase ends early.
    whole: Instant,
    /// The deadlines were tightened, and sessions do not know it yet.
    stale: bool,
    report: Option<ShutdownReport>,
}

impl Progress {
    pub(crate) fn new(now: Instant, policy: ShutdownPolicy) -> Self {
        let deadlines = Deadlines::new(now, &policy);
        let phase = ShutdownPhase::LameDuck;
        let whole = deadlines.close;
        let state = State { phase, policy, deadlines, whole, stale: false, report: None };
        Self { begun: now, state: Mutex::new(state), changed: Event::new(), tracker: Arc::default() }
    }

    /// Gives the current and all later phases the budget of the tightest policy so far. Deadlines only ever come
    /// closer, and phases that are over get no new budget (S10). After `Closed` nothing changes: the rest of the last phase
    /// belongs to the server's connections.
    pub(crate) fn tighten(&self, now: Instant, policy: ShutdownPolicy) {
        self.update(|state| {
            state.policy = state.policy.min(policy);
            let spent = now.saturating_duration_since(self.begun);
            state.whole = state.whole.min(after(now, state.policy.ceiling().saturating_sub(spent)));
            state.hurry(now, state.phase);
        });
    }

    /// Enters `phase` now, perhaps early. Sessions need not be told: one that only waits for its client to read is
    /// closed at the ceiling, wherever that is by then.
    fn enter(&self, now: Instant, phase: ShutdownPhase) {
        self.update(|state| {
            state.phase = phase;
            if phase != ShutdownPhase::Closed {
                state.tighten(now, phase);
            }
        });
    }

    /// Ends all phases before `next`.
    fn end_present(&self, now: Instant, next: ShutdownPhase) {
        self.update(|state| {
            state.whole = state.whole.min(Deadlines::new(now, &state.policy.from(next)).close);
            state.hurry(now, next);
        });
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        {
            let mut state = lock(&self.state);
            if state.phase == ShutdownPhase::Closed {
                return;
            }
            change(&mut state);
        }
        self.changed.notify(usize::MAX);
    }

    fn deadlines(&self) -> Deadlines {
        lock(&self.state).deadlines
    }

    /// The report, or a listener to wait for it.
    fn report(&self) -> Result<ShutdownReport, EventListener> {
        let state = lock(&self.state);
        state.report.clone().ok_or_else(|| self.changed.listen())
    }
}

impl State {
    fn tighten(&mut self, now: Instant, phase: ShutdownPhase) {
        self.deadlines = self.deadlines.min(Deadlines::new(now, &self.policy.from(phase)));
    }

    fn hurry(&mut self, now: Instant, phase: ShutdownPhase) {
        let before = self.deadlines;
        self.tighten(now, phase);
        self.stale |= self.deadlines != before;
    }
}

impl Shutdown {
    pub(crate) fn new(registry: Arc<Registry>, progress: Arc<Progress>) -> Self {
        Self { registry, progress }
    }

    /// The current phase.
    pub fn phase(&self) -> ShutdownPhase {
        self.registry.phase()
    }

    /// The latest end of the shutdown. It only ever moves closer.
    pub fn ceiling(&self) -> Instant {
        self.progress.deadlines().close
    }

    /// When the whole budget is used up, even if phases ended early: for work outside the endpoint.
    pub(crate) fn whole_ceiling(&self) -> Instant {
        lock(&self.progress.state).whole
    }

    /// The tightest policy so far.
    pub(crate) fn policy(&self) -> ShutdownPolicy {
        lock(&self.progress.state).policy
    }

    /// Gives the shutdown less time: from now on no phase lasts longer than `policy` says. It never gets more time.
    pub fn tighten(&self, policy: ShutdownPolicy) {
        self.progress.tighten(self.registry.env.runtime.now(), policy);
    }

    /// Ends the current phase now, as a second signal does: from `LameDuck` or `Draining` to `Cancelling`, from
    /// `Cancelling` to `Finishing`, from `Finishing` to `Closed`.
    pub fn escalate(&self) {
        let now = self.registry.env.runtime.now();
        let next = match self.phase() {
            ShutdownPhase::Running | ShutdownPhase::LameDuck | ShutdownPhase::Draining => {
                ShutdownPhase::Cancelling
            }
            ShutdownPhase::Cancelling => ShutdownPhase::Finishing,
            ShutdownPhase::Finishing | ShutdownPhase::Closed => ShutdownPhase::Closed,
        };
        self.progress.end_present(now, next);
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

/// Spawns the task of a shutdown. The endpoint is not ready from now on.
pub(crate) fn start(registry: &Arc<Registry>, progress: &Arc<Progress>) {
    let task = Task {
        registry: Arc::clone(registry),
        progress: Arc::clone(progress),
        times: PhaseTimes::default(),
        entered: progress.begun,
    };
    trace::shutdown_phase(ShutdownPhase::LameDuck, &registry.stats());
    registry.env.runtime.spawn_keeper(task.run().boxed());
}

/// The task of a shutdown.
struct Task {
    registry: Arc<Registry>,
    progress: Arc<Progress>,
    times: PhaseTimes,
    entered: Instant,
}

impl Task {
    async fn run(mut self) {
        let tracker = Arc::clone(&self.progress.tracker);
        self.wait(|| false, |deadlines| deadlines.drain).await;

        self.enter(ShutdownPhase::Draining);
        self.drain_sessions();
        self.wait(|| !tracker.is_busy(), |deadlines| deadlines.cancel).await;

        if tracker.running() > 0 {
            self.enter(ShutdownPhase::Cancelling);
            self.wait(|| tracker.running() == 0, |deadlines| deadlines.finish).await;
        }

        self.enter(ShutdownPhase::Finishing);
        self.wait(|| tracker.open() == 0, |deadlines| deadlines.close).await;

        self.close();
    }

    fn close(&mut self) {
        self.close_sessions();
        self.enter(ShutdownPhase::Closed);
        let took = self.entered.saturating_duration_since(self.progress.begun);
        let report = self.progress.tracker.report(self.times, took);
        lock(&self.progress.state).report = Some(report);
        self.progress.changed.notify(usize::MAX);
        if let Some(node) = self.registry.env.node.clone() {
            node.clone().spawn(async move { node.leave().await }); // the report does not wait for it (S13)
        }
    }

    fn enter(&mut self, phase: ShutdownPhase) {
        let now = self.registry.env.runtime.now();
        self.times.add(self.registry.phase(), now.saturating_duration_since(self.entered));
        self.entered = now;
        self.progress.enter(now, phase);
        self.registry.env.phases.set(phase);
        trace::shutdown_phase(phase, &self.registry.stats());
    }

    /// Gives every session the current deadlines. The first time, what is live in the session is counted.
    fn drain_sessions(&self) {
        let deadlines = {
            let mut state = lock(&self.progress.state);
            state.stale = false;
            state.deadlines
        };
        Session::each(self.registry.sessions(), |session| {
            session
                .enroll(&self.progress.tracker, |machine, now| machine.drain(now, &deadlines.schedule(now)));
        });
    }

    /// Closes the remaining sessions by force. From now on every id answers 404 (S2).
    fn close_sessions(&self) {
        let tracker = &self.progress.tracker;
        tracker.fail_unfinished(self.progress.deadlines().close);
        Session::each(self.registry.sessions(), |session| {
            session.enroll(tracker, |machine, now| machine.close(now, TerminateReason::Shutdown));
        });
    }

    /// Waits until `done` or the deadline, which may be moved closer meanwhile.
    async fn wait(&self, done: impl Fn() -> bool, deadline: impl Fn(&Deadlines) -> Instant) {
        let Progress { state, changed, tracker, .. } = &*self.progress;
        let runtime = &self.registry.env.runtime;
        loop {
            let (tightened, progressed) = (changed.listen(), tracker.changed.listen());
            let (stale, at) = {
                let state = lock(state);
                (state.stale, deadline(&state.deadlines))
            };
            if stale && self.registry.phase() >= ShutdownPhase::Draining {
                self.drain_sessions();
                continue;
            }
            if done() || runtime.now() >= at {
                return;
            }
            select(runtime.sleep_until(at), select(tightened, progressed)).await;
        }
    }
}

/// If the runtime ends and drops the task, waiters still get the report.
impl Drop for Task {
    fn drop(&mut self) {
        if self.registry.phase() != ShutdownPhase::Closed {
            self.close();
        }
    }
}

#[cfg(test)]
mod tests;
