//! [`Eras`] and [`Sessions`]: which clients an endpoint serves.

use mcp_session_proto::ProtocolVersion;

/// The eras of the protocol that an endpoint serves. The *legacy* revisions open with `initialize`; since 2026-07-28, the
/// *modern* one, each request stands alone (G-41).
///
/// The era is that of each request, so clients of both use the same URL at the same time (G-40).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Eras {
    /// Both. The default: clients that know 2026-07-28 ask for it first, and all others use `initialize`.
    #[default]
    Both,
    /// 2025-03-26 to 2025-11-25 only. A client of 2026-07-28 is refused in a way that makes it use `initialize` (G-49).
    Legacy,
    /// 2026-07-28 only. GET and DELETE get 405, and `initialize` gets 400 with the supported versions (G-43).
    Modern,
}

impl Eras {
    /// The versions that are served, oldest first (G-46).
    pub fn versions(self) -> &'static [ProtocolVersion] {
        match self {
            Self::Both => ProtocolVersion::ALL,
            Self::Legacy => ProtocolVersion::WITH_HANDSHAKE,
            Self::Modern => &[ProtocolVersion::V2026_07_28],
        }
    }

    /// Returns `true` if this version is served.
    pub fn has(self, version: ProtocolVersion) -> bool {
        self.versions().contains(&version)
    }

    /// Returns `true` if revisions with `initialize` are served.
    pub(crate) fn has_legacy(self) -> bool {
        self != Self::Modern
    }

    /// Returns `true` if revisions without `initialize` are served.
    pub(crate) fn has_modern(self) -> bool {
        self != Self::Legacy
    }
}

/// Whether an endpoint gives clients of the legacy revisions a session, and whether it needs them to have one (E.2).
///
/// A request without a session is admitted, bounded, drained, answered and reported as any other. But nobody can ask for
/// its answer again: if its client disconnects, the request is cancelled (E-30). A handler cannot ask such a client
/// anything, and cannot send it anything outside a request (E-29).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sessions {
    /// `initialize` opens a session and returns its id. A request with the id belongs to the session; a request without
    /// one is served by itself. The default: some clients never send an id back (E-26).
    #[default]
    Optional,
    /// `initialize` opens a session, and every other request must name it; otherwise it gets 400 (E-09).
    Stateful,
    /// No client gets a session, and an id that a client sends is ignored. GET and DELETE get 405 (E-27). For servers behind
    /// a load balancer without affinity or a shared store.
    Stateless,
}
