//! The one way to a session's machine: lock, call, unlock, notify.

use std::{sync::Arc, time::Instant};

use event_listener::{Event, EventListener};
use mcp_session_proto::{self as proto, Effect, Output, Phase, State, TerminateReason, Wake};

use super::{
    Inner, Session,
    parting::{End, Fate},
    registry::Registry,
    timers::Timed,
    writer::write,
};
use crate::{
    contain::{self},
    metrics::SessionEvent,
    shutdown::{DrainTracker, Entering},
    sync::{AtomicWaker, MutexGuard, Shared, atomic::Ordering::Relaxed, lock},
    trace,
};

/// The failure of a session whose answers or streams were cut.
const UNREAD: &str = "its client did not read to the end in time";

/// The waiters of one exchange or stream, as all who know them share them.
pub(crate) type SharedWaiters = Shared<Waiters>;

pub(crate) type Machine = proto::Session<SharedWaiters>;

/// The waiters of one exchange or stream, which the machine's wakes refer to.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// A stream has one reader at a time.
    pub(crate) reader: AtomicWaker,
    /// A handler may wait in several places at once.
    pub(crate) handler: Event,
}

pub(super) struct Locked {
    pub(super) machine: Machine,
    /// Whether the driver knows the machine's current deadline. Every change of it goes through [`Session::finish`].
    pub(super) armed: bool,
    /// The application has been told of its end, and its hook is done.
    pub(super) left: bool,
    /// The tracker of the shutdown, once the session is enrolled.
    pub(super) tracker: Option<Arc<DrainTracker>>,
    /// A task performs its store effects.
    pub(super) writing: bool,
    /// It was adopted, and this node does not know yet whether it was removed meanwhile.
    pub(super) unconfirmed: bool,
    pub(super) fate: Fate,
}

/// A session whose machine is locked.
pub(super) struct Guard<'a> {
    pub(super) locked: MutexGuard<'a, Locked>,
    pub(super) now: Instant,
    /// The deadline that the driver knows.
    pub(super) armed: Option<Instant>,
    pub(super) hook: Hook,
}

/// Who polls the `terminated` hook first.
#[derive(Clone, Copy)]
pub(super) enum Hook {
    /// The task that ends the session: most hooks are ready at the first poll, and need no task.
    InPlace,
    /// A task of its own: a slow or blocking hook must not delay other sessions (S8).
    Spawned,
}

