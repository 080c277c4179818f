//! The task of a shutdown: it enters one phase after the other, gives every session its deadlines, and reports.

use std::{sync::Arc, time::Instant};

use futures::{FutureExt, future::select};
use mcp_session_proto::TerminateReason;

use crate::{
    session::{Session, registry::Registry},
    shutdown::{Deadlines, PhaseTimes, Progress, Shutdown, ShutdownPhase, ShutdownPolicy},
    stateless::{
        self,
        call::{Call, Machine},
    },
    trace,
};

/// Begins a shutdown, or joins the one that has begun, which can only get less time (S10).
pub(super) fn begin(
    registry: &Arc<Registry>,
    stateless: &Arc<stateless::registry::Registry>,
    policy: ShutdownPolicy,
) -> Shutdown {
    let mut first = false;
    let progress = registry.shutdown.get_or_init(|| {
        first = true;
        let env = &registry.env;
        Arc::new(Progress::new(env.runtime.now(), policy, Arc::clone(&env.phases)))
    });
    if first {
        start(registry, stateless, progress);
        registry.shutdown_begun.notify(usize::MAX);
    } else {
        progress.tighten(registry.env.runtime.now(), policy);
    }
    Shutdown::new(Arc::clone(&registry.env.runtime), Arc::clone(progress))
}

/// Spawns the task of a shutdown. The endpoint is not ready from now on.
fn start(registry: &Arc<Registry>, stateless: &Arc<stateless::registry::Registry>, progress: &Arc<Progress>) {
    let task = Task {
        registry: Arc::clone(registry),
        stateless: Arc::clone(stateless),
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
    stateless: Arc<stateless::registry::Registry>,
    progress: Arc<Progress>,
    times: PhaseTimes,
    entered: Instant,
}

impl Task {
    async fn run(mut self) {
        let tracker = Arc::clone(&self.progress.tracker);
        self.wait(|| false, |deadlines| deadlines.drain).await;

        self.enter(ShutdownPhase::Draining);
        self.drain();
        self.wait(|| !tracker.is_busy(), |deadlines| deadlines.cancel).await;

        if tracker.running() > 0 {
            self.enter(ShutdownPhase::Cancelling);
            self.wait(|| tracker.running() == 0, |deadlines| deadlines.finish).await;
        }

        self.enter(ShutdownPhase::Finishing);
        if tracker.running() > 0 {
            self.drain(); // the driver is late, perhaps on purpose, and what runs is answered now
        }
        let begun = self.entered;
        self.wait(|| tracker.open() == 0, |deadlines| deadlines.close_from(begun)).await;

        self.close();
    }

    fn close(&mut self) {
        self.close_all();
        self.enter(ShutdownPhase::Closed);
        let took = self.entered.saturating_duration_since(self.progress.begun);
        self.progress.finish(self.progress.tracker.report(self.times, took));
        if let Some(node) = self.registry.env.node.clone() {
            node.clone().spawn(async move { node.leave().await }); // the report does not wait for it (S13)
        }
    }

    fn enter(&mut self, phase: ShutdownPhase) {
        let now = self.registry.env.runtime.now();
        self.times.add(self.registry.phase(), now.saturating_duration_since(self.entered));
        self.entered = now;
        self.progress.enter(now, phase);
        trace::shutdown_phase(phase, &self.registry.stats());
    }

    /// Gives every session, and every request without one, the current deadlines. The first time, what is live in it is
    /// counted. Subscriptions end at once (S4, G-55).
    fn drain(&self) {
        let deadlines = self.progress.take_stale();
        Session::each(self.registry.sessions(), |session| {
            session
                .enroll(&self.progress.tracker, |machine, now| machine.drain(now, &deadlines.schedule(now)));
        });
        Call::each(self.stateless.calls(), |call| {
            let last = self.stateless.last_result(call);
            call.enroll(&self.progress.tracker, |machine, now| {
                if let Some(last) = &last {
                    machine.answer(now, last); // before its time is up, however short that is
                }
                machine.drain(now, &deadlines.schedule(now));
            });
        });
    }

    /// Closes what remains by force. From now on every id answers 404 (S2).
    fn close_all(&self) {
        let tracker = &self.progress.tracker;
        tracker.fail_unfinished(self.progress.deadlines().close);
        Session::each(self.registry.sessions(), |session| {
            session.enroll(tracker, |machine, now| machine.close(now, TerminateReason::Shutdown));
        });
        Call::each(self.stateless.calls(), |call| {
            call.enroll(tracker, Machine::close);
        });
    }

    /// Waits until `done` or the deadline, which may be moved closer meanwhile.
    async fn wait(&self, done: impl Fn() -> bool, deadline: impl Fn(&Deadlines) -> Instant) {
        let Progress { changed, tracker, .. } = &*self.progress;
        let runtime = &self.registry.env.runtime;
        loop {
            let (tightened, progressed) = (changed.listen(), tracker.changed.listen());
            let at = deadline(&self.progress.deadlines());
            if self.progress.is_stale() && self.registry.phase() >= ShutdownPhase::Draining {
                self.drain();
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
