//! The tests: built once for all packages, then run package by package.
//!
//! `cargo test -p X` for each package resolves the features of the dependencies each time and compiles tokio and its
//! dependents again: 143 crates instead of 119 when we compared. The artifacts of one build also serve the doc-tests, and
//! running the executables directly lets us end one that hangs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use cargo_metadata::Message;

use super::report::{Counts, Outcome};
use super::scenarios::Scenarios;
use super::steps::{Action, Step};
use crate::process;
use crate::workspace::{self, EXAMPLES, Workspace};

const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

/// How long a test executable may run. Ours wait for states and not for time, so a minute is already slow.
const RUN_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Packages that may have no tests; for any other package an empty run means that tests got lost.
const MAY_HAVE_NONE: [&str; 2] = [EXAMPLES, "xtask"];

/// The packages to test and, once built, their executables.
#[derive(Debug)]
pub(super) struct Tests {
    packages: Vec<String>,
    executables: HashMap<String, Vec<Executable>>,
    scenarios: Scenarios,
}

/// A built test target.
#[derive(Debug)]
struct Executable {
    target: String,
    path: PathBuf,
}

impl Tests {
    /// The tests that these steps will run.
    pub(super) fn of(steps: &[Step]) -> Tests {
        let packages = steps.iter().filter_map(|step| match &step.action {
            Action::Test(package) => Some(package.clone()),
            Action::Plain(_) | Action::Build | Action::Compare => None,
        });
        Tests { packages: packages.collect(), executables: HashMap::new(), scenarios: Scenarios::default() }
    }

    /// Builds all tests; those that build are run even if others do not.
    pub(super) fn build(&mut self, workspace: &Workspace) -> Result<Outcome> {
        let mut command = process::cargo(["test", "--all-features", "--lib", "--bins", "--tests"]);
        command.args(["--no-run", "--no-fail-fast", "--message-format=json-render-diagnostics"]);
        for package in &self.packages {
            command.args(["--package", package]);
        }
        let mut messages = Vec::new();
        let status = process::stream_quietly(command.current_dir(workspace.root()), BUILD_LIMIT, |line| {
            messages.extend(serde_json::from_str::<Message>(line));
        })?;
        for message in messages {
            let Message::CompilerArtifact(artifact) = message else { continue };
            let package = workspace.packages().into_iter().find(|package| package.id == artifact.package_id);
            if let (true, Some(executable), Some(package)) =
                (artifact.profile.test, artifact.executable, package)
            {
                let executables = self.executables.entry(package.name.to_string()).or_default();
                let path = executable.into_std_path_buf();
                executables.push(Executable { target: artifact.target.name, path });
            }
        }
        let built: usize = self.executables.values().map(Vec::len).sum();
        println!("{built} test executables");
        Ok(if status.success() {
            Outcome::ok()
        } else {
            Outcome::failed(format!("cargo test --no-run: {status}"))
        })
    }

    /// Runs the tests of one package.
    pub(super) fn run(&mut self, workspace: &Workspace, name: &str) -> Result<Outcome> {
        let package = workspace.package(name)?;
        let executables = self.executables.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut counts = Counts::default();
        let mut broken = Vec::new();
        for executable in executables {
            let mut command = Command::new(&executable.path);
            // As cargo does: paths in tests are relative to their package.
            command.current_dir(workspace::directory(package));
            command.env("CARGO_MANIFEST_DIR", workspace::directory(package));
            let status = process::stream(&mut command, RUN_LIMIT, |line| {
                counts.add_line(line);
                self.scenarios.add_line(&executable.target, line);
            });
            match status {
                Ok(status) if status.success() => {}
                Ok(status) => broken.push(format!("{}: {status}", process::display(&command))),
                Err(error) => broken.push(error.to_string()),
            }
        }
        if !broken.is_empty() {
            println!("by hand: cargo test -p {name} --all-features --lib --bins --tests");
            return Ok(Outcome::failed(broken.join(", ")).with_counts(counts));
        }
        ensure!(!executables.is_empty() || MAY_HAVE_NONE.contains(&name), "no test executable was built");
        ensure!(counts.run() > 0 || MAY_HAVE_NONE.contains(&name), "no test was run");
        Ok(Outcome::ok().with_counts(counts))
    }

    /// Compares the suites that have run, runtime by runtime.
    pub(super) fn compare(&self, workspace: &Workspace) -> Outcome {
        let problems = self.scenarios.problems(&workspace.runtimes());
        problems.iter().for_each(|problem| println!("{problem}"));
        if problems.is_empty() { Outcome::ok() } else { Outcome::failed(problems.join(", ")) }
    }

    pub(super) fn scenarios(&self) -> &Scenarios {
        &self.scenarios
    }
}
