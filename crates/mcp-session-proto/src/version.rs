//! [`ProtocolVersion`]: the revisions with a handshake, and their negotiation.

use std::fmt;

/// A revision of the protocol that opens with `initialize`.
///
/// Revision 2026-07-28 has no handshake, so it is not listed here.
///
/// ```
/// # use mcp_session_proto as mcp_session_core;
/// use mcp_session_core::ProtocolVersion;
///
/// assert_eq!(ProtocolVersion::negotiate("2025-06-18"), ProtocolVersion::V2025_06_18); // C-07
/// assert_eq!(ProtocolVersion::negotiate("2099-01-01"), ProtocolVersion::LATEST); // C-08
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
}

impl ProtocolVersion {
    /// Every supported revision, oldest first.
    pub const ALL: &'static [Self] = &[Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];

    /// The newest revision with a handshake. A client that asks for an unknown revision is offered this one
    /// (C-08, C-11).
    pub const LATEST: Self = Self::V2025_11_25;

    /// The revision with this name, if it is supported.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|version| version.as_str() == name)
    }

    /// The revision to answer an `initialize` with: the requested one if it is supported, else [`Self::LATEST`].
    pub fn negotiate(requested: &str) -> Self {
        Self::parse(requested).unwrap_or(Self::LATEST)
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
        for version in ProtocolVersion::ALL.iter().copied() {
            assert_eq!(ProtocolVersion::negotiate(version.as_str()), version);
        }
        for unknown in ["", "garbage", "2024-11-05", "2026-07-28", "2099-01-01", " 2025-11-25"] {
            assert_eq!(ProtocolVersion::negotiate(unknown), ProtocolVersion::V2025_11_25, "{unknown:?}");
        }
    }
}
