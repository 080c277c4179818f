//! How a session ends: by its own deadlines, alone or in a shutdown.

use std::time::{Duration, Instant};

use super::{Session, StreamKey};
use crate::proto::{
    ending::{Ending, Phase, TerminatePolicy, TerminateReason},
    exchange::Exchange,
    outbound::RequestError,
    output::Event,
    state::State,
    stream::Stream,
    timer::{Timer, after},
};

impl<T: Clone> Session<T> {
    /// Terminates the session: from now on its id is dead (E-11, F-28). Running requests are told to stop and get the
    /// budgets of [`SessionConfig::terminate`](crate::proto::SessionConfig::terminate). Returns `false` if the session
    /// was terminated before.
    pub fn terminate(&mut self, now: Instant, reason: TerminateReason) -> bool {
        if self.state == State::Terminated {
            return false;
        }
        self.die();
        if reason == TerminateReason::ClientDelete {
            self.forsake(now);
        }
        let schedule = self.config.terminate;
        match &mut self.ending {
            // The session was already ending, for a shutdown. The first reason stands (S12).
            Some(ending) => {
                ending.tighten(now, &schedule);
                if ending.phase == Phase::Finishing {
                    ending.finish_early(now);
                }
            }
            None => self.begin(now, reason, &schedule),
        }
        self.advance(now);
        true
    }

    /// Ends the session for a shutdown: running requests may go on for the time that `schedule` gives, while the id
    /// stays valid. If the session is already ending, the tighter deadlines hold.
    pub fn drain(&mut self, now: Instant, schedule: &TerminatePolicy) {
        match &mut self.ending {
            Some(ending) => ending.tighten(now, schedule),
            None => {
                if self.state != State::Terminated {
                    self.state = State::Draining;
                }
                self.begin(now, TerminateReason::Shutdown, schedule);
            }
        }
        self.advance(now);
    }

    /// Ends the session now, by force.
    pub fn close(&mut self, now: Instant, reason: TerminateReason) {
        self.die();
        let at_once =
            TerminatePolicy { drain: Duration::ZERO, cancel: Duration::ZERO, finish: Duration::ZERO };
        match &mut self.ending {
            Some(ending) => ending.tighten(now, &at_once),
            None => self.begin(now, reason, &at_once),
        }
        self.advance(now);
    }

    /// From now on the session's id is dead (E-11).
    fn die(&mut self) {
        if self.state != State::Terminated {
            self.state = State::Terminated;
            self.output.events.insert(Event::Dead);
        }
    }

    pub(super) fn begin(&mut self, now: Instant, reason: TerminateReason, schedule: &TerminatePolicy) {
        self.ending = Some(Box::new(Ending::new(now, reason, schedule)));
        self.output.events.insert(Event::Ending);
        let moves = self.moves(reason);
        let error = RequestError::Terminated(reason);
        self.fail_outbound(now, &error, |on, _| matches!(on, StreamKey::Standalone(_))); // F-32
        if moves {
            self.detach(now);
        }
        // Standalone streams carry no answers, so they end first (S4).
        if let Some(stream) = &mut self.standalone {
            stream.end(&mut self.output);
        }
        for exchange in self.exchanges.values_mut().filter(|_| !moves) {
            exchange.stay_connected(); // nobody could come back after the end (S6)
        }
        if !moves {
            self.for_each_relay(Stream::end); // the logs that they are read from end as well
        }
        for exchange in self.exchanges.values().filter(|exchange| exchange.is_running()) {
            exchange.wake_handler(&mut self.output);
        }
    }

    /// Moves the ending through its phases, as far as possible now.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(mut ending) = self.ending.as_deref().copied() {
            let next = match ending.phase {
                Phase::Running | Phase::Draining if self.running == 0 && !ending.lingers(now) => {
                    Phase::Finishing
                }
                Phase::Running | Phase::Draining if self.running > 0 && ending.cancel_at <= now => {
                    self.fail_outbound(now, &RequestError::Terminated(ending.reason), |_, _| true);
                    for exchange in self.exchanges.values_mut() {
                        exchange.interrupt(ending.reason, &mut self.output);
                    }
                    Phase::Cancelling
                }
                Phase::Cancelling if self.running == 0 => Phase::Finishing,
                Phase::Cancelling if ending.finish_at <= now => {
                    for exchange in self.exchanges.values_mut() {
                        exchange.synthesize(now, ending.reason, &mut self.output);
                        if let Some(stream) = exchange.stream_mut() {
                            self.replay.track(now, stream);
                        }
                    }
                    self.running = 0;
                    self.trim(now);
                    self.forget_exchanges();
                    Phase::Finishing
                }
                Phase::Finishing if self.is_delivered() || ending.close_at <= now => {
                    for exchange in self.exchanges.values_mut() {
                        exchange.close(now, ending.reason, &mut self.output);
                    }
                    if let Some(stream) = &mut self.standalone {
                        stream.cut(&mut self.output);
                    }
                    self.forget_exchanges();
                    self.forget_all();
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
            // In a shutdown, readers keep the time until `close_at`, because other sessions may still be working.
            if next == Phase::Finishing && self.state == State::Terminated {
                ending.finish_early(now);
            }
            if let Some(current) = &mut self.ending {
                **current = ending;
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
        if let Some(ending) = self.ending.as_deref_mut().filter(|ending| ending.phase == Phase::Draining) {
            if self.state == State::Draining && until > now && ending.linger.replace(until).is_none() {
                self.output.tally.lingering += 1;
            }
        }
    }

    fn forget_exchanges(&mut self) {
        let over = self.exchanges.iter().filter(|(_, exchange)| exchange.is_over()).map(|(key, _)| key);
        over.collect::<Vec<_>>().into_iter().for_each(|key| self.forget_exchange(key));
    }

    /// Whether every reply and stream was delivered or stored, and no handler is in its grace period. A client that has
    /// left is not waited for; one that was told to reconnect is, and so is the store.
    pub(super) fn is_delivered(&self) -> bool {
        self.exchanges.values().all(|exchange| exchange.is_settled() && !exchange.is_winding_down())
            && self.streams() == 0
            && !self.is_storing()
    }
}
