//! The terminate protocol for a whole endpoint: [`Shutdown`], its phases, its policy and its report.
//!
//! Each session ends by itself, along the deadlines it is given (`proto::Session::drain`). What is here gives the
//! deadlines, counts what is left, and says when the next phase has come.

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

use policy::Deadlines;
pub use policy::{ShutdownPhase, ShutdownPolicy};
pub use report::{ExchangeTotals, Failure, PhaseTimes, ShutdownReport, StreamTotals};
pub(crate) use tracker::{Afterword, DrainTracker};

use crate::{
    manager::Registry,
    proto::{TerminateReason, after},
    session::Session,
    sync::lock,
    trace,
};

/// A shutdown under way. It can be awaited by many, tightened and escalated; dropping it changes nothing (S10).
///
/// ```
/// # use mcp_session_core::{Endpoint, ShutdownPolicy};
/// # use std::time::Duration;
/// # async fn example(endpoint: Endpoint) {
/// let shutdown = endpoint.shutdown(ShutdownPolicy::default());
/// assert!(!endpoint.is_ready());
/// // Somebody is in a hurry: the same shutdown, with less time.
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

/// What the task of a shutdown and its handles share.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    state: Mutex<State>,
    /// The deadlines were changed, or the report is there.
    changed: Event,
    tracker: Arc<DrainTracker>,
}

#[derive(Debug)]
struct State {
    /// The phase that has begun. Under the lock of the deadlines, so that whoever tightens them knows it.
    phase: ShutdownPhase,
    /// The tightest so far.
    policy: ShutdownPolicy,
    deadlines: Deadlines,
    /// When the whole budget is used up. It does not come closer when a phase ends early.
    whole: Instant,
    /// Somebody is in a hurry, and sessions have not been told yet.
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

    /// From the present phase on, every phase has the budget of the tightest policy so far. Deadlines only ever come
    /// closer (S10); phases that are over get no budget again. After the end nothing moves: what was left of the last
    /// phase is what the server's connections have.
    pub(crate) fn tighten(&self, now: Instant, policy: ShutdownPolicy) {
        self.update(|state| {
            state.policy = state.policy.min(policy);
            let spent = now.saturating_duration_since(self.begun);
            state.whole = state.whole.min(after(now, state.policy.ceiling().saturating_sub(spent)));
            state.hurry(now, state.phase);
        });
    }

    /// `phase` begins now, perhaps early. Sessions need not be told: one that has nothing left to do but to be read is
    /// closed at the ceiling, wherever that is by then.
    fn enter(&self, now: Instant, phase: ShutdownPhase) {
        self.update(|state| {
            state.phase = phase;
            if phase != ShutdownPhase::Closed {
                state.tighten(now, phase);
            }
        });
    }

    /// What comes before `next` is over.
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

    /// The report, or the wait for it.
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

    /// Where it stands.
    pub fn phase(&self) -> ShutdownPhase {
        self.registry.phase()
    }

    /// When it is over at the latest. Moves closer only.
    pub fn ceiling(&self) -> Instant {
        self.progress.deadlines().close
    }

    /// When the whole budget is used up, whatever phases ended early: for what is not the endpoint's.
    pub(crate) fn whole_ceiling(&self) -> Instant {
        lock(&self.progress.state).whole
    }

    /// The tightest policy so far.
    pub(crate) fn policy(&self) -> ShutdownPolicy {
        lock(&self.progress.state).policy
    }

    /// Gives it less time: from now on no phase lasts longer than `policy` says. More time than before is not given.
    pub fn tighten(&self, policy: ShutdownPolicy) {
        self.progress.tighten(self.registry.env.runtime.now(), policy);
    }

    /// Ends the present phase now: what a second signal does. From `LameDuck` or `Draining` to Cancelling, from
    /// Cancelling to Finishing, from Finishing to Closed.
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
    /// Dropping the future cancels the wait, not the work.
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

/// Starts the work. From the first moment the endpoint is not ready.
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

/// The work of a shutdown.
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
        self.registry.set_phase(phase);
        trace::shutdown_phase(phase, &self.registry.stats());
    }

    /// Gives every session the present deadlines. The first time, it counts what is live in it.
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

    /// Ends what is left by force. From here on every id answers 404 (S2).
    fn close_sessions(&self) {
        let tracker = &self.progress.tracker;
        tracker.fail_unfinished(self.progress.deadlines().close);
        Session::each(self.registry.sessions(), |session| {
            session.enroll(tracker, |machine, now| machine.close(now, TerminateReason::Shutdown));
        });
    }

    /// Waits until `done` or the deadline, which others may move closer meanwhile.
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

/// A runtime that drops the task, because it ends itself, must not leave anybody waiting for the report.
impl Drop for Task {
    fn drop(&mut self) {
        if self.registry.phase() != ShutdownPhase::Closed {
            self.close();
        }
    }
}

#[cfg(test)]
mod tests;
