//! The ways in which an exchange ends without its handler's answer.

use std::time::{Duration, Instant};

use super::{
    Body, CancelReason, Era, Exchange,
    cancel::{orphaned, request_cancelled},
};
use crate::{
    config::SessionConfig,
    ending::TerminateReason,
    message::ErrorCode,
    output::{Outcome, Output},
    timer::after,
};

impl<T: Clone> Exchange<T> {
    /// Cancels the request: no answer is owed any more. The handler is told, and has
    /// [`cancel_grace`](SessionConfig::cancel_grace) to stop.
    pub fn cancel(
        &mut self,
        now: Instant,
        reason: CancelReason,
        config: &SessionConfig,
        out: &mut Output<T>,
    ) {
        if self.outcome.is_some() {
            return;
        }
        self.cancelled = Some(reason);
        self.abandon_at = Some(after(now, config.cancel_grace));
        self.wake_handler(out);
        if matches!(self.body, Body::Undecided) {
            // A POST cannot end without a response (F-08).
            self.finish(now, &Err(request_cancelled()), None, Outcome::Cancelled, out);
        } else {
            self.decide(Outcome::Cancelled, out);
            if let Body::Stream(stream) = &mut self.body {
                stream.end(out);
            }
            self.settle(out);
        }
    }

    /// Its client, which is disconnected, has ended the session: no answer is owed, and delivery is not awaited.
    pub(crate) fn forsake(&mut self, now: Instant, config: &SessionConfig, out: &mut Output<T>) {
        if let Body::Stream(stream) = &mut self.body {
            stream.forsake();
        }
        if self.outcome.is_none() {
            self.cancel(now, CancelReason::Terminated(TerminateReason::ClientDelete), config, out);
        } else if !self.settled {
            self.outcome = Some(Outcome::Cancelled);
            self.settle(out);
        }
    }

    /// Cancels the request because nobody can fetch the answer any more. A client that comes back late and still
    /// finds the stream gets an error.
    pub(crate) fn orphan(&mut self, now: Instant, config: &SessionConfig, out: &mut Output<T>) {
        if self.outcome.is_some() {
            return;
        }
        self.cancelled = Some(CancelReason::Orphaned);
        self.abandon_at = Some(after(now, config.cancel_grace));
        self.wake_handler(out);
        if let Body::Stream(stream) = &mut self.body {
            stream.expect_nobody();
        }
        out.tally.orphaned += 1;
        self.finish(now, &Err(orphaned()), None, Outcome::Cancelled, out);
    }

    /// Records when the client left, or that it is back.
    pub(crate) fn note_presence(&mut self, now: Instant) {
        let gone = match &self.body {
            Body::Done => true,
            Body::Stream(stream) => stream.is_away(),
            Body::Undecided | Body::Json(_) => false,
        };
        match (gone, self.left) {
            (true, None) => self.left = Some(now),
            (false, Some(_)) => self.left = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// The client reads at another node now: if it has left, then since now.
    pub(crate) fn note_reader(&mut self) {
        self.left = None;
    }

    /// When the request becomes orphaned, if its client has left.
    pub(crate) fn orphan_at(&self, config: &SessionConfig) -> Option<Instant> {
        let left = self.left.filter(|_| self.outcome.is_none())?;
        let can_come_back = self.stream().is_some_and(|stream| !stream.is_lost());
        let age = config.replay.filter(|_| can_come_back).map_or(Duration::ZERO, |replay| replay.age);
        Some(after(left, config.idle_timeout.max(age)))
    }

    /// The session is ending: tells the handler to stop. It may still answer.
    pub fn interrupt(&mut self, reason: TerminateReason, out: &mut Output<T>) {
        if self.outcome.is_none() && self.cancelled.is_none() {
            self.cancelled = Some(CancelReason::Terminated(reason));
            self.wake_handler(out);
        }
    }

    /// The handler's time is up: answers with a synthesized error and abandons the handler (S5).
    pub fn synthesize(&mut self, now: Instant, reason: TerminateReason, out: &mut Output<T>) {
        if self.outcome.is_none() {
            let code = match self.era {
                Era::Legacy | Era::Stateless => ErrorCode::CONNECTION_CLOSED,
                Era::Modern => ErrorCode::INTERNAL_ERROR,
            };
            self.interrupt(reason, out);
            self.finish(now, &Err(reason.to_error(code)), None, Outcome::Synthesized, out);
        }
        self.abandon(out);
    }

    /// Ends the exchange by force: what has not been read by now is lost.
    pub fn close(&mut self, now: Instant, reason: TerminateReason, out: &mut Output<T>) {
        self.synthesize(now, reason, out);
        if let Body::Stream(stream) = &mut self.body {
            stream.cut(out);
        }
        if !self.settled && self.outcome != Some(Outcome::Cancelled) {
            self.outcome = Some(Outcome::Forced);
        }
        self.count(out);
    }
}
