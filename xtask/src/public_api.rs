//! `cargo xtask public-api`: compares the public API of each published crate with its committed listing.
//!
//! The listing comes from rustdoc's JSON, which is not stable: a listing names its compiler, and is compared on that only.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::Package;

use crate::process::{self, BUILD, Unavailable};
use crate::workspace::{self, Record, Workspace};

/// Beside the manifest of each crate.
const LISTING: &str = "public-api.txt";

/// Prints what differs, or writes the listings; returns `true` if nothing differs any more.
pub(crate) fn run(workspace: &Workspace, record: &Record) -> Result<bool> {
    let rustc = process::version(&mut Command::new("rustc"))?;
    // `rustc 1.95.0 (…)` without the patch level.
    let head =
        format!("# {}: `cargo xtask public-api --write`\n", rustc.rsplitn(2, '.').last().unwrap_or(&rustc));
    let published = workspace.published().into_iter();
    let listed: Vec<_> = published.map(|it| (it, workspace::directory(it).join(LISTING))).collect();
    let mut all_equal = true;
    for (_, path) in listed.iter().filter(|_| !record.write) {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let first = text.lines().next().unwrap_or_default();
        ensure!(text.starts_with(&head), Unavailable(format!("{} says {first}", path.display())));
    }
    for (package, path) in listed {
        let now = head.clone() + &listing(workspace, package)?;
        if record.write {
            fs::write(&path, &now)?;
        }
        let changes = differences(&fs::read_to_string(path)?, &now);
        println!("{}: {} lines, {} changed", package.name, now.lines().count(), changes.len());
        changes.iter().for_each(|change| println!("    {change}"));
        all_equal &= changes.is_empty();
    }
    if !all_equal {
        println!("if the change is meant: `cargo xtask public-api --write`, and a line in CHANGELOG.md");
    }
    Ok(all_equal)
}

fn listing(workspace: &Workspace, package: &Package) -> Result<String> {
    let words = ["rustdoc", "--lib", "--quiet", "--all-features", "--package", &package.name, "--"];
    let mut command = process::cargo(workspace, words);
    command.args(["-Zunstable-options", "--output-format=json", "--cap-lints=allow"]);
    // Only rustdoc may use unstable options: in cargo's environment, the variable would build many dependencies anew.
    command.env("RUSTDOC", workspace.root().join("xtask/rustdoc-unstable"));
    process::succeed(&command, BUILD)?;
    let json = workspace.target_directory().join("doc").join(package.name.replace('-', "_") + ".json");
    let api = public_api::Builder::from_rustdoc_json(json).omit_blanket_impls(true).build()?;
    // Of the auto traits, Send and Sync matter here.
    let noise = ["Freeze for", "Unpin for", "UnwindSafe for", "StructuralPartialEq for"];
    let is_noise = |line: &str| noise.iter().any(|it| line.contains(it));
    let lines = api.items().map(ToString::to_string).filter(|line| !is_noise(line));
    let lines: String = lines.map(|line| line + "\n").collect();
    ensure!(!lines.is_empty(), "it has no public API");
    Ok(lines)
}

/// The lines that only one of two texts has.
fn differences(old: &str, new: &str) -> Vec<String> {
    let (before, after): (BTreeSet<&str>, BTreeSet<&str>) = (old.lines().collect(), new.lines().collect());
    let gone = before.difference(&after).map(|line| format!("- {line}"));
    gone.chain(after.difference(&before).map(|line| format!("+ {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn what_is_gone_and_what_is_new_differs() {
        assert_eq!(differences("a\nb\n", "b\na\n"), [""; 0]);
        assert_eq!(differences("a\nb\n", "b\nc\n"), ["- a", "+ c"]);
    }
}
