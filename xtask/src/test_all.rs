//! `cargo xtask test-all`: runs every check, even after another one failed.

mod cargo_steps;
mod newest;
mod report;
mod scenarios;
mod tests;

use std::time::Instant;

use anyhow::{Result, ensure};

use self::report::{Outcome, Report};
use crate::process::{self, BUILD, Unavailable};
use crate::workspace::{Record, Workspace};
use crate::{
    arrows, cargo_tasks, commands, conformance, coverage, interop, loom, mutants, prometheus, public_api,
    release,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stop after the first step that fails
    #[arg(long)]
    fail_fast: bool,
    /// Run only this step (may be repeated); `test` selects every step whose name starts with it
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
}

/// Runs the selected steps; returns `true` if none failed. Cheap steps come first, and steps that share artifacts are next
/// to each other.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let mut run = Run { args, names: Vec::new(), report: Report::default() };
    let cargo = |words: &str| cargo_steps::run(&process::cargo(workspace, words.split(' ')));
    run.step("fmt", || cargo("fmt --all --check"));
    run.step("arrows", || arrows::run(workspace));
    run.step("coverage", || coverage::check(workspace));
    run.step("mutants", || mutants::check_all(workspace));
    run.step("deny", || cargo_steps::subcommand(workspace, "deny", "check"));
    run.step("licenses", || release::check_licenses(workspace));
    run.step("clippy", || cargo("clippy --workspace --all-targets --all-features -- -D warnings"));
    run.step("features", || cargo_steps::features(workspace));
    run.step("msrv", || cargo_steps::msrv(workspace));
    run.step("wasm", || cargo_steps::wasm(workspace));
    run.step("docs", || cargo_steps::docs(workspace));
    run.step("public-api", || public_api::run(workspace, &Record { write: false }));
    run.step("semver", || cargo_steps::semver(workspace));

    let packages: Vec<&str> = workspace.packages().iter().map(|package| package.name.as_str()).collect();
    let is_tested = |name: &&str| run.selects(&format!("test {name}"));
    let tested: Vec<&str> = packages.iter().copied().filter(is_tested).collect();
    let mut built = Vec::new();
    run.names.push("build tests".to_owned());
    if !tested.is_empty() || run.selects("build tests") {
        run.always("build tests", || tests::build(workspace, &tested, &mut built));
    }
    for name in packages {
        run.step(&format!("test {name}"), || tests::run(workspace, name, &built));
    }
    let mut suites = Vec::new();
    run.step("test scenarios", || scenarios::compare(workspace, &built, &mut suites));
    run.report.scenarios = suites;

    // The flags of `build tests`, so that the libraries are not built a second time.
    run.step("doc-tests", || tests::counted(&process::cargo(workspace, tests::DOC_TESTS), BUILD));
    run.step("examples", || cargo_steps::examples(workspace));
    run.step("prometheus", || prometheus::run(workspace));
    run.step("commands", || commands::run(workspace));
    run.step("sim", || cargo_tasks::sim_gate(workspace));
    run.step("loom", || loom::short(workspace));
    run.step("chaos", || cargo_tasks::chaos_gate(workspace));
    run.step("cluster", || cargo_tasks::cluster_gate(workspace));
    run.step("instructions", || cargo_tasks::instructions_gate(workspace));
    run.step("interop", || interop::run(workspace, &interop::Args::all(), false));
    for (name, server) in
        [("conformance", conformance::Which::Everything), ("conformance-rmcp", conformance::Which::Rmcp)]
    {
        run.step(name, || conformance::run(workspace, &conformance::Args::all(server)));
    }
    run.step("rmcp-newest", || newest::rmcp(workspace));
    run.step("package", || cargo_steps::package(workspace));
    println!("\n{}", run.report);
    let unknown = args.only.iter().find(|only| !run.names.iter().any(|name| is_meant(name, only)));
    ensure!(
        unknown.is_none(),
        "no step is called {}; the steps are: {}",
        unknown.unwrap(),
        run.names.join(", ")
    );
    Ok(!run.report.failed())
}

/// Whether `--only` with these words selects a step.
fn is_meant(step: &str, only: &str) -> bool {
    step == only || step.starts_with(&format!("{only} "))
}

struct Run<'a> {
    args: &'a Args,
    names: Vec<String>,
    report: Report,
}

impl Run<'_> {
    fn selects(&self, step: &str) -> bool {
        self.args.only.is_empty() || self.args.only.iter().any(|only| is_meant(step, only))
    }

    /// Performs a step if it is selected.
    fn step<O: Into<Outcome>>(&mut self, name: &str, perform: impl FnOnce() -> Result<O>) {
        self.names.push(name.to_owned());
        if self.selects(name) {
            self.always(name, perform);
        }
    }

    fn always<O: Into<Outcome>>(&mut self, name: &str, perform: impl FnOnce() -> Result<O>) {
        println!("\n==== {name} ====");
        let start = Instant::now();
        let outcome = if self.args.fail_fast && self.report.failed() {
            Outcome::skipped("an earlier step failed")
        } else {
            perform().map(Into::into).unwrap_or_else(|error| {
                println!("error: {error:#}");
                let why = error.to_string();
                if error.is::<Unavailable>() { Outcome::skipped(why) } else { Outcome::failed(why) }
            })
        };
        self.report.rows.push((name.to_owned(), outcome, start.elapsed()));
    }
}
