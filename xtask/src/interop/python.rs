//! The Python clients: virtual environments under `target/interop`, one per release line of the SDK.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Client;
use crate::process;
use crate::unavailable::{Prepared, Unavailable};
use crate::workspace::Workspace;

/// The release lines of the `mcp` package and the release that we test of each: the newest 2.x, which prefers revision
/// 2026-07-28, and the newest 1.x, which supports only sessions. Pinned, so that a failing build is our own fault.
const PINS: [(&str, &str); 2] = [("2", "2.3.0"), ("1", "1.30.0")];

/// A cold install fetches some 25 wheels.
const INSTALL_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Messages of pip if it cannot reach the index, as opposed to an index without the release.
const UNREACHABLE: [&str; 6] = [
    "connection broken by",
    "ConnectionError",
    "ConnectTimeout",
    "Could not fetch URL",
    "Network is unreachable",
    "Temporary failure in name resolution",
];

/// A directory with a Python and one release of the SDK.
struct Environment {
    directory: PathBuf,
    version: &'static str,
}

/// Creates the environments, or reuses those of an earlier run.
pub(super) fn clients(workspace: &Workspace) -> Prepared<Vec<Client>> {
    let script = workspace.root().join("xtask/src/interop/client.py");
    let mut clients = Vec::new();
    for (line, version) in PINS {
        let directory = workspace.target_directory().join("interop").join(format!("venv-{line}"));
        let environment = Environment { directory, version };
        if !environment.is_ready() {
            if let Err(unavailable) = environment.install()? {
                return Ok(Err(unavailable));
            }
        }
        let words = [environment.python().into(), "-u".into(), script.clone().into()];
        clients.push(Client {
            package: "mcp",
            version: version.to_owned(),
            words: words.to_vec(),
            directory: None,
        });
    }
    Ok(Ok(clients))
}

impl Environment {
    fn python(&self) -> PathBuf {
        self.directory.join("bin").join("python")
    }

    fn is_ready(&self) -> bool {
        let check =
            format!("import sys, importlib.metadata as m; sys.exit(m.version('mcp') != '{}')", self.version);
        Command::new(self.python()).args(["-c", &check]).output().is_ok_and(|output| output.status.success())
    }

    fn install(&self) -> Result<Result<(), Unavailable>> {
        let python_has = |module: &str| {
            let imported = Command::new("python3").args(["-c", module]).output();
            imported.is_ok_and(|output| output.status.success())
        };
        let unavailable = |why: &str| Ok(Err(Unavailable(why.to_owned())));
        if !python_has("pass") {
            return unavailable("no python3");
        }
        if !python_has("import venv, ensurepip") {
            return unavailable("python3 has no venv (Debian: apt-get install python3-venv)");
        }
        println!("installing mcp {} into {}", self.version, self.directory.display());
        if self.directory.exists() {
            fs::remove_dir_all(&self.directory).context("an unfinished environment is in the way")?;
        }
        let mut command = Command::new("python3");
        let made = process::capture(command.args(["-m", "venv"]).arg(&self.directory), INSTALL_LIMIT)?;
        if !made.status.success() {
            bail!("python3 -m venv: {}", String::from_utf8_lossy(&made.stderr));
        }
        let mut command = Command::new(self.python());
        command.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--retries=2",
            "--timeout=20",
        ]);
        let installed = process::capture(command.arg(format!("mcp=={}", self.version)), INSTALL_LIMIT)?;
        let stderr = String::from_utf8_lossy(&installed.stderr);
        if installed.status.success() {
            Ok(Ok(()))
        } else if UNREACHABLE.iter().any(|sign| stderr.contains(sign)) {
            unavailable("pip cannot reach its package index")
        } else {
            bail!("pip install mcp=={}: {stderr}", self.version)
        }
    }
}
