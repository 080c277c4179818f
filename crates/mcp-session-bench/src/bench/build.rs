//! Builds everything that is measured.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// A server on another session layer: a separate workspace, in a folder of this package and with a target directory of the
/// same name.
#[derive(Debug)]
pub(crate) struct Foreign {
    folder: &'static str,
}

/// The server on rmcp.
pub(crate) const RMCP: Foreign = Foreign { folder: "rmcp" };

/// The server on tower-mcp.
pub(crate) const TOWER_MCP: Foreign = Foreign { folder: "tower-mcp" };

impl Foreign {
    pub(crate) fn build(&self, target: &Path) -> Result<()> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.folder).join("Cargo.toml");
        let [manifest, directory] =
            [manifest, target.join(self.folder)].map(|path| path.display().to_string());
        cargo(&["build", "--release", "--locked", "--manifest-path", &manifest, "--target-dir", &directory])
    }

    pub(crate) fn executable(&self, target: &Path) -> PathBuf {
        let name = format!("{}-{}", env!("CARGO_PKG_NAME"), self.folder);
        target.join(self.folder).join("release").join(name)
    }
}

/// Cargo's target directory, with this executable and the others in `target/release`.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let this = env::current_exe()?;
    let profile = this.parent().context("an executable is in a directory")?;
    Ok(profile.parent().context("and that in the target directory")?.to_owned())
}

/// Builds our servers and the raw ones; those behind a feature only if it is enabled.
pub(crate) fn servers(features: &[&str]) -> Result<()> {
    let features = features.join(",");
    cargo(&["build", "--release", "--package", env!("CARGO_PKG_NAME"), "--bins", "--features", &features])
}

/// Builds the executable for work without a socket.
pub(crate) fn in_process() -> Result<()> {
    cargo(&["build", "--release", "--package", env!("CARGO_PKG_NAME"), "--bin", "in-process"])
}

/// Builds the examples that the adapters' table compares.
pub(crate) fn examples(names: &[&str]) -> Result<()> {
    let mut args = vec!["build", "--release", "--package", "mcp-session-examples", "--features", "async-std"];
    names.iter().for_each(|name| args.extend(["--example", name]));
    cargo(&args)
}

/// Runs the benchmarks without a socket.
pub(crate) fn bench(name: &str) -> Result<()> {
    cargo(&["bench", "--package", env!("CARGO_PKG_NAME"), "--bench", name])
}

fn cargo(args: &[&str]) -> Result<()> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let status = command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    ensure!(status.success(), "cargo {} failed", args.join(" "));
    Ok(())
}
