//! `cargo xtask conformance`: the official conformance suite against the example `everything`, on every runtime, or against
//! `rmcp_everything`, which has the same tools from rmcp's macros.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use rayon::prelude::*;
use serde::Deserialize;

use crate::process::{self, Keep};
use crate::server::Server;
use crate::workspace::{Target, Workspace};
use crate::{cargo_tasks, installed, table};

/// A run of the suite: its release, the name under which that is installed, and a revision of the protocol; and the number
/// of scenarios and of successful checks that it must have. The suite silently skips what does not apply, and an empty run
/// exits with 0, so we count.
pub(crate) type Run = (&'static str, &'static str, &'static str, (usize, usize));

/// The newest release, and the newest that is not a pre-release. The older one has nothing for 2025-03-26 and 2026-07-28. The
/// extensions, such as tasks and skills, belong to no revision and are not run.
const RUNS: [Run; 6] = [
    ("0.2.0-alpha.12", "conformance-0.2", "2026-07-28", (40, 152)),
    ("0.2.0-alpha.12", "conformance-0.2", "2025-03-26", (1, 3)),
    ("0.2.0-alpha.12", "conformance-0.2", "2025-06-18", (27, 56)),
    ("0.2.0-alpha.12", "conformance-0.2", "2025-11-25", (33, 83)),
    ("0.1.16", "conformance-0.1", "2025-06-18", (26, 26)),
    ("0.1.16", "conformance-0.1", "2025-11-25", (32, 46)),
];

/// The row of the server itself.
const SIGTERM: &str = "SIGTERM";

/// Milliseconds per scenario, in the release that has this flag; the longest wait in one is 10 s.
const TIMEOUT: (&str, [&str; 2]) = ("conformance-0.2", ["--timeout", "15000"]);

/// The list of expected failures, which is empty. With such a list, the suite treats a warning as a failure.
const STRICT: &str = "server: []\nclient: []\n";

/// A run takes two seconds; this limit ends one that hangs.
const LIMIT: Duration = Duration::from_secs(3 * 60);

/// The length of `-2026-11-22T19-59-57-328Z`.
const TIME: usize = 25;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// The server
    #[arg(long, value_enum, default_value_t = Which::Everything)]
    server: Which,
}

/// The server that the suite is run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// The example `everything`
    Everything,
    /// The example `rmcp_everything`: rmcp's macros, through the bridge; on tokio and smol
    Rmcp,
}

impl Which {
    /// The server as an example, and the runtimes that it is not made for.
    fn example(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Everything => ("everything", &[]),
            Self::Rmcp => ("rmcp_everything", &["async-std"]),
        }
    }
}

impl Args {
    /// For `test-all`: all runtimes, on the executables that its `examples` step has built.
    pub(crate) fn all(server: Which) -> Args {
        Args { target: Target::all(), server }
    }
}

/// Runs the task; returns `true` if every expected scenario of every run passed.
pub(crate) fn run(workspace: &Workspace, Args { target, server }: &Args) -> Result<bool> {
    let (example, not_on) = server.example();
    let node = installed::node(workspace)?;
    cargo_tasks::build_examples(workspace, target.release)?;
    let executable = workspace.example_executable(example, target.release);
    let mut runtimes = workspace.select_runtimes(target)?;
    runtimes.retain(|runtime| !not_on.contains(runtime));
    ensure!(!runtimes.is_empty(), "{example} runs on tokio and smol");
    let results: Vec<_> =
        runtimes.par_iter().map(|runtime| all_revisions(example, runtime, &executable, &node)).collect();
    let (mut cells, mut all_passed) = (Vec::new(), true);
    for (runtime, rows) in runtimes.into_iter().zip(results) {
        for (heading, result) in rows {
            let (mut cell, Findings { problems, notes, .. }) = result.unwrap_or_else(|error| {
                let problems = vec![format!("{error:#}")];
                (String::new(), Findings { problems, ..Findings::default() })
            });
            if !problems.is_empty() {
                println!("\n{heading} on {runtime}:");
                problems.iter().chain(&notes).for_each(|line| println!("    {line}"));
                "FAILED".clone_into(&mut cell);
                all_passed = false;
            }
            cells.push((heading, runtime.to_owned(), cell));
        }
    }
    println!("\n{}", table::grid("suite, revision", &cells));
    Ok(all_passed)
}

/// A row of the table: its heading, and what its cell says if there are no problems.
type Row = (String, Result<(String, Findings)>);

