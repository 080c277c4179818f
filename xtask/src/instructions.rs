//! `cargo xtask instructions`: what a request costs, counted by valgrind, against what is written. The crate
//! `mcp-session-bench` counts.

use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::test_all::Outcome;
use crate::workspace::{BENCH, Workspace};

/// A cold build on two cores takes minutes; this only ends what hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// How the counter says that the written counts are another compiler's.
const CANNOT_COMPARE: i32 = 77;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write crates/mcp-session-bench/instructions.json
    #[arg(long)]
    write: bool,
}

/// Counts; `true` when nothing is dearer than written.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    Ok(count(workspace, args.write)?.success())
}

/// Runs the check as a step of `test-all`.
pub(crate) fn as_step(workspace: &Workspace) -> Result<Outcome> {
    let mut valgrind = Command::new("valgrind");
    if valgrind.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Ok(Outcome::skipped("no valgrind"));
    }
    let status = count(workspace, false)?;
    Ok(match status.code() {
        Some(CANNOT_COMPARE) => Outcome::skipped("written for another rustc"),
        _ => Outcome::from_success(status.success()),
    })
}

fn count(workspace: &Workspace, write: bool) -> Result<ExitStatus> {
    let mut command =
        process::cargo(["run", "--release", "--quiet", "--package", BENCH, "--", "instructions"]);
    command.args(write.then_some("--write")).current_dir(workspace.root());
    process::stream(&mut command, LIMIT, |_| {})
}
