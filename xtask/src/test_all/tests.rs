//! The tests: built once for all packages, then run package by package.
//!
//! `cargo test -p X` for each package resolves the features of the dependencies each time and compiles tokio and its
//! dependents again: 143 crates instead of 119 when we compared. The artifacts of one build also serve the doc-tests, and
//! running the executables directly lets us end one that hangs.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use cargo_metadata::Message;

use super::report::{Counts, Outcome};
use crate::process::{self, BUILD, Keep};
use crate::workspace::{self, EXAMPLES, GATEWAY, Workspace};

/// How long a test executable may run. Ours wait for states and not for time, so a minute is already slow.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Packages that may have no tests; for any other package an empty run means that tests got lost.
const MAY_HAVE_NONE: [&str; 2] = [EXAMPLES, "xtask"];

pub(super) const DOC_TESTS: [&str; 5] = ["test", "--workspace", "--doc", "--all-features", "--no-fail-fast"];

/// A built test executable.
#[derive(Debug)]
pub(super) struct Executable {
    package: String,
    pub(super) target: String,
    pub(super) path: PathBuf,
}

/// Builds the tests of these packages; those that build are run even if others do not.
pub(super) fn build(workspace: &Workspace, packages: &[&str], built: &mut Vec<Executable>) -> Result<bool> {
    let mut command = process::cargo(workspace, ["test", "--all-features", "--lib", "--bins", "--tests"]);
    command.args(["--no-run", "--no-fail-fast", "--message-format=json-render-diagnostics"]);
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    let (status, output) = process::keep(&command, Keep::Stdout, BUILD)?;
    for message in output.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        let Message::CompilerArtifact(artifact) = message else { continue };
        let package = workspace.packages().into_iter().find(|package| package.id == artifact.package_id);
        if let (true, Some(path), Some(package)) = (artifact.profile.test, artifact.executable, package) {
            let (package, path) = (package.name.to_string(), path.into_std_path_buf());
            built.push(Executable { package, target: artifact.target.name, path });
        }
    }
    println!("{} test executables", built.len());
    Ok(status.success() && build_programs(workspace, packages)?)
}

/// Builds the programs that tests start, of the same packages, so that the features of their dependencies are the same.
fn build_programs(workspace: &Workspace, packages: &[&str]) -> Result<bool> {
    if !packages.contains(&GATEWAY) {
        return Ok(true);
    }
    let mut command = process::cargo(workspace, ["build", "--all-features"]);
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    let programs = workspace.package(GATEWAY)?.targets.iter().filter(|target| target.is_example());
    command.args(programs.flat_map(|program| ["--example", &program.name]));
    Ok(process::run(&command, BUILD)?.success())
}

/// Runs the tests of one package.
pub(super) fn run(workspace: &Workspace, name: &str, built: &[Executable]) -> Result<Outcome> {
    let directory = workspace::directory(workspace.package(name)?);
    let mut sum = Outcome::default();
    for executable in built.iter().filter(|executable| executable.package == name) {
        let mut command = Command::new(&executable.path);
        // As cargo does: paths in tests are relative to their package.
        command.current_dir(directory).env("CARGO_MANIFEST_DIR", directory);
        sum.add(&counted(&command, LIMIT).unwrap_or_else(|error| {
            println!("{error:#}");
            Outcome::failed(error.to_string())
        }));
    }
    if sum.failed.is_some() {
        println!("by hand: cargo test -p {name} --all-features --lib --bins --tests");
    } else {
        let none = sum.counts.is_none_or(|counts| counts.passed == 0);
        ensure!(!none || MAY_HAVE_NONE.contains(&name), "no test was built and run");
    }
    Ok(sum)
}

/// Runs tests, and counts them by the lines in which libtest adds them up.
pub(super) fn counted(command: &Command, limit: Duration) -> Result<Outcome> {
    let (status, output) = process::keep(command, Keep::Stdout, limit)?;
    println!("{output}");
    let failed = (!status.success()).then(|| format!("{}: {status}", process::display(command)));
    Ok(Outcome { counts: Some(Counts::of(&output)), failed, ..Outcome::default() })
}
