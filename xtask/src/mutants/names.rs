//! [`Names`]: what the line `invariant:` of a header may name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use walkdir::WalkDir;

use super::killer::Killer;
use super::patch::Mutant;

/// The sources of the suites and of the simulation.
const SOURCES: &str = "crates/mcp-session-testkit/src";

/// The file with the table of invariants, and the heading above it.
const SIMULATION: &str = "simulation.rs";
const TABLE: &str = "//! # What must be true\n";

#[derive(Debug)]
pub(super) struct Names {
    /// The invariants of the simulation.
    invariants: BTreeSet<String>,
    /// The scenarios of the behaviour suite.
    behaviour: BTreeSet<String>,
    /// The scenarios of the wire suite.
    wire: BTreeSet<String>,
}

impl Names {
    pub(super) fn read(root: &Path) -> Result<Names> {
        let sources = root.join(SOURCES);
        let simulation = fs::read_to_string(sources.join(SIMULATION)).context(SIMULATION)?;
        let names = Names {
            invariants: invariants(&simulation),
            behaviour: scenarios(&sources.join("behaviour"))?,
            wire: scenarios(&sources.join("wire"))?,
        };
        ensure!(!names.invariants.is_empty(), "{SIMULATION} has no table of invariants");
        ensure!(!names.behaviour.is_empty() && !names.wire.is_empty(), "a suite has no scenarios");
        Ok(names)
    }

    /// Says what is wrong if a mutant names nothing that its killer could fail.
    pub(super) fn problem(&self, mutant: &Mutant) -> Option<String> {
        let (names, what) = match mutant.killer {
            Killer::Simulation => (&self.invariants, "no invariant of the simulation"),
            Killer::Behaviour(_) => (&self.behaviour, "no scenario of the behaviour suite"),
            Killer::Wire(..) => (&self.wire, "no scenario of the wire suite"),
        };
        (!names.contains(&mutant.invariant)).then(|| format!("{what} is called `{}`", mutant.invariant))
    }
}

/// The names in the first column of the table.
fn invariants(text: &str) -> BTreeSet<String> {
    let table = text.split_once(TABLE).map_or("", |(_, rest)| rest);
    let lines = table.lines().map(|line| line.trim_start_matches("//!").trim());
    let rows = lines.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The scenarios that the files of a directory list.
fn scenarios(directory: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in WalkDir::new(directory) {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            names.extend(listed(&fs::read_to_string(entry.path())?));
        }
    }
    Ok(names)
}

/// The scenarios of one file: `scenarios! { TestBed; this, that: Http2, }`.
fn listed(text: &str) -> Vec<String> {
    let lists = text.split("scenarios! {").skip(1).filter_map(|rest| rest.split('}').next());
    let items = lists.filter_map(|list| list.split_once(';')).flat_map(|(_, items)| items.split(','));
    let names = items.filter_map(|item| item.split(':').next()).map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_invariants_is_read_and_no_other() {
        let text = "//! | part | |\n//! |---|---|\n//! | `part` | x |\n//!\n//! # What must be true\n//!\n\
                    //! | invariant | |\n//! |---|---|\n//! | `a`, `b-c` | not `d` |\n//! | `e` | |\n//!\n\
                    //! # A failure\n//! | `f` | |\n";
        assert_eq!(invariants(text), BTreeSet::from(["a", "b-c", "e"].map(str::to_owned)));
        assert!(invariants("").is_empty());
    }

    #[test]
    fn the_scenarios_of_a_file_are_read_and_no_other_function() {
        let text = "scenarios! {\n    ServeHarness;\n    this,\n    that: Http2,\n}\n\nfn other() {}\n";
        assert_eq!(listed(text), ["this", "that"]);
        assert!(listed("fn other() {}").is_empty());
    }
}
