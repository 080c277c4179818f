//! The end of a session: its hook, and what the store has to know of it.

use std::{future::Future, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use mcp_session_proto::{State, TerminateReason, after};

use super::{
    Inner, Session,
    cell::{Hook, Machine, tell},
};
use crate::{
    contain::{self, Contained, Panicked},
    metrics::SessionEvent,
    shutdown::{Afterword, DrainTracker, LATE},
    store::node::Node,
    sync::{atomic::Ordering::Relaxed, lock},
    trace,
};

/// The failure of a session whose hook panicked.
const PANICKED: &str = "the `terminated` hook panicked";

#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) reason: TerminateReason,
    pub(super) established: bool,
    pub(super) age: Duration,
}

/// What is known from the store about the end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing yet. The store may not have the session: its client does not know it yet.
    Unkept,
    /// Nothing yet. The store has the session.
    Kept,
    /// It is being removed from the store.
    Asked,
    /// It ended, and this node calls the hook.
    Here,
    /// It ended, and another node calls the hook.
    Elsewhere,
    /// It lives on in the store, and this node has nothing to do with it any more.
    Parked,
}

/// What becomes of a session that is closed at this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// It ended, and this node calls the hook.
    Ended,
    /// It ended, and another node calls the hook.
    EndedElsewhere,
    /// It lives on in the store.
    Parked,
}

impl Session {
    /// Called once, when nothing is owed to the client any more: runs the hook.
    pub(super) fn ended(&self, end: End, tracker: Option<&DrainTracker>, hook: Hook) {
        let env = &self.0.env;
        if !end.established {
            return self.leave(None); // the application never learned of it (C-20)
        }
        let begins =
            |tracker: &DrainTracker, afterword| tracker.begin_afterword(self.now(), self.0.number, afterword);
        let first = if env.node.is_some() { Afterword::Store } else { Afterword::Hook };
        if let Some(tracker) = tracker {
            begins(tracker, first);
        }
        if let Some(node) = &env.node {
            // Boxed, so that it does not enlarge every such task.
            return node.spawn(Box::pin(self.clone().part(node.clone(), end)));
        }
        let mut hooked = self.terminated(end);
        if let Hook::InPlace = hook {
            if let Some(failure) = (&mut hooked).now_or_never() {
                return self.leave(failure);
            }
        }
        let session = self.clone();
        env.runtime.spawn(Box::pin(async move {
            let failure = session.in_time(hooked).await;
            session.leave(failure);
        }));
    }

