//! Shutdowns: each is over by its ceiling, and its report says what was.

use std::time::{Duration, Instant};

use mcp_session_core::{Runtime, ShutdownPhase, ShutdownPolicy, ShutdownReport, Stats};

use super::{Answer, Book};
use crate::simulation::plan::{Act, Happening, Hooks, Op, Upload};

/// How much longer a shutdown may last if its process was stopped meanwhile: clients get a moment to read.
const MOMENT: Duration = Duration::from_millis(100);

/// A node.
#[derive(Debug, Default)]
pub(super) struct Node {
    generation: usize,
    /// The processes that were killed.
    vanished: Vec<usize>,
    shutdown: Option<Running>,
    /// The processes that have begun to shut down.
    shut_down: Vec<usize>,
}

#[derive(Debug)]
struct Running {
    generation: usize,
    /// The tightest policy so far.
    policy: ShutdownPolicy,
    /// The latest end that the policies allow.
    ceiling: Instant,
    /// How long the process had been stopped when it began.
    stopped: Duration,
    /// The totals just before draining began.
    before: Option<Stats>,
    drains: bool,
    /// A handler ran then.
    busy: bool,
    /// Since when there has been nothing to wait for, while it drains, and how many requests there were before.
    quiet: Option<(Instant, u64)>,
    /// Since when it has asked handlers to stop.
    cancels: Option<Instant>,
}

/// How many requests a node has whose answer is not delivered yet.
pub(in crate::simulation) fn undelivered(stats: &Stats) -> u64 {
    let over = stats.exchanges_answered
        + stats.exchanges_synthesized
        + stats.exchanges_cancelled
        + stats.exchanges_forced;
    stats.exchanges_admitted - over
}

impl Node {
    /// Which of its processes runs, or ran last.
    pub(super) fn generation(&self) -> usize {
        self.generation
    }
}

impl Book {
    pub(in crate::simulation) fn shutdown_begins(
        &mut self,
        node: usize,
        generation: usize,
        now: Instant,
        policy: ShutdownPolicy,
        stopped: Duration,
    ) {
        let ceiling = now + policy.ceiling();
        self.note(|| {
            format!("node {node}: shutdown begins, ceiling in {:?}", ceiling.saturating_duration_since(now))
        });
        let known = &mut self.nodes[node];
        known.shut_down.push(generation);
        known.shutdown = Some(Running {
            generation,
            policy,
            ceiling,
            stopped,
            before: None,
            drains: false,
            busy: false,
            quiet: None,
            cancels: None,
        });
    }

    /// A shutdown has got less time: from `phase` on, no phase may be longer than this policy says. `says`: its ceiling.
    pub(in crate::simulation) fn tightened(
        &mut self,
        node: usize,
        now: Instant,
        phase: ShutdownPhase,
        policy: Option<ShutdownPolicy>,
        says: Instant,
    ) {
        self.note(|| format!("node {node}: ceiling in {:?}", says.saturating_duration_since(now)));
        let Some(running) = &mut self.nodes[node].shutdown else { return };
        if let Some(policy) = policy {
            let known = &mut running.policy;
            known.lame_duck = known.lame_duck.min(policy.lame_duck);
            known.drain = known.drain.min(policy.drain);
            known.cancel = known.cancel.min(policy.cancel);
            known.finish = known.finish.min(policy.finish);
        }
        let ShutdownPolicy { lame_duck, drain, cancel, finish } = running.policy;
        let left = match phase {
            ShutdownPhase::Running | ShutdownPhase::LameDuck => lame_duck + drain + cancel + finish,
            ShutdownPhase::Draining => drain + cancel + finish,
            ShutdownPhase::Cancelling => cancel + finish,
            ShutdownPhase::Finishing => finish,
            _ => Duration::ZERO,
        };
        running.ceiling = running.ceiling.min(now + left);
        let allowed = running.ceiling;
        if says > allowed && phase < ShutdownPhase::Closed {
            self.violation("loosened", || format!("node {node} says {:?} more than it has", says - allowed));
        }
    }

    /// What is true of the totals of a node at every step.
    pub(in crate::simulation) fn counts(&mut self, node: usize, stats: &Stats) {
        let config = &self.plan.limits.config;
        let (sessions, subscriptions) = (config.max_sessions as u64, config.max_subscriptions as u64);
        if stats.sessions > sessions || stats.subscriptions > subscriptions {
            self.violation("caps", || format!("node {node}: {stats:?}"));
        }
    }

