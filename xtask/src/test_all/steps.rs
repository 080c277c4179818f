//! The steps and their order: cheap steps first, and steps that share artifacts next to each other.

use anyhow::Result;

use super::report::Outcome;
use super::{cargo_steps, examples};
use crate::workspace::Workspace;
use crate::{arrows, conformance, coverage, instructions, interop};

/// One line of the table.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) action: Action,
}

/// What a step does.
#[derive(Debug)]
pub(super) enum Action {
    /// Runs a single check.
    Plain(fn(&Workspace) -> Result<Outcome>),
    /// Builds the tests of all selected test steps, once.
    Build,
    /// Runs the tests of one package.
    Test(String),
    /// Compares the suites among the tests, runtime by runtime.
    Compare,
}

/// Every step.
pub(super) fn all(workspace: &Workspace) -> Vec<Step> {
    let plain = |name: &str, check| Step { name: name.to_owned(), action: Action::Plain(check) };
    let mut steps = vec![
        plain("fmt", cargo_steps::fmt),
        plain("arrows", |workspace| Ok(Outcome::from_success(arrows::run(workspace)?))),
        plain("coverage", coverage::as_step),
        plain("deny", cargo_steps::deny),
        plain("clippy", cargo_steps::clippy),
        plain("features", cargo_steps::features),
        plain("msrv", cargo_steps::msrv),
        plain("docs", cargo_steps::docs),
        Step { name: "build tests".to_owned(), action: Action::Build },
    ];
    steps.extend(workspace.packages().iter().map(|package| Step {
        name: format!("test {}", package.name),
        action: Action::Test(package.name.to_string()),
    }));
    steps.extend([
        Step { name: "test scenarios".to_owned(), action: Action::Compare },
        plain("doc-tests", cargo_steps::doc_tests),
        plain("examples", examples::run),
        plain("instructions", instructions::as_step),
        plain("interop", interop::as_step),
        plain("conformance", conformance::as_step),
        plain("package", cargo_steps::package),
    ]);
    steps
}
