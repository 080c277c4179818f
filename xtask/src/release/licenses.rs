//! The licenses of all dependencies against the list in `deny.toml`: what `cargo deny check licenses` does, where it is not
//! installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result};
use cargo_metadata::Metadata;
use spdx::{Expression, ParseMode};

use crate::workspace::Workspace;

/// The dependencies whose license is not on the list, one a line; empty if all is well. Prints how many have which.
pub(super) fn refused(workspace: &Workspace, tree: &Metadata) -> Result<Vec<String>> {
    let allowed = allowed(&fs::read_to_string(workspace.root().join("deny.toml"))?)?;
    let (mut refused, mut counts) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for package in &tree.packages {
        let license = package.license.as_deref().unwrap_or("no license");
        *counts.entry(license).or_default() += 1;
        if !is_allowed(license, &allowed) {
            refused.push(format!("{} {}: {license}", package.name, package.version));
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| usize::MAX - count);
    counts.iter().for_each(|(license, count)| println!("{count:5}  {license}"));
    Ok(refused)
}

/// `licenses.allow` of cargo-deny's configuration.
fn allowed(configuration: &str) -> Result<BTreeSet<String>> {
    let configuration: toml::Table = configuration.parse()?;
    let list = configuration["licenses"]["allow"].as_array().context("`licenses.allow` is a list")?;
    Ok(list.iter().filter_map(|license| license.as_str().map(str::to_owned)).collect())
}

/// Whether these licenses let us choose allowed ones only. What is no expression is not allowed.
fn is_allowed(license: &str, allowed: &BTreeSet<String>) -> bool {
    Expression::parse_mode(license, ParseMode::LAX)
        .is_ok_and(|expression| expression.evaluate(|needed| allowed.contains(&needed.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_licenses_is_enough_and_all_of_several_are_needed() {
        let list = "[licenses]\nallow = [\"MIT\", \"Apache-2.0 WITH LLVM-exception\", \"Unicode-3.0\"]\n";
        let allowed = allowed(list).expect("a list");
        let check = |license| is_allowed(license, &allowed);
        assert!(check("MIT") && check("GPL-3.0-only OR MIT") && check("MIT/Apache-2.0"));
        assert!(check("(MIT OR Apache-2.0) AND Unicode-3.0") && check("Apache-2.0 WITH LLVM-exception"));
        assert!(!check("Apache-2.0") && !check("MIT AND GPL-3.0-only") && !check("no license"));
    }
}
