//! What each published crate is made of: a bill of materials for each, as `CycloneDX` 1.5 in JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};
use cyclonedx_bom::external_models::uri::Purl;
use cyclonedx_bom::models::bom::Bom;
use cyclonedx_bom::models::component::{Classification, Component, Components};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::metadata::Metadata as BomMetadata;
use cyclonedx_bom::prelude::Validate as _;
use serde::Deserialize;

use crate::process;
use crate::workspace::Workspace;

/// Writes `target/sbom/NAME-VERSION.cdx.json` for each of these packages: with all features, for all targets, without what only
/// tests need. It has no date and no serial number, so the same dependencies give the same file. Returns the directory.
pub(super) fn write(workspace: &Workspace, tree: &Metadata, packages: &[&Package]) -> Result<PathBuf> {
    let directory = workspace.target_directory().join("sbom");
    fs::create_dir_all(&directory)?;
    let checksums = checksums(&fs::read_to_string(workspace.root().join("Cargo.lock"))?)?;
    for package in packages {
        let bom = bill(tree, package, &built_from(workspace, package)?, &checksums)?;
        let valid = bom.validate();
        ensure!(valid.passed(), "the bill of materials of {} is not valid: {valid:?}", package.name);
        let mut text = Vec::new();
        bom.output_as_json_v1_5(&mut text)?;
        fs::write(directory.join(format!("{}-{}.cdx.json", package.name, package.version)), text)?;
    }
    Ok(directory)
}

/// The checksums of `Cargo.lock`, by name and version.
type Checksums = BTreeMap<(String, String), String>;

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

fn checksums(lock: &str) -> Result<Checksums> {
    let lock: Lock = toml::from_str(lock)?;
    let known = lock.package.into_iter();
    Ok(known.filter_map(|it| it.checksum.map(|sum| ((it.name, it.version), sum))).collect())
}

/// The names and versions of what a package is built from. From `cargo tree`: the graph in `cargo metadata` has the features that
/// any member of the workspace enables.
fn built_from(workspace: &Workspace, package: &Package) -> Result<BTreeSet<(String, String)>> {
    let mut command = process::cargo(workspace, ["tree", "--locked", "--all-features", "--target", "all"]);
    command.args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let output = command.args(["--package", &package.name]).output()?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let entry = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    };
    Ok(text.lines().filter_map(entry).collect())
}

fn bill(
    tree: &Metadata,
    root: &Package,
    built_from: &BTreeSet<(String, String)>,
    checksums: &Checksums,
) -> Result<Bom> {
    let mut needs = needs(tree)?;
    let is_in =
        |id: &PackageId| built_from.contains(&(tree[id].name.to_string(), tree[id].version.to_string()));
    needs.values_mut().for_each(|needed| needed.retain(|id| is_in(id)));
    let (mut seen, mut open) = (BTreeSet::from([&root.id]), vec![&root.id]);
    while let Some(id) = open.pop() {
        open.extend(needs[id].iter().copied().filter(|id| seen.insert(id)));
    }
    let mut components = Vec::new();
    for id in seen.iter().filter(|id| **id != &root.id) {
        components.push(component(&tree[id], Classification::Library, checksums)?);
    }
    let mut dependencies = Vec::new();
    for id in &seen {
        let on = needs[id].iter().map(|id| name(&tree[id])).collect::<Result<_>>()?;
        dependencies.push(Dependency { dependency_ref: name(&tree[id])?, dependencies: on });
    }
    let is_program = !root.targets.iter().any(cargo_metadata::Target::is_lib);
    let classification = if is_program { Classification::Application } else { Classification::Library };
    let root = component(root, classification, checksums)?;
    Ok(Bom {
        serial_number: None,
        metadata: Some(BomMetadata { component: Some(root), ..BomMetadata::default() }),
        components: Some(Components(components)),
        dependencies: Some(Dependencies(dependencies)),
        ..Bom::default()
    })
}

/// What each package is built from, and what builds it.
fn needs(tree: &Metadata) -> Result<BTreeMap<&PackageId, BTreeSet<&PackageId>>> {
    let resolved = tree.resolve.as_ref().context("cargo resolves the dependencies")?;
    let is_shipped = |kind: &cargo_metadata::DepKindInfo| kind.kind != DependencyKind::Development;
    let needed = resolved.nodes.iter().map(|node| {
        let needed = node.deps.iter().filter(|needed| needed.dep_kinds.iter().any(is_shipped));
        (&node.id, needed.map(|needed| &needed.pkg).collect())
    });
    Ok(needed.collect())
}

/// The name that other tools know a package by.
fn name(package: &Package) -> Result<String> {
    Ok(Purl::new("cargo", &package.name, &package.version.to_string())?.to_string())
}

fn component(package: &Package, classification: Classification, checksums: &Checksums) -> Result<Component> {
    let version = package.version.to_string();
    let mut component = Component::new(classification, &package.name, &version, Some(name(package)?));
    component.purl = Some(Purl::new("cargo", &package.name, &version)?);
    component.licenses = package.license.as_deref().map(|license| {
        // Cargo still takes the `/` of old manifests for OR.
        Licenses(vec![LicenseChoice::expression(&license.replace('/', " OR "))])
    });
    component.hashes = checksums
        .get(&(package.name.to_string(), version))
        .map(|sum| Hashes(vec![Hash { alg: HashAlgorithm::SHA_256, content: HashValue(sum.clone()) }]));
    Ok(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_lists_what_a_crate_is_built_from_and_not_what_tests_it() {
        let workspace = Workspace::load().expect("the workspace");
        let tree = workspace.tree().expect("the dependencies");
        let proto = workspace.package(crate::workspace::PROTO).expect("it is there");
        let lock = fs::read_to_string(workspace.root().join("Cargo.lock")).expect("the lock file");
        let checksums = checksums(&lock).expect("checksums");
        let bill = |package: &Package| {
            let built_from = built_from(&workspace, package).expect("a tree");
            bill(&tree, package, &built_from, &checksums).expect("a bill")
        };
        let bom = bill(proto);
        assert!(bom.validate().passed());
        let components = &bom.components.as_ref().expect("components").0;
        let names: Vec<_> = components.iter().map(|component| component.name.as_ref()).collect();
        assert!(names.contains(&"bytes") && names.contains(&"syn"), "{names:?}"); // of serde's macros
        assert!(!names.contains(&"tokio") && !names.contains(&"mcp-session-proto"), "{names:?}");
        for component in components {
            assert!(component.hashes.is_some() && component.licenses.is_some(), "{}", component.name);
        }
        let listed = bom.dependencies.expect("dependencies").0;
        assert_eq!(listed.len(), components.len() + 1);
        // Only other members enable what brings it.
        let core = bill(workspace.package(crate::workspace::CORE).expect("it is there"));
        let names: Vec<_> =
            core.components.iter().flat_map(|all| &all.0).map(|it| it.name.to_string()).collect();
        assert!(names.contains(&"schemars".to_owned()) && !names.contains(&"chrono".to_owned()), "{names:?}");
    }
}
