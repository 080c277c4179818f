//! The step `rmcp-newest`: the tests of the bridge with the newest rmcp and tokio that its manifest allows, in a copy of the
//! tree. It only warns: a release of somebody else does not make this tree wrong.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::report::Outcome;
use crate::process::{self, BUILD, Keep};
use crate::workspace::{RMCP, Workspace};
use crate::{installed, patched};

/// What the bridge looks into: rmcp, and tokio's channels below it.
const WATCHED: [&str; 2] = ["rmcp", "tokio"];

pub(super) fn rmcp(workspace: &Workspace) -> Result<Outcome> {
    let directory = workspace.target_directory().join("rmcp-newest");
    let tree = directory.join("tree");
    patched::copy(workspace.root(), &tree)?;
    let locked = versions(&tree)?;
    let mut update = process::cargo(workspace, ["update", "--quiet"]);
    for package in WATCHED.iter().chain(&["rmcp-macros"]) {
        update.args(["--package", package]);
    }
    installed::install(update.current_dir(&tree))?;
    let newest = versions(&tree)?;
    let which = newest.join(", ");
    if newest == locked {
        return Ok(Outcome::default().note(format!("{which}: none is newer")));
    }
    let mut test = process::cargo(workspace, ["test", "--quiet", "--all-features", "--package", RMCP]);
    test.current_dir(&tree).arg("--target-dir").arg(directory.join("build"));
    let (status, output) = process::keep(&test, Keep::All, BUILD)?;
    if status.success() {
        return Ok(Outcome::default().note(which));
    }
    println!("{output}");
    Ok(Outcome::default().note(format!("WARNING: the bridge fails with {which}: see above")))
}

/// The watched packages with the versions that a tree has locked.
fn versions(tree: &Path) -> Result<Vec<String>> {
    let lock: toml::Table = fs::read_to_string(tree.join("Cargo.lock"))?.parse()?;
    let packages = lock["package"].as_array().context("a lock file lists packages")?;
    let version = |watched: &&str| {
        let package = packages.iter().find(|package| package["name"].as_str() == Some(watched));
        let version = package.and_then(|package| package["version"].as_str());
        Ok(format!("{watched} {}", version.with_context(|| format!("{watched} is not locked"))?))
    };
    WATCHED.iter().map(version).collect()
}
