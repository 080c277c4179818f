//! [`Killer`]: the check that has to find a mutant.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use walkdir::WalkDir;

use super::found::{self, Found};
use super::tree::Tree;
use crate::process::{self, BUILD, Keep};

/// How long a killer may run. The slowest takes a minute: what has not ended by then never will.
const LIMIT: Duration = Duration::from_secs(5 * 60);

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

    /// Builds it; returns `false` if the tree does not compile.
    pub(super) fn build(&self, tree: &Tree) -> Result<bool> {
        let (status, output) = process::keep(self.test(tree).arg("--no-run"), Keep::All, BUILD)?;
        if !status.success() {
            println!("{output}");
        }
        Ok(status.success())
    }

    /// Runs it.
    pub(super) fn run(&self, tree: &Tree, options: &Options) -> Result<Run> {
        let mut command = self.test(tree);
        command.args(["--quiet", "--"]).args(self.arguments(options));
        let start = Instant::now();
        let (code, output) = match process::keep(&command, Keep::All, LIMIT) {
            Ok((status, output)) => (status.code(), output),
            // A mutant may be a loop without an end. On the unpatched tree, this is no pass either.
            Err(error) => (None, format!("{error:#}")),
        };
        let took = start.elapsed();
        let verdict = if took >= LIMIT {
            Verdict::Killed { by: format!("no end within {LIMIT:?}"), schedules: None }
        } else {
            self.judge(code, &output)
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

    fn test(&self, tree: &Tree) -> Command {
        let (package, test) = match self {
            Killer::Simulation => ("mcp-session-testkit", "simulation"),
            Killer::Behaviour(_) => ("mcp-session-testkit", "behaviour"),
            Killer::Wire(Adapter::Tokio, _) => ("mcp-session-tests", "wire"),
            Killer::Wire(Adapter::AsyncStd, _) => ("mcp-session-async-std", "wire"),
        };
        let mut command = tree.cargo();
        // Suites run for seconds, and compile for minutes if they are optimized.
        command.arg("test").args((*self == Killer::Simulation).then_some("--release"));
        command.args(["--package", package, "--test", test]);
        command
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
