//! Small checks of files: core's clippy.toml, the first line of each example, the example in the README.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::problem;
use crate::source;
use crate::workspace::{self, CORE, EXAMPLES, Workspace};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rule {
    clippy_forbids: Vec<String>,
    in_readme: String,
}

pub(super) fn check(workspace: &Workspace, rule: &Rule) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let path = workspace::directory(workspace.package(CORE)?).join("clippy.toml");
    let text = fs::read_to_string(&path)?;
    let listed: String = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    for method in rule.clippy_forbids.iter().filter(|method| !listed.contains(&format!("\"{method}\""))) {
        let advice = "list it under disallowed-methods, with its reason";
        problems.push(problem(path.display(), format!("does not forbid {method}"), advice));
    }
    let targets = workspace.examples()?;
    for target in &targets {
        if !fs::read_to_string(&target.src_path)?.starts_with("//! Run with") {
            let advice = "start it with the line `//! Run with` and the command";
            problems.push(problem(&target.src_path, "does not say how to run it", advice));
        }
    }
    // The package has `autoexamples = false`: an unregistered file would never be built.
    let directory = workspace::directory(workspace.package(EXAMPLES)?);
    for (path, text) in source::files_below(directory)? {
        let is_target = targets.iter().any(|target| target.src_path.as_std_path() == path);
        if path.parent() == Some(directory) && !is_target && text.contains("fn main(") {
            let advice = "add an [[example]] with this path to the package's Cargo.toml";
            problems.push(problem(path.display(), "is an example without an [[example]] entry", advice));
        }
    }
    let example = targets.iter().find(|target| target.name == rule.in_readme).context("no such example")?;
    if !fs::read_to_string(workspace.root().join("README.md"))?
        .contains(&fs::read_to_string(&example.src_path)?)
    {
        let what = format!("does not contain {} verbatim", example.name);
        problems.push(problem("README.md", what, "copy the example into the README's Rust block"));
    }
    Ok(problems)
}
