//! `cargo xtask conformance`: the official conformance suite against the example `everything`, on every runtime.

mod checks;
mod suite;
mod table;

use anyhow::Result;

use self::suite::{RELEASES, Run};
use self::table::Table;
use crate::node::Node;
use crate::runtimes::{self, EVERYTHING};
use crate::test_all::Outcome;
use crate::workspace::{Profile, Workspace};
use crate::{examples, parallel};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The runtime to serve on, as `everything --help` lists them, or `all`
    #[arg(long, default_value = runtimes::ALL)]
    runtime: String,
    /// Build and drive the example in release mode
    #[arg(long)]
    release: bool,
}

/// Runs the task on its own; returns `true` if every expected scenario of every run passed.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    drive(workspace, profile, &args.runtime, &Node::prepare(workspace)??)
}

/// Runs the task as a step of `test-all`, on the executables that its `examples` step has built.
pub(crate) fn as_step(workspace: &Workspace) -> Result<Outcome> {
    match Node::prepare(workspace)? {
        Ok(node) => Ok(Outcome::from_success(drive(workspace, Profile::Release, runtimes::ALL, &node)?)),
        Err(unavailable) => Ok(Outcome::skipped(unavailable.to_string())),
    }
}

fn drive(workspace: &Workspace, profile: Profile, runtime: &str, node: &Node) -> Result<bool> {
    examples::build(workspace, profile)?;
    let executable = workspace.example_executable(EVERYTHING, profile);
    let runtimes = runtimes::select(workspace, profile, runtime)?;
    let mut runs = Vec::new();
    for runtime in &runtimes {
        for release in &RELEASES {
            let of_release = release.revisions.iter();
            runs.extend(of_release.map(|(revision, expected)| Run { runtime, release, revision, expected }));
        }
    }
    let results = parallel::map(&runs, |run| run.perform(&executable, node));
    let mut table = Table::default();
    for (run, result) in runs.iter().zip(results) {
        table.add(run, result.map_err(|error| format!("{error:#}")));
    }
    println!("\n{table}");
    Ok(table.is_ok())
}
