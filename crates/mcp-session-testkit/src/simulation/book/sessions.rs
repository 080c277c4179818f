//! Sessions: a live id is known at every node, a dead one at none, and each death has a cause.

use std::time::{Duration, Instant};

use mcp_session_core::{Runtime, SessionEvent, SessionId, ShutdownPhase, TerminateReason};

use super::{Book, Moment, streams::Tells};
use crate::simulation::{
    plan::{Event, Happening, Hook, Kind},
    store::StoreFaults,
};

/// A session, as far as it is known.
#[derive(Debug)]
pub(super) struct Session {
    /// The client that opened it.
    client: usize,
    opened: Instant,
    /// When its client got the id.
    known: Option<Instant>,
    /// The node that opened it, and which of its processes.
    at: (usize, usize),
    /// When a request was last sent that it accepted.
    used: Instant,
    initialized: bool,
    /// It has accepted a call.
    called: bool,
    /// Somebody has sent DELETE, or the application has ended it.
    end_asked: bool,
    /// Since when it is dead for sure.
    dead: Option<Moment>,
    /// Where an end was reported.
    ends: Vec<(usize, usize)>,
    /// An end was reported that is one for all nodes.
    ended: bool,
    hooks: u32,
    /// DELETE was answered with 204.
    deleted: bool,
    pub(super) tells: Tells,
}

impl Book {
    /// A client has opened a session. `sent`: when, and in which phase of the node, `initialize` was sent.
    pub(in crate::simulation) fn opened(
        &mut self,
        client: usize,
        session: SessionId,
        at: (usize, usize),
        (sent, phase): (Instant, ShutdownPhase),
    ) {
        self.note(|| format!("client {client}: opened {session}"));
        if phase >= ShutdownPhase::Draining {
            self.violation("born-late", || format!("{session} was opened at node {at:?}, which was {phase}"));
        }
        let now = self.sim.now();
        self.of_clients[client] = Some(session);
        let known = self.sessions.entry(session).or_insert_with(|| Session::new(client, sent, at));
        known.client = client;
        (known.opened, known.used, known.known) = (sent, now, Some(now));
    }

    pub(in crate::simulation) fn session_of(&self, client: usize) -> Option<SessionId> {
        self.of_clients.get(client).copied().flatten()
    }

    /// A client uses this session from now on.
    pub(in crate::simulation) fn joins(&mut self, client: usize, session: SessionId) {
        self.of_clients[client] = Some(session);
    }

    /// A request to a session, sent at this time, was accepted.
    pub(in crate::simulation) fn used(&mut self, session: SessionId, sent: Moment) {
        let now = self.sim.now();
        let Some(known) = self.sessions.get_mut(&session) else { return };
        known.used = known.used.max(now);
        let (dead, opened) = (known.dead, known.known);
        if !self.is_told() {
            return;
        }
        if dead.is_some_and(|dead| self.is_known_at(dead, sent)) {
            self.violation("dead-used", || format!("{session} was dead and accepted a request"));
        }
        // Another node learns from the store how old it is; the answer may be slow.
        let slow = self.slow_store();
        let age = self.plan.limits.config.session.max_age;
        if let (Some(age), Some(opened)) = (age, opened) {
            if sent.at > opened + age + slow {
                self.violation("outlived", || {
                    format!("{session} is older than {age:?}, and accepted a request")
                });
            }
        }
    }

    /// Returns `true` if every node knew of a death when a request was sent.
    fn is_known_at(&self, dead: Moment, sent: Moment) -> bool {
        // A message to another node may still be on its way; it waits until a slow store has answered the one who tells.
        if self.plan.nodes == 1 { dead < sent } else { dead.at + self.slow_store() < sent.at }
    }

    /// A request to a session, sent at this time, was refused by a node that runs.
    pub(in crate::simulation) fn refused(&mut self, session: SessionId, sent: Moment, status: u16) {
        let dead = self.sessions.get(&session).and_then(|known| known.dead);
        if dead.is_some_and(|dead| self.is_known_at(dead, sent)) && status != 404 && self.is_told() {
            self.violation("status", || format!("{session} was dead, and a request got {status} (E-11)"));
        }
    }

