//! `cargo xtask mutants`: planted bugs, each a patch in `tests/mutants`, and the checks that find them.
//!
//! Each patch is applied to a copy of the tree, and its killer must fail there: the simulation, the behaviour suite, or a
//! scenario of the wire suite. A patch whose killer passes has survived: then the check is too weak, or the patch is no bug.

mod found;
mod killer;
mod names;
mod patch;
mod survivors;
mod tree;

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use self::killer::{Killer, Options, Run, Verdict};
use self::names::Names;
use self::patch::Mutant;
use self::tree::Tree;
use crate::loom;
use crate::process;
use crate::table;
use crate::workspace::Workspace;

/// The number of patches below which some were lost.
const AT_LEAST: usize = 90;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only these mutants, by the names of their patches
    names: Vec<String>,
    /// Only check that every patch has its header, names what there is, and still applies; also those of `cargo xtask loom`
    #[arg(long, conflicts_with_all = ["names", "cargo"])]
    check: bool,
    /// Run cargo-mutants on the machine and on core's `shutdown`, and compare its survivors with `tests/mutants/survivors.toml`
    #[arg(long, conflicts_with = "names")]
    cargo: bool,
    /// How many schedules the simulation may need to find a mutant
    #[arg(long, default_value_t = 1_000)]
    schedules: u32,
    /// The seed of the first schedule
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run the behaviour suite in place of the simulation: what the scenarios alone would find
    #[arg(long)]
    behaviour: bool,
}

/// Runs the mutants and prints a table; returns `true` if each was killed.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    if args.cargo {
        return survivors::run(workspace);
    }
    let all = patch::all(workspace.root())?;
    if args.check {
        return check(workspace, &all);
    }
    let unknown = args.names.iter().find(|name| !all.iter().any(|mutant| mutant.name == **name));
    ensure!(unknown.is_none(), "tests/mutants has no {}.patch", unknown.unwrap());
    let is_meant = |mutant: &Mutant| args.names.is_empty() || args.names.contains(&mutant.name);
    let mutants: Vec<Mutant> = all.into_iter().filter(is_meant).collect();

    let tree = Tree::copy(workspace)?;
    let options = Options { schedules: args.schedules, seed: args.seed, behaviour: args.behaviour };
    let killers: Vec<Killer> = mutants.iter().map(|mutant| mutant.killer.with(&options)).collect();
    for killer in killers.iter().collect::<BTreeSet<_>>() {
        unpatched(killer, &tree, &options)?;
    }
    let headings = ["mutant", "killed by", "schedules", "build", "run", "what"];
    let mut rows = vec![headings.map(str::to_owned).into()];
    let mut alive = Vec::new();
    for (mutant, killer) in mutants.iter().zip(&killers) {
        // One that does not compile any more does not keep the others from being run: that takes an hour.
        let row = one(mutant, killer, &tree, &options).unwrap_or_else(|error| {
            println!("{error:#}");
            Row { fate: Fate::Broken, schedules: None, build: Duration::ZERO, run: Duration::ZERO }
        });
        println!("{}: {}", mutant.name, row.fate);
        if !matches!(row.fate, Fate::KilledBy(_)) {
            alive.push(mutant.name.as_str());
        }
        rows.push(row.cells(mutant));
    }
    println!("\n{}", table::render(&rows));
    println!("{} of {} mutants killed", mutants.len() - alive.len(), mutants.len());
    if !alive.is_empty() {
        println!("not killed: {}", alive.join(", "));
    }
    Ok(alive.is_empty())
}

/// Every patch has its header and still applies, and names an invariant or a scenario that there is. Takes a second.
fn check(workspace: &Workspace, all: &[Mutant]) -> Result<bool> {
    let names = Names::read(workspace.root())?;
    let mut problems = Vec::new();
    for mutant in all {
        let applies = tree::applies(workspace.root(), mutant).err().map(|why| why.to_string());
        let found = names.problem(mutant).into_iter().chain(applies);
        problems.extend(found.map(|problem| format!("{}: {problem}", mutant.name)));
    }
    ensure!(
        all.len() >= AT_LEAST,
        "only {} mutants in tests/mutants; there have to be {AT_LEAST}",
        all.len()
    );
    let races = loom::check_planted(workspace, &mut problems)?;
    problems.iter().for_each(|problem| println!("{problem}"));
    println!("{} mutants, {races} planted races", all.len());
    Ok(problems.is_empty())
}

/// The same as a step of `test-all`.
pub(crate) fn check_all(workspace: &Workspace) -> Result<bool> {
    process::version(&mut Command::new("git"))?;
    check(workspace, &patch::all(workspace.root())?)
}

/// A check that fails on everything finds nothing: the unpatched tree has to pass it.
fn unpatched(killer: &Killer, tree: &Tree, options: &Options) -> Result<()> {
    let executable = killer.build(tree)?.with_context(|| format!("the tree does not build for {killer}"))?;
    match killer.run(&executable, tree, options)? {
        Run { verdict: Verdict::Passed, .. } => Ok(()),
        Run { verdict: Verdict::Killed { by, .. }, output, .. } => {
            bail!("{output}\nthe unpatched tree fails {killer}: {by}")
        }
        Run { verdict: Verdict::Broken(why), output, .. } => {
            bail!("{output}\n{killer} cannot find anything, already in the unpatched tree: {why}")
        }
    }
}

/// What became of a mutant.
enum Fate {
    KilledBy(String),
    Survived,
    /// It does not apply or compile, or its killer broke.
    Broken,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::KilledBy(by) => by,
            Fate::Survived => "SURVIVED",
            Fate::Broken => "BROKEN",
        })
    }
}

struct Row {
    fate: Fate,
    schedules: Option<u32>,
    build: Duration,
    run: Duration,
}

impl Row {
    fn cells(&self, mutant: &Mutant) -> Vec<String> {
        let seconds = |time: Duration| format!("{:.0} s", time.as_secs_f64());
        vec![
            mutant.name.clone(),
            self.fate.to_string(),
            self.schedules.map_or_else(|| "-".to_owned(), |schedules| schedules.to_string()),
            seconds(self.build),
            seconds(self.run),
            mutant.what.clone(),
        ]
    }
}

fn one(mutant: &Mutant, killer: &Killer, tree: &Tree, options: &Options) -> Result<Row> {
    let _patched = tree.patch(mutant)?;
    let start = Instant::now();
    let executable = killer.build(tree)?.with_context(|| format!("{} does not compile", mutant.name))?;
    let build = start.elapsed();
    let Run { verdict, took, output } = killer.run(&executable, tree, options)?;
    let (fate, schedules) = match verdict {
        Verdict::Passed => (Fate::Survived, None),
        Verdict::Killed { by, schedules } => (Fate::KilledBy(by), schedules),
        Verdict::Broken(why) => bail!("{output}\n{}: {killer} broke: {why}", mutant.name),
    };
    Ok(Row { fate, schedules, build, run: took })
}