    /// Reports the end and calls the hook. The returned future runs it, and resolves to its failure.
    pub(super) fn terminated(
        &self,
        end: End,
    ) -> impl Future<Output = Option<&'static str>> + Send + Unpin + use<> {
        let Inner { id, env, .. } = &*self.0;
        env.publish(&SessionEvent::Terminated(*id, end.reason));
        trace::session_terminated(&env.summary, id, end.reason, end.age);
        let hooked = Contained::new(|| env.hooks.terminated(self.clone(), end.reason));
        hooked.map(|done| done.err().map(|Panicked| PANICKED))
    }

    /// Awaits the hook, at most for `hook_timeout`; then it is dropped.
    pub(super) async fn in_time(
        &self,
        mut hooked: impl Future<Output = Option<&'static str>> + Unpin + Send + 'static,
    ) -> Option<&'static str> {
        if let Some(failure) = (&mut hooked).now_or_never() {
            return failure; // most are ready, and need no timer
        }
        let (session, limit) = (self.clone(), self.0.env.config.hook_timeout);
        let waited: BoxFuture<'static, _> = Box::pin(async move {
            match select(hooked, session.sleep_until(after(session.now(), limit))).await {
                Either::Left((failure, _)) => failure,
                Either::Right(((), _)) => {
                    trace::hook_late(&session.id(), limit);
                    Some(LATE)
                }
            }
        });
        waited.await
    }

    /// Finishes a closed session that a store may have. If it lives on, it is parked, and subscribers are told; if it has
    /// ended, exactly one node calls the hook.
    pub(super) async fn part(self, node: Node, end: End) {
        let id = self.0.id;
        let parting = match end.reason {
            _ if self.ends_unkept() => Parting::Ended,
            reason if reason.may_live_on() => {
                let (listener, heard, unused) =
                    self.with(|machine, now| (machine.listener(), machine.heard(), machine.unused(now)));
                let idle = match self.idle(reason) {
                    // Its client has not used it at this node.
                    Some(_) if reason == TerminateReason::InitializeTimeout && node.shares(id).await => {
                        Some(self.0.env.session_config.idle_timeout)
                    }
                    idle => idle,
                };
                node.settle(id, listener, heard, idle.is_none().then_some(unused)).await;
                match idle {
                    Some(idle) if node.retire(id, idle).await => Parting::Ended,
                    Some(_) => Parting::Parked,
                    None => {
                        node.park(id).await;
                        // Its client may have deleted it meanwhile.
                        self.settle_fate(Parting::Parked).await
                    }
                }
            }
            _ => self.settle_fate(Parting::Ended).await,
        };
        let end = End { reason: self.peek(Machine::reason).unwrap_or(end.reason), ..end };
        let failure = match parting {
            Parting::Parked => {
                trace::session_parked(&self.0.env.summary, &id, end.reason);
                self.0.env.publish(&SessionEvent::Parked(id));
                None
            }
            Parting::EndedElsewhere => {
                self.stripe().sessions_terminated.fetch_add(1, Relaxed);
                trace::session_terminated(&self.0.env.summary, &id, end.reason, end.age);
                self.0.env.publish(&SessionEvent::Terminated(id, end.reason));
                None
            }
            Parting::Ended => {
                self.stripe().sessions_terminated.fetch_add(1, Relaxed);
                let tracker = lock(&self.0.locked).tracker.clone();
                if let Some(tracker) = tracker {
                    tracker.begin_afterword(self.now(), self.0.number, Afterword::Hook);
                }
                let hooked = self.terminated(end);
                self.in_time(hooked).await
            }
        };
        self.leave(failure);
    }

    /// How a session has ended that was removed from the store; `otherwise`, if it was not.
    async fn settle_fate(&self, otherwise: Parting) -> Parting {
        self.removed().await;
        let mut locked = lock(&self.0.locked);
        match locked.fate {
            Fate::Elsewhere => Parting::EndedElsewhere,
            Fate::Here => Parting::Ended,
            Fate::Unkept | Fate::Kept | Fate::Asked | Fate::Parked => {
                if otherwise == Parting::Parked {
                    locked.fate = Fate::Parked;
                }
                otherwise
            }
        }
    }

    /// How long a session that ends here for this reason must be unused at all nodes to end everywhere.
    pub(super) fn idle(&self, reason: TerminateReason) -> Option<Duration> {
        self.0.env.session_config.unused_before(reason)
    }

    /// Nothing of the session is left, its hook included.
    pub(super) fn leave_registry(&self) {
        if let Some(registry) = self.registry() {
            registry.remove(self);
        }
    }

    /// Called when the application has finished with the session, too.
    pub(super) fn leave(&self, failure: Option<&'static str>) {
        let (tracker, gone) = {
            let mut locked = lock(&self.0.locked);
            locked.left = true;
            (locked.tracker.clone(), locked.machine.state() == State::Terminated)
        };
        self.0.env.wishes.remove(self.0.number);
        contain::dispose(self.0.env.data.remove(self.0.number));
        if gone {
            self.leave_registry();
        }
        if let Some(tracker) = tracker {
            if let Some(reason) = failure {
                tracker.fail(Some(self.0.id), reason);
            }
            tracker.leave(self.0.number);
        }
        if let Some(why) = failure {
            trace::session_failed(&self.0.id, why);
        }
    }

    /// Records that the store has the session: other nodes may serve it. Returns `false` if it has ended meanwhile, at this
    /// node and so everywhere: then whoever put it into the store removes it.
    pub(crate) fn kept(&self) -> bool {
        let mut locked = lock(&self.0.locked);
        let dead = locked.machine.state() == State::Terminated;
        let for_good = dead && locked.machine.reason().is_some_and(|reason| !reason.may_live_on());
        let kept = locked.fate == Fate::Unkept && !for_good;
        if kept {
            locked.fate = Fate::Kept;
        }
        kept
    }

    /// Returns `true` if the store does not have the session yet: then it ends here, for whatever reason.
    fn ends_unkept(&self) -> bool {
        let mut locked = lock(&self.0.locked);
        let unkept = locked.fate == Fate::Unkept;
        if unkept {
            locked.fate = Fate::Here;
        }
        unkept
    }

    /// With a store: returns `true` if the store must be asked before a request may use the session, because it is ending
    /// here but lives on elsewhere, or because this node's state may be outdated.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let locked = lock(&self.0.locked);
        if locked.unconfirmed {
            return true;
        }
        match locked.machine.state() {
            State::AwaitingInitialized => true,
            State::Terminated => locked.machine.reason().is_some_and(TerminateReason::may_live_on),
            State::Draining => locked.fate == Fate::Parked,
            State::Initializing | State::Operating => false,
        }
    }

    /// Records whether the session may have been removed from the store while this node adopted it.
    pub(crate) fn set_unconfirmed(&self, unconfirmed: bool) {
        lock(&self.0.locked).unconfirmed = unconfirmed;
    }

    /// Returns `true` if the session may have been removed from the store while this node adopted it.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        lock(&self.0.locked).unconfirmed
    }

    /// Returns `true` if the session lives on in the store, and nothing that happens to it here ends it.
    pub(crate) fn is_parked(&self) -> bool {
        lock(&self.0.locked).fate == Fate::Parked
    }

    /// Returns `true` if the session is closed here, or about to be, but may live on in the store.
    pub(crate) fn is_parting(&self) -> bool {
        let locked = lock(&self.0.locked);
        match locked.machine.state() {
            State::Terminated => locked.machine.reason().is_some_and(TerminateReason::may_live_on),
            State::Draining => locked.fate == Fate::Parked,
            State::Initializing | State::AwaitingInitialized | State::Operating => false,
        }
    }

    /// Removes a dead session from the store, before its end is reported.
    pub(super) async fn remove(self, node: Node, reason: TerminateReason) {
        // A store that cannot be reached drops it eventually. Then this node calls the hook.
        let here = node.remove(self.0.id, reason).await.unwrap_or(true);
        lock(&self.0.locked).fate = if here { Fate::Here } else { Fate::Elsewhere };
        tell(&self.0.changed);
    }

    /// Waits until the store has removed the session, if that was requested.
    pub(crate) async fn removed(&self) {
        loop {
            let changed = {
                let locked = lock(&self.0.locked);
                if locked.fate != Fate::Asked {
                    return;
                }
                self.0.changed.listen()
            };
            changed.await;
        }
    }
}
