//! The arrows between crates: the direct dependencies in a manifest, and what must not be in its tree at any depth.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{DependencyKind, Package};
use serde::Deserialize;

use super::problem;
use crate::process;
use crate::workspace::Workspace;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rule {
    #[serde(default)]
    pub(super) uses: Vec<String>,
    #[serde(default)]
    members: Vec<String>,
    tree_without: Vec<String>,
    #[serde(default)]
    features_not_checked: Vec<String>,
    advice: String,
}

/// The platforms of servers. Not `all`: in a browser async-std is a different thing, and there is no server.
const PLATFORMS: [&str; 3] =
    ["--target=x86_64-unknown-linux-gnu", "--target=x86_64-apple-darwin", "--target=x86_64-pc-windows-msvc"];

pub(super) fn check(workspace: &Workspace, rules: &BTreeMap<String, Rule>) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let members: Vec<&str> = workspace.packages().iter().map(|package| package.name.as_str()).collect();
    for package in workspace.libraries() {
        let name = package.name.as_str();
        let Some(rule) = rules.get(name) else {
            problems.push(problem(name, "is a crate without a rule", "write one in xtask/arrows.toml"));
            continue;
        };
        for it in package.dependencies.iter().filter(|it| it.kind == DependencyKind::Normal) {
            if !rule.allows(&it.name, &members) {
                problems.push(problem(name, format!("depends on {}", it.name), &rule.advice));
            }
        }
        let tree = tree(workspace, package, rule)?;
        for what in rule.tree_without.iter().filter(|what| tree.contains(*what)) {
            let root = what.split('/').next().unwrap_or(what);
            let how = format!("cargo tree -p {name} -e normal,features -i {root}");
            let advice = format!("find out where it comes from with `{how}`, and disable that feature");
            problems.push(problem(name, format!("has {what} in its tree"), advice));
        }
    }
    Ok(problems)
}

impl Rule {
    fn allows(&self, dependency: &str, members: &[&str]) -> bool {
        let is_in = |list: &[String]| list.iter().any(|it| it == dependency);
        is_in(&self.uses) || is_in(&self.members) || (self.uses.is_empty() && !members.contains(&dependency))
    }
}

/// The crates in the normal tree of a package, at any depth, and their features (`tokio/rt`).
///
/// From `cargo tree`, because the graph in `cargo metadata` is the union over the workspace: an optional dependency that
/// only a test enables would appear in every tree.
fn tree(workspace: &Workspace, package: &Package, rule: &Rule) -> Result<BTreeSet<String>> {
    let name = package.name.as_str();
    let features = package.features.keys().filter(|it| !rule.features_not_checked.contains(it));
    let mut command = process::cargo(workspace, ["tree", "--no-default-features", "--package", name]);
    command.arg("--features").arg(features.cloned().collect::<Vec<_>>().join(","));
    command.args(["--edges=normal", "--prefix=none", "--format={p}|{f}"]).args(PLATFORMS);
    let output = command.output()?;
    ensure!(output.status.success(), "cargo tree -p {name}: {}", String::from_utf8_lossy(&output.stderr));
    let tree = entries(std::str::from_utf8(&output.stdout).context("cargo tree prints UTF-8")?);
    ensure!(tree.contains(name), "cargo tree -p {name} does not list {name} itself");
    Ok(tree)
}

/// Reads lines such as `tokio v1.47.0|default,rt (*)`.
fn entries(lines: &str) -> BTreeSet<String> {
    let mut entries = BTreeSet::new();
    for line in lines.lines() {
        let (package, features) = line.split_once('|').unwrap_or((line, ""));
        let name = package.split(' ').next().unwrap_or_default();
        let features = features.trim_end_matches(" (*)").split(',').filter(|feature| !feature.is_empty());
        entries.extend(features.map(|feature| format!("{name}/{feature}")));
        entries.insert(name.to_owned());
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::{super::Rules, entries};

    #[test]
    fn planted_dependencies_are_found() {
        let rules = Rules::load().unwrap().crates;
        let members = ["mcp-session-core", "mcp-session-smol"];
        assert!(rules["mcp-session-core"].allows("http", &members));
        assert!(!rules["mcp-session-core"].allows("tokio", &members));
        assert!(rules["mcp-session-tokio"].allows("mcp-session-core", &members));
        assert!(!rules["mcp-session-tokio"].allows("mcp-session-smol", &members));
        let tree = entries("async-io v2.6.0|\ntokio v1.47.0|sync\ntokio v1.47.0|default,rt (*)\n");
        let broken =
            |name: &str| rules[name].tree_without.iter().filter(|it| tree.contains(*it)).collect::<Vec<_>>();
        assert_eq!(broken("mcp-session-tokio"), ["async-io"]);
        assert_eq!(broken("mcp-session-smol"), ["tokio/rt"]);
        assert_eq!(broken("mcp-session-async-std"), ["tokio"]);
    }
}
