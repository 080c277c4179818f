//! [`Progress`]: the deadlines of a running shutdown, its phase, and its report.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use event_listener::{Event, EventListener};
use mcp_session_proto::after;

use super::{
    phase::Phases,
    policy::{Deadlines, ShutdownPhase, ShutdownPolicy},
    report::ShutdownReport,
    tracker::DrainTracker,
};
use crate::sync::lock;

/// Shared by the task of a shutdown and its handles.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) begun: Instant,
    /// The current phase. Entered under the lock of the state, so that `tighten` sees both consistently.
    phases: Arc<Phases>,
    state: Mutex<State>,
    /// Notified when the deadlines have changed or the report is ready.
    pub(crate) changed: Event,
    pub(crate) tracker: Arc<DrainTracker>,
}

#[derive(Debug)]
struct State {
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
    /// A shutdown begins, and enters `LameDuck`.
    pub(crate) fn new(now: Instant, policy: ShutdownPolicy, phases: Arc<Phases>) -> Self {
        phases.enter(ShutdownPhase::LameDuck);
        phases.notify();
        let deadlines = Deadlines::new(now, &policy);
        let whole = deadlines.close;
        let state = Mutex::new(State { policy, deadlines, whole, stale: false, report: None });
        Self { begun: now, phases, state, changed: Event::new(), tracker: Arc::default() }
    }

    /// Gives the current and all later phases the budget of the tightest policy so far. Deadlines only ever come
    /// closer, and phases that are over get no new budget (S10). After `Closed` nothing changes: the rest of the last phase
    /// belongs to the server's connections.
    pub(crate) fn tighten(&self, now: Instant, policy: ShutdownPolicy) {
        self.update(|state| {
            state.policy = state.policy.min(policy);
            let spent = now.saturating_duration_since(self.begun);
            state.whole = state.whole.min(after(now, state.policy.ceiling().saturating_sub(spent)));
            state.hurry(now, self.phase());
        });
    }

    /// Enters `phase` now, perhaps early. If a policy that was given meanwhile leaves the phase less time than sessions
    /// know of, they have to be told: they answer for their handlers at its end. From `Finishing` on they need not be: one
    /// that only waits for its client to read is closed at the ceiling, wherever that is by then.
    pub(crate) fn enter(&self, now: Instant, phase: ShutdownPhase) {
        self.update(|state| {
            self.phases.enter(phase);
            match phase {
                ShutdownPhase::Closed => {}
                ShutdownPhase::Finishing => state.tighten(now, phase),
                _ => state.hurry(now, phase),
            }
        });
        self.phases.notify();
    }

    /// Ends all phases before `next`.
    pub(super) fn end_present(&self, now: Instant, next: ShutdownPhase) {
        self.update(|state| {
            state.whole = state.whole.min(Deadlines::new(now, &state.policy.from(next)).close);
            state.hurry(now, next);
        });
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        {
            let mut state = lock(&self.state);
            if self.phase() == ShutdownPhase::Closed {
                return;
            }
            change(&mut state);
        }
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        lock(&self.state).deadlines
    }

    pub(super) fn phase(&self) -> ShutdownPhase {
        self.phases.get()
    }

    /// When the whole budget is used up, even if phases ended early.
    pub(super) fn whole(&self) -> Instant {
        lock(&self.state).whole
    }

    pub(super) fn policy(&self) -> ShutdownPolicy {
        lock(&self.state).policy
    }

    /// Returns `true` if sessions do not know the current deadlines.
    pub(crate) fn is_stale(&self) -> bool {
        lock(&self.state).stale
    }

    /// The current deadlines, for all sessions.
    pub(crate) fn take_stale(&self) -> Deadlines {
        let mut state = lock(&self.state);
        state.stale = false;
        state.deadlines
    }

    /// Ends the shutdown with this report.
    pub(crate) fn finish(&self, report: ShutdownReport) {
        lock(&self.state).report = Some(report);
        self.changed.notify(usize::MAX);
    }

    /// The report, or a listener to wait for it.
    pub(super) fn report(&self) -> Result<ShutdownReport, EventListener> {
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
