//! [`Activity`]: since when a connection has had nothing to do.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use mcp_session_core::{Runtime, Work};

/// Counts the requests of a connection, from their head to the end of their response.
#[derive(Debug)]
pub(crate) struct Activity {
    runtime: Arc<dyn Runtime>,
    work: Work,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    running: usize,
    used: bool,
    idle_since: Instant,
}

impl Activity {
    /// A connection that has had no request yet.
    pub(crate) fn new(runtime: &Arc<dyn Runtime>, work: Work) -> Arc<Self> {
        let state = State { running: 0, used: false, idle_since: runtime.now() };
        Arc::new(Self { runtime: Arc::clone(runtime), work, state: Mutex::new(state) })
    }

    /// A request has come, and waits for the application. It is over when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.with(|state| (state.running, state.used) = (state.running + 1, true));
        self.work.begin();
        Busy { activity: Arc::clone(self), waits: true }
    }

    /// Whether there was ever a request.
    pub(crate) fn is_used(&self) -> bool {
        self.with(|state| state.used)
    }

    /// Since when no request is running, if none is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.with(|state| (state.running == 0).then_some(state.idle_since))
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request that is running.
#[derive(Debug)]
pub(crate) struct Busy {
    activity: Arc<Activity>,
    waits: bool,
}

impl Busy {
    /// Whether it waits for the application, as against its client.
    pub(crate) fn waits(&mut self, waits: bool) {
        match (self.waits, waits) {
            (false, true) => self.activity.work.begin(),
            (true, false) => self.activity.work.end(),
            (false, false) | (true, true) => {}
        }
        self.waits = waits;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.waits(false);
        let now = self.activity.runtime.now();
        self.activity.with(|state| (state.running, state.idle_since) = (state.running - 1, now));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mcp_session_testkit::SimRuntime;

    use super::*;

    #[test]
    fn idle_is_from_the_end_of_the_last_request() {
        let sim = SimRuntime::new(0);
        let runtime: Arc<dyn Runtime> = Arc::new(sim.clone());
        let (activity, begin) = (Activity::new(&runtime, Work::default()), runtime.now());
        assert_eq!((activity.is_used(), activity.idle_since()), (false, Some(begin)));
        let (first, second) = (activity.begin(), activity.begin());
        sim.advance(Duration::from_secs(1));
        drop(first);
        assert_eq!((activity.is_used(), activity.idle_since()), (true, None));
        sim.advance(Duration::from_secs(1));
        drop(second);
        sim.advance(Duration::from_secs(1));
        assert_eq!(activity.idle_since(), Some(begin + Duration::from_secs(2)));
    }
}