    /// A call was accepted.
    pub(in crate::simulation) fn is_called(&mut self, session: SessionId) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.called = true;
        }
    }

    pub(in crate::simulation) fn is_initialized(&mut self, session: SessionId) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.initialized = true;
        }
    }

    /// Somebody is about to end this session.
    pub(in crate::simulation) fn session_ends(&mut self, session: SessionId) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.end_asked = true;
        }
    }

    /// DELETE was answered with 204.
    pub(in crate::simulation) fn deleted(&mut self, session: SessionId) {
        let now = self.moment();
        if let Some(known) = self.sessions.get_mut(&session) {
            known.deleted = true;
            known.dead.get_or_insert(now);
        }
    }

    /// Returns `true` if the session has to end: a client or the plan has asked for it, or it is too old.
    pub(super) fn has_to_end(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_none_or(|known| known.end_asked || self.is_too_old(known))
    }

    fn is_too_old(&self, known: &Session) -> bool {
        let max = self.plan.limits.config.session.max_age;
        max.is_some_and(|age| self.sim.now() - known.opened >= age)
    }

    /// Returns `true` if the session may end, for any reason that this book knows.
    pub(super) fn may_end(&self, session: SessionId) -> bool {
        let Some(known) = self.sessions.get(&session) else { return true };
        let idle = self.plan.limits.config.session.idle_timeout;
        self.may_end_in_use(session) || self.sim.now() - known.used + self.slow_store() >= idle
    }

    /// How long processes stand still, all in all.
    fn pauses(&self) -> Duration {
        let pause = |event: &Event| if let Happening::Pause(time) = event.what { time } else { 0 };
        Duration::from_millis(self.plan.events.iter().map(pause).sum())
    }

    /// How much later than its node the client of a request knows of something, because its answer waits for a slow store.
    fn slow_store(&self) -> Duration {
        if self.faulty_store() { 4 * StoreFaults::SLOW } else { Duration::ZERO }
    }

    /// Returns `true` if the session may end although a call runs in it.
    pub(super) fn may_end_in_use(&self, session: SessionId) -> bool {
        let Some(known) = self.sessions.get(&session) else { return true };
        known.end_asked || known.dead.is_some() || known.ended || self.is_over(known)
    }

    /// Sessions in use that must live, and the clients that opened them.
    pub(in crate::simulation) fn live_sessions(&self) -> Vec<(SessionId, usize)> {
        let live = self.sessions.iter().filter(|(id, known)| known.initialized && self.must_live(**id));
        let mut live: Vec<_> = live
            .filter_map(|(id, known)| {
                Some((*id, Some(known.client).filter(|n| *n < self.plan.clients.len())?))
            })
            .collect();
        live.sort_unstable_by_key(|(_, client)| *client);
        live
    }

    pub(in crate::simulation) fn must_live(&self, session: SessionId) -> bool {
        !self.may_end(session)
    }

    /// Returns `true` if it was reported that the session has ended.
    pub(in crate::simulation) fn has_ended(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|known| known.ended)
    }

    /// The node whose process has opened the session, if it still runs.
    pub(in crate::simulation) fn home(&self, session: SessionId) -> Option<usize> {
        let (node, generation) = self.sessions.get(&session)?.at;
        (!self.is_gone(node, generation) && !self.shuts_down(node, generation)).then_some(node)
    }

    /// Returns `true` if the session may end by itself, although it is in use.
    fn is_over(&self, known: &Session) -> bool {
        let (node, generation) = known.at;
        let config = &self.plan.limits.config;
        let hooks = self.plan.clients.get(known.client).map(|client| client.hooks).unwrap_or_default();
        (!known.initialized
            && !known.called
            && self.sim.now() - known.opened >= config.session.initialize_timeout)
            || self.is_too_old(known)
            || config.max_sessions < 100
            || hooks.session_data == Hook::Panics
            || (self.plan.store.is_none()
                && (self.shuts_down(node, generation) || self.is_gone(node, generation)))
            || (self.plan.store.is_some() && self.all_shut_down())
    }

    /// Returns `true` if the store may drop sessions: it fails, or a node that knows of their last use is stopped or gone.
    fn store_may_drop(&self) -> bool {
        self.plan.store.is_some() && !self.is_told()
    }

    /// A request to this session got 404.
    pub(in crate::simulation) fn unknown(&mut self, session: SessionId, node: usize) {
        if !self.may_end(session) && !self.store_may_drop() {
            self.violation("live-404", || format!("{session} is alive, and node {node} does not know it"));
        }
    }

    pub(in crate::simulation) fn session_event(
        &mut self,
        node: usize,
        generation: usize,
        event: SessionEvent,
    ) {
        self.note(|| format!("node {node}: {event:?}"));
        match event {
            SessionEvent::Created(session) => {
                let now = self.sim.now();
                let client = usize::MAX;
                self.sessions.entry(session).or_insert_with(|| Session::new(client, now, (node, generation)));
            }
            SessionEvent::Terminated(session, reason) => self.terminated(node, generation, session, reason),
            _ => {}
        }
    }

    fn terminated(&mut self, node: usize, generation: usize, session: SessionId, reason: TerminateReason) {
        let (now, moment) = (self.sim.now(), self.moment());
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let again = known.ends.contains(&(node, generation));
        known.ends.push((node, generation));
        // With a store it lives on where it was moved to, or where its client uses it.
        let here = matches!(reason, TerminateReason::Shutdown | TerminateReason::InitializeTimeout);
        known.ended |= self.plan.store.is_none() || !here;
        // In a shutdown, an id is known until all is over (S2).
        if self.plan.store.is_none() && reason != TerminateReason::Shutdown {
            known.dead.get_or_insert(moment);
        }
        // A store that could not remove it gives it to the next one who asks.
        if again && !self.faulty_store() {
            self.violation("ended-twice", || format!("node {node} reported the end of {session} twice"));
        }
        let Some(known) = self.sessions.get(&session) else { return };
        let config = &self.plan.limits.config;
        // An answer that was ready in a process that stood still came to its client later.
        let unused = now - known.used + self.slow_store() + self.pauses();
        let hooks = self.plan.clients.get(known.client).map(|client| client.hooks);
        let due = match reason {
            // A node that finds the record gone says this, if it does not learn of the reason in time.
            TerminateReason::ClientDelete => {
                known.end_asked || (self.plan.nodes > 1 && (again || self.is_over(known)))
            }
            TerminateReason::Idle => unused >= config.session.idle_timeout,
            TerminateReason::InitializeTimeout => {
                // The node that opened it may not know that it was used at another one, before it was idle.
                let used = known.initialized || (known.called && unused < config.session.idle_timeout);
                // With a store, one that makes room for another says this too.
                let room = config.max_sessions < 100 && self.plan.store.is_some();
                (room || now - known.opened >= config.session.initialize_timeout) && !used
            }
            TerminateReason::MaxAge => config.session.max_age.is_some_and(|age| now - known.opened >= age),
            TerminateReason::Evicted => known.end_asked || (config.max_sessions < 100 && !known.initialized),
            TerminateReason::Shutdown => self.shuts_down(node, generation) || self.plan.store.is_some(),
            TerminateReason::Error => hooks
                .is_none_or(|hooks| hooks.session_data == Hook::Panics || hooks.initialize != Hook::Returns),
            _ => false,
        };
        let due = due || hooks.is_none(); // its client does not know it yet
        let text = (!due).then(|| format!("{session} ended with {reason:?}: {known:?}"));
        if let Some(text) = text.filter(|_| !self.store_may_drop()) {
            self.violation("expired", || text);
        }
    }

    /// The `terminated` hook was called.
    pub(in crate::simulation) fn hook_called(
        &mut self,
        session: SessionId,
        at: (usize, usize),
        reason: TerminateReason,
    ) {
        if self.is_killed(at) {
            return; // what a killed process does in its last moment, nobody sees
        }
        let node = at.0;
        self.note(|| format!("node {node}: hook of {session}, {reason:?}"));
        let Some(known) = self.sessions.get_mut(&session) else { return };
        known.hooks += 1;
        if known.hooks > 1 && !self.may_be_late() {
            self.violation("hook-twice", || format!("the hook of {session} was called again"));
        }
    }

    pub(super) fn tells(&mut self, session: SessionId) -> Option<&mut Tells> {
        self.sessions.get_mut(&session).map(|known| &mut known.tells)
    }

    /// Returns `true` if the client of a session has sent `initialized`.
    pub(super) fn is_in_use(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|known| known.initialized)
    }

    /// The client that opened a session, if it is known.
    pub(super) fn opener(&self, session: SessionId) -> Option<usize> {
        self.sessions.get(&session).map(|known| known.client).filter(|client| *client != usize::MAX)
    }

    pub(super) fn finish_sessions(&mut self) {
        let lost = self.sessions.iter().find(|(_, known)| {
            known.client < self.plan.clients.len()
                && matches!(self.plan.clients[known.client].kind, Kind::Session { .. })
                && self.plan.store.is_none()
                && !self.is_gone(known.at.0, known.at.1)
                && (known.ends.is_empty() || known.hooks == 0)
        });
        let unhooked = self.sessions.iter().find(|(_, known)| known.deleted && known.hooks == 0);
        if let Some(text) =
            unhooked.map(|(id, known)| format!("{id} was deleted, without its hook: {known:?}"))
        {
            if !self.may_be_late() {
                return self.violation("not-ended", || text);
            }
        }
        if let Some(text) = lost.map(|(id, known)| format!("{id} was not reported as ended: {known:?}")) {
            self.violation("not-ended", || text);
        }
    }
}

impl Session {
    fn new(client: usize, opened: Instant, at: (usize, usize)) -> Self {
        Self {
            client,
            opened,
            known: None,
            at,
            used: opened,
            initialized: false,
            called: false,
            end_asked: false,
            dead: None,
            ends: Vec::new(),
            ended: false,
            hooks: 0,
            deleted: false,
            tells: Tells::default(),
        }
    }
}
