//! [`Era`]: how a client uses the protocol, and [`Caller`]: one such client.

use anyhow::Result;
use clap::ValueEnum;

use super::{Target, connection::Connection, message::open_session};

/// The revision of clients without a session: the last one that has sessions.
const STATELESS_VERSION: &str = "2025-11-25";

/// The revision that has no sessions.
const MODERN_VERSION: &str = "2026-07-28";

/// How clients use the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Era {
    /// A legacy revision, in a session
    Session,
    /// A legacy revision without `initialize` and without a session id
    Stateless,
    /// Revision 2026-07-28
    Modern,
}

impl Era {
    pub(crate) const ALL: [Self; 3] = [Self::Session, Self::Stateless, Self::Modern];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Session => "in a session",
            Self::Stateless => "without a session",
            Self::Modern => "of 2026-07-28",
        }
    }

    /// A client of this era, with a session if it needs one.
    pub(super) async fn caller(self, target: &Target, connection: &mut Connection) -> Result<Caller> {
        Ok(match self {
            Self::Session => Caller::Session(open_session(target, connection).await?),
            Self::Stateless => Caller::Stateless,
            Self::Modern => Caller::Modern,
        })
    }
}

/// A client, and what its requests say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// With the id of its session.
    Session(String),
    Stateless,
    Modern,
}

impl Caller {
    /// The protocol's own headers of a request, each with its line break.
    pub(super) fn headers(&self, target: &Target, method: &str, name: Option<&str>) -> String {
        let version = match self {
            Self::Session(_) => &target.version,
            Self::Stateless => STATELESS_VERSION,
            Self::Modern => MODERN_VERSION,
        };
        let version = format!("mcp-protocol-version: {version}\r\n");
        match self {
            Self::Session(id) => format!("{version}mcp-session-id: {id}\r\n"),
            Self::Stateless => version,
            Self::Modern => {
                let name = name.map_or_else(String::new, |name| format!("mcp-name: {name}\r\n"));
                format!("{version}mcp-method: {method}\r\n{name}")
            }
        }
    }

    /// The members that `_meta` has in each request.
    pub(super) fn envelope(&self) -> Option<String> {
        let client = r#"{"name":"bench","version":"0"}"#;
        matches!(self, Self::Modern).then(|| {
            format!(
                r#""io.modelcontextprotocol/protocolVersion":"{MODERN_VERSION}","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{client}"#
            )
        })
    }
}
