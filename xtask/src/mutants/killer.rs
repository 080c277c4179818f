//! [`Killer`]: the check that has to find a mutant.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cargo_metadata::Message;

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

/// What a process gets that aborts itself, as Rust's do after a panic in a destructor. Any other signal is from outside.
const SIGABRT: i32 = 6;

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
    /// It failed without saying what it found, or checked nothing. Says why.
    Broken(&'static str),
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
            Some(status) => self.judge(status, &output),
            // A mutant may be a loop without an end.
            None => Verdict::Killed { by: format!("no end within {LIMIT:?}"), schedules: None },
        };
        Ok(Run { verdict, took, output })
    }

    fn judge(&self, status: ExitStatus, output: &str) -> Verdict {
        if status.signal() == Some(SIGABRT) {
            return Verdict::Killed { by: "aborted".to_owned(), schedules: None };
        }
        match self {
            Killer::Simulation => match (status.code(), found::violation(output)) {
                (Some(0), None) => Verdict::Passed,
                (Some(VIOLATION), Some(Found { by, schedules })) => Verdict::Killed { by, schedules },
                _ => Verdict::Broken("it failed without a violation"),
            },
            Killer::Behaviour(_) | Killer::Wire(..) => {
                let failed = found::failed_scenarios(output);
                let named = |names: &[String]| match self.scenario() {
                    Some(scenario) => names.iter().find(|name| *name == scenario).cloned(),
                    None => names.first().cloned(),
                };
                match (status.code(), named(&failed)) {
                    (Some(FAILED), Some(by)) => Verdict::Killed { by, schedules: None },
                    (Some(FAILED), None) => {
                        Verdict::Broken("another scenario failed than the one that is named")
                    }
                    (Some(0), None) if failed.is_empty() => match named(&found::passed_scenarios(output)) {
                        Some(_) => Verdict::Passed,
                        None => Verdict::Broken("it did not run the scenario that is named"),
                    },
                    _ => Verdict::Broken("it failed without a scenario"),
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: i32 = 0;
    const SIGKILL: i32 = 9;

    /// The status of a process that exited with this code.
    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn killed(by: &str) -> Verdict {
        Verdict::Killed { by: by.to_owned(), schedules: None }
    }

    #[test]
    fn a_suite_passes_or_fails_by_the_scenario_that_is_named() {
        let killer = Killer::parse("behaviour", "a").unwrap();
        let passed = "test sim::a ... ok\n\ntest result: ok. 1 passed; 0 failed;";
        assert_eq!(killer.judge(exited(PASSED), passed), Verdict::Passed);
        let failed = |name| {
            format!("test sim::{name} ... FAILED\n\nfailures:\n    sim::{name}\n\ntest result: FAILED.")
        };
        assert_eq!(killer.judge(exited(FAILED), &failed("a")), killed("a"));
        for (code, output) in [
            (PASSED, "running 0 tests\n\ntest result: ok. 0 passed; 0 failed;"),
            (PASSED, "test sim::a ... ignored\n\ntest result: ok. 0 passed; 0 failed; 1 ignored;"),
            (PASSED, "test sim::ab ... ok\n\ntest result: ok. 1 passed; 0 failed;"),
            (PASSED, &failed("a")),
            (FAILED, &failed("ab")),
            (FAILED, passed),
            (1, &failed("a")),
        ] {
            assert!(matches!(killer.judge(exited(code), output), Verdict::Broken(_)), "{code} {output}");
        }
    }

    #[test]
    fn the_simulation_passes_or_names_an_invariant() {
        let judge = |code, output| Killer::Simulation.judge(exited(code), output);
        assert_eq!(judge(PASSED, "1000 schedules"), Verdict::Passed);
        assert_eq!(judge(VIOLATION, "violation: cut: it is cut\n"), killed("cut"));
        for (code, output) in [(VIOLATION, ""), (FAILED, ""), (PASSED, "violation: cut: it is cut\n")] {
            assert!(matches!(judge(code, output), Verdict::Broken(_)), "{code} {output}");
        }
    }

    #[test]
    fn a_killer_that_aborts_has_killed_and_one_that_is_stopped_has_not() {
        for killer in ["sim", "behaviour", "wire tokio"] {
            let killer = Killer::parse(killer, "a").unwrap();
            assert_eq!(killer.judge(ExitStatus::from_raw(SIGABRT), ""), killed("aborted"));
            assert!(matches!(killer.judge(ExitStatus::from_raw(SIGKILL), ""), Verdict::Broken(_)));
        }
    }
}
