//! The command line.

use std::num::NonZeroUsize;

use clap::{Args, Parser, Subcommand};

use crate::{load::Era, peer::Peer, scenarios::Scenario};

/// Measures servers with the same two tools side by side.
#[derive(Debug, Parser)]
#[command(name = "mcp-session-bench")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Builds the servers, runs them in turn, and writes tables, JSON and charts. Used by `cargo xtask bench`
    Run(RunArgs),
    /// Drives one server by its URL, and prints the results
    Load(LoadArgs),
    /// Counts the instructions of a request, and fails if they exceed the records. Used by `cargo xtask instructions`
    Instructions {
        /// Record the counts instead
        #[arg(long)]
        write: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Run a reduced set: under three minutes
    #[arg(long)]
    pub(crate) short: bool,
    /// What to measure; everything by default
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Scenario>,
    /// Which servers to compare; all by default
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,
    /// Number of connections for `echo`
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = count)]
    pub(crate) connections: Vec<usize>,
    /// How long each run measures
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
    /// Number of rounds in which each pair is measured
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) rounds: Option<usize>,
    /// The protocol revision that clients ask for
    #[arg(long, default_value = "2025-06-18")]
    pub(crate) version: String,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Such as <http://127.0.0.1:8000/mcp>
    #[arg(long)]
    pub(crate) url: String,
    /// The server's process: its processor time is measured, and SIGTERM goes there
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// The protocol revision that clients ask for
    #[arg(long, default_value = "2025-06-18")]
    pub(crate) version: String,
    /// How long to measure
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub(crate) seconds: f64,
    #[command(subcommand)]
    pub(crate) load: Load,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Load {
    /// Calls `echo`, one call after the other on each connection
    Echo {
        #[arg(long, default_value = "64", value_parser = count)]
        connections: usize,
        /// Size of the message in bytes
        #[arg(long, default_value = "64", value_parser = count)]
        size: usize,
        /// How the clients use the protocol
        #[arg(long, value_enum, default_value = "session")]
        era: Era,
        /// All connections share one session, instead of one each
        #[arg(long, conflicts_with = "era")]
        one_session: bool,
    },
    /// Opens and deletes sessions
    Churn {
        #[arg(long, default_value = "32", value_parser = count)]
        connections: usize,
    },
    /// Opens sessions and leaves them open
    Sessions {
        #[arg(long, default_value = "10000", value_parser = count)]
        count: usize,
    },
    /// Opens GET streams, each in its own session, and closes them again
    Streams {
        #[arg(long, default_value = "1000", value_parser = count)]
        count: usize,
    },
    /// Opens `subscriptions/listen` streams and closes them again
    Listeners {
        #[arg(long, default_value = "1000", value_parser = count)]
        count: usize,
    },
    /// Calls `slow` without a pause on many connections of one session
    Events {
        #[arg(long, default_value = "10", value_parser = count)]
        streams: usize,
    },
    /// Opens streams, listeners and calls, and sends SIGTERM; requires --pid
    Shutdown {
        #[arg(long, default_value = "1000")]
        streams: usize,
        #[arg(long, default_value = "0")]
        listeners: usize,
        #[arg(long, default_value = "200")]
        calls: usize,
        /// How the callers use the protocol
        #[arg(long, value_enum, default_value = "session")]
        era: Era,
    },
}

/// Bounded by the ports of the loopback interface, or by the memory of a small machine for sessions.
fn count(text: &str) -> Result<usize, String> {
    let most = 1_000_000;
    match text.parse::<NonZeroUsize>() {
        Ok(count) if count.get() <= most => Ok(count.get()),
        _ => Err(format!("write a whole number from 1 to {most}")),
    }
}

/// Up to half a minute: a run must end before its time limit.
fn seconds(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(seconds) if (0.05..=30.0).contains(&seconds) => Ok(seconds),
        _ => Err("write a number of seconds from 0.05 to 30"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comma_separated_lists_are_parsed_and_checked() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["mcp-session-bench", "run"], args].concat());
        let Command::Run(args) =
            parse(&["--short", "--connections", "1,64", "--only", "echo"]).unwrap().command
        else {
            panic!()
        };
        assert_eq!((args.connections, args.only), (vec![1, 64], vec![Scenario::Echo]));
        for bad in [["--connections", "0"], ["--seconds", "31"], ["--peers", "apache"], ["--only", "all"]] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
