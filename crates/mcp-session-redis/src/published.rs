//! [`Published`]: what this node knows of the standalone logs, which Redis may lose: how far each has come, and what this node has
//! published lately.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use mcp_session_core::{
    SessionId,
    proto::{REWRITABLE, after},
    store::NodeId,
};

/// The most bytes of events that are kept here, to publish them again. 8 MiB, as on their way to Redis.
const BYTES: usize = 8 << 20;

/// The memory that an event needs besides its text, about.
const OVERHEAD: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Published {
    /// The last position that was published or read here.
    tops: HashMap<SessionId, u64>,
    /// The oldest first.
    recent: VecDeque<(Instant, SessionId, Publication)>,
    bytes: usize,
}

/// An event in a standalone log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) position: u64,
    pub(crate) source: NodeId,
    pub(crate) token: u64,
    pub(crate) event: Bytes,
}

/// What is known of a log: its last position, and the events that were published here lately, in order.
pub(crate) type KnownLog = (u64, Vec<Publication>);

impl Published {
    /// The log has come as far as this.
    pub(crate) fn reached(&mut self, session: SessionId, position: u64) {
        let top = self.tops.entry(session).or_default();
        *top = position.max(*top);
    }

    /// It was published here.
    pub(crate) fn add(&mut self, now: Instant, session: SessionId, publication: Publication) {
        self.bytes += publication.event.len() + OVERHEAD;
        self.recent.push_back((now, session, publication));
        while self
            .recent
            .front()
            .is_some_and(|(then, ..)| self.bytes > BYTES || after(*then, REWRITABLE) <= now)
        {
            self.bytes -= self.recent.pop_front().map_or(0, |(.., oldest)| oldest.event.len() + OVERHEAD);
        }
    }

    /// The session is not served here any more. Others may still read what was published last.
    pub(crate) fn forget(&mut self, session: SessionId) {
        self.tops.remove(&session);
    }

    /// The logs of all sessions.
    pub(crate) fn all(&self, now: Instant) -> HashMap<SessionId, KnownLog> {
        let mut all: HashMap<_, KnownLog> =
            self.tops.iter().map(|(session, top)| (*session, (*top, Vec::new()))).collect();
        for (then, session, publication) in &self.recent {
            if now < after(*then, REWRITABLE) {
                let (top, events) = all.entry(*session).or_default();
                *top = publication.position.max(*top);
                events.push(publication.clone());
            }
        }
        all
    }

    /// The log of one session.
    pub(crate) fn log(&self, now: Instant, session: SessionId) -> KnownLog {
        let fresh =
            |(then, of, _): &&(Instant, SessionId, _)| *of == session && now < after(*then, REWRITABLE);
        let events: Vec<_> = self.recent.iter().filter(fresh).map(|(.., event)| event.clone()).collect();
        let top = events.iter().map(|event: &Publication| event.position).max().unwrap_or(0);
        (self.tops.get(&session).copied().unwrap_or(0).max(top), events)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn session() -> SessionId {
        SessionId::from_bits(1)
    }

    fn event(position: u64, size: usize) -> Publication {
        Publication { position, source: NodeId(1), token: position, event: vec![b'x'; size].into() }
    }

    #[test]
    fn what_was_published_lately_is_known_and_the_last_position_for_longer() {
        let (mut published, start) = (Published::default(), Instant::now());
        published.add(start, session(), event(7, 1));
        published.add(start + Duration::from_secs(3), session(), event(8, 1));
        published.reached(session(), 9);
        published.reached(session(), 2);
        let known = |seconds| published.log(start + Duration::from_secs(seconds), session());
        assert_eq!(known(4), (9, vec![event(7, 1), event(8, 1)]));
        assert_eq!(known(5), (9, vec![event(8, 1)]));
        assert_eq!(known(8), (9, vec![]));
        for seconds in [4, 5, 8] {
            assert_eq!(published.all(start + Duration::from_secs(seconds))[&session()], known(seconds));
        }
        published.forget(session());
        assert_eq!(published.log(start + Duration::from_secs(4), session()).0, 8);
        assert_eq!(published.log(start + Duration::from_secs(8), session()), (0, vec![]));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut published, start) = (Published::default(), Instant::now());
        for position in 1..=20 {
            published.add(start, session(), event(position, 1 << 20));
        }
        let (top, kept) = published.log(start, session());
        assert_eq!((top, kept.len(), kept.last().map(|kept| kept.position)), (20, 7, Some(20)));
        published.add(start + REWRITABLE, session(), event(21, 1));
        assert_eq!((published.recent.len(), published.bytes), (1, 1 + OVERHEAD));
    }
}
