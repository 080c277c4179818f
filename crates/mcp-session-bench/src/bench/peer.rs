//! [`Peer`]: the servers that are compared, and how they are built.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use plotters::style::RGBColor;

use crate::{build, load::Era, scenarios::Scenario};

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
    /// hyper on tokio, decoding and encoding with `serde_json`: only for messages of different sizes
    RawParsing,
    /// hyper on smol with canned answers
    RawSmol,
    /// tide with canned answers and `TCP_NODELAY`
    RawTide,
    /// rmcp with `TCP_NODELAY`
    Rmcp,
    /// rmcp as its documentation shows it
    RmcpAsDocumented,
    /// The server of `Rmcp` on mcp-session-rmcp
    RmcpOnOurs,
    /// tower-mcp with `TCP_NODELAY`
    TowerMcp,
    /// mcp-session-tokio without a store, beside the next two
    Node,
    /// mcp-session-tokio with its sessions on Redis
    NodeOnRedis,
    /// the same, with a Redis that was started with `--stream-node-max-bytes 1024`
    NodeOnTunedRedis,
}

impl Peer {
    /// Every one, in the order of the tables.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The nodes that the scenarios of Redis compare, and no other scenario.
    pub(crate) fn is_node(self) -> bool {
        matches!(self, Self::Node | Self::NodeOnRedis | Self::NodeOnTunedRedis)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
            Self::RawTokio => "raw-tokio",
            Self::RawParsing => "raw-parsing",
            Self::RawSmol => "raw-smol",
            Self::RawTide => "raw-tide",
            Self::Rmcp => "rmcp",
            Self::RmcpAsDocumented => "rmcp-as-documented",
            Self::RmcpOnOurs => "rmcp-on-ours",
            Self::TowerMcp => "tower-mcp",
            Self::Node => "node-alone",
            Self::NodeOnRedis => "node-on-redis",
            Self::NodeOnTunedRedis => "node-on-tuned-redis",
        }
    }

    /// What a chart calls it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Tokio => "mcp-session-tokio",
            Self::Smol => "mcp-session-smol",
            Self::AsyncStd => "mcp-session-async-std",
            Self::RawTokio => "raw hyper on tokio",
            Self::RawParsing => "raw hyper that parses",
            Self::RawSmol => "raw hyper on smol",
            Self::RawTide => "raw tide",
            Self::Rmcp => "rmcp",
            Self::RmcpAsDocumented => "rmcp as documented",
            Self::RmcpOnOurs => "rmcp on mcp-session",
            Self::TowerMcp => "tower-mcp",
            Self::Node => "without a store",
            Self::NodeOnRedis => "on Redis",
            Self::NodeOnTunedRedis => "on Redis, tuned",
        }
    }

    /// The same in every chart: ours are strong, floors are grey.
    pub(crate) fn color(self) -> RGBColor {
        match self {
            Self::Tokio => RGBColor(0xd6, 0x4b, 0x1f),
            Self::Smol => RGBColor(0x1f, 0x77, 0xb4),
            Self::AsyncStd => RGBColor(0x2c, 0x8c, 0x4a),
            Self::RawTokio => RGBColor(0x6b, 0x6b, 0x6b),
            Self::RawParsing => RGBColor(0x3a, 0x3a, 0x3a),
            Self::RawSmol => RGBColor(0x9a, 0xb3, 0xc4),
            Self::RawTide => RGBColor(0xa9, 0xc4, 0xb0),
            Self::Rmcp => RGBColor(0x7b, 0x4a, 0x9e),
            Self::RmcpAsDocumented => RGBColor(0xc7, 0xa8, 0xdb),
            Self::RmcpOnOurs => RGBColor(0xc2, 0x2f, 0x7a),
            Self::TowerMcp => RGBColor(0xb0, 0x8a, 0x1e),
            Self::Node => RGBColor(0x6b, 0x6b, 0x6b),
            Self::NodeOnRedis => RGBColor(0xd6, 0x4b, 0x1f),
            Self::NodeOnTunedRedis => RGBColor(0x1f, 0x77, 0xb4),
        }
    }

    /// Whose ratio to whom says something: of ours to the floor of the same runtime, and to the other session layers.
    pub(crate) fn compared_to(self) -> &'static [Self] {
        match self {
            Self::Tokio => &[Self::RawTokio, Self::RawParsing, Self::Rmcp, Self::TowerMcp],
            Self::Smol => &[Self::RawSmol, Self::Rmcp, Self::TowerMcp],
            Self::AsyncStd => &[Self::RawTide, Self::Rmcp, Self::TowerMcp],
            Self::RmcpOnOurs => &[Self::Rmcp],
            Self::RawTokio
            | Self::RawParsing
            | Self::RawSmol
            | Self::RawTide
            | Self::Rmcp
            | Self::RmcpAsDocumented
            | Self::TowerMcp
            | Self::Node
            | Self::NodeOnRedis
            | Self::NodeOnTunedRedis => &[],
        }
    }

    /// Returns `true` if it can do what the scenario asks of it.
    ///
    /// tower-mcp does not stream the progress of a call in a session, and its GET streams do not end at SIGTERM. The raw
    /// server that parses says nothing new about short messages.
    pub(crate) fn can(self, scenario: Scenario) -> bool {
        let beyond = matches!(scenario, Scenario::Events | Scenario::Shutdown | Scenario::ShutdownScale);
        match self {
            Self::TowerMcp => !beyond,
            Self::RawParsing => scenario == Scenario::Messages,
            Self::Tokio
            | Self::Smol
            | Self::AsyncStd
            | Self::RawTokio
            | Self::RawSmol
            | Self::RawTide
            | Self::Rmcp
            | Self::RmcpAsDocumented
            | Self::RmcpOnOurs
            | Self::Node
            | Self::NodeOnRedis
            | Self::NodeOnTunedRedis => true,
        }
    }

    /// Returns `true` if one and the same server of it answers calls of this era and streams their progress, while it serves
    /// clients in sessions too.
    ///
    /// rmcp with sessions refuses calls without one. tower-mcp streams progress in 2026-07-28 only.
    pub(crate) fn streams_calls(self, era: Era) -> bool {
        match self {
            Self::Rmcp | Self::RmcpAsDocumented => era != Era::Stateless,
            Self::TowerMcp => era == Era::Modern,
            Self::Tokio
            | Self::Smol
            | Self::AsyncStd
            | Self::RawTokio
            | Self::RawParsing
            | Self::RawSmol
            | Self::RawTide
            | Self::RmcpOnOurs
            | Self::Node
            | Self::NodeOnRedis
            | Self::NodeOnTunedRedis => true,
        }
    }

    /// Returns `true` if it has the tool that counts its tasks.
    pub(crate) fn counts_tasks(self) -> bool {
        matches!(self, Self::Rmcp | Self::RmcpAsDocumented | Self::RmcpOnOurs)
    }

    /// Returns `true` if its GET streams send nothing before their first event.
    pub(crate) fn has_silent_streams(self) -> bool {
        self == Self::TowerMcp
    }

    /// Where its executable is, once it is built, and the flags it takes to serve clients of this era alone.
    pub(crate) fn command(self, target: &Path, era: Era) -> (PathBuf, &'static [&'static str]) {
        let ours = |name: &str| target.join("release").join(name);
        match (self, era) {
            (Self::Tokio, _) => (ours("server-tokio"), &[]),
            (Self::Smol, _) => (ours("server-smol"), &[]),
            (Self::AsyncStd, _) => (ours("server-async-std"), &[]),
            (Self::RawTokio, _) => (ours("raw-tokio"), &[]),
            (Self::RawParsing, _) => (ours("raw-tokio"), &["--parse"]),
            (Self::RawSmol, _) => (ours("raw-smol"), &[]),
            (Self::RawTide, _) => (ours("raw-tide"), &[]),
            (Self::Rmcp, Era::Stateless) => (build::RMCP.executable(target), &["--nodelay", "--stateless"]),
            (Self::Rmcp, _) => (build::RMCP.executable(target), &["--nodelay"]),
            (Self::RmcpAsDocumented, Era::Stateless) => (build::RMCP.executable(target), &["--stateless"]),
            (Self::RmcpAsDocumented, _) => (build::RMCP.executable(target), &[]),
            (Self::RmcpOnOurs, _) => (build::RMCP.executable(target), &["--on-mcp-session"]),
            (Self::TowerMcp, _) => (build::TOWER_MCP.executable(target), &[]),
            (Self::Node | Self::NodeOnRedis | Self::NodeOnTunedRedis, _) => (ours("node-redis"), &[]),
        }
    }
}

/// Builds what these need.
pub(crate) fn build(peers: &[Peer], target: &Path) -> Result<()> {
    let any = |wanted: &[Peer]| peers.iter().any(|peer| wanted.contains(peer));
    build::servers(if any(&[Peer::AsyncStd, Peer::RawTide]) { &["async-std"] } else { &[] })?;
    if any(&[Peer::Rmcp, Peer::RmcpAsDocumented, Peer::RmcpOnOurs]) {
        build::RMCP.build(target)?;
    }
    if any(&[Peer::TowerMcp]) {
        build::TOWER_MCP.build(target)?;
    }
    for peer in peers {
        let (executable, _) = peer.command(target, Era::Session);
        ensure!(executable.is_file(), "{} was not built", executable.display());
    }
    Ok(())
}