impl Session {
    /// Lock, call, unlock, notify.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        self.act(Hook::Spawned, act)
    }

    /// Like [`Session::with`], for a task that serves the session's client: if the call ends the session, its hook is
    /// polled once in place.
    pub(crate) fn with_client<R>(&self, act: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        self.act(Hook::InPlace, act)
    }

    pub(super) fn act<R>(&self, hook: Hook, act: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        let mut guard = Guard { hook, ..self.enter() };
        let result = act(&mut guard.locked.machine, guard.now);
        self.finish(guard);
        result
    }

    pub(super) fn peek<R>(&self, read: impl FnOnce(&Machine) -> R) -> R {
        read(&lock(&self.0.locked).machine)
    }

    /// Locks the machine. The clock is read under the lock, so that time never goes backwards for the machine.
    pub(super) fn enter(&self) -> Guard<'_> {
        let locked = lock(&self.0.locked);
        let armed = locked.machine.next_timeout().filter(|_| locked.armed);
        Guard { locked, now: self.now(), armed, hook: Hook::Spawned }
    }

    /// Who holds the session, unless it is gone.
    pub(crate) fn registry(&self) -> Option<Arc<Registry>> {
        self.0.env.registry()
    }

    /// Called after every call on the machine: counts under the lock, releases it, then notifies.
    pub(super) fn finish(&self, guard: Guard<'_>) {
        let Guard { mut locked, armed, .. } = guard;
        let env = &self.0.env;
        let output = locked.machine.take_output();
        let machine = &locked.machine;
        let deadline = if machine.phase() == Phase::Closed { None } else { machine.next_timeout() };
        let sooner = deadline != armed && env.timers.set(&self.0, armed, deadline);
        locked.armed = deadline.is_some();
        // Most calls of a request only count: nothing has happened that anybody waits for.
        let alone = env.node.is_none() && locked.tracker.is_none() && !locked.left;
        if alone && output.events.is_empty() && output.is_quiet() && output.tally.is_usual() {
            // Under the lock, so that whoever sees a change also sees it counted.
            self.stripe().add(&output.tally);
            drop(locked);
            if sooner {
                env.timers.notify();
            }
        } else {
            self.settle(Guard { locked, ..guard }, output, sooner);
        }
    }

    /// Counts, releases the lock, and notifies all whom the call concerns.
    fn settle(&self, guard: Guard<'_>, mut output: Output<SharedWaiters>, sooner: bool) {
        let Guard { mut locked, now, hook, .. } = guard;
        let env = &self.0.env;
        let (events, machine) = (output.events, &locked.machine);
        let gone = locked.left && machine.state() == State::Terminated;
        let writes = env.node.is_some() && !locked.writing && machine.has_effect();
        let version = machine.version();
        let end = events.contains(proto::Event::Closed).then(|| End {
            reason: machine.reason().unwrap_or(TerminateReason::Error),
            established: machine.is_established(),
            age: machine.age(now),
        });
        let mut removal = None;
        let unread = output.tally.streams_cut + output.tally.forced > 0;

        // Under the lock, so that whoever sees a change also sees it counted.
        let stripe = self.stripe();
        for event in events {
            match event {
                proto::Event::Established => _ = stripe.sessions_created.fetch_add(1, Relaxed),
                proto::Event::Dead => {
                    stripe.sessions.fetch_sub(1, Relaxed);
                    if env.node.is_none() && machine.is_established() {
                        stripe.sessions_terminated.fetch_add(1, Relaxed);
                    } // with a store it is not known yet whether the session lives on
                    removal =
                        machine.reason().filter(|reason| locked.fate == Fate::Kept && !reason.may_live_on());
                }
                proto::Event::Ending | proto::Event::Closed => {}
            }
        }
        stripe.add(&output.tally);
        let tracker = locked.tracker.clone();
        let quiet = tracker.as_ref().is_some_and(|tracker| tracker.track(&output.tally));
        if let Some(tracker) = tracker.as_ref().filter(|_| unread) {
            tracker.fail(Some(self.0.id), UNREAD);
        }
        locked.writing |= writes;
        if removal.is_some() {
            locked.fate = Fate::Asked;
        }
        drop(locked);

        if sooner {
            env.timers.notify();
        }
        let discarded = output.take_discarded();
        if !discarded.is_empty() {
            env.discarded.add(&env.runtime, discarded);
        }
        for event in events {
            match event {
                proto::Event::Established => {
                    env.publish(&SessionEvent::Created(self.0.id));
                    if let Some(registry) = self.registry() {
                        registry.note_half_open(self);
                    }
                }
                proto::Event::Ending | proto::Event::Closed => tell(&self.0.changed),
                proto::Event::Dead => {}
            }
        }
        let (unanswered, orphaned) = (output.tally.pings_unanswered > 0, output.tally.orphaned);
        if let Some(tracker) = tracker.as_ref().filter(|_| quiet) {
            tracker.notify();
        }
        if let Some(node) = env.node.as_ref().filter(|_| writes) {
            node.spawn(write(self.clone(), node.clone())); // also when the endpoint is gone: it is being dropped
        }
        if let Some((node, reason)) = env.node.as_ref().zip(removal) {
            node.spawn(self.clone().remove(node.clone(), reason));
        }
        wake(output);
        if gone {
            self.leave_registry();
        }
        // Last, because a `tracing` subscriber may be slow.
        if events.contains(proto::Event::Established) {
            trace::session_created(&env.summary, &self.0.id, version);
        }
        if unread {
            trace::session_failed(&self.0.id, UNREAD);
        }
        if orphaned > 0 {
            trace::exchanges_orphaned(&self.0.id, orphaned);
        }
        if unanswered {
            trace::ping_unanswered(&self.0.id);
        }
        if let Some(end) = end {
            self.ended(end, tracker.as_deref(), hook);
        }
    }

    /// Calls `act` with each session. A session that panics is ended, and the others are not affected (S8).
    pub(crate) fn each(sessions: impl IntoIterator<Item = Self>, act: impl Fn(&Self)) {
        for session in sessions {
            if contain::call(|| act(&session)).is_err() {
                trace::session_broken(&session.id());
                let _ = contain::call(|| {
                    session.with(|machine, now| machine.close(now, TerminateReason::Error));
                });
            }
        }
    }

    /// The session's deadline has come.
    fn fire(&self) {
        let mut guard = self.enter();
        guard.armed = None;
        guard.locked.machine.handle_timeout(guard.now);
        self.finish(guard);
    }

    /// Enrolls the session in a shutdown, if anything of it is left, and calls `act`.
    pub(crate) fn enroll<R>(
        &self,
        tracker: &Arc<DrainTracker>,
        act: impl FnOnce(&mut Machine, Instant) -> R,
    ) -> R {
        let mut guard = self.enter();
        let Guard { locked, now, .. } = &mut guard;
        if locked.tracker.is_none() && !locked.left {
            // A session that is being opened is not counted yet: its output so far is still in the machine, and
            // must not be counted twice.
            self.stripe().add(&locked.machine.take_tally());
            let machine = &locked.machine;
            let entering = Entering {
                session: Some(self.0.id),
                alive: machine.state() != State::Terminated,
                unsettled: machine.unsettled(),
                running: machine.running(),
                streams: machine.streams(),
                hook: (machine.phase() == Phase::Closed).then_some(*now),
            };
            tracker.enter(self.0.number, entering);
            locked.tracker = Some(Arc::clone(tracker));
        }
        let result = act(&mut locked.machine, *now);
        self.finish(guard);
        result
    }

    /// Waits until the session is ending and `state` returns `true`.
    pub(crate) async fn until_ending(&self, state: impl Fn(&Machine) -> bool) {
        loop {
            // The listener is registered under the lock, so it sees every later change.
            let (reached, changed) = self.with(|machine, _| (state(machine), self.0.changed.listen()));
            if reached {
                return;
            }
            changed.await;
        }
    }

    /// Calls `attempt` until it returns a result. `Err` names the waiters to wait with; `Err(None)` waits for the store.
    pub(crate) async fn send_with<R>(
        &self,
        mut attempt: impl FnMut(&mut Machine, Instant) -> Result<R, Option<SharedWaiters>>,
    ) -> R {
        loop {
            let space: EventListener = match self.with(|machine, now| {
                // The listener is registered under the lock, so it sees space that is freed later.
                attempt(machine, now).map_err(|waiters| match waiters {
                    Some(waiters) => waiters.handler.listen(),
                    None => self.0.changed.listen(),
                })
            }) {
                Ok(result) => return result,
                Err(listener) => listener,
            };
            space.await;
        }
    }

    /// The next store effect. `None`: the task that performs them ends.
    pub(crate) fn next_effect(&self) -> Option<Effect> {
        let mut guard = self.enter();
        let effect = guard.locked.machine.poll_effect(guard.now);
        guard.locked.writing = effect.is_some();
        self.finish(guard);
        effect
    }

    /// Passes the outcome of a publication to the machine.
    pub(crate) fn published(&self, done: bool) {
        self.with(|machine, now| machine.handle_published(now, done));
        tell(&self.0.changed); // there may be space
    }
}

impl Timed for Inner {
    fn number(&self) -> u64 {
        self.number
    }

    fn fire(due: &[Arc<Self>]) {
        Session::each(due.iter().cloned().map(Session::from), Session::fire);
    }
}

pub(crate) fn wake(output: Output<SharedWaiters>) {
    if output.is_quiet() {
        return;
    }
    for wake in output.into_wakes() {
        match wake {
            Wake::Reader(waiters) => waiters.reader.wake(),
            Wake::Handler(waiters) => tell(&waiters.handler),
        }
    }
}

/// Notifies all listeners. Without listeners it avoids `notify`, which would allocate the event's list.
pub(super) fn tell(event: &Event) {
    if event.total_listeners() > 0 {
        event.notify(usize::MAX);
    }
}
