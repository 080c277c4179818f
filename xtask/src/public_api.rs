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
    let mut all_equal = true;
    for package in workspace.published() {
        let path = workspace::directory(package).join(LISTING);
        if record.write {
            fs::write(&path, head.clone() + &listing(workspace, package)?)?;
            continue;
        }
        let committed = fs::read_to_string(&path).with_context(|| format!("{}: write it", path.display()))?;
        let Some(committed) = committed.strip_prefix(&head) else {
            let first = committed.lines().next().unwrap_or_default().to_owned();
            return Err(Unavailable(format!("{} is by another compiler: {first}", path.display())).into());
        };
        let changes = differences(committed, &listing(workspace, package)?);
        println!("{}: {} lines, {} changed", package.name, committed.lines().count(), changes.len());
        changes.iter().for_each(|change| println!("    {change}"));
        all_equal &= changes.is_empty();
    }
    if !all_equal {
        println!("if the change is meant: `cargo xtask public-api --write`, and a line in CHANGELOG.md");
    }
    Ok(all_equal)
}

fn listing(workspace: &Workspace, package: &Package) -> Result<String> {
    let mut command =
        process::cargo(workspace, ["rustdoc", "--lib", "--quiet", "--all-features", "--package"]);
    command.arg(package.name.as_str()).args([
        "--",
        "-Zunstable-options",
        "--output-format=json",
        "--cap-lints=allow",
    ]);
    // Only rustdoc may use unstable options: in cargo's environment, the variable would build many dependencies anew.
    command.env("RUSTDOC", workspace.root().join("xtask/rustdoc-unstable"));
    process::succeed(&command, BUILD)?;
    let json = workspace.target_directory().join("doc").join(package.name.replace('-', "_") + ".json");
    let api = public_api::Builder::from_rustdoc_json(json);
    let api =
        api.omit_blanket_impls(true).omit_auto_trait_impls(false).omit_auto_derived_impls(false).build()?;
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
