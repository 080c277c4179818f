//! The arrows between crates, read from their manifests: what a crate's code may depend on itself.

use anyhow::Result;
use cargo_metadata::{DependencyKind, Package};

use super::Violation;
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

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let core = workspace.package(CORE)?;
    violations.extend(normal(core).filter(|name| !CORE_MAY_USE.contains(name)).map(|name| {
        let advice = "move what needs it into an adapter; core is handed its runtime through `trait Runtime`";
        Violation::new(CORE, format!("depends on {name}"), advice)
    }));

    let advice = "let the suite be generic over `Runtime`; tests/ brings the adapters to it";
    violations.extend(members(workspace, workspace.package(TESTKIT)?, &[CORE], advice));

    let advice = "what knows a runtime belongs to its adapter, what knows the protocol to core";
    violations.extend(members(workspace, workspace.package(HYPER)?, &[CORE], advice));

    let advice = "move what both need into core, or, for those on hyper, into mcp-session-hyper; what only tests \
        need belongs to [dev-dependencies]";
    for adapter in workspace.adapters() {
        violations.extend(members(workspace, adapter, &[CORE, HYPER], advice));
    }
    Ok(violations)
}

/// The members of the workspace that a package depends on but must not.
fn members(workspace: &Workspace, package: &Package, allowed: &[&str], advice: &str) -> Vec<Violation> {
    let members = workspace.packages();
    let is_member = |name: &str| members.iter().any(|package| package.name.as_str() == name);
    let foreign = normal(package).filter(|name| is_member(name) && !allowed.contains(name));
    foreign.map(|name| Violation::new(package.name.as_str(), format!("depends on {name}"), advice)).collect()
}

/// The direct dependencies of the code itself, also the optional ones.
fn normal(package: &Package) -> impl Iterator<Item = &str> {
    let of_the_code = package.dependencies.iter().filter(|it| it.kind == DependencyKind::Normal);
    of_the_code.map(|dependency| dependency.name.as_str())
}
