//! The clients, servers and gateways of others, installed under `target/`: with npm and a lock file, with pip and pinned versions, with cargo in a
//! workspace of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::{self, BUILD, Keep, Unavailable, display};
use crate::workspace::Workspace;

/// What Node needs: the list of packages with its lock file, which names no registry, and two modules beside it.
const FILES: [&str; 5] = ["package.json", LOCK, ".npmrc", "globsync.mjs", "globsync-fs.mjs"];

const LOCK: &str = "package-lock.json";

/// A copy of the lock file, written after everything was installed.
const INSTALLED: &str = "installed";

/// The oldest Node that the clients and, with `globsync.mjs`, the suite run on.
const OLDEST_NODE: u32 = 20;

/// The workspace of the client on rmcp, so that no other build includes its dependency tree.
const RMCP: &str = "xtask/rmcp/Cargo.toml";

/// A cold install fetches some 125 npm packages, 20 MB, or some 25 wheels, or some 130 crates.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What npm, pip and cargo print if they cannot reach the registry, as opposed to a registry without a release.
const UNREACHABLE: &str = "ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ENOTCACHED|ETIMEDOUT|ConnectionError|\
    ConnectTimeout|connection broken by|Could not fetch URL|Network is unreachable|failure in name resolution|\
    spurious network error|failed to download from|Could not resolve host|Could not connect to server";

/// Installs the npm packages of the lock file, or reuses those of an earlier run. Returns the directory in which Node finds
/// them; fails as [`Unavailable`] if this machine lacks something.
pub(crate) fn node(workspace: &Workspace) -> Result<PathBuf> {
    npm(workspace, "xtask/node", &FILES, "node")
}

/// Installs the npm packages of a folder of this workspace into a directory below `target/`; see [`node`].
pub(crate) fn npm(workspace: &Workspace, folder: &str, files: &[&str], into: &str) -> Result<PathBuf> {
    let directory = workspace.target_directory().join(into);
    let node = process::version(&mut Command::new("node"))?;
    let major = node.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    ensure!(major >= Some(OLDEST_NODE), Unavailable(format!("node {node} is older than {OLDEST_NODE}")));
    process::version(&mut Command::new("npm"))?;
    fs::create_dir_all(&directory)?;
    for name in files {
        copy(workspace, folder, name, &directory)?;
    }
    let (lock, installed) = (directory.join(LOCK), directory.join(INSTALLED));
    if fs::read(&lock)? != fs::read(&installed).unwrap_or_default() {
        let args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=2"];
        install(Command::new("npm").args(args).current_dir(&directory))?;
        fs::copy(lock, installed)?;
    }
    Ok(directory)
}

/// Copies a file of this workspace to where it can import the packages.
pub(crate) fn copy(workspace: &Workspace, from: &str, name: &str, directory: &Path) -> Result<PathBuf> {
    let (from, to) = (workspace.root().join(from).join(name), directory.join(name));
    fs::copy(&from, &to).with_context(|| from.display().to_string())?;
    Ok(to)
}

/// Installs a release of the package `mcp` into a virtual environment, or reuses that of an earlier run. Returns its Python;
/// fails as [`Unavailable`] if this machine lacks something.
pub(crate) fn python(workspace: &Workspace, version: &str) -> Result<PathBuf> {
    pip(workspace, &format!("interop/mcp-{version}"), &[("mcp", version)])
}

/// Installs releases of Python packages into a virtual environment below `target/`; see [`python`].
pub(crate) fn pip(workspace: &Workspace, into: &str, packages: &[(&str, &str)]) -> Result<PathBuf> {
    let directory = workspace.target_directory().join(into);
    let python = directory.join("bin").join("python");
    let runs = |program: &Path, script: &str| {
        let output = Command::new(program).args(["-c", script]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let differs = |(name, version): &(&str, &str)| format!("m.version('{name}') != '{version}'");
    let differ = packages.iter().map(differs).collect::<Vec<_>>().join(" or ");
    if !runs(&python, &format!("import sys, importlib.metadata as m; sys.exit({differ})")) {
        process::version(&mut Command::new("python3"))?;
        let no_venv = "python3 has no venv (Debian: apt-get install python3-venv)";
        ensure!(runs(Path::new("python3"), "import venv, ensurepip"), Unavailable(no_venv.to_owned()));
        // With --clear, because an unfinished environment may be in the way.
        install(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory))?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=2", "--timeout=20"];
        let pinned = packages.iter().map(|(name, version)| format!("{name}=={version}"));
        install(Command::new(&python).args(pip).args(pinned))?;
    }
    Ok(python)
}

/// Builds the client on rmcp. Returns the release of rmcp and the executable; fails as [`Unavailable`] if this machine cannot
/// fetch the crates.
pub(crate) fn rmcp(workspace: &Workspace) -> Result<(String, PathBuf)> {
    let manifest = workspace.root().join(RMCP);
    let parsed: toml::Table = fs::read_to_string(&manifest)?.parse()?;
    let version = parsed["dependencies"]["rmcp"]["version"].as_str().context("the manifest pins it")?;
    let target = workspace.target_directory().join("interop").join("rmcp");
    let executable = target.join("debug").join("mcp-session-interop-rmcp");
    let cargo = |words: [&str; 3]| {
        let mut command = process::cargo(workspace, words);
        command.arg("--manifest-path").arg(&manifest);
        command
    };
    install(&cargo(["fetch", "--locked", "--quiet"]))?;
    let mut build = cargo(["build", "--locked", "--quiet"]);
    process::succeed(build.arg("--target-dir").arg(&target), BUILD)?;
    Ok((version.trim_start_matches('=').to_owned(), executable))
}

/// Runs a command that needs a registry. Fails as [`Unavailable`] if it cannot reach one.
pub(crate) fn install(command: &Command) -> Result<()> {
    println!("$ {}", display(command));
    let (status, output) = process::keep(command, Keep::All, LIMIT)?;
    if !status.success() {
        let unreachable = UNREACHABLE.split('|').any(|sign| output.contains(sign));
        ensure!(!unreachable, Unavailable(format!("{} reaches no registry", display(command))));
        bail!("{}: {output}", display(command));
    }
    Ok(())
}
