//! [`Watchers`]: who waits here for a log to grow. [`Absences`]: when a node was last seen, or since when it
//! shows no sign of life.

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
pub(crate) struct Absences(Mutex<HashMap<NodeId, Sign>>);

/// What was last seen of a node.
#[derive(Debug, Clone, Copy)]
enum Sign {
    /// It had a lease at this time.
    Present(Instant),
    /// It has had none since then.
    Absent(Instant),
}

impl Absences {
    pub(crate) fn present(&self, node: NodeId, now: Instant) {
        self.enter(node, Sign::Present(now));
    }

    /// Whether the node had a lease a moment ago: a small part of a lease, so that whoever looks twice in a lease asks each
    /// time.
    pub(crate) fn was_present(&self, node: NodeId, now: Instant, lease: Duration) -> bool {
        let Some(Sign::Present(then)) = self.lock().get(&node).copied() else { return false };
        now.saturating_duration_since(then) < lease / 6
    }

    /// The node has no lease now. Returns `true` if it is gone.
    pub(crate) fn absent(&self, node: NodeId, now: Instant, steady_since: Instant, lease: Duration) -> bool {
        let since = match self.lock().get(&node) {
            Some(Sign::Absent(since)) => *since,
            Some(Sign::Present(_)) | None => now,
        };
        let since = since.max(steady_since);
        self.enter(node, Sign::Absent(since));
        now.saturating_duration_since(since) >= lease / 2
    }

    fn enter(&self, node: NodeId, sign: Sign) {
        let mut signs = self.lock();
        if signs.len() > MANY {
            signs.clear(); // each is found again, a little later
        }
        signs.insert(node, sign);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Sign>> {
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
        absences.present(NodeId(1), start + Duration::from_secs(14));
        assert!(!absent(14.1, 11.5));
    }

    #[test]
    fn a_node_that_was_seen_is_not_looked_for_again_at_once() {
        let (absences, start, lease) = (Absences::default(), Instant::now(), Duration::from_secs(3));
        let seen = |millis| absences.was_present(NodeId(1), start + Duration::from_millis(millis), lease);
        assert!(!seen(0));
        absences.present(NodeId(1), start);
        assert!(seen(499) && !seen(500));
        absences.absent(NodeId(1), start + Duration::from_millis(100), start, lease);
        assert!(!seen(200));
    }
}
