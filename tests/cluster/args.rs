//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};

/// Nodes on one Redis under load, with what may happen to them: nothing may be lost or doubled.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask cluster")]
pub(crate) struct Args {
    /// What happens (may be repeated); all plays by default
    #[arg(long = "play", value_enum)]
    pub(crate) plays: Vec<Play>,
    /// Number of sessions, each with a GET stream and a call at a time
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(3..=4_000))]
    pub(crate) sessions: u32,
    /// How often each play is run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) runs: u64,
    /// The seed of the first run; each further one has the next number
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The load goes on until this many calls were made
    #[arg(long, default_value_t = 0)]
    pub(crate) calls: usize,
    /// How often `rolling` replaces each node
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// The executable of `everything`; built in the profile of this program by default
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,
    /// Print a URL for clients from outside, and replace one node after the other until Ctrl-C or SIGTERM
    #[arg(long, conflicts_with = "plays")]
    pub(crate) serve: bool,
    /// The address of the balancer
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) bind: SocketAddr,
    /// Print what was measured in each run
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// What happens to the nodes, their links and their Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Play {
    /// SIGTERM of one node after the other, each replaced by a new process
    Rolling,
    /// SIGKILL of a node
    Kill,
    /// SIGSTOP of a node for 9 s: three leases
    Pause,
    /// The link of a node is cut for 1.5 s
    CutShort,
    /// The link of a node is cut for 12 s: four leases
    CutLong,
    /// The links are cut four times, and what was underway arrives after what came later
    Late,
    /// Redis answers nothing for 5 s
    Stall,
    /// SIGKILL of Redis, which has an append-only file, and a new start
    RestartAof,
    /// SIGKILL of Redis, which keeps nothing, and a new start
    RestartEmpty,
    /// The primary ends, and a replica that was behind becomes the primary
    Failover,
}

impl Play {
    /// Whether a node is lost, and with it the calls that it runs: each gets one error.
    pub(crate) fn loses_a_node(self) -> bool {
        matches!(self, Self::Kill | Self::Pause)
    }

    /// Whether Redis may lose logs that nobody writes any more.
    pub(crate) fn loses_data(self) -> bool {
        matches!(self, Self::RestartEmpty | Self::Failover)
    }

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
