//! The tests in the sources, and the requirements that they name.
//!
//! A test is a function with a test attribute, or a scenario: a function that a suite's macro lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::functions::{self, Function};
use super::ids::{ids_in_comments, ids_in_name};
use super::requirements::Requirements;
use crate::source;
use crate::workspace::{self, Workspace};

/// A function that is run as a test.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) name: String,
    /// Relative to the root.
    pub(super) file: PathBuf,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    by_id: BTreeMap<String, Vec<Test>>,
    /// Unknown ids, and functions named like tests that nothing runs.
    pub(super) problems: Vec<String>,
}

impl Index {
    /// Searches the packages of the workspace.
    pub(super) fn find(workspace: &Workspace, requirements: &Requirements) -> Result<Index> {
        let mut index = Index::default();
        for package in workspace.packages().into_iter().filter(|package| package.name.as_str() != "xtask") {
            let files = source::texts_below(workspace::directory(package))?;
            let listed = files.iter().flat_map(|(_, text)| functions::listed_by_a_suite(text)).collect();
            for (path, text) in &files {
                let file = workspace.relative(path);
                functions::of(text).iter().for_each(|it| index.add(it, &listed, file, requirements));
            }
        }
        Ok(index)
    }

    /// The tests that name a requirement.
    pub(super) fn of(&self, id: &str) -> impl Iterator<Item = &Test> {
        self.by_id.get(id).into_iter().flatten()
    }

    fn add(
        &mut self,
        function: &Function,
        listed: &BTreeSet<String>,
        file: &Path,
        requirements: &Requirements,
    ) {
        let in_name = ids_in_name(&function.name);
        if !function.is_test() && !listed.contains(&function.name) {
            if !in_name.is_empty() {
                let place = file.display();
                self.problems
                    .push(format!("{place}: {} is named like a test, but nothing runs it", function.name));
            }
            return;
        }
        let mut ids = BTreeSet::new();
        for id in in_name.into_iter().chain(ids_in_comments(&function.comments)) {
            match requirements.group(&id) {
                Some(members) => ids.extend(members.iter().cloned()),
                None if requirements.knows(&id) => _ = ids.insert(id),
                None => self.problems.push(format!(
                    "{}: {} names {id}, which is not a requirement",
                    file.display(),
                    function.name
                )),
            }
        }
        for id in ids {
            self.by_id
                .entry(id)
                .or_default()
                .push(Test { name: function.name.clone(), file: file.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{Index, Requirements, functions};

    #[test]
    fn unused_tests_and_unknown_ids_are_problems() {
        let list = "unserved = {}\ngroups = {}\n[D]\ntitle = \"t\"\n\
            D-12 = { level = \"MUST\", who = \"S\", versions = \"all\", text = \"x\" }\n";
        let list = Requirements::parse(list).unwrap();
        let mut index = Index::default();
        let listed = BTreeSet::from(["d_12_listed".to_owned()]);
        let texts = [
            "#[test]
fn d_12_a() {}",
            "fn d_12_listed() {}",
            "fn d_12_lost() {}",
            "#[test]
fn d_99_b() {}",
        ];
        for text in texts {
            index.add(&functions::of(text)[0], &listed, Path::new("x.rs"), &list);
        }
        let names: Vec<&str> = index.of("D-12").map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["d_12_a", "d_12_listed"]);
        assert_eq!(index.problems.len(), 2, "{:?}", index.problems);
    }
}
