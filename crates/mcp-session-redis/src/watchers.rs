//! [`Watchers`]: who waits here for a log to grow. [`Absences`]: since when a node shows no sign of life.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use event_listener::Event;
use mcp_session_core::store::{LogId, NodeId};

#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<HashMap<LogId, Arc<Event>>>);

/// One that waits for a log. Leaves when it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher<'a> {
    watchers: &'a Watchers,
    log: LogId,
    pub(crate) grown: Arc<Event>,
}

impl Watchers {
    pub(crate) fn enter(&self, log: LogId) -> Watcher<'_> {
        let grown = Arc::clone(self.lock().entry(log).or_default());
        Watcher { watchers: self, log, grown }
    }

    pub(crate) fn notify(&self, log: LogId) {
        let grown = self.lock().get(&log).cloned();
        if let Some(grown) = grown {
            grown.notify(usize::MAX);
        }
    }

    /// Anything may have grown.
    pub(crate) fn notify_all(&self) {
        let all: Vec<_> = self.lock().values().cloned().collect();
        for grown in all {
            grown.notify(usize::MAX);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LogId, Arc<Event>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        let mut watchers = self.watchers.lock();
        // Two are left: this one and that in the table.
        if Arc::strong_count(&self.grown) <= 2 {
            watchers.remove(&self.log);
        }
    }
}

/// A node without a lease is gone only if it had none for half a lease, while Redis answered in time: a Redis that stalls lets
/// every lease expire.
#[derive(Debug, Default)]
pub(crate) struct Absences(Mutex<HashMap<NodeId, Instant>>);

impl Absences {
    pub(crate) fn present(&self, node: NodeId) {
        self.lock().remove(&node);
    }

    /// The node has no lease now. Returns `true` if it is gone.
    pub(crate) fn absent(&self, node: NodeId, now: Instant, steady_since: Instant, lease: Duration) -> bool {
        let mut absences = self.lock();
        if absences.len() > MANY {
            absences.clear(); // each is found again, a little later
        }
        let since = absences.entry(node).or_insert(now);
        *since = (*since).max(steady_since);
        now.saturating_duration_since(*since) >= lease / 2
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More nodes than anybody runs, so most of them are gone for long.
const MANY: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_gone_only_after_half_a_lease_of_answers_in_time() {
        let (absences, start, lease) = (Absences::default(), Instant::now(), Duration::from_secs(3));
        let absent = |seconds: f64, steady: f64| {
            let at = |seconds| start + Duration::from_secs_f64(seconds);
            absences.absent(NodeId(1), at(seconds), at(steady), lease)
        };
        assert!(!absent(10.0, 0.0)); // seen once
        assert!(!absent(11.0, 0.0));
        assert!(!absent(11.6, 10.5)); // Redis has stalled meanwhile
        assert!(!absent(12.5, 11.5));
        assert!(absent(13.0, 11.5));
        absences.present(NodeId(1));
        assert!(!absent(14.0, 11.5));
    }
}