/// Makes all runs, of both eras, one after the other against one server with default settings, which must exit cleanly on
/// SIGTERM afterwards.
fn all_revisions(example: &str, runtime: &str, executable: &Path, node: &Path) -> Vec<Row> {
    let server = match Server::start(executable, &["--runtime", runtime]) {
        Ok(server) => server,
        Err(error) => return vec![("start".to_owned(), Err(error))],
    };
    let mut rows: Vec<Row> = RUNS
        .iter()
        .map(|run| {
            let &(version, _, revision, (scenarios, checks)) = run;
            let cell = format!("{scenarios} of {scenarios}, {checks} checks");
            let result = perform(&server.url, &format!("{example}-{runtime}"), run, node)
                .map(|findings| (cell, findings));
            (format!("{version} {revision}"), result)
        })
        .collect();
    let stopped = server.stop().map(|()| ("exit code 0".to_owned(), Findings::default()));
    rows.push((SIGTERM.to_owned(), stopped));
    rows
}

/// The runs of the revisions with sessions.
pub(crate) fn legacy() -> impl Iterator<Item = &'static Run> {
    RUNS.iter().filter(|(_, _, revision, _)| *revision != "2026-07-28")
}

/// Makes one run, which must have no problems.
fn perform(url: &str, server: &str, run: &Run, node: &Path) -> Result<Findings> {
    let (mut findings, status) = suite(url, server, run, node)?;
    let expected = run.3;
    if !status.success() {
        findings.problems.push(format!("the suite ended with {status}"));
    }
    if findings.counts != expected {
        findings.problems.push(format!("found {:?} scenarios and checks, not {expected:?}", findings.counts));
    }
    Ok(findings)
}

/// Runs the suite; returns what it found, and how it ended.
pub(crate) fn suite(url: &str, server: &str, run: &Run, node: &Path) -> Result<(Findings, ExitStatus)> {
    let &(version, package, revision, _) = run;
    let name = format!("{server}-{version}-{revision}");
    let out = node.join("conformance").join(name.replace('.', "_"));
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    let strict = out.with_extension("yml");
    fs::write(&strict, STRICT)?;
    let mut command = Command::new("node");
    command.current_dir(node).args(["--import", "./globsync.mjs"]);
    command.arg(node.join("node_modules").join(package).join("dist/index.js"));
    command.args(["server", "--url", url, "--suite", "all", "--spec-version", revision]);
    command.arg("--expected-failures").arg(strict).arg("-o").arg(&out);
    command.args(TIMEOUT.1.iter().filter(|_| TIMEOUT.0 == package));
    let (status, output) = process::keep(&command, Keep::All, LIMIT)?;
    fs::write(out.with_extension("log"), output)?;
    let mut findings = Findings::read(&out)?;
    findings.notes.push(format!("all of it is in {}*", out.display()));
    Ok((findings, status))
}

/// What one run of the suite wrote: `server-SCENARIO-TIME/checks.json` for each scenario.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Scenarios, and checks that ended with `SUCCESS`.
    pub(crate) counts: (usize, usize),
    /// Every check and how it ended.
    pub(crate) checks: Vec<String>,
    /// Every check that failed, warned or was skipped, and other problems.
    problems: Vec<String>,
    /// Entries that are neither success nor failure, such as the reason why a check was not made.
    notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    #[serde(default)]
    id: String,
    status: String,
    error_message: Option<String>,
    description: Option<String>,
}

impl Findings {
    fn read(directory: &Path) -> Result<Findings> {
        let mut findings = Findings::default();
        let mut scenarios: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
        scenarios.sort_by_key(fs::DirEntry::file_name);
        for scenario in scenarios {
            let path = scenario.path().join("checks.json");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            findings.add(&scenario.file_name().to_string_lossy(), serde_json::from_str(&text)?);
        }
        Ok(findings)
    }

    fn add(&mut self, directory: &str, checks: Vec<Check>) {
        let scenario = directory.get(..directory.len().saturating_sub(TIME)).unwrap_or(directory);
        self.counts.0 += 1;
        if checks.is_empty() {
            self.problems.push(format!("{scenario}: no check was made"));
        }
        for Check { id, status, error_message, description } in checks {
            self.checks.push(format!("{scenario}: {status} {id}"));
            let why = error_message.or(description).unwrap_or_default();
            match status.as_str() {
                "SUCCESS" => self.counts.1 += 1,
                "INFO" => self.notes.push(format!("{scenario}: INFO {id}: {why}")),
                _ => self.problems.push(format!("{scenario}: {status} {id}: {why}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Findings};

    #[test]
    fn only_success_is_counted_as_success() {
        let mut findings = Findings::default();
        for status in ["SUCCESS", "FAILURE", "WARNING", "SKIPPED", "INFO"].map(str::to_owned) {
            let check = Check { id: "x".to_owned(), status, error_message: None, description: None };
            findings.add("server-ping-2026-11-22T19-59-57-328Z", vec![check]);
        }
        findings.add("empty", Vec::new());
        assert_eq!(findings.counts, (6, 1));
        assert_eq!((findings.problems.len(), findings.notes.len()), (4, 1), "{findings:?}");
        assert!(findings.problems[0].starts_with("server-ping: FAILURE x"), "{findings:?}");
    }
}
