//! The end of one session, phase by phase: by its own deadlines, alone or in a shutdown.

use std::time::{Duration, Instant};

use super::{Session, StreamKey, lifecycle::Lifecycle};
use crate::{
    ending::{Ending, Phase, TerminatePolicy, TerminateReason},
    exchange::Exchange,
    outbound::RequestError,
    output::Event,
    state::{Input, State, Verdict},
    stream::Stream,
    timer::{Timer, after},
};

impl<T: Clone> Session<T> {
    /// Terminates the session: from now on its id is dead (E-11, F-28). Running requests are told to stop and get the
    /// budgets of [`SessionConfig::terminate`](crate::SessionConfig::terminate). Returns `false` if the session
    /// was terminated before.
    pub fn terminate(&mut self, now: Instant, reason: TerminateReason) -> bool {
        if self.on(Input::Expire) != Verdict::Terminate {
            return false;
        }
        if reason == TerminateReason::ClientDelete {
            self.forsake(now);
        }
        let schedule = self.config.terminate;
        self.die(now, reason, &schedule);
        // A session that was already ending, for a shutdown, may have no request left.
        let draining = self.lifecycle.ending_mut().filter(|ending| ending.phase == Phase::Finishing);
        if let Some(ending) = draining {
            ending.finish_early(now);
        }
        self.advance(now);
        true
    }

    /// Ends the session for a shutdown: running requests may go on for the time that `schedule` gives, while the id
    /// stays valid. If the session is already ending, the tighter deadlines hold.
    pub fn drain(&mut self, now: Instant, schedule: &TerminatePolicy) {
        match self.lifecycle.ending_mut() {
            Some(ending) => ending.tighten(now, schedule),
            None => {
                self.lifecycle.drain(Ending::new(now, TerminateReason::Shutdown, schedule));
                self.begin(now, TerminateReason::Shutdown);
            }
        }
        self.advance(now);
    }

    /// Ends the session now, by force.
    pub fn close(&mut self, now: Instant, reason: TerminateReason) {
        let at_once =
            TerminatePolicy { drain: Duration::ZERO, cancel: Duration::ZERO, finish: Duration::ZERO };
        self.die(now, reason, &at_once);
        self.advance(now);
    }

    /// From now on the session's id is dead (E-11). If the session was already ending, its reason stands (S12), and the
    /// tighter deadlines hold. One that only moves to another node has not ended: then this is its first end.
    fn die(&mut self, now: Instant, reason: TerminateReason, schedule: &TerminatePolicy) {
        let live = !self.lifecycle.is_ending();
        let moves = self.state() != State::Terminated
            && self.lifecycle.ending().is_some_and(|ending| self.moves(ending.reason))
            && !reason.may_live_on();
        if self.state() != State::Terminated {
            self.output.events.insert(Event::Dead);
            self.lifecycle.die(|| Ending::new(now, reason, schedule));
        }
        match self.lifecycle.ending_mut() {
            Some(ending) if !live => {
                if moves {
                    ending.reason = reason;
                }
                ending.tighten(now, schedule);
            }
            _ => self.begin(now, reason),
        }
        if moves {
            // Nobody can come back any more, here or at another node.
            self.end_relays(now, reason);
            self.for_each_exchange(now, |exchange, _, _| exchange.stay_connected());
        }
    }

    /// The session has started to end.
    fn begin(&mut self, now: Instant, reason: TerminateReason) {
        self.output.events.insert(Event::Ending);
        let moves = self.moves(reason);
        let error = RequestError::Terminated(reason);
        self.fail_outbound(now, &error, |on, _| matches!(on, StreamKey::Standalone(_))); // F-32
        if moves {
            self.detach(now);
        } else {
            self.end_relays(now, reason);
        }
        // Standalone streams carry no answers, so they end first (S4).
        self.with_standalone(now, |stream, _, out| stream.end(out));
        self.for_each_exchange(now, |exchange, _, out| {
            if !moves {
                exchange.stay_connected(); // nobody could come back after the end (S6)
            }
            if exchange.is_running() {
                exchange.wake_handler(out);
            }
        });
    }

    /// Moves the ending through its phases, as far as possible now.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(mut ending) = self.lifecycle.ending().copied() {
            let next = match ending.phase {
                Phase::Running | Phase::Draining if self.running == 0 && !ending.lingers(now) => {
                    Phase::Finishing
                }
                Phase::Running | Phase::Draining if self.running > 0 && ending.cancel_at <= now => {
                    self.fail_outbound(now, &RequestError::Terminated(ending.reason), |_, _| true);
                    self.for_each_exchange(now, |exchange, _, out| exchange.interrupt(ending.reason, out));
                    Phase::Cancelling
                }
                Phase::Cancelling if self.running == 0 => Phase::Finishing,
                Phase::Cancelling if ending.finish_at <= now => {
                    self.for_each_exchange(now, |exchange, _, out| {
                        exchange.synthesize(now, ending.reason, out);
                    });
                    Phase::Finishing
                }
                Phase::Finishing if self.is_delivered() || ending.close_at <= now => {
                    self.for_each_exchange(now, |exchange, _, out| exchange.close(now, ending.reason, out));
                    self.cut_streams(now);
                    self.forget_effects();
                    self.timer = Timer::default(); // nothing is left to wait for
                    self.output.events.insert(Event::Closed);
                    Phase::Closed
                }
                Phase::Running | Phase::Draining | Phase::Cancelling | Phase::Finishing => {
                    if let Some(deadline) = ending.deadline(self.running) {
                        self.timer.arm(deadline);
                    }
                    return;
                }
                Phase::Closed => return,
            };
            if ending.phase == Phase::Draining && ending.linger.is_some() {
                self.output.tally.lingering -= 1;
            }
            ending.phase = next;
            if next == Phase::Finishing {
                ending.finish_late(now);
            }
            // In a shutdown, readers keep the time until `close_at`, because other sessions may still be working.
            if next == Phase::Finishing && self.state() == State::Terminated {
                ending.finish_early(now);
            }
            if let Some(current) = self.lifecycle.ending_mut() {
                *current = ending;
            }
            if next == Phase::Finishing && self.moves(ending.reason) {
                self.dismiss_relays(now);
            }
        }
    }

    /// The client has ended the session. It will not come back for the replies of disconnected exchanges, which count
    /// as cancelled.
    fn forsake(&mut self, now: Instant) {
        let away = |exchange: &Exchange<T>| exchange.stream().is_some_and(Stream::is_away);
        let away = self.exchanges.iter().filter(|(_, exchange)| away(exchange)).map(|(key, _)| key);
        for key in away.collect::<Vec<_>>() {
            self.with_exchange(now, key, |exchange, config, out| exchange.forsake(now, config, out));
        }
    }

    /// An answer was queued or delivered while the session drains: the client may request what it needs to process it.
    pub(super) fn linger(&mut self, now: Instant) {
        let until = after(now, self.config.linger);
        if let Lifecycle::Draining(_, ending) = &mut self.lifecycle {
            let lingers = ending.phase == Phase::Draining && until > now;
            if lingers && ending.linger.replace(until).is_none() {
                self.output.tally.lingering += 1;
            }
        }
    }

    /// Whether every reply and stream was delivered or stored, and no handler is in its grace period. A client that has
    /// left is not waited for; one that was told to reconnect is, and so is the store.
    pub(super) fn is_delivered(&self) -> bool {
        self.exchanges.values().all(|exchange| exchange.is_settled() && !exchange.is_winding_down())
            && self.streams() == 0
            && !self.is_storing()
    }
}
