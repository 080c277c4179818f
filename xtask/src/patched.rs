//! A copy of the tree that is patched, so that nobody's checkout is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use walkdir::WalkDir;

use crate::process::{self, Keep};

/// What git and patches need at most.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Makes a copy, or brings it up to date: of what git tracks, and of what it would. A file that is the same keeps its time,
/// so that cargo compiles only what changed.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let mut list = git(from);
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let (status, listed) = process::keep(&list, Keep::All, LIMIT)?;
    ensure!(status.success(), "git cannot list the files: {listed}");
    let files: BTreeSet<&Path> = listed.split('\0').filter(|name| !name.is_empty()).map(Path::new).collect();
    for name in &files {
        let (source, target) = (from.join(name), to.join(name));
        let Ok(now) = fs::read(&source) else { continue }; // deleted, and not committed yet
        if fs::read(&target).ok().as_ref() != Some(&now) {
            fs::create_dir_all(target.parent().context("a file has a directory")?)?;
            fs::copy(&source, &target)?;
            fs::File::options().write(true).open(&target)?.set_modified(std::time::SystemTime::now())?;
        }
    }
    for entry in WalkDir::new(to).into_iter().filter_map(Result::ok) {
        let name = entry.path().strip_prefix(to)?;
        if entry.file_type().is_file() && !files.contains(name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Applies a patch to a tree.
pub(crate) fn apply(root: &Path, patch: &Path, options: &[&str]) -> Result<()> {
    let mut command = git(root);
    command.arg("apply").args(options).arg(patch);
    let (status, output) = process::keep(&command, Keep::All, LIMIT)?;
    if !status.success() {
        bail!("the patch does not apply: {}", output.trim());
    }
    Ok(())
}

/// Git, as outside of any repository if `root` is not the top of one: inside of one, `git apply` passes over every file
/// that is not below the current directory.
fn git(root: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(root);
    if let Some(parent) = root.parent() {
        command.env("GIT_CEILING_DIRECTORIES", parent);
    }
    command
}
