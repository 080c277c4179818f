//! What a session does when time has passed, and when its next deadline is.

use std::time::{Duration, Instant};

use super::{
    Session, StreamKey,
    lifecycle::{Handshake, Lifecycle},
};
use crate::{ending::TerminateReason, outbound::RequestError, timer::after};

impl<T: Clone> Session<T> {
    /// Time has passed: acts on heartbeats, expiry, timeouts and phases that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.timer.is_due(now) {
            return;
        }
        self.fail_outbound(now, &RequestError::TimedOut, |_, deadline| deadline <= now);
        let alive = self.with_standalone(now, |stream, config, out| stream.handle_silence(now, config, out));
        if alive == Some(true) {
            self.active = now;
        }
        self.handle_pulse(now);
        let config = std::sync::Arc::clone(&self.config);
        self.for_each_relay(|stream, out| _ = stream.handle_silence(now, &config, out));
        self.trim(now);
        while self.give_up_orphans(now) {} // the error of one may push kept events of another out of replay
        self.for_each_exchange(now, |exchange, config, out| exchange.handle_timeout(now, config, out));
        if let Some(reason) = self.expired(now) {
            self.terminate(now, reason);
        }
        self.advance(now);
        let deadlines = self.deadlines();
        self.timer.rearm(deadlines);
    }

    /// When to call [`Session::handle_timeout`] next, if ever.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timer.deadline()
    }

    fn expired(&self, now: Instant) -> Option<TerminateReason> {
        let past = |since: Instant, limit: Duration| after(since, limit) <= now;
        let quiet = self.is_quiet();
        let Lifecycle::Live(handshake) = self.lifecycle else { return None };
        match handshake {
            Handshake::Initializing if past(self.created, self.config.initialize_timeout) => {
                Some(TerminateReason::InitializeTimeout)
            }
            Handshake::Answered if quiet && past(self.created, self.config.initialize_timeout) => {
                Some(TerminateReason::InitializeTimeout)
            }
            // A client that uses the session without `initialized` is active too: only use counts (C-18, E-14).
            Handshake::Used | Handshake::Initialized
                if quiet && !self.is_read() && past(self.active, self.config.idle_timeout) =>
            {
                Some(TerminateReason::Idle)
            }
            _ => self
                .config
                .max_age
                .filter(|limit| past(self.created, limit.saturating_sub(self.older())))
                .map(|_| TerminateReason::MaxAge),
        }
    }

    /// Cancels the calls whose answers nobody can fetch any more, because their clients did not come back in time.
    /// Neither these calls nor their end count as activity (E-14). Returns whether there were any.
    fn give_up_orphans(&mut self, now: Instant) -> bool {
        if self.lifecycle.is_ending() {
            return false; // an ending has its own deadlines
        }
        let due = self
            .exchanges
            .iter()
            .filter(|(_, exchange)| exchange.orphan_at(&self.config).is_some_and(|at| at <= now));
        let (orphans, active) = (due.map(|(key, _)| key).collect::<Vec<_>>(), self.active);
        for key in orphans.iter().copied() {
            self.fail_outbound(now, &RequestError::Cancelled, |on, _| on == StreamKey::Response(key));
            self.with_exchange(now, key, |exchange, config, out| exchange.orphan(now, config, out));
        }
        self.active = active;
        !orphans.is_empty()
    }

    /// Whether no request runs here, and no reply is relayed from the store (E-14).
    fn is_quiet(&self) -> bool {
        self.running == 0 && self.relays().next().is_none()
    }

    /// Whether a client reads the standalone stream.
    fn is_read(&self) -> bool {
        self.streams.standalone().is_some_and(|stream| stream.is_served() && !stream.is_stalled())
    }

    /// When the session expires if nothing else happens; `None` while it is in use or ending.
    pub(super) fn lifetime(&self) -> Option<Instant> {
        let Lifecycle::Live(handshake) = self.lifecycle else { return None };
        let initialize = || Some(after(self.created, self.config.initialize_timeout));
        match handshake {
            Handshake::Initializing => initialize(),
            Handshake::Answered if self.is_quiet() => initialize(),
            Handshake::Used | Handshake::Initialized if self.is_quiet() && !self.is_read() => {
                Some(after(self.active, self.config.idle_timeout))
            }
            Handshake::Answered | Handshake::Used | Handshake::Initialized => None,
        }
    }

    pub(super) fn deadlines(&self) -> Vec<Instant> {
        let ending = self.lifecycle.ending();
        let max_age = match ending {
            None => self.config.max_age.map(|limit| after(self.created, limit.saturating_sub(self.older()))),
            Some(_) => None,
        };
        let exchanges = self.exchanges.values().filter_map(|exchange| exchange.next_timeout(&self.config));
        let standalone = self.streams.standalone().and_then(|stream| stream.next_timeout(&self.config));
        let left = self.exchanges.values().filter(|_| ending.is_none());
        let ending = ending.and_then(|ending| ending.deadline(self.running));
        let outbound = self.outbound.next_timeout();
        let replay = self.config.replay.and_then(|limits| self.streams.next_timeout(&limits));
        let singles = [self.lifetime(), max_age, standalone, self.ping_due(), ending, outbound, replay];
        let relays = self.relays().filter_map(|stream| stream.next_timeout(&self.config));
        let orphans = left.filter_map(|exchange| exchange.orphan_at(&self.config));
        singles.into_iter().flatten().chain(exchanges).chain(relays).chain(orphans).collect()
    }
}
