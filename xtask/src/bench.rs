//! `cargo xtask bench`: measures the servers side by side. Builds the crate `mcp-session-bench` with optimizations and
//! runs it with the given arguments.

use anyhow::Result;

use crate::process;
use crate::workspace::{BENCH, Workspace};

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the benchmark: see `cargo xtask bench --help`
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    args: Vec<String>,
}

/// Runs the benchmark; returns `true` if it succeeded.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let mut command = process::cargo(["run", "--release", "--quiet", "--package", BENCH, "--", "run"]);
    let status = command.args(&args.args).current_dir(workspace.root()).status()?;
    Ok(status.success())
}
