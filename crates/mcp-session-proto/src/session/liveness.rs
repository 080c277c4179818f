//! Whether the client of the standalone stream still responds, checked by `ping` (C-15).
//!
//! Heartbeats only show that bytes leave the server; a proxy in between may read them although the client has gone. So
//! a silent client with an open stream is asked by `ping`, and loses the stream if it does not answer. Its session can
//! become idle then.

use std::time::Instant;

use super::{Session, StreamKey, contest::Contest, lifecycle::Handshake, outbound::ping_event};
use crate::{stream::Stream, timer::after};

/// When the client last responded.
#[derive(Debug)]
pub(super) struct Liveness {
    /// When the client last sent something, or was asked.
    since: Instant,
    /// The id of the `ping` that it has not answered yet.
    asked: Option<u64>,
    /// Recent takeovers of the stream.
    pub(super) contest: Contest,
}

impl Liveness {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, asked: None, contest: Contest::default() }
    }
}

impl<T: Clone> Session<T> {
    /// The client has sent something, so it is alive.
    pub(super) fn touch(&mut self, now: Instant) {
        self.active = now;
        if let Some(liveness) = &mut self.liveness {
            (liveness.since, liveness.asked) = (now, None);
        }
        if self.lifecycle.handshake() == Handshake::Answered {
            self.lifecycle.reach(Handshake::Used);
            if let Some(due) = self.lifetime() {
                self.timer.arm(due); // may be sooner than the deadline of a half-open session
            }
        }
    }

    /// Sends `ping` to a silent client, and ends the stream of a client that has not answered the last one.
    pub(super) fn handle_pulse(&mut self, now: Instant) {
        if self.ping_due().is_none_or(|due| now < due) {
            return;
        }
        let Some(connection) = self.streams.standalone().and_then(Stream::connection) else { return };
        match self.liveness.as_ref().and_then(|liveness| liveness.asked) {
            None => {
                let id = self.outbound.next_id();
                // If the queue has no space, the client does not read, and is treated as if it did not answer.
                let _ = self.act_on_standalone(now, |stream, config, out| {
                    stream.push(now, &ping_event(id), config, out)
                });
                self.outbound.skip();
                if let Some(liveness) = &mut self.liveness {
                    (liveness.since, liveness.asked) = (now, Some(id));
                }
            }
            Some(id) => {
                let on = StreamKey::Standalone(connection);
                self.tell_cancelled(now, on, id, "there was no answer in time"); // F-24
                self.act_on_standalone(now, |stream, _, out| stream.close(out));
                if let Some(liveness) = &mut self.liveness {
                    liveness.asked = None;
                }
                self.output.tally.pings_unanswered += 1;
            }
        }
    }

    /// When to call [`Session::handle_pulse`] next.
    pub(super) fn ping_due(&self) -> Option<Instant> {
        let open = self.streams.standalone().is_some_and(Stream::is_served);
        let liveness = self.liveness.as_ref().filter(|_| open && !self.config.ping_interval.is_zero())?;
        Some(after(liveness.since, self.config.ping_interval))
    }
}
