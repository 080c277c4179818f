//! `cargo xtask coverage`: lists which test shows which requirement, and the requirements without a test.

mod functions;
mod ids;
mod index;
mod page;
mod requirements;

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use self::index::Index;
use self::requirements::{Requirements, Standing};
use crate::test_all::Outcome;
use crate::workspace::Workspace;

/// The list of requirements, and the page that is generated from it and the tests.
const LIST: &str = "docs/requirements.toml";
const PAGE: &str = "docs/coverage.md";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write docs/coverage.md
    #[arg(long)]
    write: bool,
}

/// Prints the table and the problems; returns `true` if there are none and the page is up to date.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let (requirements, tests) = load(workspace)?;
    for (_, requirement) in requirements.all() {
        let names: Vec<&str> = tests.of(&requirement.id).map(|test| test.name.as_str()).collect();
        let what = match requirement.standing(names.len()) {
            Standing::Tested => names.join(", "),
            other => other.to_string(),
        };
        println!("{:5} {:11} {:2} {what}", requirement.id, requirement.level, requirement.who);
    }
    if args.write {
        fs::write(workspace.root().join(PAGE), page::render(&requirements, &tests))?;
    }
    report(workspace, &requirements, &tests)
}

/// Runs the check as a step of `test-all`.
pub(crate) fn as_step(workspace: &Workspace) -> Result<Outcome> {
    let (requirements, tests) = load(workspace)?;
    Ok(Outcome::from_success(report(workspace, &requirements, &tests)?))
}

fn load(workspace: &Workspace) -> Result<(Requirements, Index)> {
    let requirements = Requirements::parse(&fs::read_to_string(workspace.root().join(LIST))?)?;
    let tests = Index::find(workspace, &requirements)?;
    Ok((requirements, tests))
}

/// Prints the sums, the requirements without a test, and other problems.
fn report(workspace: &Workspace, requirements: &Requirements, tests: &Index) -> Result<bool> {
    println!("\n{}", page::sums(requirements, tests));
    let mut problems = tests.problems.clone();
    for (section, requirement) in requirements.all() {
        let count = tests.of(&requirement.id).count();
        let id = &requirement.id;
        if requirement.standing(count) == Standing::Missing {
            problems.push(format!("{id} has no test: {}", requirement.text));
        }
        if let Some(mark) = requirement.mark().filter(|_| count > 0) {
            problems.push(format!("{id} has a test, so remove its `{mark}` in {LIST}"));
        }
        if !id.starts_with(section) {
            problems.push(format!("{id} is in section {section} of {LIST}"));
        }
    }
    let page: PathBuf = workspace.root().join(PAGE);
    if fs::read_to_string(page).unwrap_or_default() != page::render(requirements, tests) {
        problems.push(format!("{PAGE} is not up to date: run `cargo xtask coverage --write`"));
    }
    problems.iter().for_each(|problem| println!("{problem}"));
    Ok(problems.is_empty())
}
