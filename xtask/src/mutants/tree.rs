//! [`Tree`]: the copy that is patched, so that nobody's checkout is, and one build directory for all mutants.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use walkdir::WalkDir;

use super::patch::Mutant;
use crate::process::{self, Keep};
use crate::workspace::Workspace;

/// What git and patches need at most.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

pub(super) struct Tree {
    root: PathBuf,
    build: PathBuf,
}

impl Tree {
    /// Makes the copy, or brings it up to date: of what git tracks, and of what it would. A file that is the same keeps its
    /// time, so that cargo compiles only what changed.
    pub(super) fn copy(workspace: &Workspace) -> Result<Tree> {
        let directory = workspace.target_directory().join("mutants");
        let tree = Tree { root: directory.join("tree"), build: directory.join("build") };
        fs::create_dir_all(&tree.root)?;
        let mut list = git(workspace.root());
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let (status, listed) = process::keep(&list, Keep::All, LIMIT)?;
        ensure!(status.success(), "git cannot list the files: {listed}");
        let files: BTreeSet<&Path> =
            listed.split('\0').filter(|name| !name.is_empty()).map(Path::new).collect();
        for name in &files {
            let (from, to) = (workspace.root().join(name), tree.root.join(name));
            let Ok(now) = fs::read(&from) else { continue }; // deleted, and not committed yet
            if fs::read(&to).ok().as_ref() != Some(&now) {
                fs::create_dir_all(to.parent().context("a file has a directory")?)?;
                fs::copy(&from, &to)?;
                fs::File::options().write(true).open(&to)?.set_modified(std::time::SystemTime::now())?;
            }
        }
        for entry in WalkDir::new(&tree.root).into_iter().filter_map(Result::ok) {
            let name = entry.path().strip_prefix(&tree.root)?;
            if entry.file_type().is_file() && !files.contains(name) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(tree)
    }

    /// Applies a mutant until the result is dropped.
    pub(super) fn patch<'a>(&'a self, mutant: &'a Mutant) -> Result<Patched<'a>> {
        applies(&self.root, mutant)?;
        apply(&self.root, mutant, &[])?;
        Ok(Patched { tree: self, mutant })
    }

    /// A cargo that builds this tree. The profile is that of a short run: what is optimized more compiles longer than it
    /// runs.
    pub(super) fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.build);
        command.env("CARGO_INCREMENTAL", "1");
        command.env("CARGO_PROFILE_RELEASE_DEBUG", "none").env("CARGO_PROFILE_DEV_DEBUG", "none");
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "64");
        command
    }

    /// The directory of a package: paths in tests are relative to it.
    pub(super) fn package(&self, name: &str) -> PathBuf {
        match name.strip_suffix("-tests") {
            Some(_) => self.root.join("tests"),
            None => self.root.join("crates").join(name),
        }
    }
}

/// A tree with a mutant in it.
pub(super) struct Patched<'a> {
    tree: &'a Tree,
    mutant: &'a Mutant,
}

impl Drop for Patched<'_> {
    fn drop(&mut self) {
        if let Err(error) = apply(&self.tree.root, self.mutant, &["--reverse"]) {
            println!("{error:#}"); // the next run copies the file anew
        }
    }
}

/// Whether a mutant applies, in any tree.
pub(super) fn applies(root: &Path, mutant: &Mutant) -> Result<()> {
    apply(root, mutant, &["--check"])
}

fn apply(root: &Path, mutant: &Mutant, options: &[&str]) -> Result<()> {
    let mut command = git(root);
    command.arg("apply").args(options).arg(&mutant.path);
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
