//! `cargo xtask coverage`: lists which test shows which requirement, and the requirements without a test.

mod ids;
mod index;
mod page;
mod requirements;

use std::fs;

use anyhow::Result;

use self::index::Index;
use self::requirements::{Requirements, Standing};
use crate::workspace::{Record, Workspace};

/// The list of requirements, and the page that is generated from it and the tests.
const LIST: &str = "docs/requirements.toml";
const PAGE: &str = "docs/coverage.md";

/// Prints the table and the problems; returns `true` if there are none and the page is up to date.
pub(crate) fn run(workspace: &Workspace, args: &Record) -> Result<bool> {
    let (requirements, tests) = load(workspace)?;
    for (_, requirement) in requirements.all() {
        let names: Vec<&str> = tests.of(&requirement.id).iter().map(|(name, _)| name.as_str()).collect();
        let what = if names.is_empty() { requirement.standing(0).1 } else { names.join(", ") };
        println!("{:5} {:11} {:2} {what}", requirement.id, requirement.level, requirement.who);
    }
    if args.write {
        fs::write(workspace.root().join(PAGE), page::render(&requirements, &tests))?;
    }
    report(workspace, &requirements, &tests)
}

/// Runs the check as a step of `test-all`.
pub(crate) fn check(workspace: &Workspace) -> Result<bool> {
    let (requirements, tests) = load(workspace)?;
    report(workspace, &requirements, &tests)
}

/// Prints the sums, the requirements without a test, and other problems; returns `true` if there are none.
fn report(workspace: &Workspace, requirements: &Requirements, tests: &Index) -> Result<bool> {
    println!("\n{}", page::sums(requirements, tests));
    let mut problems = tests.problems.clone();
    for (section, requirement) in requirements.all() {
        let count = tests.of(&requirement.id).len();
        let id = &requirement.id;
        if requirement.standing(count).0 == Standing::Missing {
            problems.push(format!("{id} has no test: {}", requirement.text));
        }
        for mark in requirement.marks().filter(|_| count > 0) {
            problems.push(format!("{id} has a test, so remove its `{mark}` in {LIST}"));
        }
        if !id.starts_with(section) {
            problems.push(format!("{id} is in section {section} of {LIST}"));
        }
    }
    if fs::read_to_string(workspace.root().join(PAGE)).unwrap_or_default()
        != page::render(requirements, tests)
    {
        problems.push(format!("{PAGE} is not up to date: run `cargo xtask coverage --write`"));
    }
    problems.iter().for_each(|problem| println!("{problem}"));
    Ok(problems.is_empty())
}

fn load(workspace: &Workspace) -> Result<(Requirements, Index)> {
    let requirements = Requirements::parse(&fs::read_to_string(workspace.root().join(LIST))?)?;
    let tests = Index::find(workspace, &requirements)?;
    Ok((requirements, tests))
}
