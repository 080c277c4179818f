//! The steps that consist of one or two cargo commands.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::report::{Counts, Outcome};
use crate::process;
use crate::workspace::Workspace;

/// A cold build on two cores takes minutes; this limit only ends a command that hangs.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// The oldest supported toolchain (`rust-version` in the manifests).
const MSRV: &str = "1.85";

pub(super) fn fmt(workspace: &Workspace) -> Result<Outcome> {
    run(workspace, &mut process::cargo(["fmt", "--all", "--check"]))
}

pub(super) fn clippy(workspace: &Workspace) -> Result<Outcome> {
    let what = ["clippy", "--workspace", "--all-targets", "--all-features"];
    run(workspace, process::cargo(what).args(["--", "-D", "warnings"]))
}

pub(super) fn docs(workspace: &Workspace) -> Result<Outcome> {
    let what = ["doc", "--workspace", "--no-deps", "--all-features"];
    run(workspace, process::cargo(what).env("RUSTDOCFLAGS", "-D warnings"))
}

pub(super) fn doc_tests(workspace: &Workspace) -> Result<Outcome> {
    // The flags of `build tests`, so that the libraries are not built a second time.
    run(workspace, &mut process::cargo(["test", "--workspace", "--doc", "--all-features", "--no-fail-fast"]))
}

/// Each published crate alone, so that no other member enables its features.
pub(super) fn features(workspace: &Workspace) -> Result<Outcome> {
    let mut broken = Vec::new();
    for package in workspace.published() {
        for features in ["--no-default-features", "--all-features"] {
            let status = process::stream(
                process::cargo(["check", "--package", &package.name, features]).current_dir(workspace.root()),
                LIMIT,
                |_| {},
            )?;
            if !status.success() {
                broken.push(format!("{} {features}", package.name));
            }
        }
    }
    Ok(if broken.is_empty() { Outcome::ok() } else { Outcome::failed(broken.join(", ")) })
}

/// The published crates on the oldest toolchain, if rustup has it.
pub(super) fn msrv(workspace: &Workspace) -> Result<Outcome> {
    let listed = Command::new("rustup").args(["toolchain", "list"]).output();
    let listed =
        listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let is_msrv = |name: &&str| name.strip_prefix(MSRV).is_some_and(|rest| rest.starts_with(['.', '-']));
    let Some(toolchain) = listed.split_whitespace().find(is_msrv) else {
        return Ok(Outcome::skipped(format!("no toolchain {MSRV} (rustup toolchain install {MSRV})")));
    };
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, "cargo", "check", "--all-features"]);
    for package in workspace.published() {
        command.args(["--package", &package.name]);
    }
    run(workspace, &mut command)
}

pub(super) fn deny(workspace: &Workspace) -> Result<Outcome> {
    let installed =
        process::cargo(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !installed {
        return Ok(Outcome::skipped("no cargo-deny (cargo install cargo-deny --locked)"));
    }
    run(workspace, &mut process::cargo(["deny", "check"]))
}

/// Packages the published crates as for an upload; together, because they depend on each other.
pub(super) fn package(workspace: &Workspace) -> Result<Outcome> {
    // --no-verify: the other steps have built the same code, and building the package needs the network.
    let mut command = process::cargo(["package", "--no-verify", "--allow-dirty"]);
    for package in workspace.published() {
        command.args(["--package", &package.name]);
    }
    run(workspace, &mut command)
}

/// Runs a command in the root; counts the tests in its output.
fn run(workspace: &Workspace, command: &mut Command) -> Result<Outcome> {
    let mut counts = Counts::default();
    let status = process::stream(command.current_dir(workspace.root()), LIMIT, |line| counts.add_line(line))?;
    let outcome = if status.success() { Outcome::ok() } else { Outcome::failed(status.to_string()) };
    Ok(if counts == Counts::default() { outcome } else { outcome.with_counts(counts) })
}