    /// Keeps the totals of a node until it begins to drain, and then since when it is quiet.
    pub(in crate::simulation) fn drains(
        &mut self,
        node: usize,
        generation: usize,
        stats: impl FnOnce() -> Stats,
    ) {
        let (now, busy) = (self.sim.now(), self.any_handler_runs());
        let Some(running) = &mut self.nodes[node].shutdown else { return };
        if running.generation != generation {
            return;
        }
        let stats = stats();
        running.drains |= stats.phase >= ShutdownPhase::Draining;
        if stats.phase >= ShutdownPhase::Cancelling {
            running.cancels.get_or_insert(now);
        }
        if busy || undelivered(&stats) + stats.streams + stats.subscriptions > 0 || !running.drains {
            running.quiet = None;
        } else if running.quiet.is_none_or(|(_, admitted)| admitted != stats.exchanges_admitted) {
            running.quiet = Some((now, stats.exchanges_admitted));
        }
        if !running.drains {
            (running.before, running.busy) = (Some(stats), busy);
        }
    }

    pub(in crate::simulation) fn shutdown_ends(
        &mut self,
        node: usize,
        generation: usize,
        now: Instant,
        stopped: Duration,
        report: &ShutdownReport,
        stats: &Stats,
    ) {
        self.note(|| format!("node {node}: {report:?}"));
        let Some(running) = self.nodes[node].shutdown.take_if(|running| running.generation == generation)
        else {
            return; // it vanished meanwhile
        };
        let stopped = stopped - running.stopped;
        let allowed = running.ceiling + stopped + if stopped.is_zero() { Duration::ZERO } else { MOMENT };
        if now > allowed {
            self.violation("ceiling", || {
                format!("node {node} was closed {:?} after its ceiling", now - allowed)
            });
        }
        let (exchanges, streams) = (&report.exchanges, &report.streams);
        let sum = exchanges.answered + exchanges.synthesized + exchanges.cancelled + exchanges.forced;
        if exchanges.total != sum || streams.total != streams.ended + streams.cut {
            self.violation("report", || format!("totals are not the sum of their parts: {report:?}"));
        }
        if stats.exchanges > 0 || stats.streams > 0 || stats.subscriptions > 0 {
            self.violation("left", || format!("node {node} is closed: {stats:?}"));
        }
        self.compare(node, generation, stats);
        let late = self.may_be_late();
        let hooks = self.plan.clients.iter().any(|client| client.hooks != Hooks::default());
        // A session waits for late requests before it ends; a client that was invited comes back.
        let linger = self.plan.limits.config.session.linger;
        let waited = running.quiet.map_or(Duration::ZERO, |(since, _)| now - since);
        if waited > linger && !late && !hooks {
            self.violation("waits", || format!("node {node} waited {waited:?} for nothing: {report:?}"));
        }
        if exchanges.forced + streams.cut > 0 && self.all_read() && !self.may_cut() {
            self.violation("cut", || format!("node {node} had only clients that read: {report:?}"));
        }
        if let Some(drain) = &running.before {
            let since = [
                (stats.exchanges_answered - drain.exchanges_answered, exchanges.answered),
                (stats.exchanges_synthesized - drain.exchanges_synthesized, exchanges.synthesized),
                (stats.exchanges_cancelled - drain.exchanges_cancelled, exchanges.cancelled),
                (stats.exchanges_forced - drain.exchanges_forced, exchanges.forced),
                (stats.streams_ended - drain.streams_ended, streams.ended),
                (stats.streams_cut - drain.streams_cut, streams.cut),
            ];
            if since.iter().any(|(counted, reported)| counted != reported) {
                self.violation("report", || {
                    format!("node {node} has counted {since:?} (counted, reported) since it began to drain: {report:?}")
                });
            }
        }
        self.coverage.reach("shutdown", if report.is_clean() { "clean" } else { "not clean" }, "over");
    }

    /// What a process has counted in its life, against what its clients saw.
    pub(in crate::simulation) fn compare(&mut self, node: usize, generation: usize, stats: &Stats) {
        if self.plan.store.is_some() {
            return; // the answer may have come from another node
        }
        let (results, never) = self.outcomes((node, generation));
        let others = stats.exchanges_admitted - stats.exchanges_answered;
        // At its ceiling, a process closes while its clients read what it has just answered. One that was stopped until after
        // it does so later.
        let just_now = self.returned_just_now((node, generation));
        let at_the_ceiling = stats.exchanges_forced.min(if self.any_paused { u64::MAX } else { just_now });
        if stats.exchanges_answered + at_the_ceiling < results || others < never {
            self.violation("report", || {
                format!("clients saw {results} results of node {node}, and cancelled {never} calls in time: {stats:?}")
            });
        }
    }

