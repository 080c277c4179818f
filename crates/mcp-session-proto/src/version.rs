//! [`ProtocolVersion`]: the revisions of the protocol, and their negotiation.

use std::fmt;

/// A revision of the protocol.
///
/// The older ones open with `initialize`, which negotiates the revision. Revision 2026-07-28 has no handshake and no
/// sessions: each request names its revision.
///
/// ```
/// # use mcp_session_proto as mcp_session_core;
/// use mcp_session_core::ProtocolVersion;
///
/// assert_eq!(ProtocolVersion::negotiate("2025-06-18"), ProtocolVersion::V2025_06_18); // C-07
/// assert_eq!(ProtocolVersion::negotiate("2099-01-01"), ProtocolVersion::V2025_11_25); // C-08
/// assert_eq!(ProtocolVersion::negotiate("2026-07-28"), ProtocolVersion::V2025_11_25); // C-11
/// assert_eq!(ProtocolVersion::parse("2099-01-01"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(non_camel_case_types)] // the underscores are the dashes of the revision's name
#[non_exhaustive]
pub enum ProtocolVersion {
    /// 2025-03-26: the first with Streamable HTTP.
    V2025_03_26,
    /// 2025-06-18: no batches, `MCP-Protocol-Version` header.
    V2025_06_18,
    /// 2025-11-25: priming events, server-side polling.
    V2025_11_25,
    /// 2026-07-28: no sessions; each request carries its version and the client's capabilities.
    V2026_07_28,
}

impl ProtocolVersion {
    /// Every supported revision, oldest first.
    pub const ALL: &'static [Self] =
        &[Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The revisions that `initialize` negotiates, oldest first.
    pub const WITH_HANDSHAKE: &'static [Self] = &[Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];

    /// The newest revision with a handshake. A client that asks `initialize` for an unknown revision is offered this one
    /// (C-08, C-11).
    pub const LATEST_WITH_HANDSHAKE: Self = Self::V2025_11_25;

    /// The revision with this name, if it is supported.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|version| version.as_str() == name)
    }

    /// The revision to answer an `initialize` with: the requested one if it has a handshake, otherwise
    /// [`Self::LATEST_WITH_HANDSHAKE`].
    pub fn negotiate(requested: &str) -> Self {
        let known = Self::parse(requested).filter(|version| version.has_handshake());
        known.unwrap_or(Self::LATEST_WITH_HANDSHAKE)
    }

    /// Whether it opens with `initialize`, which may open a session. Otherwise each request stands alone.
    pub fn has_handshake(self) -> bool {
        self < Self::V2026_07_28
    }

    /// Whether a POST may carry an array of messages (A-21, A-31).
    pub fn has_batches(self) -> bool {
        self < Self::V2025_06_18
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_07_c_08_c_11_negotiation() {
        for version in ProtocolVersion::WITH_HANDSHAKE.iter().copied() {
            assert!(version.has_handshake());
            assert_eq!(ProtocolVersion::negotiate(version.as_str()), version);
        }
        for unknown in ["", "garbage", "2024-11-05", "2026-07-28", "2099-01-01", " 2025-11-25"] {
            assert_eq!(ProtocolVersion::negotiate(unknown), ProtocolVersion::V2025_11_25, "{unknown:?}");
        }
    }
}
