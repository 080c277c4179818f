//! The steps that consist of a few commands.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::report::Outcome;
use crate::process::{self, BUILD, Unavailable};
use crate::server::Server;
use crate::workspace::{CORE, PROTO, Workspace};
use crate::{cargo_tasks, release};

/// The examples that are not servers: they start some, stop them and end by themselves.
const END_BY_THEMSELVES: [&str; 2] = ["cluster", "graceful_shutdown"];
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// The targets of WebAssembly, and the flags of rustc. Where there is no operating system, the application names the source of
/// random bytes.
const WASM: [(&str, &str); 2] =
    [("wasm32-wasip2", ""), ("wasm32-unknown-unknown", r#"--cfg getrandom_backend="custom""#)];

pub(super) fn run(command: &Command) -> Result<Outcome> {
    process::succeed(command, BUILD).map(|()| Outcome::default())
}

/// A subcommand of cargo that may be not installed.
pub(super) fn subcommand(workspace: &Workspace, name: &str, args: &str) -> Result<Outcome> {
    let missing = || Unavailable(format!("no cargo-{name} (cargo install cargo-{name} --locked)"));
    process::version(&mut process::cargo(workspace, [name])).with_context(missing)?;
    run(process::cargo(workspace, [name]).args(args.split(' ')))
}

/// Each published crate alone, so that no other member enables its features: with none and with all of them, and if
/// cargo-hack is installed with every set of them.
pub(super) fn features(workspace: &Workspace) -> Result<Outcome> {
    let hack = process::version(&mut process::cargo(workspace, ["hack"])).is_ok();
    let ways = ["check --no-default-features", "check --all-features", "hack check --feature-powerset"];
    let mut outcome = Outcome::default();
    for package in workspace.published() {
        for way in &ways[..if hack { 3 } else { 2 }] {
            let command = &mut process::cargo(workspace, way.split(' '));
            if !process::run(command.args(["--package", &package.name]), BUILD)?.success() {
                outcome.fail(format!("{} {way}", package.name));
            }
        }
    }
    Ok(outcome.note(if hack { "" } else { "no cargo-hack for the sets of features between none and all" }))
}

/// The published crates on the oldest toolchains that they support (`rust-version` in the manifests), if rustup has them.
pub(super) fn msrv(workspace: &Workspace) -> Result<Outcome> {
    let listed = Command::new("rustup").args(["toolchain", "list"]).output();
    let listed =
        listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut by_version = BTreeMap::<String, Vec<&str>>::new();
    for package in workspace.published() {
        let version = package.rust_version.as_ref().context("each published crate has a rust-version")?;
        by_version.entry(format!("{}.{}", version.major, version.minor)).or_default().push(&package.name);
    }
    let (mut outcome, mut missing, mut checked) = (Outcome::default(), Vec::new(), false);
    for (version, packages) in by_version {
        let is_it =
            |name: &&str| name.strip_prefix(&*version).is_some_and(|rest| rest.starts_with(['.', '-']));
        let Some(toolchain) = listed.split_whitespace().find(is_it) else {
            missing.push(format!("no toolchain {version} (rustup toolchain install {version})"));
            continue;
        };
        let mut command = Command::new("rustup");
        command.args(["run", toolchain, "cargo", "check", "--all-features"]).current_dir(workspace.root());
        command.args(packages.iter().flat_map(|package| ["--package", package]));
        checked = true;
        if !process::run(&command, BUILD)?.success() {
            outcome.fail(format!("{} on {version}", packages.join(", ")));
        }
    }
    let missing = missing.join(", ");
    ensure!(checked, Unavailable(missing));
    Ok(outcome.note(missing))
}

/// The machine and core for WebAssembly, for the targets that rustup has.
pub(super) fn wasm(workspace: &Workspace) -> Result<Outcome> {
    let listed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    let listed =
        listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let (mut outcome, mut missing, mut checked) = (Outcome::default(), Vec::new(), false);
    for (target, flags) in WASM {
        if !listed.split_whitespace().any(|name| name == target) {
            missing.push(format!("no target {target} (rustup target add {target})"));
            continue;
        }
        let mut command = process::cargo(workspace, ["build", "--all-features", "--target", target]);
        command.args(["--package", PROTO, "--package", CORE]).env("RUSTFLAGS", flags);
        checked = true;
        if !process::run(&command, BUILD)?.success() {
            outcome.fail(target);
        }
    }
    let missing = missing.join(", ");
    ensure!(checked, Unavailable(missing));
    Ok(outcome.note(missing))
}

pub(super) fn docs(workspace: &Workspace) -> Result<Outcome> {
    let mut others = process::cargo(workspace, ["doc", "--workspace", "--no-deps", "--all-features"]);
    others.args(workspace.published().iter().flat_map(|package| ["--exclude", &package.name]));
    run(others.env("RUSTDOCFLAGS", "-D warnings"))?;
    let mut outcome = Outcome::default();
    if !release::docs_built(workspace)? {
        outcome.fail("as docs.rs builds them");
    }
    Ok(outcome)
}

/// The published crates against the last release in git.
pub(super) fn semver(workspace: &Workspace) -> Result<Outcome> {
    let mut command = Command::new("git");
    let tag = command.args(["describe", "--tags", "--abbrev=0"]).current_dir(workspace.root()).output()?;
    let tag = String::from_utf8_lossy(&tag.stdout).trim().to_owned();
    ensure!(!tag.is_empty(), Unavailable("no release has a tag".to_owned()));
    subcommand(workspace, "semver-checks", &format!("check-release --workspace --baseline-rev {tag}"))
}

/// Builds every example and runs it once, as a reader would.
pub(super) fn examples(workspace: &Workspace) -> Result<Outcome> {
    cargo_tasks::build_examples(workspace, false)?;
    let mut outcome = Outcome::default();
    for example in workspace.examples()? {
        let executable = workspace.example_executable(&example.name, false);
        let ended = if END_BY_THEMSELVES.contains(&example.name.as_str()) {
            process::succeed(&Command::new(&executable), ENDS_WITHIN)
        } else {
            Server::start(&executable, &[])
                .and_then(|server| server.initialize().and_then(|()| server.stop()))
        };
        match ended {
            Ok(()) => println!("{}: ok, answered if it is a server, and ended well", example.name),
            Err(error) => {
                println!("{}: FAILED: {error:#}", example.name);
                outcome.fail(&example.name);
            }
        }
    }
    Ok(outcome)
}

/// Packages the published crates as for an upload; together, because they depend on each other.
pub(super) fn package(workspace: &Workspace) -> Result<Outcome> {
    // --no-verify: the other steps have built the same code, and building the package needs the network.
    let mut command = process::cargo(workspace, ["package", "--no-verify", "--allow-dirty"]);
    run(each_published(workspace, &mut command))
}

fn each_published<'a>(workspace: &Workspace, command: &'a mut Command) -> &'a mut Command {
    workspace.published().iter().fold(command, |command, it| command.args(["--package", &it.name]))
}
