//! [`Killer`]: the check that has to find a mutant.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cargo_metadata::Message;
use walkdir::WalkDir;

use super::found::{self, Found};
use super::tree::Tree;
use crate::process::{self, BUILD, Keep, Running};
use crate::workspace::TESTKIT;

/// How long a killer may run. The slowest takes a minute: what has not ended by then never will.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// The package whose tests are the suites on every runtime.
const TESTS: &str = "mcp-session-tests";

/// The exit code of the simulation after a violation.
const VIOLATION: i32 = 1;

/// The exit code of a test executable with a failed test.
const FAILED: i32 = 101;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Killer {
    /// The deterministic simulation of the testkit.
    Simulation,
    /// The behaviour suite in virtual time: one scenario, or all.
    Behaviour(Option<String>),
    /// A scenario of the wire suite.
    Wire(Adapter, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Adapter {
    Tokio,
    AsyncStd,
}

/// What the command line says.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) schedules: u32,
    pub(super) seed: u64,
    /// The behaviour suite in place of the simulation.
    pub(super) behaviour: bool,
}

/// A run of a killer.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
    pub(super) output: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    Killed {
        by: String,
        schedules: Option<u32>,
    },
    /// It failed without saying what it found, or checked nothing.
    Broken,
}

impl Killer {
    /// Reads the line `killer:` of a header. Suites run the scenario of the line `invariant:`.
    pub(super) fn parse(text: &str, invariant: &str) -> Result<Killer> {
        Ok(match text {
            "sim" => Killer::Simulation,
            "behaviour" => Killer::Behaviour(Some(invariant.to_owned())),
            "wire tokio" => Killer::Wire(Adapter::Tokio, invariant.to_owned()),
            "wire async-std" => Killer::Wire(Adapter::AsyncStd, invariant.to_owned()),
            other => bail!(
                "no killer is called `{other}`; there are `sim`, `behaviour`, `wire tokio` and `wire async-std`"
            ),
        })
    }

    pub(super) fn with(&self, options: &Options) -> Killer {
        match self {
            Killer::Simulation if options.behaviour => Killer::Behaviour(None),
            other => other.clone(),
        }
    }

    /// The scenario that it runs, if it is one of a suite.
    pub(super) fn scenario(&self) -> Option<&str> {
        match self {
            Killer::Simulation => None,
            Killer::Behaviour(scenario) => scenario.as_deref(),
            Killer::Wire(_, scenario) => Some(scenario),
        }
    }

    /// Builds it, and returns the executable; `None` if the tree does not compile.
    pub(super) fn build(&self, tree: &Tree) -> Result<Option<PathBuf>> {
        let mut command = tree.cargo();
        let (package, name) = self.target();
        // Suites run for seconds, and compile for minutes if they are optimized.
        command.args(match self {
            Killer::Simulation => ["build", "--release", "--example"],
            Killer::Behaviour(_) | Killer::Wire(..) => ["test", "--no-run", "--test"],
        });
        command.args([name, "--package", package, "--message-format=json-render-diagnostics"]);
        let (status, output) = process::keep(&command, Keep::Stdout, BUILD)?;
        let messages = output.lines().filter_map(|line| serde_json::from_str(line).ok());
        let mut executables = messages.filter_map(|message| match message {
            Message::CompilerArtifact(artifact) if artifact.target.name == name => artifact.executable,
            _ => None,
        });
        Ok(executables.next().map(Into::into).filter(|_| status.success()))
    }

    /// Runs it: not through cargo, whose child would survive if it had to be killed.
    pub(super) fn run(&self, executable: &Path, tree: &Tree, options: &Options) -> Result<Run> {
        let mut command = Command::new(executable);
        command.current_dir(tree.package(self.target().0)).args(self.arguments(options));
        let start = Instant::now();
        let running = Running::start(&command, Keep::All)?;
        let ended = running.ended_within(LIMIT)?;
        let (took, output) = (start.elapsed(), running.output());
        let verdict = match ended {
            Some(status) => self.judge(status.code(), &output),
            // A mutant may be a loop without an end.
            None => Verdict::Killed { by: format!("no end within {LIMIT:?}"), schedules: None },
        };
        Ok(Run { verdict, took, output })
    }

    fn judge(&self, code: Option<i32>, output: &str) -> Verdict {
        match self {
            Killer::Simulation => match (code, found::violation(output)) {
                (Some(0), None) => Verdict::Passed,
                (Some(VIOLATION), Some(Found { by, schedules })) => Verdict::Killed { by, schedules },
                _ => Verdict::Broken,
            },
            Killer::Behaviour(_) | Killer::Wire(..) => match (code, found::failed_scenario(output)) {
                (Some(0), None) if found::ran_any(output) => Verdict::Passed,
                (Some(FAILED), Some(by)) => Verdict::Killed { by, schedules: None },
                _ => Verdict::Broken,
            },
        }
    }

    /// Its package, and its example or test.
    fn target(&self) -> (&'static str, &'static str) {
        match self {
            Killer::Simulation => (TESTKIT, "simulate"),
            Killer::Behaviour(_) => (TESTKIT, "behaviour"),
            Killer::Wire(Adapter::Tokio, _) => (TESTS, "wire"),
            Killer::Wire(Adapter::AsyncStd, _) => ("mcp-session-async-std", "wire"),
        }
    }

    fn arguments(&self, options: &Options) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Killer::Simulation => {
                let (schedules, seed) = (options.schedules.to_string(), options.seed.to_string());
                words(&["--schedules", &schedules, "--seed", &seed, "--quiet"])
            }
            Killer::Behaviour(None) => Vec::new(),
            Killer::Behaviour(Some(scenario)) => words(&[&format!("::{scenario}")]),
            Killer::Wire(Adapter::Tokio, scenario) => words(&[&format!("tokio::{scenario}"), "--exact"]),
            Killer::Wire(Adapter::AsyncStd, scenario) => {
                words(&[&format!("async_std::{scenario}"), "--exact"])
            }
        }
    }
}

impl fmt::Display for Killer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Killer::Simulation => f.write_str("the simulation"),
            Killer::Behaviour(None) => f.write_str("the behaviour suite"),
            Killer::Behaviour(Some(scenario)) => write!(f, "the behaviour suite's {scenario}"),
            Killer::Wire(adapter, scenario) => write!(f, "the wire suite's {scenario} ({adapter:?})"),
        }
    }
}

/// Every name in the sources of the testkit that could be a scenario's.
pub(super) fn scenarios(root: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in WalkDir::new(root.join("crates/mcp-session-testkit/src")) {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path())?;
            let functions = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            names.extend(functions.map(str::to_owned));
        }
    }
    Ok(names)
}
