//! `cargo xtask bench`: measures the servers beside each other. The crate `mcp-session-bench` does it; here it is built
//! with optimizations and handed its arguments.

use anyhow::Result;

use crate::process;
use crate::workspace::{BENCH, Workspace};

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// What the benchmark takes: see `cargo xtask bench --help`
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    args: Vec<String>,
}

/// Runs it; `true` when it ended well.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let mut command = process::cargo(["run", "--release", "--quiet", "--package", BENCH, "--", "run"]);
    let status = command.args(&args.args).current_dir(workspace.root()).status()?;
    Ok(status.success())
}
