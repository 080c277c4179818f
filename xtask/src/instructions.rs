//! `cargo xtask instructions`: compares the instructions of a request, counted by valgrind, with the recorded counts.
//! The crate `mcp-session-bench` does the counting.

use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::test_all::Outcome;
use crate::workspace::{BENCH, Workspace};

/// A cold build on two cores takes minutes; this limit only ends a build that hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// The exit code of the counter if the recorded counts are from another compiler.
const CANNOT_COMPARE: i32 = 77;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write crates/mcp-session-bench/instructions.json
    #[arg(long)]
    write: bool,
}

/// Counts; returns `true` if nothing costs more than recorded.
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
        Some(CANNOT_COMPARE) => Outcome::skipped("recorded with another rustc"),
        _ => Outcome::from_success(status.success()),
    })
}

fn count(workspace: &Workspace, write: bool) -> Result<ExitStatus> {
    let mut command =
        process::cargo(["run", "--release", "--quiet", "--package", BENCH, "--", "instructions"]);
    command.args(write.then_some("--write")).current_dir(workspace.root());
    process::stream(&mut command, LIMIT, |_| {})
}
