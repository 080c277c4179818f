//! [`Tree`]: the copy that is patched, so that nobody's checkout is, and one build directory for all mutants.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::patch::Mutant;
use crate::patched;
use crate::workspace::Workspace;

pub(super) struct Tree {
    root: PathBuf,
    build: PathBuf,
}

impl Tree {
    /// Makes the copy, or brings it up to date.
    pub(super) fn copy(workspace: &Workspace) -> Result<Tree> {
        let directory = workspace.target_directory().join("mutants");
        let tree = Tree { root: directory.join("tree"), build: directory.join("build") };
        fs::create_dir_all(&tree.root)?;
        patched::copy(workspace.root(), &tree.root)?;
        Ok(tree)
    }

    /// Applies a mutant until the result is dropped.
    pub(super) fn patch<'a>(&'a self, mutant: &'a Mutant) -> Result<Patched<'a>> {
        applies(&self.root, mutant)?;
        patched::apply(&self.root, &mutant.path, &[])?;
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
        if let Err(error) = patched::apply(&self.tree.root, &self.mutant.path, &["--reverse"]) {
            println!("{error:#}"); // the next run copies the file anew
        }
    }
}

/// Whether a mutant applies, in any tree.
pub(super) fn applies(root: &Path, mutant: &Mutant) -> Result<()> {
    patched::apply(root, &mutant.path, &["--check"])
}
