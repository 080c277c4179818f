//! Whether the client at the other end of the standalone stream is there: asked by `ping` (C-15).
//!
//! Heartbeats tell whether bytes leave; a proxy in between may take them for a client that has long gone. So a client
//! that has a stream open and says nothing is asked, and one that does not answer loses the stream. From then on its
//! session is as idle as it looks.

use std::time::Instant;

use super::{Session, StreamKey, contest::Contest, outbound::ping_event};
use crate::proto::{stream::Stream, timer::after};

/// What is known of the client.
#[derive(Debug)]
pub(super) struct Liveness {
    /// When it was last heard of, or asked.
    since: Instant,
    /// The `ping` that it has yet to answer.
    asked: Option<u64>,
    /// How often the stream was taken over lately.
    pub(super) contest: Contest,
}

impl Liveness {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, asked: None, contest: Contest::default() }
    }
}

impl<T: Clone> Session<T> {
    /// The client has said something, whatever it is: it is there.
    pub(super) fn touch(&mut self, now: Instant) {
        self.active = now;
        if let Some(liveness) = &mut self.liveness {
            (liveness.since, liveness.asked) = (now, None);
        }
        if self.established && !self.used {
            self.used = true;
            if let Some(due) = self.lifetime() {
                self.timer.arm(due); // which may be sooner than that of a half-open session
            }
        }
    }

    /// Asks a client that is silent, and ends the stream of one that has not answered.
    pub(super) fn handle_pulse(&mut self, now: Instant) {
        if self.ping_due().is_none_or(|due| now < due) {
            return;
        }
        let Some(connection) = self.standalone.as_deref().and_then(Stream::connection) else { return };
        match self.liveness.as_ref().and_then(|liveness| liveness.asked) {
            None => {
                let id = self.outbound.next_id();
                // Where there is no space for it, the client does not even read.
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
                self.liveness.iter_mut().for_each(|liveness| liveness.asked = None);
                self.output.tally.pings_unanswered += 1;
            }
        }
    }

    /// When [`Session::handle_pulse`] has something to do.
    pub(super) fn ping_due(&self) -> Option<Instant> {
        let open = self.standalone.as_deref().is_some_and(Stream::is_served);
        let liveness = self.liveness.as_ref().filter(|_| open && !self.config.ping_interval.is_zero())?;
        Some(after(liveness.since, self.config.ping_interval))
    }
}
