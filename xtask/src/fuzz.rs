//! `cargo xtask fuzz`: runs the fuzz targets of `tests/fuzz`, two at a time.

mod findings;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use self::findings::{Finding, after};
use crate::process::{self, BUILD, Keep, Unavailable};
use crate::table;
use crate::workspace::Workspace;

const FOLDER: &str = "tests/fuzz";

/// How many targets run at a time: each needs a core.
const AT_ONCE: usize = 2;

/// How much longer than its time a target may run: it ends after the input that it has begun, and reads its corpus first.
const LATER: Duration = Duration::from_secs(10 * 60);

/// The longest input, in bytes. What is broken by a longer one is broken by a short one too, which runs faster.
const LONGEST: usize = 4096;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seconds to run each target
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    time: u64,
    /// Run only this target (may be repeated)
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Afterwards, add inputs that reach more code to the corpus in the repository
    #[arg(long)]
    keep: bool,
}

/// Runs the selected targets. Returns `true` if none of them has found anything.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let all = targets(workspace)?;
    let unknown = args.target.iter().find(|name| !all.contains(name));
    ensure!(unknown.is_none(), "no target {}; there are {}", unknown.unwrap(), all.join(", "));
    let selected: Vec<&String> =
        all.iter().filter(|name| args.target.is_empty() || args.target.contains(name)).collect();
    let executables = build(workspace)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(AT_ONCE).build()?;
    let runs: Vec<Run> = pool.install(|| {
        selected.par_iter().map(|name| Run::of(workspace, &executables, name, args)).collect::<Result<_>>()
    })?;

    let mut rows =
        vec![["target", "executions", "corpus", "features", "findings"].map(str::to_owned).to_vec()];
    rows.extend(runs.iter().map(Run::row));
    println!("\n{}", table::render(&rows));
    for run in &runs {
        if let Some(finding) = &run.finding {
            println!("{}", finding.shown(&run.name));
        }
    }
    Ok(runs.iter().all(|run| run.finding.is_none()))
}

/// The targets: the names of their files.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let files = fs::read_dir(workspace.root().join(FOLDER).join("fuzz_targets"))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Builds all targets. Returns the folder of their executables; fails as [`Unavailable`] if this machine lacks a tool.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let missing = || Unavailable("no cargo-fuzz (cargo install cargo-fuzz --locked)".to_owned());
    process::version(&mut process::cargo(workspace, ["fuzz"])).with_context(missing)?;
    let missing =
        || Unavailable("no nightly (rustup toolchain install nightly --profile minimal)".to_owned());
    let version = process::keep(&nightly(workspace, ["rustc", "-vV"]), Keep::All, BUILD);
    let (_, version) = version.ok().filter(|(status, _)| status.success()).with_context(missing)?;
    let host = after(&version, "host: ").context("rustc names its host")?;

    let folder = workspace.target_directory().join("fuzz");
    let mut command = nightly(workspace, ["cargo", "fuzz", "build", "--fuzz-dir", FOLDER]);
    // Without a sanitizer: there is no `unsafe` here, and a target counts what is left by itself. It is twice as fast.
    command.args(["--sanitizer", "none", "--target-dir"]).arg(&folder);
    process::succeed(&command, BUILD)?;
    Ok(folder.join(host).join("release"))
}

/// A command of the nightly toolchain, which libFuzzer's instrumentation needs.
fn nightly<const N: usize>(workspace: &Workspace, words: [&str; N]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).args(words).current_dir(workspace.root());
    command
}

/// What became of a target.
#[derive(Debug)]
struct Run {
    name: String,
    executions: String,
    corpus: String,
    features: String,
    finding: Option<Finding>,
}

impl Run {
    fn of(workspace: &Workspace, executables: &Path, name: &str, args: &Args) -> Result<Run> {
        let (root, target) = (workspace.root().join(FOLDER), workspace.target_directory().join("fuzz"));
        let (corpus, found) = (root.join("corpus").join(name), target.join("corpus").join(name));
        let findings = target.join("findings").join(name);
        for folder in [&corpus, &found, &findings] {
            fs::create_dir_all(folder)?;
        }
        let target = |folders: [&PathBuf; 2]| {
            let mut command = Command::new(executables.join(name));
            command.current_dir(&target).env("RUST_BACKTRACE", "0").args(folders);
            command
        };
        let mut search = target([&found, &corpus]);
        search.arg(format!("-artifact_prefix={}/", findings.display()));
        search.arg(format!("-dict={}", root.join("dictionary").display()));
        search.arg(format!("-max_total_time={}", args.time)).arg(format!("-max_len={LONGEST}"));
        search.args(["-print_final_stats=1", "-timeout=60"]);
        println!("{name}: {} seconds", args.time);
        let (status, output) = process::keep(&search, Keep::All, Duration::from_secs(args.time) + LATER)?;
        let finding = (!status.success()).then(|| Finding::of(&output));

        if args.keep && finding.is_none() {
            // By code that is reached, not by how often: few inputs, and each has a reason.
            let mut merge = target([&corpus, &found]);
            let (status, output) =
                process::keep(merge.args(["-set_cover_merge=1", "-use_counters=0"]), Keep::All, LATER)?;
            ensure!(status.success(), "the corpus of {name} cannot be merged: {output}");
        }
        let last = output.lines().rev().find(|line| line.contains(" cov: ")).unwrap_or_default();
        let part = |label| after(last, label).unwrap_or("?").to_owned();
        Ok(Run {
            name: name.to_owned(),
            executions: after(&output, "stat::number_of_executed_units:").unwrap_or("?").to_owned(),
            corpus: part("corp: "),
            features: part("ft: "),
            finding,
        })
    }

    fn row(&self) -> Vec<String> {
        let findings = usize::from(self.finding.is_some()).to_string();
        vec![self.name.clone(), self.executions.clone(), self.corpus.clone(), self.features.clone(), findings]
    }
}
