//! The command line, parsed and checked.

use std::time::Duration;

use clap::{CommandFactory, Parser, builder::RangedU64ValueParser, error::ErrorKind, value_parser};
use mcp_session_core::ShutdownPolicy;

/// Stops a loaded MCP server with a real SIGTERM and shows that nothing is lost.
#[derive(Debug, Parser)]
#[command(name = "graceful_shutdown")] // not the package's
pub(crate) struct Args {
    /// Sessions, each with an open GET stream.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = count())]
    pub(crate) sessions: u64,
    /// Running tool calls, at most one per session.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = count())]
    pub(crate) calls: u64,
    /// How long the longest call still has to run when SIGTERM arrives; the shortest has half of it.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub(crate) call_time: Duration,
    /// How long the server lets running calls finish before it tells them to stop.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub(crate) grace: Duration,
}

impl Args {
    /// Parses the command line. On an error, prints it and exits with 2.
    pub(crate) fn read() -> Self {
        let args = Self::parse();
        if args.calls > args.sessions {
            let why = format!("{} calls need as many sessions: write --sessions {0}", args.calls);
            Self::command().error(ErrorKind::ValueValidation, why).exit();
        }
        args
    }

    /// The default policy with this grace.
    pub(crate) fn policy(&self) -> ShutdownPolicy {
        ShutdownPolicy { drain: self.grace, ..ShutdownPolicy::default() }
    }
}

/// Up to 10,000: each takes up to two ports of the loopback address, which has some 28,000.
fn count() -> RangedU64ValueParser {
    value_parser!(u64).range(1..=10_000)
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.strip_suffix("ms") {
        Some(number) => number.parse().map(Duration::from_millis),
        None => text.strip_suffix('s').unwrap_or_default().parse().map(Duration::from_secs),
    };
    match parsed {
        Ok(time) if time <= Duration::from_secs(600) => Ok(time),
        _ => Err("write a whole number and its unit, up to 600s, such as 500ms or 2s".into()),
    }
}
