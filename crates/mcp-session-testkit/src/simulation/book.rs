//! [`Book`]: what has happened in a run, and what must be true of it.

mod calls;
mod events;
mod sessions;
mod shutdowns;
mod streams;

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
    time::Instant,
};

use mcp_session_core::{Runtime, SessionId};

use self::{
    calls::{Ask, Call},
    events::Received,
    sessions::Session,
    shutdowns::Node,
    streams::Listener,
};
use super::{
    coverage::Coverage,
    plan::{Plan, StorePlan},
};
use crate::SimRuntime;

pub(super) use self::{calls::Answer, shutdowns::undelivered};

/// What must never happen, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// The name of the invariant.
    pub(super) invariant: &'static str,
    pub(super) text: String,
}

/// When something happened, and after what: time stands still while tasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) at: Instant,
    number: u64,
}

/// The facts of a run.
pub(super) struct Book {
    pub(super) sim: SimRuntime,
    pub(super) plan: Arc<Plan>,
    begun: Instant,
    violation: Option<Violation>,
    /// What happened, as text, if somebody wants to read it.
    trace: Option<String>,
    pub(super) coverage: Coverage,
    calls: Vec<Call>,
    asks: Vec<Ask>,
    sessions: HashMap<SessionId, Session>,
    /// The session of each client.
    of_clients: Vec<Option<SessionId>>,
    /// Which ids of calls clients have cancelled.
    cancels: HashSet<(Option<SessionId>, u64)>,
    nodes: Vec<Node>,
    listeners: Vec<Listener>,
    received: Received,
    broadcasts: u64,
    /// How many notifications are being handled.
    pub(super) notifications: u64,
    /// How many moments there have been.
    moments: u64,
    /// Some node has been killed.
    any_vanished: bool,
    /// Some node has been stopped.
    any_paused: bool,
}

impl Book {
    pub(super) fn new(sim: &SimRuntime, plan: &Arc<Plan>, traced: bool) -> Self {
        Self {
            sim: sim.clone(),
            plan: Arc::clone(plan),
            begun: sim.now(),
            violation: None,
            trace: traced.then(String::new),
            coverage: Coverage::default(),
            calls: Vec::new(),
            asks: Vec::new(),
            sessions: HashMap::new(),
            of_clients: vec![None; plan.clients.len()],
            cancels: HashSet::new(),
            nodes: (0..plan.nodes).map(|_| Node::default()).collect(),
            listeners: Vec::new(),
            received: Received::default(),
            broadcasts: 0,
            notifications: 0,
            moments: 0,
            any_vanished: false,
            any_paused: false,
        }
    }

    /// Adds a line to the trace.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let time = (self.sim.now() - self.begun).as_secs_f64();
            let _ = writeln!(trace, "{time:>9.3}  {}", line()); // a `String` takes everything
        }
    }

    /// This moment. What happens later has a greater one.
    pub(super) fn moment(&mut self) -> Moment {
        self.moments += 1;
        Moment { at: self.sim.now(), number: self.moments }
    }

    /// Says what must never happen. The first one counts.
    pub(super) fn violation(&mut self, invariant: &'static str, text: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let text = text();
            self.note(|| format!("VIOLATION {invariant}: {text}"));
            self.violation = Some(Violation { invariant, text });
        }
    }

    pub(super) fn is_violated(&self) -> bool {
        self.violation.is_some()
    }

    pub(super) fn take(&mut self) -> (Option<Violation>, String, Coverage) {
        let trace = self.trace.take().unwrap_or_default();
        (self.violation.take(), trace, std::mem::take(&mut self.coverage))
    }

    /// Returns `true` if the store may fail, or a message between nodes be late.
    fn faulty_store(&self) -> bool {
        self.plan.store.as_ref().is_some_and(|store| !store.faults.is_none())
    }

    /// Returns `true` if what a node has told the store and other nodes, they know: it is slow at most.
    pub(super) fn is_told(&self) -> bool {
        !self.any_paused
            && !self.any_vanished
            && self.plan.store.as_ref().is_none_or(StorePlan::is_slow_at_most)
    }

    /// Returns `true` if time may pass without a reason in the plan: a store fails, or a process is stopped.
    pub(super) fn may_be_late(&self) -> bool {
        self.faulty_store() || self.any_paused || self.any_vanished
    }

    /// Returns `true` if no event was too old so far, or one too many.
    pub(super) fn keeps_events(&self) -> bool {
        let replay = self.plan.limits.config.session.replay.as_ref();
        let so_far = self.sim.now() - self.begun;
        replay.is_some_and(|replay| replay.events >= 1_000 && replay.age > so_far)
    }

    pub(super) fn paused(&mut self) {
        self.any_paused = true;
    }

    /// What must be true once everything is over.
    pub(super) fn finish(&mut self) {
        self.finish_calls();
        self.finish_sessions();
    }
}
