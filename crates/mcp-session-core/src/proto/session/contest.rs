//! A second connection for the standalone stream: which of the two has it (D-22, D-23).
//!
//! A client that comes again has lost its connection, whatever a proxy in between makes of the old one: the newer
//! connection takes over. Two clients that are both there, with one session, would take the stream from each other for
//! ever, each at the end of its own: so whoever takes it over too often within a short time has to wait until the client
//! that has it was asked, by `ping`, and did not answer. One that answers keeps it.

use std::time::{Duration, Instant};

use super::Session;
use crate::proto::{config::SecondStream, state::Refusal, stream::Stream, timer::after};

/// How often the stream is taken over before anybody is asked. As often as the SDKs' clients try after they have lost a
/// connection: theirs are never held up.
const FREELY: u32 = 3;

/// After so long without another try, nothing is held against the next one. Longer than any SDK's client waits between
/// two tries.
const CALM: Duration = Duration::from_secs(30);

/// How long the client that has the stream may take to answer: a round trip, with a phone in between. Twice as long each
/// time that nobody answers: up to 8 seconds, which is less than a client waits for the head of a response.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is taken over in all, from clients that did not answer, before it has been calm. Beyond that, these are clients
/// that never answer a `ping`, or a network on which no stream would live.
const AT_MOST: u32 = FREELY + 3;

/// How often the standalone stream was taken over, while there was a connection to take it from.
#[derive(Debug, Default)]
pub(super) struct Contest {
    taken: u32,
    last: Option<Instant>,
    /// Until when somebody waits for the client that has the stream to answer.
    asked_until: Option<Instant>,
    /// The client that has it did not answer.
    silent: bool,
}

impl Contest {
    /// A newer connection wants the stream. Returns whether it gets it.
    fn challenge(&mut self, now: Instant) -> bool {
        if self.last.is_none_or(|last| after(last, CALM) <= now) {
            *self = Self::default();
        }
        if self.taken >= AT_MOST {
            return false;
        }
        self.last = Some(now);
        let wins = self.taken < FREELY || std::mem::take(&mut self.silent);
        if wins {
            self.taken += 1;
            self.asked_until = None;
        }
        wins
    }

    /// How long the client that has the stream may take to answer; `None` if it is not to be asked: because somebody else waits
    /// for that already, or it has been taken over too often.
    fn ask(&mut self, now: Instant) -> Option<Duration> {
        if self.taken >= AT_MOST || self.asked_until.is_some_and(|until| now < until) {
            return None;
        }
        let patience = PATIENCE * (1 << self.taken.saturating_sub(FREELY));
        self.asked_until = Some(after(now, patience));
        Some(patience)
    }
}

impl<T: Clone> Session<T> {
    /// Whether the standalone stream goes to a newer connection, should one come.
    ///
    /// # Errors
    ///
    /// [`Refusal::StreamTaken`] by [`SecondStream::Refuse`]; [`Refusal::StreamContested`] if it has been taken over too
    /// often: see [`Session::contest`].
    pub(super) fn yields_standalone(&mut self, now: Instant, policy: SecondStream) -> Result<(), Refusal> {
        let Some(stream) = self.standalone.as_deref().filter(|stream| stream.is_connected()) else {
            return Ok(());
        };
        if stream.is_stalled() || !stream.is_served() {
            return Ok(());
        }
        match policy {
            SecondStream::Refuse => Err(Refusal::StreamTaken),
            SecondStream::Replace => {
                let wins = self.liveness.as_mut().is_none_or(|liveness| liveness.contest.challenge(now));
                if wins { Ok(()) } else { Err(Refusal::StreamContested) }
            }
        }
    }

    /// After [`Refusal::StreamContested`]: for how long the client that has the standalone stream should be asked, by
    /// [`Session::ping`], whether it is there. If it does not answer, [`Session::handle_silent`] follows, and another try.
    /// `None`: it is not to be asked, and this try is refused.
    pub fn contest(&mut self, now: Instant) -> Option<Duration> {
        let connected = self.standalone.as_deref().is_some_and(Stream::is_connected);
        self.liveness.as_mut().filter(|_| connected)?.contest.ask(now)
    }

    /// The client that has the standalone stream was asked and did not answer: the next connection takes it over.
    pub fn handle_silent(&mut self) {
        if let Some(liveness) = &mut self.liveness {
            liveness.contest.silent = true;
        }
    }
}
