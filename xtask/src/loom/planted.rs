//! `cargo xtask loom --planted`: each race that is planted in a copy of the tree must be reported by the model it is for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use walkdir::WalkDir;

use super::Models;
use crate::patched;
use crate::table;
use crate::workspace::Workspace;

/// Where the patches are.
const PATCHES: &str = "tests/mutants/loom";

/// Where the models are.
const MODELS: &str = "crates/mcp-session-core/src/sync/tests";

/// Applies each patch, or those for the models in `only`, and runs its model; returns `true` if all are reported.
pub(super) fn run(workspace: &Workspace, only: &[String]) -> Result<bool> {
    let mut patches = Patch::all(&workspace.root().join(PATCHES))?;
    patches.retain(|patch| only.is_empty() || only.contains(&patch.model));
    ensure!(!patches.is_empty(), "{PATCHES} has no patch for {}", only.join(" "));
    let tree = workspace.target_directory().join("loom-planted");
    patched::copy(workspace.root(), &tree)?;
    // What holds without a patch is the proof that a patch is to blame.
    let models: Vec<String> = patches.iter().map(|patch| patch.model.clone()).collect();
    let sound = Models::build(workspace, &tree)?.run(&models, None)?;
    ensure!(sound.status.success(), "a model fails without a planted race");
    let mut rows = vec![["planted race", "model", "result"].map(str::to_owned).to_vec()];
    let mut all = true;
    for patch in &patches {
        let known = sound.models.iter().any(|it| it.is(&patch.model));
        ensure!(known, "{}: no model is called {}", patch.path.display(), patch.model);
        println!("\n==== {}: {} ====", patch.model, patch.what);
        patched::apply(&tree, &patch.path, &[])?;
        let run = Models::build(workspace, &tree)
            .and_then(|models| models.run(std::slice::from_ref(&patch.model), None));
        patched::apply(&tree, &patch.path, &["--reverse"])?;
        let run = run?;
        all &= run.reported;
        let result =
            if run.reported { "reported".to_owned() } else { format!("NOT REPORTED: {}", run.status) };
        rows.push(vec![patch.what.clone(), patch.model.clone(), result]);
    }
    print!("\n{}", table::render(&rows));
    Ok(all)
}

/// Adds what is wrong with the patches to `problems`; returns how many there are.
pub(super) fn check(workspace: &Workspace, problems: &mut Vec<String>) -> Result<usize> {
    let patches = Patch::all(&workspace.root().join(PATCHES))?;
    ensure!(!patches.is_empty(), "{PATCHES} has no patches");
    let mut models = String::new();
    for entry in WalkDir::new(workspace.root().join(MODELS)) {
        let entry = entry?;
        if entry.file_type().is_file() {
            models += &fs::read_to_string(entry.path())?;
        }
    }
    for Patch { path, model, .. } in &patches {
        let name = workspace.relative(path).display();
        if path.file_stem().is_none_or(|stem| stem != model.as_str()) {
            problems.push(format!("{name}: it is called otherwise than its model, {model}"));
        }
        // Of `answer` there may be only variants, such as `answer/json`.
        if !['"', '/'].iter().any(|end| models.contains(&format!("\"{model}{end}"))) {
            problems.push(format!("{name}: no model is called {model}"));
        }
        if let Err(why) = patched::apply(workspace.root(), path, &["--check"]) {
            problems.push(format!("{name}: {why}"));
        }
    }
    Ok(patches.len())
}

/// A planted race: two lines of text, then a diff.
#[derive(Debug)]
struct Patch {
    path: PathBuf,
    what: String,
    model: String,
}

impl Patch {
    /// All patches in a directory, sorted.
    fn all(directory: &Path) -> Result<Vec<Patch>> {
        let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|it| it == "patch"));
        paths.sort();
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path)?;
            Patch::read(&path, &text).with_context(|| format!("{} lacks its header", path.display()))
        };
        paths.into_iter().map(read).collect()
    }

    fn read(path: &Path, text: &str) -> Option<Patch> {
        let (header, _) = text.split_once("\n\ndiff --git ")?;
        let (what, killer) = header.split_once('\n')?;
        let value = |line: &str, name: &str| {
            let value = line.strip_prefix(name)?.trim();
            (!value.is_empty() && !value.contains('\n')).then(|| value.to_owned())
        };
        let (what, model) = (value(what, "what: ")?, value(killer, "killer: loom ")?);
        Some(Patch { path: path.to_owned(), what, model })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Patch;

    #[test]
    fn a_header_has_both_lines() {
        let path = Path::new("a.patch");
        let patch = Patch::read(path, "what: no lock\nkiller: loom quota\n\ndiff --git a/a b/a\n").unwrap();
        assert_eq!((patch.what.as_str(), patch.model.as_str()), ("no lock", "quota"));
        for bad in [
            "what: no lock\nkiller: sim quota\n\ndiff --git a/a b/a\n",
            "killer: loom quota\n\ndiff --git a/a b/a\n",
            "what: \nkiller: loom quota\n\ndiff --git a/a b/a\n",
            "what: no lock\nkiller: loom quota\nmore: 1\n\ndiff --git a/a b/a\n",
            "what: no lock\nkiller: loom quota\n",
        ] {
            assert!(Patch::read(path, bad).is_none(), "{bad}");
        }
    }
}
