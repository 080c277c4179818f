//! [`Peer`]: the servers that are compared, and how they are built.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use plotters::style::RGBColor;

use crate::build;

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum Peer {
    /// mcp-session-tokio
    Tokio,
    /// mcp-session-smol
    Smol,
    /// mcp-session-async-std
    AsyncStd,
    /// hyper on tokio with canned answers
    RawTokio,
    /// hyper on smol with canned answers
    RawSmol,
    /// tide with canned answers and `TCP_NODELAY`
    RawTide,
    /// rmcp with `TCP_NODELAY`
    Rmcp,
    /// rmcp as its documentation shows it
    RmcpAsDocumented,
}

impl Peer {
    /// Every one, in the order of the tables.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
            Self::RawTokio => "raw-tokio",
            Self::RawSmol => "raw-smol",
            Self::RawTide => "raw-tide",
            Self::Rmcp => "rmcp",
            Self::RmcpAsDocumented => "rmcp-as-documented",
        }
    }

    /// What a chart calls it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Tokio => "mcp-session-tokio",
            Self::Smol => "mcp-session-smol",
            Self::AsyncStd => "mcp-session-async-std",
            Self::RawTokio => "raw hyper on tokio",
            Self::RawSmol => "raw hyper on smol",
            Self::RawTide => "raw tide",
            Self::Rmcp => "rmcp",
            Self::RmcpAsDocumented => "rmcp as documented",
        }
    }

    /// The same in every chart: ours are strong, floors are grey.
    pub(crate) fn color(self) -> RGBColor {
        match self {
            Self::Tokio => RGBColor(0xd6, 0x4b, 0x1f),
            Self::Smol => RGBColor(0x1f, 0x77, 0xb4),
            Self::AsyncStd => RGBColor(0x2c, 0x8c, 0x4a),
            Self::RawTokio => RGBColor(0x6b, 0x6b, 0x6b),
            Self::RawSmol => RGBColor(0x9a, 0xb3, 0xc4),
            Self::RawTide => RGBColor(0xa9, 0xc4, 0xb0),
            Self::Rmcp => RGBColor(0x7b, 0x4a, 0x9e),
            Self::RmcpAsDocumented => RGBColor(0xc7, 0xa8, 0xdb),
        }
    }

    /// Whose ratio to whom says something: of ours to the floor of the same runtime, and to rmcp.
    pub(crate) fn compared_to(self) -> &'static [Self] {
        match self {
            Self::Tokio => &[Self::RawTokio, Self::Rmcp],
            Self::Smol => &[Self::RawSmol, Self::Rmcp],
            Self::AsyncStd => &[Self::RawTide, Self::Rmcp],
            Self::RawTokio | Self::RawSmol | Self::RawTide | Self::Rmcp | Self::RmcpAsDocumented => &[],
        }
    }

    /// Where its executable is, once it is built, and the flags it takes.
    pub(crate) fn command(self, target: &Path) -> (PathBuf, &'static [&'static str]) {
        let ours = |name: &str| target.join("release").join(name);
        match self {
            Self::Tokio => (ours("server-tokio"), &[]),
            Self::Smol => (ours("server-smol"), &[]),
            Self::AsyncStd => (ours("server-async-std"), &[]),
            Self::RawTokio => (ours("raw-tokio"), &[]),
            Self::RawSmol => (ours("raw-smol"), &[]),
            Self::RawTide => (ours("raw-tide"), &[]),
            Self::Rmcp => (build::rmcp_executable(target), &["--nodelay"]),
            Self::RmcpAsDocumented => (build::rmcp_executable(target), &[]),
        }
    }
}

/// Builds what these need.
pub(crate) fn build(peers: &[Peer], target: &Path) -> Result<()> {
    let is_rmcp = |peer: &Peer| matches!(peer, Peer::Rmcp | Peer::RmcpAsDocumented);
    let async_std = peers.iter().any(|peer| matches!(peer, Peer::AsyncStd | Peer::RawTide));
    build::servers(if async_std { &["async-std"] } else { &[] })?;
    if peers.iter().any(is_rmcp) {
        build::rmcp(target)?;
    }
    for peer in peers {
        let (executable, _) = peer.command(target);
        ensure!(executable.is_file(), "{} was not built", executable.display());
    }
    Ok(())
}
