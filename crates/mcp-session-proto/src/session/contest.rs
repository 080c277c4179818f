//! A second connection for the standalone stream: which of the two gets it (D-22, D-23).
//!
//! A client that connects again has lost its old connection, even if a proxy in between keeps that one open: the newer
//! connection takes over. But two live clients of one session would take the stream from each other forever. So after
//! too many takeovers within a short time, the client that has the stream is asked by `ping` first. If it answers, it
//! keeps the stream; if not, the newer connection gets it.

use std::time::{Duration, Instant};

use super::Session;
use crate::{config::SecondStream, state::Refusal, stream::Stream, timer::after};

/// The number of takeovers before the client is asked. The SDKs' clients try to reconnect at most this often after a
/// lost connection, so they are never held up.
const FREELY: u32 = 3;

/// After this long without another attempt, the count starts again. Longer than any SDK's client waits between two
/// attempts.
const CALM: Duration = Duration::from_secs(30);

/// How long the client that has the stream may take to answer: a round trip, perhaps over a phone's network. Doubled
/// with each takeover from a client that did not answer, up to 8 seconds, which is less than a client waits for the
/// head of a response.
const PATIENCE: Duration = Duration::from_secs(2);

/// The number of takeovers in all, those from silent clients included, before a calm period. Beyond that, the clients
/// never answer a `ping`, or the network keeps no stream alive.
const AT_MOST: u32 = FREELY + 3;

/// How often the standalone stream was taken over from another connection.
#[derive(Debug, Default)]
pub(super) struct Contest {
    taken: u32,
    last: Option<Instant>,
    /// Until when the client that has the stream may answer a `ping`.
    asked_until: Option<Instant>,
    /// The client that has the stream did not answer.
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

    /// How long the client that has the stream may take to answer. `None` if it must not be asked: because it is being
    /// asked already, or the stream has been taken over too often.
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
    /// Decides whether a newer connection gets the standalone stream.
    ///
    /// # Errors
    ///
    /// [`Refusal::StreamTaken`] with [`SecondStream::Refuse`]; [`Refusal::StreamContested`] if the stream has been
    /// taken over too often: see [`Session::contest`].
    pub(super) fn yields_standalone(&mut self, now: Instant, policy: SecondStream) -> Result<(), Refusal> {
        let Some(stream) = self.streams.standalone().filter(|stream| stream.is_connected()) else {
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

    /// After [`Refusal::StreamContested`]: the timeout for a [`Session::ping`] to the client that has the standalone
    /// stream. If it does not answer in time, call [`Session::handle_silent`] and try again. `None`: do not ask, this
    /// attempt is refused.
    pub fn contest(&mut self, now: Instant) -> Option<Duration> {
        let connected = self.streams.standalone().is_some_and(Stream::is_connected);
        self.liveness.as_mut().filter(|_| connected)?.contest.ask(now)
    }

    /// The client that has the standalone stream did not answer a `ping`: the next connection takes the stream over.
    pub fn handle_silent(&mut self) {
        if let Some(liveness) = &mut self.liveness {
            liveness.contest.silent = true;
        }
    }
}
