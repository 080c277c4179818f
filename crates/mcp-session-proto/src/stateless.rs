//! [`StatelessExchange`]: an exchange without a session, and its own ending.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    config::{ResponseMode, SessionConfig},
    ending::{Ending, Phase, TerminatePolicy, TerminateReason},
    exchange::{Era, Exchange, Reply, Status},
    id::RequestId,
    message::{Insertions, Json, RpcError},
    output::{Output, Tally},
    session::SendError,
    stream::Next,
};

/// An exchange without a session: a request of 2026-07-28, or of an older revision by a client that names no session.
///
/// It ends by itself, phase by phase, as a session does. If its client disconnects, the request is cancelled: nobody can
/// ask for the answer again (G-30, E-30).
#[derive(Debug)]
pub struct StatelessExchange<T> {
    exchange: Exchange<T>,
    config: Arc<SessionConfig>,
    ending: Option<Ending>,
    output: Output<T>,
}

impl<T: Clone> StatelessExchange<T> {
    /// Admits a request: from now on it is owed exactly one answer.
    pub fn new(id: RequestId, era: Era, mode: ResponseMode, config: Arc<SessionConfig>) -> Self {
        let mut output = Output::default();
        let exchange = Exchange::new(id, None, era, mode, &mut output);
        Self { exchange, config, ending: None, output }
    }

    // What happened.

    /// See [`Exchange::handle_suspended`].
    pub fn handle_suspended(&mut self, now: Instant) {
        self.exchange.handle_suspended(now, &mut self.output);
    }

    /// The client has disconnected: the request is cancelled.
    pub fn handle_disconnect(&mut self, now: Instant) {
        self.exchange.handle_disconnect(now, 0, &self.config, &mut self.output);
        self.advance(now);
    }

    /// The handler has finished, with or without an answer.
    pub fn handle_released(&mut self) {
        self.exchange.handle_released();
    }

