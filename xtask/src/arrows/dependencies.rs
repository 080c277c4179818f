//! The arrows between crates, read from their manifests: the direct dependencies that a crate may have.

use anyhow::Result;
use cargo_metadata::{DependencyKind, Package};

use super::Violation;
use crate::workspace::{CORE, HYPER, TESTKIT, Workspace};

/// The dependencies that core may have. None of them brings a runtime, a socket or a clock.
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

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let core = workspace.package(CORE)?;
    violations.extend(normal(core).filter(|name| !CORE_MAY_USE.contains(name)).map(|name| {
        let advice = "move the code that needs it into an adapter; `trait Runtime` gives core its runtime";
        Violation::new(CORE, format!("depends on {name}"), advice)
    }));

    let advice = "make the suite generic over `Runtime`; tests/ runs it on the adapters";
    violations.extend(members(workspace, workspace.package(TESTKIT)?, &[CORE], advice));

    let advice = "move code that knows a runtime into its adapter, code that knows the protocol into core";
    violations.extend(members(workspace, workspace.package(HYPER)?, &[CORE], advice));

    let advice = "move shared code into core, or for hyper adapters into mcp-session-hyper; if only tests need it, \
        list it in [dev-dependencies]";
    for adapter in workspace.adapters() {
        violations.extend(members(workspace, adapter, &[CORE, HYPER], advice));
    }
    Ok(violations)
}

/// A violation for each workspace member that the package depends on but must not.
fn members(workspace: &Workspace, package: &Package, allowed: &[&str], advice: &str) -> Vec<Violation> {
    let members = workspace.packages();
    let is_member = |name: &str| members.iter().any(|package| package.name.as_str() == name);
    let foreign = normal(package).filter(|name| is_member(name) && !allowed.contains(name));
    foreign.map(|name| Violation::new(package.name.as_str(), format!("depends on {name}"), advice)).collect()
}

/// The direct normal dependencies, including optional ones.
fn normal(package: &Package) -> impl Iterator<Item = &str> {
    let of_the_code = package.dependencies.iter().filter(|it| it.kind == DependencyKind::Normal);
    of_the_code.map(|dependency| dependency.name.as_str())
}
