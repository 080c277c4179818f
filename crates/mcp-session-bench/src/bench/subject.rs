//! [`Subject`]: what a column of a table and a line of a chart stand for.

use mcp_session_bench::contention::Kind;
use plotters::style::RGBColor;

use crate::peer::Peer;

/// What is measured: a server, or requests of a kind that have no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Peer(Peer),
    Requests(Kind),
}

impl Subject {
    /// Every one, in the order of the tables.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let peers = Peer::all().iter().copied().map(Self::Peer);
        peers.chain(Kind::ALL.map(Self::Requests))
    }

    pub(crate) fn peer(self) -> Option<Peer> {
        match self {
            Self::Peer(peer) => Some(peer),
            Self::Requests(_) => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Peer(peer) => peer.name(),
            Self::Requests(kind) => kind.name(),
        }
    }

    /// What a chart calls it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Peer(peer) => peer.label(),
            Self::Requests(Kind::OwnSessions) => "a session for each thread",
            Self::Requests(Kind::OneSession) => "one session for all",
            Self::Requests(Kind::Stateless) => "without a session",
            Self::Requests(Kind::Modern) => "2026-07-28",
            Self::Requests(Kind::Churn) => "created and deleted",
            Self::Requests(Kind::Addition) => "one atomic addition",
        }
    }

    pub(crate) fn color(self) -> RGBColor {
        match self {
            Self::Peer(peer) => peer.color(),
            Self::Requests(Kind::OwnSessions) => RGBColor(0xd6, 0x4b, 0x1f),
            Self::Requests(Kind::OneSession) => RGBColor(0x7b, 0x4a, 0x9e),
            Self::Requests(Kind::Stateless) => RGBColor(0x1f, 0x77, 0xb4),
            Self::Requests(Kind::Modern) => RGBColor(0x2c, 0x8c, 0x4a),
            Self::Requests(Kind::Churn) => RGBColor(0xb0, 0x8a, 0x1e),
            Self::Requests(Kind::Addition) => RGBColor(0x6b, 0x6b, 0x6b),
        }
    }
}

impl From<Peer> for Subject {
    fn from(peer: Peer) -> Self {
        Self::Peer(peer)
    }
}

impl From<Kind> for Subject {
    fn from(kind: Kind) -> Self {
        Self::Requests(kind)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_have_the_same_name() {
        let names: BTreeSet<_> = Subject::all().map(Subject::name).collect();
        assert_eq!(names.len(), Subject::all().count());
    }
}
