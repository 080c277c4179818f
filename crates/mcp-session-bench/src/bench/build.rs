//! What cargo has to build before anything is measured.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// The manifest of the crate that brings rmcp, a workspace of its own.
const RMCP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rmcp/Cargo.toml");

/// Where cargo put this executable, and puts the others: `target/release` is below it.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let this = env::current_exe()?;
    let profile = this.parent().context("an executable is in a directory")?;
    Ok(profile.parent().context("and that in the target directory")?.to_owned())
}

/// Our servers and the raw ones; those of a feature only with it.
pub(crate) fn servers(features: &[&str]) -> Result<()> {
    let features = features.join(",");
    cargo(&["build", "--release", "--package", env!("CARGO_PKG_NAME"), "--bins", "--features", &features])
}

/// Work without a socket.
pub(crate) fn in_process() -> Result<()> {
    cargo(&["build", "--release", "--package", env!("CARGO_PKG_NAME"), "--bin", "in-process"])
}

/// The server on rmcp.
pub(crate) fn rmcp(target: &Path) -> Result<()> {
    let directory = rmcp_target(target).display().to_string();
    cargo(&["build", "--release", "--locked", "--manifest-path", RMCP, "--target-dir", &directory])
}

pub(crate) fn rmcp_executable(target: &Path) -> PathBuf {
    rmcp_target(target).join("release").join("mcp-session-bench-rmcp")
}

/// The examples that the adapters' table compares.
pub(crate) fn examples(names: &[&str]) -> Result<()> {
    let mut args = vec!["build", "--release", "--package", "mcp-session-examples", "--features", "async-std"];
    names.iter().for_each(|name| args.extend(["--example", name]));
    cargo(&args)
}

/// The benchmarks in the process itself.
pub(crate) fn bench(name: &str) -> Result<()> {
    cargo(&["bench", "--package", env!("CARGO_PKG_NAME"), "--bench", name])
}

fn rmcp_target(target: &Path) -> PathBuf {
    target.join("rmcp")
}

fn cargo(args: &[&str]) -> Result<()> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let status = command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    ensure!(status.success(), "cargo {} failed", args.join(" "));
    Ok(())
}
