//! Streams that belong to no call: whoever reads one all the time sees everything that was sent on it.

use std::collections::HashSet;

use mcp_session_core::{SecondStream, SendError, SessionId};

use super::Book;

/// A `subscriptions/listen` whose client reads all the time.
#[derive(Debug)]
pub(super) struct Listener {
    at: (usize, usize),
    /// The broadcasts of its node since it was acknowledged.
    owed: Vec<u64>,
    open: bool,
}

/// What is sent on the standalone stream of a session.
#[derive(Debug, Default)]
pub(super) struct Tells {
    sent: u64,
    /// How many clients have asked for the stream.
    asked: u32,
    /// One connection carries it, and its client reads all the time.
    read: bool,
    /// What was accepted since then.
    owed: Vec<u64>,
    /// What was accepted so far.
    accepted: Vec<u64>,
    /// What some client has received.
    heard: HashSet<u64>,
    /// The first event that a client has received, and how many were accepted before that.
    first: Option<(String, usize)>,
}

impl Book {
    /// A listener was acknowledged. Returns its number.
    pub(in crate::simulation) fn listens(&mut self, at: (usize, usize)) -> usize {
        self.listeners.push(Listener { at, owed: Vec::new(), open: true });
        self.listeners.len() - 1
    }

    /// A node broadcasts. Returns the number of the broadcast.
    pub(in crate::simulation) fn broadcasts(&mut self, node: usize) -> u64 {
        self.broadcasts += 1;
        let number = self.broadcasts;
        let generation = self.nodes[node].generation();
        if !self.shuts_down(node, generation) {
            let here = self.listeners.iter_mut().filter(|listener| listener.at == (node, generation));
            here.filter(|listener| listener.open).for_each(|listener| listener.owed.push(number));
        }
        number
    }

    /// A listener got its result, after these broadcasts.
    pub(in crate::simulation) fn listener_ends(&mut self, listener: usize, seen: &HashSet<u64>) {
        let listener = &mut self.listeners[listener];
        listener.open = false;
        let lost = listener.owed.iter().find(|number| !seen.contains(*number)).copied();
        // A queue that is full ends a subscription.
        if let Some(number) = lost.filter(|_| self.plan.limits.config.session.queue_events >= 256) {
            self.violation("lost", || format!("a listener did not get the broadcast {number}"));
        }
    }

    /// A client asks for the standalone stream of a session.
    pub(in crate::simulation) fn asks_for_stream(&mut self, session: SessionId) {
        if let Some(tells) = self.tells(session) {
            tells.asked += 1;
            tells.read = false; // another connection may take over now
        }
    }

    /// A client was refused the standalone stream, because another connection has it.
    pub(in crate::simulation) fn refuses_stream(&mut self, session: SessionId) {
        let replaces = self.plan.limits.config.session.second_stream == SecondStream::Replace;
        let asked = self.tells(session).map_or(0, |tells| tells.asked);
        if replaces && asked <= 2 && self.plan.store.is_none() {
            self.violation("status", || format!("GET of {session} got 409, as the second one"));
        }
    }

    /// A connection carries the standalone stream of a session.
    pub(in crate::simulation) fn reads(&mut self, session: SessionId, fast: bool) {
        if let Some(tells) = self.tells(session) {
            tells.read = fast && tells.asked == 1;
            tells.owed.clear();
        }
    }

    /// The standalone stream of a session has ended: for another connection, or because the session ends. `seen`: what its
    /// client got on it.
    pub(in crate::simulation) fn reads_end(&mut self, session: SessionId, seen: impl Fn(u64) -> bool) {
        // Before `initialized`, nothing but pings is sent (C-06).
        let alone = self.plan.store.is_none() && !self.may_be_late() && !self.is_hurried();
        let alone = alone && self.is_in_use(session) && self.may_end(session);
        let Some(tells) = self.tells(session).filter(|tells| tells.read) else { return };
        let lost = tells.owed.iter().find(|n| !seen(**n)).copied();
        if let Some(n) = lost.filter(|_| alone) {
            self.violation("lost", || format!("{session} did not get the tell {n}"));
        }
    }

    /// A client wants the standalone stream from an event on. A new connection that takes it over from there gets again what
    /// another one of that client has received.
    pub(in crate::simulation) fn goes_back(&mut self, session: SessionId) {
        if let Some(tells) = self.tells(session) {
            tells.heard.clear();
        }
    }

    /// The tells that clients of a session have received so far.
    pub(in crate::simulation) fn heard(&self, session: SessionId) -> HashSet<u64> {
        self.sessions.get(&session).map(|known| known.tells.heard.clone()).unwrap_or_default()
    }

    /// A client received a tell on the standalone stream, with this event id. `before`: what had been received when its
    /// connection was opened; nothing if it came back with `Last-Event-ID`.
    pub(in crate::simulation) fn hears(
        &mut self,
        session: SessionId,
        n: u64,
        id: Option<&str>,
        before: &HashSet<u64>,
    ) {
        if before.contains(&n) && !self.may_be_late() {
            self.violation("repeated", || {
                format!("a new stream of {session} has the tell {n}, which was received before")
            });
        }
        let Some(tells) = self.tells(session) else { return };
        tells.heard.insert(n);
        if let (None, Some(id)) = (&tells.first, id) {
            tells.first = Some((id.to_owned(), tells.accepted.len()));
        }
    }

    /// The first event of the standalone stream that a client has received, and the tells that were accepted later.
    pub(in crate::simulation) fn owed_since_the_first(
        &self,
        session: SessionId,
    ) -> Option<(String, Vec<u64>)> {
        let tells = &self.sessions.get(&session)?.tells;
        let (first, accepted) = tells.first.as_ref()?;
        Some((first.clone(), tells.accepted[*accepted..].to_vec()))
    }

    pub(in crate::simulation) fn next_tell(&mut self, session: SessionId) -> u64 {
        self.tells(session).map_or(0, |tells| {
            tells.sent += 1;
            tells.sent
        })
    }

    /// A notification on the standalone stream was accepted, or not.
    pub(in crate::simulation) fn told(&mut self, session: SessionId, n: u64, told: Result<(), SendError>) {
        self.note(|| format!("{session}: tell {n}: {told:?}"));
        match (told, self.tells(session)) {
            (Ok(()), Some(tells)) => {
                tells.owed.push(n);
                tells.accepted.push(n);
            }
            (Err(SendError::Invalid), _) => self.violation("tell-failed", || format!("{session}: {told:?}")),
            _ => {}
        }
    }
}
