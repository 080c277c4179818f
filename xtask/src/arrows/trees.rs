//! The arrows at any depth: what the dependency tree of a crate must not contain.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::Package;

use super::Violation;
use crate::process;
use crate::workspace::{CORE, HYPER, TESTKIT, Workspace};

// A crate, or a crate and a feature of it.
const ASYNC_STD: &[&str] = &["async-std", "tide"];
const SMOL: &[&str] = &["smol", "smol-hyper"];
/// The base of both.
const SMOL_PARTS: &[&str] = &["async-executor", "async-io"];
const HYPERS: &[&str] = &["hyper", "hyper-util"];
const TOKIO: &[&str] = &["tokio"];
/// hyper and h2 use tokio's traits and channels, which run anywhere; these features make tokio a runtime.
const TOKIO_RUNTIME: &[&str] = &["tokio/net", "tokio/rt", "tokio/time"];

/// The platforms of servers. Not `all`: in a browser async-std is a different thing, and there is no server.
const PLATFORMS: [&str; 3] =
    ["--target=x86_64-unknown-linux-gnu", "--target=x86_64-apple-darwin", "--target=x86_64-pc-windows-msvc"];

/// The feature of the test kit that adds a runtime, for the clients of its wire suite.
const WIRE: &str = "wire";

/// The crates and features that must not be in the tree of `package`. An adapter has the stack of its own runtime only.
fn banned(package: &str) -> Option<Vec<&'static str>> {
    let stacks = match package {
        CORE => vec![ASYNC_STD, SMOL, SMOL_PARTS, HYPERS, TOKIO],
        TESTKIT => vec![ASYNC_STD, SMOL, SMOL_PARTS, TOKIO],
        HYPER => vec![ASYNC_STD, SMOL, SMOL_PARTS, TOKIO_RUNTIME],
        "mcp-session-tokio" => vec![ASYNC_STD, SMOL, SMOL_PARTS],
        "mcp-session-smol" => vec![ASYNC_STD, TOKIO_RUNTIME],
        "mcp-session-async-std" => vec![SMOL, HYPERS, TOKIO],
        _ => return None,
    };
    Some(stacks.concat())
}

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Violation>> {
    let mut packages = vec![workspace.package(CORE)?, workspace.package(TESTKIT)?, workspace.package(HYPER)?];
    packages.extend(workspace.adapters());
    let mut violations = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let Some(banned) = banned(name) else {
            let advice = "list in xtask/src/arrows/trees.rs which runtimes must not be in its tree";
            violations.push(Violation::new(name, "is an adapter without a rule", advice));
            continue;
        };
        let tree = tree(workspace, package)?;
        violations.extend(banned.into_iter().filter(|what| tree.contains(*what)).map(|what| {
            let root = what.split('/').next().unwrap_or(what);
            let how = format!("cargo tree -p {name} -e normal,features -i {root}");
            let advice = format!("find out where it comes from with `{how}`, and disable that feature");
            Violation::new(name, format!("has {what} in its tree"), advice)
        }));
    }
    Ok(violations)
}

/// The crates in the normal tree of a package, at any depth, and their features (`tokio/rt`).
///
/// From `cargo tree`, because the graph in `cargo metadata` is the union over the workspace: an optional dependency that
/// only a test enables would appear in every tree.
fn tree(workspace: &Workspace, package: &Package) -> Result<BTreeSet<String>> {
    let name = package.name.as_str();
    let features: Vec<&str> =
        package.features.keys().map(String::as_str).filter(|feature| *feature != WIRE).collect();
    let mut command = process::cargo(["tree", "--package", name, "--no-default-features", "--features"]);
    command.arg(features.join(","));
    command.args(["--edges=normal", "--prefix=none", "--format={p}|{f}"]).args(PLATFORMS);
    let output = command.current_dir(workspace.root()).output()?;
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
    use super::{banned, entries};

    #[test]
    fn a_feature_is_found_and_distinguished_from_its_crate() {
        let tree = entries(
            "mcp-session-smol v0.1.0 (/x)|\nasync-io v2.6.0|\ntokio v1.47.0|default,io-util,sync\n\
             tokio v1.47.0|default,io-util,sync (*)\n",
        );
        let broken = |package, tree: &std::collections::BTreeSet<String>| {
            banned(package).unwrap().into_iter().filter(|what| tree.contains(*what)).collect::<Vec<_>>()
        };
        assert_eq!(broken("mcp-session-smol", &tree), [""; 0]);
        assert_eq!(broken("mcp-session-hyper", &tree), ["async-io"]);
        assert_eq!(broken("mcp-session-async-std", &tree), ["tokio"]);
        let planted = entries("tokio v1.47.0|default,rt,sync,time (*)\nasync-std v1.13.0|");
        assert_eq!(broken("mcp-session-smol", &planted), ["async-std", "tokio/rt", "tokio/time"]);
        assert!(banned("mcp-session-embassy").is_none());
    }
}
