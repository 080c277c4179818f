//! `cargo xtask release --dry-run`: everything of a release but the upload.

mod licenses;
mod sbom;

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;
use cargo_metadata::{DependencyKind, Package};

use crate::process::{self, BUILD};
use crate::table;
use crate::workspace::Workspace;

/// The file that says what is new.
const CHANGELOG: &str = "CHANGELOG.md";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Upload nothing. Required: a person uploads, with the command that this one prints
    #[arg(long, required = true)]
    dry_run: bool,
    /// Also build each package from what would be uploaded
    #[arg(long)]
    verify: bool,
}

/// Runs the task; returns `true` if nothing stands in the way of a release.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool> {
    let packages = in_order(workspace.published());
    let mut problems: Vec<String> = packages.iter().flat_map(|package| lacks(package)).collect();
    problems.extend(undocumented(&fs::read_to_string(workspace.root().join(CHANGELOG))?, &packages));

    let mut rows = vec![["#", "package", "version", "rust", "license"].map(str::to_owned).to_vec()];
    for (index, package) in packages.iter().enumerate() {
        let rust = package.rust_version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let license = package.license.clone().unwrap_or_else(|| "-".to_owned());
        let row =
            [(index + 1).to_string(), package.name.to_string(), package.version.to_string(), rust, license];
        rows.push(row.to_vec());
    }
    println!("{}", table::render(&rows));

    let mut upload = process::cargo(workspace, ["publish", "--dry-run", "--allow-dirty"]);
    upload.args((!args.verify).then_some("--no-verify"));
    upload.args(packages.iter().flat_map(|package| ["--package", &package.name]));
    if !process::run(&upload, BUILD)?.success() {
        problems.push("the packages cannot be uploaded: see above".to_owned());
    }
    if !docs_built(workspace)? {
        problems.push("docs.rs could not build the docs: see above".to_owned());
    }
    let tree = workspace.tree()?;
    let refused = licenses::refused(workspace, &tree)?;
    problems.extend(refused.iter().map(|line| format!("a license that deny.toml does not list: {line}")));
    let bills = sbom::write(workspace, &tree, &packages)?;
    println!("bills of materials: {}", bills.display());

    problems.iter().for_each(|problem| println!("FAILED: {problem}"));
    if problems.is_empty() {
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        println!("ready: cargo publish --package {}", names.join(" --package "));
    }
    Ok(problems.is_empty())
}

/// Each package after those that it depends on.
fn in_order(mut packages: Vec<&Package>) -> Vec<&Package> {
    let names: BTreeSet<String> = packages.iter().map(|package| package.name.to_string()).collect();
    let mut ordered: Vec<&Package> = Vec::new();
    while !packages.is_empty() {
        let is_next = |package: &&Package| {
            let needed =
                package.dependencies.iter().filter(|needed| needed.kind != DependencyKind::Development);
            needed
                .filter(|needed| names.contains(&needed.name))
                .all(|needed| ordered.iter().any(|done| done.name.as_str() == needed.name))
        };
        let next = packages.iter().position(is_next).expect("cargo allows no circle");
        ordered.push(packages.remove(next));
    }
    ordered
}

/// What a package lacks that its readers need.
fn lacks(package: &Package) -> Vec<String> {
    let has_readme = package.readme().is_some_and(|readme| readme.exists());
    let public = package.manifest_path.with_file_name("public-api.txt").exists();
    let has_all_features_in_docs = package.metadata["docs"]["rs"]["all-features"] == true;
    let has_library = package.targets.iter().any(cargo_metadata::Target::is_lib);
    [
        ("a description", package.description.is_some()),
        ("a license", package.license.is_some()),
        ("a repository", package.repository.is_some()),
        ("keywords", !package.keywords.is_empty()),
        ("a rust-version", package.rust_version.is_some()),
        ("a README", has_readme),
        ("all features in `package.metadata.docs.rs`", has_all_features_in_docs),
        ("a listing of its public API: cargo xtask public-api --write", public || !has_library),
    ]
    .into_iter()
    .filter(|(_, there)| !there)
    .map(|(what, _)| format!("{} has no {what}", package.name).replace("no a ", "no "))
    .collect()
}

/// What the changelog lacks: a heading with this version, or something that is new.
fn undocumented(changelog: &str, packages: &[&Package]) -> Vec<String> {
    let section = |heading: &str| {
        let rest = changelog.split_once(&format!("\n## {heading}"))?.1;
        Some(rest.split("\n## ").next().unwrap_or(rest).contains("\n- "))
    };
    let versions: BTreeSet<String> = packages.iter().map(|package| package.version.to_string()).collect();
    versions
        .into_iter()
        .filter(|version| section(version).or_else(|| section("Unreleased")) != Some(true))
        .map(|version| format!("{CHANGELOG} says nothing about {version}: list what is new"))
        .collect()
}

/// Builds the docs of the published crates as docs.rs does; returns `true` if they are without warnings. Part of a step of `test-all`.
pub(crate) fn docs_built(workspace: &Workspace) -> Result<bool> {
    let mut command = process::cargo(workspace, ["doc", "--no-deps", "--all-features"]);
    command.args(workspace.published().iter().flat_map(|package| ["--package", &package.name]));
    // What docs.rs adds: rustdoc may use what is unstable there, and knows where it is.
    command.env("RUSTDOC", workspace.root().join("xtask/rustdoc-unstable"));
    command.env("RUSTDOCFLAGS", "-D warnings --cfg docsrs");
    Ok(process::run(&command, BUILD)?.success())
}

/// Checks the licenses of all dependencies; returns `true` if each is on the list. A step of `test-all`.
pub(crate) fn check_licenses(workspace: &Workspace) -> Result<bool> {
    let refused = licenses::refused(workspace, &workspace.tree()?)?;
    refused.iter().for_each(|line| println!("not on the list in deny.toml: {line}"));
    Ok(refused.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_says_what_is_new() {
        let workspace = Workspace::load().expect("the workspace");
        let packages = workspace.published();
        let version = packages[0].version.to_string();
        assert_eq!(undocumented("# Changelog\n\n## Unreleased\n\n- This.\n", &packages), [""; 0]);
        assert_eq!(undocumented(&format!("#\n\n## {version}\n\n- This.\n"), &packages), [""; 0]);
        assert_eq!(undocumented("#\n\n## Unreleased\n\n## 0.0.1\n\n- That.\n", &packages).len(), 1);
        assert_eq!(undocumented("# Changelog\n", &packages).len(), 1);
    }

    #[test]
    fn packages_come_after_those_that_they_need() {
        let workspace = Workspace::load().expect("the workspace");
        let names: Vec<_> = in_order(workspace.published()).iter().map(|it| it.name.to_string()).collect();
        let place = |name: &str| names.iter().position(|it| it == name).expect("it is published");
        assert!(place("mcp-session-proto") < place("mcp-session-core"));
        assert!(place("mcp-session-core") < place("mcp-session-hyper"));
        assert!(place("mcp-session-hyper") < place("mcp-session-tokio"));
    }
}