    /// Acts on the deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.exchange.handle_timeout(now, &self.config, &mut self.output);
        self.advance(now);
    }

    // What the handler wants.

    /// The handler's answer. Returns `true` if it counts: see [`Exchange::answer`].
    pub fn answer(&mut self, now: Instant, answer: &Result<Json, RpcError>) -> bool {
        self.answer_with(now, answer, None)
    }

    /// As [`StatelessExchange::answer`], with what is inserted into a result.
    #[doc(hidden)] // for core
    pub fn answer_with(
        &mut self,
        now: Instant,
        answer: &Result<Json, RpcError>,
        insertions: Option<&Insertions<'_>>,
    ) -> bool {
        self.exchange.handle_released();
        let counts = self.exchange.answer_with(now, answer, insertions, &mut self.output);
        self.advance(now);
        counts
    }

    /// Sends a message ahead of the answer.
    ///
    /// # Errors
    ///
    /// As [`Exchange::notify`].
    pub fn notify(&mut self, now: Instant, event: &Bytes) -> Result<(), SendError> {
        self.exchange.notify(now, event, &self.config, &mut self.output)
    }

    /// Like [`StatelessExchange::notify`], but drops the event if an equal one has not been read yet.
    ///
    /// # Errors
    ///
    /// As [`Exchange::notify`].
    pub fn notify_once(&mut self, now: Instant, event: &Bytes) -> Result<(), SendError> {
        let waits = self.exchange.stream().is_some_and(|stream| stream.holds(event));
        if waits { Ok(()) } else { self.notify(now, event) }
    }

    /// Reports progress.
    ///
    /// # Errors
    ///
    /// As [`Exchange::progress`].
    pub fn progress(&mut self, now: Instant, progress: f64, event: &Bytes) -> Result<(), SendError> {
        self.exchange.progress(now, progress, event, &self.config, &mut self.output)
    }

    // What the endpoint wants.

    /// Ends the exchange for a shutdown: its handler may go on for the time that `policy` gives. If it is already ending,
    /// the tighter deadlines hold.
    pub fn drain(&mut self, now: Instant, policy: &TerminatePolicy) {
        match &mut self.ending {
            Some(ending) => ending.tighten(now, policy),
            None => {
                self.ending = Some(Ending::new(now, TerminateReason::Shutdown, policy));
                self.exchange.wake_handler(&mut self.output);
            }
        }
        self.advance(now);
    }

    /// Ends the exchange now, by force.
    pub fn close(&mut self, now: Instant) {
        let at_once =
            TerminatePolicy { drain: Duration::ZERO, cancel: Duration::ZERO, finish: Duration::ZERO };
        self.drain(now, &at_once);
    }

    /// Moves the ending through its phases, as far as possible now.
    fn advance(&mut self, now: Instant) {
        let Self { exchange, ending: Some(ending), output, .. } = self else { return };
        loop {
            let next = match ending.phase {
                Phase::Running | Phase::Draining | Phase::Cancelling if !exchange.is_running() => {
                    Phase::Finishing
                }
                Phase::Running | Phase::Draining if ending.cancel_at <= now => {
                    exchange.interrupt(ending.reason, output);
                    Phase::Cancelling
                }
                Phase::Cancelling if ending.finish_at <= now => {
                    exchange.synthesize(now, ending.reason, output);
                    Phase::Finishing
                }
                Phase::Finishing if exchange.is_settled() || ending.close_at <= now => {
                    exchange.close(now, ending.reason, output);
                    Phase::Closed
                }
                Phase::Running | Phase::Draining | Phase::Cancelling | Phase::Finishing | Phase::Closed => {
                    return;
                }
            };
            if next == Phase::Finishing {
                ending.finish_late(now);
            }
            ending.phase = next;
        }
    }

    // What to do next.

    /// See [`Exchange::poll_reply`].
    pub fn poll_reply(&mut self, now: Instant) -> Option<Reply> {
        let reply = self.exchange.poll_reply(&mut self.output);
        self.advance(now);
        reply
    }

    /// Takes the next event of the reply's stream.
    pub fn poll_event(&mut self, now: Instant) -> Next {
        let next = self.exchange.poll_event(0, &mut self.output);
        self.advance(now);
        next
    }

    /// Takes the next events of the reply's stream: see [`Stream::poll_events`](crate::Stream::poll_events).
    pub fn poll_events(&mut self, now: Instant, bytes: usize) -> Next<[Bytes; 2]> {
        let next = self.exchange.poll_events(0, bytes, &mut self.output);
        self.advance(now);
        next
    }

    /// When to call [`StatelessExchange::handle_timeout`] next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let ending = self.ending.as_ref().and_then(|ending| ending.deadline(1));
        if self.phase() == Phase::Closed {
            return None;
        }
        self.exchange.next_timeout(&self.config).into_iter().chain(ending).min()
    }

    /// Takes what has happened since the last call.
    pub fn take_output(&mut self) -> Output<T> {
        std::mem::take(&mut self.output)
    }

    /// Takes only the counts, to add them to those of others.
    #[doc(hidden)] // for core
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.output.tally)
    }

    // Getters.

    /// The tag of its waiters. Set to `new()` if there was none.
    pub fn tag_or(&mut self, new: impl FnOnce() -> T) -> T {
        self.exchange.tag_or(new)
    }

    /// When the answer is synthesized at the latest, if the exchange is ending.
    pub fn answer_by(&self) -> Option<Instant> {
        self.ending.as_ref().map(|ending| ending.finish_at)
    }

    /// The status for its handler.
    pub fn status(&self) -> Status {
        self.exchange.status()
    }

    /// The phase of its ending.
    pub fn phase(&self) -> Phase {
        self.ending.as_ref().map_or(Phase::Running, |ending| ending.phase)
    }

    /// Whether an answer is still owed.
    pub fn is_running(&self) -> bool {
        self.exchange.is_running()
    }

    /// Whether its reply was delivered, or nobody is left to read it.
    pub fn is_settled(&self) -> bool {
        self.exchange.is_settled()
    }

    /// Whether the reply is a stream that has not ended.
    pub fn is_streaming(&self) -> bool {
        self.exchange.stream().is_some_and(|stream| !stream.is_over())
    }

    /// Whether nothing is left of it: both sides have finished, or it was closed by force.
    pub fn is_over(&self) -> bool {
        self.phase() == Phase::Closed || self.exchange.is_over()
    }
}

#[cfg(test)]
mod tests;
