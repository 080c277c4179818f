//! The packages from npm, under `target/node`: the conformance suite and the TypeScript clients.
//!
//! `xtask/node/` has the list and the lock file. The lock file names no registry, so each machine uses its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::unavailable::{Prepared, Unavailable};
use crate::workspace::Workspace;

/// The files of the installation, and two modules beside it.
const FILES: [(&str, &str); 5] = [
    ("package.json", MANIFEST),
    (LOCK, include_str!("../node/package-lock.json")),
    (".npmrc", include_str!("../node/.npmrc")),
    ("globsync.mjs", include_str!("../node/globsync.mjs")),
    ("globsync-fs.mjs", include_str!("../node/globsync-fs.mjs")),
];

/// The list of packages, with exact versions.
pub(crate) const MANIFEST: &str = include_str!("../node/package.json");

const LOCK: &str = "package-lock.json";

/// A copy of the lock file, written after everything was installed.
const INSTALLED: &str = "installed";

/// The oldest Node that the clients and, with `globsync.mjs`, the suite run on.
const OLDEST: u32 = 20;

/// A cold install fetches some 125 packages, 20 MB.
const INSTALL_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Messages of npm if it cannot reach the registry, as opposed to a registry without a release.
const UNREACHABLE: [&str; 7] =
    ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ENOTCACHED", "ETIMEDOUT"];

/// A directory in which Node finds all packages of the lock file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    directory: PathBuf,
}

impl Node {
    /// Installs the packages of the lock file, or reuses those of an earlier run.
    pub(crate) fn prepare(workspace: &Workspace) -> Prepared<Node> {
        let node = Node { directory: workspace.target_directory().join("node") };
        if let Some(unavailable) = lacking() {
            return Ok(Err(unavailable));
        }
        fs::create_dir_all(&node.directory)?;
        for (name, text) in FILES {
            node.write(name, text)?;
        }
        if node.is_ready() { Ok(Ok(node)) } else { Ok(node.install()?.map(|()| node)) }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a module to where it can import the packages.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// A command that runs `node` with a module.
    pub(crate) fn command(&self, module: impl AsRef<Path>) -> Command {
        let mut command = Command::new("node");
        command.current_dir(&self.directory);
        command.args(["--import", "./globsync.mjs"]).arg(self.directory.join(module));
        command
    }

    fn is_ready(&self) -> bool {
        let lock = fs::read(self.directory.join(LOCK)).ok();
        lock.is_some() && lock == fs::read(self.directory.join(INSTALLED)).ok()
    }

    fn install(&self) -> Result<Result<(), Unavailable>> {
        println!("installing the packages of xtask/node into {}", self.directory.display());
        let mut command = Command::new("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=2"]);
        let installed = process::capture(command.current_dir(&self.directory), INSTALL_LIMIT)?;
        let stderr = String::from_utf8_lossy(&installed.stderr);
        if installed.status.success() {
            fs::copy(self.directory.join(LOCK), self.directory.join(INSTALLED))?;
            Ok(Ok(()))
        } else if UNREACHABLE.iter().any(|sign| stderr.contains(sign)) {
            Ok(Err(Unavailable("npm cannot reach its registry".to_owned())))
        } else {
            bail!("npm ci: {stderr}")
        }
    }
}

/// What is missing on this machine, if anything.
fn lacking() -> Option<Unavailable> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(node) = version("node") else { return Some(Unavailable("no node".to_owned())) };
    let major = node.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        return Some(Unavailable(format!("node {node} is older than {OLDEST}")));
    }
    version("npm").is_none().then(|| Unavailable("no npm".to_owned()))
}
