//! `cargo xtask soak`: two nodes with one store, round robin without affinity, for some time on the real clock.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::process;
use crate::workspace::Workspace;

/// Time allowed in addition to the run itself, for building and ending.
const BESIDE: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Duration in seconds
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Number of sessions at a time
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    sessions: u64,
}

/// Runs the task; returns `true` if no failure was counted.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let (seconds, sessions) = (args.seconds.to_string(), args.sessions.to_string());
    let mut command = process::cargo(["run", "--package", "mcp-session-tests", "--example", "soak", "--"]);
    command.args([&seconds, &sessions]).current_dir(workspace.root());
    let status = process::stream(&mut command, BESIDE + Duration::from_secs(args.seconds), |_| {})?;
    ensure!(matches!(status.code(), Some(0 | 1)), "the soak did not end by itself: {status}");
    Ok(status.success())
}
