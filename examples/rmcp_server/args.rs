//! The command line, parsed and checked.

use std::{fmt, net::SocketAddr};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind, value_parser};

/// The tools of an rmcp server, served by rmcp or by mcp-session, and what SIGTERM does to their running calls.
#[derive(Debug, Parser)]
#[command(name = "rmcp_server", args_conflicts_with_subcommands = true)] // not the package's name
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command.
    #[command(flatten)]
    serve: Serve,
}

/// What to do; without one of these, it serves.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves until SIGTERM or Ctrl-C, and prints what the server reports
    Serve(Serve),
    /// Stops each server in the middle of calls, and counts the answers
    Compare(Compare),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Who serves the tools
    #[arg(long, value_enum, default_value_t = With::Ours)]
    pub(crate) with: With,
    /// Address and port; port 0 picks a free one. The first line on stdout is the URL
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) bind: SocketAddr,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// Sessions, each with an open GET stream
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u64).range(1..=5_000))]
    pub(crate) sessions: u64,
    /// Running tool calls, at most one per session
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u64).range(1..=5_000))]
    pub(crate) calls: u64,
    /// How long a call takes; less than the 15 seconds that mcp-session gives it by default
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u64).range(1..=10))]
    pub(crate) seconds: u64,
    /// Adds a row for rmcp when nobody cancels its token; takes as long as a server is waited for
    #[arg(long)]
    pub(crate) waits: bool,
}

/// Who serves the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum With {
    /// mcp-session, through its bridge
    Ours,
    /// rmcp's `StreamableHttpService` on axum, as in its documentation: a signal cancels its token
    Rmcp,
    /// The same, but a signal leaves its token alone: axum waits until every client has gone
    RmcpWaits,
}

impl fmt::Display for With {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "ours",
            Self::Rmcp => "rmcp",
            Self::RmcpWaits => "rmcp-waits",
        })
    }
}

impl Command {
    /// Parses the command line. On an error, prints it and exits with 2.
    pub(crate) fn read() -> Self {
        let Args { command, serve } = Args::parse();
        let command = command.unwrap_or(Self::Serve(serve));
        match command {
            Self::Compare(Compare { sessions, calls, .. }) if calls > sessions => {
                let why = format!("{calls} calls need as many sessions: write --sessions {calls}");
                Args::command().error(ErrorKind::ValueValidation, why).exit()
            }
            command => command,
        }
    }
}
