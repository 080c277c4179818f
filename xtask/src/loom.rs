//! `cargo xtask loom`: the models in `crates/mcp-session-core/src/sync/tests`, each in every interleaving within its bound.

mod planted;

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::process::{self, BUILD, Keep};
use crate::table;
use crate::workspace::{CORE, Workspace};

/// How long all models may take. Far more than they need: a model that grows is noticed in the table.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// The bound on preemptions in `test-all`. One less than that of most models.
const SHORT: usize = 2;

/// The models are built with optimized dependencies, because loom runs them very often, and by code that is built as fast
/// as possible, because each planted race is a build.
const PROFILE: [&str; 4] =
    ["--config", "profile.dev.package.\"*\".opt-level=1", "--config", "profile.dev.debug=false"];

/// What is printed if a model fails, by an assertion of its own or of loom, but not if the executable crashes.
const REPORT: &str = " panicked at ";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only this model, as the table names it (may be repeated)
    #[arg(long, value_name = "MODEL")]
    only: Vec<String>,
    /// Lower the bound on preemptions
    #[arg(long, value_name = "NUMBER")]
    preemptions: Option<usize>,
    /// Plant the race of each patch in `tests/mutants/loom` in a copy of the tree: its model must report it
    #[arg(long)]
    planted: bool,
}

/// `cargo xtask loom`; returns `true` if every model holds, or if every planted race is reported.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    if args.planted {
        return planted::run(workspace, &args.only);
    }
    let models = Models::build(workspace, workspace.root())?;
    let run = models.run(&args.only, args.preemptions)?;
    print!("\n{}", run.table());
    for model in &args.only {
        ensure!(run.models.iter().any(|it| it.is(model)), "no model is called {model}");
    }
    ensure!(!run.models.is_empty(), "no model was run");
    Ok(run.status.success())
}

/// The same as a step of `test-all`, with a lower bound.
pub(crate) fn short(workspace: &Workspace) -> Result<bool> {
    run(workspace, &Args { only: Vec::new(), preemptions: Some(SHORT), planted: false })
}

/// Checks the patches of the planted races without building anything: each has its header, a name, a model and a tree that
/// it applies to. Adds what is wrong to `problems`; returns how many patches there are.
pub(crate) fn check_planted(workspace: &Workspace, problems: &mut Vec<String>) -> Result<usize> {
    planted::check(workspace, problems)
}

/// A built executable with all models.
struct Models(Command);

impl Models {
    /// Builds the models of the tree at `root`. All trees share the built dependencies, which are not those of other builds.
    fn build(workspace: &Workspace, root: &Path) -> Result<Models> {
        let mut command = process::cargo(workspace, ["test", "--package", CORE, "--lib", "--no-run"]);
        command.args(PROFILE).arg("--message-format=json-render-diagnostics").current_dir(root);
        command.env("RUSTFLAGS", "--cfg loom").env("CARGO_INCREMENTAL", "1");
        command.env("CARGO_TARGET_DIR", workspace.target_directory().join("loom"));
        let (status, output) = process::keep(&command, Keep::Stdout, BUILD)?;
        ensure!(status.success(), "the models do not build: {status}");
        let messages = output.lines().filter_map(|line| serde_json::from_str(line).ok());
        let mut built = messages.filter_map(|message| match message {
            cargo_metadata::Message::CompilerArtifact(artifact) if artifact.profile.test => {
                artifact.executable
            }
            _ => None,
        });
        let executable = built.next().context("cargo names no executable")?;
        let mut command = Command::new(executable);
        command.arg("sync::tests::").args(["--show-output", "--test-threads=2"]);
        Ok(Models(command))
    }

    /// Runs these models, or all.
    fn run(&self, only: &[String], preemptions: Option<usize>) -> Result<Run> {
        let mut command = Command::new(self.0.get_program());
        command.args(self.0.get_args()).env("LOOM_ONLY", only.join(" "));
        if let Some(preemptions) = preemptions {
            command.env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
        }
        let begun = Instant::now();
        let (status, output) = process::keep(&command, Keep::All, LIMIT)?;
        if !status.success() {
            println!("{output}");
        }
        let models = output.lines().filter_map(Explored::read).collect();
        // Not by the exit code: the threads of a deadlock cannot be unwound, so the process aborts.
        let reported = !status.success() && output.contains(REPORT);
        Ok(Run { status, reported, models, took: begun.elapsed() })
    }
}

/// What a run of the models has printed.
struct Run {
    status: ExitStatus,
    /// Whether a model has failed, and the executable has not only crashed.
    reported: bool,
    models: Vec<Explored>,
    took: Duration,
}

impl Run {
    fn table(&self) -> String {
        let header = ["model", "preemptions", "interleavings", "time"].map(str::to_owned).to_vec();
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        let row = |it: &Explored| {
            vec![it.name.clone(), it.preemptions.clone(), it.interleavings.to_string(), seconds(it.took)]
        };
        let mut rows = vec![header];
        rows.extend(self.models.iter().map(row));
        let all = self.models.iter().map(|it| it.interleavings).sum::<u64>();
        rows.push(vec![
            format!("{} models", self.models.len()),
            String::new(),
            all.to_string(),
            seconds(self.took),
        ]);
        table::render(&rows)
    }
}

/// A model that holds, and how many interleavings there were.
#[derive(Debug, PartialEq)]
struct Explored {
    name: String,
    /// The bound, or `none`.
    preemptions: String,
    interleavings: u64,
    took: Duration,
}

impl Explored {
    /// Whether it is the model that is asked for, or a variant of it: `answer/json` of `answer`.
    fn is(&self, model: &str) -> bool {
        self.name.split('/').next() == Some(model) || self.name == model
    }

    /// Reads a line such as `loom: quota; preemptions none; interleavings 12; ms 3`.
    fn read(line: &str) -> Option<Explored> {
        let mut parts = line.strip_prefix("loom: ")?.split("; ");
        let name = parts.next()?.to_owned();
        let mut value = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
        Some(Explored {
            name,
            preemptions: value("preemptions")?,
            interleavings: value("interleavings")?.parse().ok()?,
            took: Duration::from_millis(value("ms")?.parse().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Explored;

    #[test]
    fn the_line_of_a_model_is_read_and_no_other() {
        let read = Explored::read("loom: quota; preemptions none; interleavings 12; ms 3").unwrap();
        let expected = Explored {
            name: "quota".to_owned(),
            preemptions: "none".to_owned(),
            interleavings: 12,
            took: Duration::from_millis(3),
        };
        assert_eq!(read, expected);
        for other in ["", "test sync::tests::quota ... ok", "loom: quota", "loom: quota; preemptions 2; ms 3"]
        {
            assert_eq!(Explored::read(other), None, "{other}");
        }
    }
}
