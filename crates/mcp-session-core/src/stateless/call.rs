//! [`Call`]: a request without a session. Its machine is reached in one way: lock, call, unlock, notify.

use std::{fmt, sync::Arc, time::Instant};

use mcp_session_proto::{Era, RequestId, ResponseMode, StatelessExchange};

use super::{registry::Shared, subscription::Subscription};
use crate::{
    contain,
    principal::Principal,
    session::{
        cell::{SharedWaiters, wake},
        counters::Stripe,
        env::Env,
        next_number,
        timers::Timed,
    },
    shutdown::{DrainTracker, Entering},
    sync::{Mutex, MutexGuard, lock},
    trace,
};

pub(crate) type Machine = StatelessExchange<SharedWaiters>;

/// The failure of a call whose answer or stream was cut.
const UNREAD: &str = "its client did not read to the end in time";

/// A handle to a running request without a session. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Call(Arc<Inner>);

/// The state of a call. Public to the crate for [`Weak`](std::sync::Weak) references only.
pub(crate) struct Inner {
    number: u64,
    shared: Arc<Shared>,
    /// Whose share of the requests it takes. `None`: nobody's, or it is a `subscriptions/listen`.
    principal: Option<Principal>,
    /// What a `subscriptions/listen` gets.
    subscription: Option<Subscription>,
    locked: Mutex<Locked>,
}

struct Locked {
    machine: Machine,
    /// The deadline that the driver knows.
    armed: Option<Instant>,
    /// Nothing of it is left, and it was removed from the registry.
    left: bool,
    /// The tracker of the shutdown, once the call is enrolled.
    tracker: Option<Arc<DrainTracker>>,
}

impl Call {
    /// Creates the call of a request. It is not registered yet.
    pub(super) fn new(
        id: RequestId,
        era: Era,
        mode: ResponseMode,
        shared: Arc<Shared>,
        principal: Option<Principal>,
        subscription: Option<Subscription>,
    ) -> Self {
        let config = Arc::clone(&shared.env.session_config);
        let machine = Machine::new(id, era, mode, config);
        let locked = Locked { machine, armed: None, left: false, tracker: None };
        let (number, locked) = (next_number(), Mutex::new(locked));
        Self(Arc::new(Inner { number, shared, principal, subscription, locked }))
    }

    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    pub(crate) fn env(&self) -> &Arc<Env> {
        &self.0.shared.env
    }

    pub(super) fn principal(&self) -> Option<&Principal> {
        self.0.principal.as_ref()
    }

    pub(crate) fn subscription(&self) -> Option<&Subscription> {
        self.0.subscription.as_ref()
    }

    pub(crate) fn now(&self) -> Instant {
        self.env().runtime.now()
    }

    /// The counters of this call.
    pub(super) fn stripe(&self) -> &Stripe {
        self.env().counters.stripe(self.0.number)
    }

    /// Lock, call, unlock, notify. The clock is read under the lock, so that time never goes backwards for the machine.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        let mut locked = lock(&self.0.locked);
        let result = act(&mut locked.machine, self.now());
        self.finish(locked);
        result
    }

    /// Called after every call on the machine: counts under the lock, releases it, then notifies.
    fn finish(&self, mut locked: MutexGuard<'_, Locked>) {
        let env = self.env();
        let mut output = locked.machine.take_output();
        let over = locked.machine.is_over();
        let deadline = if over { None } else { locked.machine.next_timeout() };
        let armed = std::mem::replace(&mut locked.armed, deadline);
        let sooner = deadline != armed && self.0.shared.timers.set(&self.0, armed, deadline);
        let leaves = over && !std::mem::replace(&mut locked.left, true);
        // Under the lock, so that whoever sees a change also sees it counted.
        self.stripe().add(&output.tally);
        let tracker = locked.tracker.clone();
        let quiet = tracker.as_ref().is_some_and(|tracker| tracker.track(&output.tally));
        let unread = output.tally.streams_cut + output.tally.forced > 0;
        if let Some(tracker) = tracker.as_ref().filter(|_| unread) {
            tracker.fail(None, UNREAD); // under the lock too, so that no report misses it
        }
        drop(locked);

        if sooner {
            self.0.shared.timers.notify();
        }
        let discarded = output.take_discarded();
        if !discarded.is_empty() {
            env.discarded.add(&env.runtime, discarded);
        }
        wake(output);
        if leaves {
            self.0.shared.remove(self);
        }
        if let Some(tracker) = tracker {
            if quiet {
                tracker.notify();
            }
            if leaves {
                tracker.leave(self.0.number);
            }
        }
        if unread {
            trace::stateless_failed(UNREAD);
        }
    }

    /// Enrolls the call in a shutdown, if anything of it is left, and calls `act`.
    pub(crate) fn enroll(&self, tracker: &Arc<DrainTracker>, act: impl FnOnce(&mut Machine, Instant)) {
        let mut locked = lock(&self.0.locked);
        if locked.left {
            return;
        }
        if locked.tracker.is_none() {
            // A call that is just being admitted may not be counted yet, and must not be counted twice.
            self.stripe().add(&locked.machine.take_tally());
            let machine = &locked.machine;
            let entering = Entering {
                session: None,
                alive: false,
                unsettled: usize::from(!machine.is_settled()),
                running: usize::from(machine.is_running()),
                streams: usize::from(machine.is_streaming()),
                hook: None,
            };
            tracker.enter(self.0.number, entering);
            locked.tracker = Some(Arc::clone(tracker));
        }
        let now = self.now();
        act(&mut locked.machine, now);
        self.finish(locked);
    }

    /// Counts the admission (S15).
    pub(super) fn count(&self) {
        let mut locked = lock(&self.0.locked);
        let tally = locked.machine.take_tally();
        self.stripe().add(&tally);
    }

    /// Takes the admission back. If a shutdown has counted the call already, it is closed like any other.
    pub(super) fn withdraw(&self) {
        let mut locked = lock(&self.0.locked);
        if locked.tracker.is_none() {
            locked.left = true;
            self.stripe().withdraw();
        } else {
            let now = self.now();
            locked.machine.handle_released();
            locked.machine.handle_disconnect(now); // it counts as cancelled
            self.finish(locked);
        }
    }

    /// Calls `act` with each call. One that panics is closed, and the others are not affected (S8).
    pub(crate) fn each(calls: impl IntoIterator<Item = Self>, act: impl Fn(&Self)) {
        for call in calls {
            if contain::call(|| act(&call)).is_err() {
                trace::stateless_broken();
                let _ = contain::call(|| call.with(Machine::close));
            }
        }
    }
}

impl From<Arc<Inner>> for Call {
    fn from(inner: Arc<Inner>) -> Self {
        Self(inner)
    }
}

impl Timed for Inner {
    fn number(&self) -> u64 {
        self.number
    }

    fn fire(due: &[Arc<Self>]) {
        Call::each(due.iter().cloned().map(Call::from), |call| {
            let mut locked = lock(&call.0.locked);
            locked.armed = None;
            let now = call.now();
            locked.machine.handle_timeout(now);
            call.finish(locked);
        });
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.0.number).finish()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("number", &self.number).finish_non_exhaustive()
    }
}
