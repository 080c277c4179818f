//! The arrows between crates, read from their manifests and from the trees that cargo resolves.

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{DependencyKind, Package};

use super::Violation;
use crate::process;
use crate::workspace::{CORE, HYPER, TESTKIT, Workspace};

/// What core may name in its manifest. None of these brings a runtime, a socket or a clock.
pub(super) const CORE_MAY_USE: [&str; 11] = [
    "async-channel",
    "bytes",
    "event-listener",
    "futures",
    "getrandom",
    "http",
    "http-body",
    "serde",
    "serde_json",
    "thiserror",
    "tracing",
];

/// What core's tree must not hold at any depth.
const NOT_BELOW_CORE: [&str; 7] =
    ["async-executor", "async-io", "async-std", "hyper", "smol", "tide", "tokio"];

/// What the test kit's tree must not hold: it brings its own, simulated, runtime.
const NOT_BELOW_TESTKIT: [&str; 3] = ["async-std", "smol", "tokio"];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Violation>> {
    let members = workspace.packages();
    let is_member = |name: &str| members.iter().any(|package| package.name.as_str() == name);
    let mut violations = Vec::new();

    let core = workspace.package(CORE)?;
    violations.extend(normal(core).filter(|name| !CORE_MAY_USE.contains(name)).map(|name| {
        Violation::new(
            CORE,
            format!("depends on {name}"),
            "move what needs it into an adapter; core is handed its runtime through `trait Runtime`",
        )
    }));
    violations.extend(tree(workspace, CORE, &NOT_BELOW_CORE)?);

    let testkit = workspace.package(TESTKIT)?;
    violations.extend(normal(testkit).filter(|name| is_member(name) && *name != CORE).map(|name| {
        Violation::new(
            TESTKIT,
            format!("depends on {name}"),
            "let the suite be generic over `Runtime`; tests/ brings the adapters to it",
        )
    }));
    violations.extend(tree(workspace, TESTKIT, &NOT_BELOW_TESTKIT)?);

    for adapter in workspace.adapters() {
        let foreign = |name: &&str| is_member(name) && ![CORE, HYPER].contains(name);
        violations.extend(normal(adapter).filter(foreign).map(|name| {
            let advice = "move what both need into core; what only tests need belongs to [dev-dependencies]";
            Violation::new(adapter.name.as_str(), format!("depends on {name}"), advice)
        }));
    }
    Ok(violations)
}

/// The direct dependencies of the code itself, also the optional ones.
fn normal(package: &Package) -> impl Iterator<Item = &str> {
    let of_the_code = package.dependencies.iter().filter(|it| it.kind == DependencyKind::Normal);
    of_the_code.map(|dependency| dependency.name.as_str())
}

/// Which of the banned crates are in the normal tree of `package`, at any depth, on any platform.
///
/// From `cargo tree`, since the graph in `cargo metadata` is the union over the workspace: an optional
/// dependency that only a test switches on would look like everybody's.
fn tree(workspace: &Workspace, package: &str, banned: &[&str]) -> Result<Vec<Violation>> {
    let flags = ["--all-features", "--edges=normal", "--target=all", "--prefix=none", "--format={p}"];
    let mut command = process::cargo(["tree", "--package", package]);
    let output = command.args(flags).current_dir(workspace.root()).output()?;
    ensure!(output.status.success(), "cargo tree -p {package}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).context("cargo tree prints UTF-8")?;
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    ensure!(names.contains(&package), "cargo tree -p {package} does not list {package} itself");
    let found = banned.iter().filter(|name| names.contains(name)).map(|name| {
        let how = format!("cargo tree -p {package} -e normal --all-features -i {name}");
        let advice = format!("see how it gets in with `{how}`, and switch that feature off");
        Violation::new(package, format!("has {name} in its tree"), advice)
    });
    Ok(found.collect())
}