    /// Since when this process has asked its handlers to stop, in its shutdown.
    pub(super) fn cancelling_since(&self, (node, generation): (usize, usize)) -> Option<Instant> {
        let running = self.nodes.get(node)?.shutdown.as_ref()?;
        running.cancels.filter(|_| running.generation == generation)
    }

    pub(in crate::simulation) fn vanished(&mut self, node: usize, generation: usize) {
        self.any_vanished = true;
        let known = &mut self.nodes[node];
        known.vanished.push(generation);
        known.shutdown = None;
    }

    pub(in crate::simulation) fn restarted(&mut self, node: usize, generation: usize) {
        let known = &mut self.nodes[node];
        known.generation = generation;
        known.shutdown = None;
    }

    /// Returns `true` if this process has begun to shut down.
    pub(super) fn shuts_down(&self, node: usize, generation: usize) -> bool {
        self.nodes.get(node).is_none_or(|known| known.shut_down.contains(&generation))
    }

    /// Returns `true` if this process was killed.
    pub(super) fn is_killed(&self, (node, generation): (usize, usize)) -> bool {
        self.nodes.get(node).is_some_and(|known| known.vanished.contains(&generation))
    }

    /// Returns `true` if this process was killed, or another one has taken its place.
    pub(super) fn is_gone(&self, node: usize, generation: usize) -> bool {
        self.nodes
            .get(node)
            .is_none_or(|known| known.vanished.contains(&generation) || known.generation != generation)
    }

    /// Returns `true` if every shutdown that has begun is over.
    pub(in crate::simulation) fn all_closed(&self) -> bool {
        self.nodes.iter().all(|node| node.shutdown.is_none())
    }

    /// Returns `true` if a reader may have had no time to read: a shutdown that leaves none.
    pub(in crate::simulation) fn is_hurried(&self) -> bool {
        let short = |policy: &ShutdownPolicy| policy.finish < Duration::from_millis(50);
        short(&self.plan.limits.last)
            || self.plan.events.iter().any(|event| match &event.what {
                Happening::Shutdown { policy, .. } | Happening::Tighten(policy) => short(policy),
                Happening::Escalate => true,
                _ => false,
            })
    }

    /// Returns `true` if every client reads everything at once and never leaves.
    fn all_read(&self) -> bool {
        // Who comes back after the session has reached its age reads nothing more.
        if self.calls.iter().any(|call| call.outcome == Some(Answer::NO_SESSION)) {
            return false;
        }
        let steps = self.plan.clients.iter().flat_map(|client| &client.steps);
        steps.into_iter().all(|step| match &step.act {
            Act::Call { script, reader, upload, .. } => {
                // Who was told to come back finds no session if its own call has ended it.
                let closes = script.ops.iter().any(|op| matches!(op, Op::CloseStream(_) | Op::EndSession));
                reader.is_fast() && *upload == Upload::Whole && !closes
            }
            Act::Get(reader) | Act::Listen(reader) => reader.is_fast(),
            _ => true,
        })
    }

    /// Returns `true` if a body may be cut although its client reads. A store that keeps few events may drop some before a
    /// node has read them; and at the cap of sessions, one that is half open makes room at once (E-15).
    fn may_cut(&self) -> bool {
        self.plan.limits.config.max_sessions < 100
            || self.is_hurried()
            || self.may_be_late()
            || (self.plan.store.is_some() && !self.keeps_events())
    }

    /// A body was cut, although its client reads.
    pub(in crate::simulation) fn cut(&mut self, node: usize, what: impl FnOnce() -> String) {
        if !self.may_cut() {
            self.violation("cut", || format!("node {node} has cut {}", what()));
        }
    }

    /// A connection broke.
    pub(in crate::simulation) fn broken(&mut self, node: usize) {
        if !self.any_vanished {
            self.violation("broken", || format!("a connection to node {node} broke, and the node lives"));
        }
    }

    /// Returns `true` if no process admits requests.
    pub(super) fn all_shut_down(&self) -> bool {
        (0..self.nodes.len()).all(|node| {
            let generation = self.nodes[node].generation;
            self.shuts_down(node, generation) || self.nodes[node].vanished.contains(&generation)
        })
    }
}
