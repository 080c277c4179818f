//! `cargo xtask test-all`: runs every check, even after another one failed.

mod cargo_steps;
mod examples;
mod packages;
mod report;
mod scenarios;
mod steps;

use std::time::Instant;

use anyhow::{Result, bail};

pub(crate) use self::report::Outcome;
use self::report::Report;
use self::steps::{Action, Step};
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stop after the first step that fails
    #[arg(long)]
    fail_fast: bool,
    /// Run only this step (may be repeated); `test` selects every step whose name starts with it
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
}

impl Args {
    fn selects(&self, step: &Step) -> bool {
        let named = |only: &String| *only == step.name || step.name.starts_with(&format!("{only} "));
        // The build step belongs to every test step.
        let built_for =
            |only: &String| matches!(step.action, Action::Build) && only.split(' ').next() == Some("test");
        self.only.is_empty() || self.only.iter().any(|only| named(only) || built_for(only))
    }
}

/// Runs the selected steps; returns `true` if none failed.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let mut steps = steps::all(workspace);
    let names: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
    let unknown =
        |only: &&String| !names.iter().any(|name| name == *only || name.starts_with(&format!("{only} ")));
    if let Some(only) = args.only.iter().find(unknown) {
        bail!("no step is called {only}; the steps are: {}", names.join(", "));
    }
    steps.retain(|step| args.selects(step));
    let mut report = Report::default();
    let mut tests = packages::Tests::of(&steps);
    for step in steps {
        println!("\n==== {} ====", step.name);
        let start = Instant::now();
        let outcome = if args.fail_fast && report.failed() {
            Outcome::skipped("an earlier step failed")
        } else {
            perform(&step.action, workspace, &mut tests).unwrap_or_else(|error| {
                println!("error: {error:#}");
                Outcome::failed(format!("{error}"))
            })
        };
        report.add(step.name, outcome, start.elapsed());
    }
    report.scenarios = tests.scenarios().rows(&workspace.runtimes());
    println!("\n{report}");
    Ok(!report.failed())
}

fn perform(action: &Action, workspace: &Workspace, tests: &mut packages::Tests) -> Result<Outcome> {
    match action {
        Action::Plain(check) => check(workspace),
        Action::Build => tests.build(workspace),
        Action::Test(package) => tests.run(workspace, package),
        Action::Compare => Ok(tests.compare(workspace)),
    }
}
