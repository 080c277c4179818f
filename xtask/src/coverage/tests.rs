//! The tests in the sources, and the requirements that they name.
//!
//! A test is a function with a test attribute, or a scenario: a function that a suite's macro lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::requirements::Requirements;
use crate::source::{self, Source};
use crate::workspace::{self, Workspace};

/// A function that is run as a test.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) name: String,
    /// Relative to the root.
    pub(super) file: PathBuf,
}

#[derive(Debug, Default)]
pub(super) struct Tests {
    by_id: BTreeMap<String, Vec<Test>>,
    /// Ids that are in no list, and functions named like tests that nothing runs.
    pub(super) problems: Vec<String>,
}

/// A function as it stands in a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Function {
    name: String,
    docs: String,
    attributes: String,
}

impl Tests {
    /// Searches the packages of the workspace.
    pub(super) fn find(workspace: &Workspace, requirements: &Requirements) -> Result<Tests> {
        let mut files = Vec::new();
        for package in workspace.packages().into_iter().filter(|package| package.name.as_str() != "xtask") {
            files.extend(source::texts_below(workspace::directory(package))?);
        }
        let listed: BTreeSet<String> = files.iter().flat_map(|(_, text)| listed_by_a_suite(text)).collect();
        let mut tests = Tests::default();
        for (path, text) in &files {
            let file = workspace.relative(path);
            functions(text).iter().for_each(|it| tests.add(it, &listed, file, requirements));
        }
        Ok(tests)
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
        let is_test = function.attributes.contains("test]") || function.attributes.contains("test(");
        if !is_test && !listed.contains(&function.name) {
            if !in_name.is_empty() {
                let place = file.display();
                self.problems
                    .push(format!("{place}: {} is named like a test, and nothing runs it", function.name));
            }
            return;
        }
        let mut ids = BTreeSet::new();
        for id in in_name.into_iter().chain(ids_in_docs(&function.docs)) {
            match requirements.group(&id) {
                Some(members) => ids.extend(members.iter().cloned()),
                None if requirements.knows(&id) => _ = ids.insert(id),
                None => self.problems.push(format!(
                    "{}: {} names {id}, which is no requirement",
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

/// The functions of a file.
fn functions(text: &str) -> Vec<Function> {
    let source = Source::with_tests(text);
    let mut functions = Vec::new();
    let mut next = Function::default();
    for (line, bare) in text.lines().map(str::trim).zip(source.bare.lines().map(str::trim)) {
        if let Some(docs) = line.strip_prefix("///") {
            next.docs += docs;
        } else if bare.starts_with("#[") {
            next.attributes += bare;
        } else {
            let mut function = std::mem::take(&mut next);
            if let Some(name) = function_name(bare) {
                function.name = name.to_owned();
                functions.push(function);
            }
        }
    }
    functions
}

fn function_name(line: &str) -> Option<&str> {
    let rest = if line.starts_with("fn ") { &line[3..] } else { line.split_once(" fn ")?.1 };
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0).then(|| &rest[..end])
}

/// The words in a file with a macro that makes tests; not the names of the functions that are defined in it.
fn listed_by_a_suite(text: &str) -> Vec<String> {
    let bare = Source::with_tests(text).bare;
    if !bare.contains("macro_rules!") || !(bare.contains("#[test]") || bare.contains("::test")) {
        return Vec::new();
    }
    let mut words = bare.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let mut listed = Vec::new();
    while let Some(word) = words.next() {
        if word == "fn" {
            words.next();
        } else {
            listed.push(word.to_owned());
        }
    }
    listed
}

/// The ids in a name: `d_12_…` is D-12, `s_7_…` is the promise S7, `b_7_…` the group B.7.
fn ids_in_name(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('_').collect();
    let id = |pair: &[&str]| {
        let is_number = !pair[1].is_empty() && pair[1].bytes().all(|byte| byte.is_ascii_digit());
        let letter = pair[0].to_ascii_uppercase();
        match (pair[0], pair[1].len()) {
            ("s", 1 | 2) if is_number => Some(format!("S{}", pair[1])),
            ("a" | "b" | "c" | "d" | "e" | "f" | "g" | "h", 2) if is_number => {
                Some(format!("{letter}-{}", pair[1]))
            }
            ("a" | "b" | "c" | "d" | "e" | "f" | "g" | "h", 1) if is_number => {
                Some(format!("{letter}.{}", pair[1]))
            }
            _ => None,
        }
    };
    parts.windows(2).filter_map(id).collect()
}

/// The ids in a doc comment: `D-12`, `S7`, and `F-28 to F-33` for all of these.
fn ids_in_docs(docs: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let mut is_range = false;
    for word in docs.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| !word.is_empty()) {
        if is_id(word) {
            if let (true, Some((letter, first))) = (is_range, ids.last().and_then(|id| numbered(id))) {
                let (_, last) = numbered(word).unwrap_or((letter, first));
                ids.extend((first + 1..last).map(|number| format!("{letter}-{number:02}")));
            }
            ids.push(word.to_owned());
        }
        is_range = word == "to" && !ids.is_empty();
    }
    ids
}

fn is_id(word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_promise = word.strip_prefix('S').is_some_and(|rest| rest.len() <= 2 && is_number(rest));
    is_promise || numbered(word).is_some()
}

/// The letter and the number of `D-12`.
fn numbered(word: &str) -> Option<(char, u32)> {
    let (letter, number) = word.split_once('-')?;
    let letter = letter.parse().ok().filter(|letter| ('A'..='H').contains(letter))?;
    (number.len() == 2).then(|| number.parse().ok()).flatten().map(|number| (letter, number))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{Function, Requirements, Tests, functions, ids_in_docs, ids_in_name, listed_by_a_suite};

    #[test]
    fn ids_are_read_from_names_and_docs() {
        assert_eq!(ids_in_name("b_26_b_29_version_header"), ["B-26", "B-29"]);
        assert_eq!(ids_in_name("f_37_s_10_nothing"), ["F-37", "S10"]);
        assert_eq!(ids_in_name("b_7_status_matrix"), ["B.7"]);
        assert_eq!(ids_in_name("a_404_is_no_id_and_neither_is_a_word_or_http_2_or_d_"), [""; 0]);
        assert_eq!(
            ids_in_docs("S5, E-25, F-28 to F-31: sends -32603 (B-44)."),
            ["S5", "E-25", "F-28", "F-29", "F-30", "F-31", "B-44"]
        );
        assert_eq!(ids_in_docs("UTF-8, S, X-11, A-1, SSE"), [""; 0]);
    }

    const FILE: &str = "/// D-12: stays.\n/// And D-13.\n#[test]\nfn d_12_stays() {}\n\n\
        /// A-01\n\nfn helper() {}\n// fn commented() {}\n#[tokio::test(flavor = \"x\")]\nasync fn s_7_ends() {}\n\
        pub fn e_24_scenario(bed: &impl TestBed) {}\nmacro_rules! suite {\n    () => { e_24_scenario #[test] };\n}\n";

    #[test]
    fn functions_have_their_docs_and_attributes() {
        let found = functions(FILE);
        let names: Vec<&str> = found.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["d_12_stays", "helper", "s_7_ends", "e_24_scenario"]);
        assert_eq!(found[0].docs, " D-12: stays. And D-13.");
        assert_eq!(found[1], Function { name: "helper".to_owned(), ..Function::default() });
        assert!(listed_by_a_suite(FILE).contains(&"e_24_scenario".to_owned()));
        assert!(!listed_by_a_suite(FILE).contains(&"d_12_stays".to_owned()));
    }

    #[test]
    fn what_nothing_runs_and_what_is_no_requirement_are_problems() {
        let list = "unserved = {}\ngroups = {}\n[D]\ntitle = \"t\"\n\
            D-12 = { level = \"MUST\", who = \"S\", versions = \"all\", text = \"x\" }\n";
        let list = Requirements::parse(list).unwrap();
        let mut tests = Tests::default();
        let listed = BTreeSet::from(["d_12_listed".to_owned()]);
        for (name, attributes) in
            [("d_12_a", "#[test]"), ("d_12_listed", ""), ("d_12_lost", ""), ("d_99_b", "#[test]")]
        {
            let function =
                Function { name: name.to_owned(), attributes: attributes.to_owned(), docs: String::new() };
            tests.add(&function, &listed, Path::new("x.rs"), &list);
        }
        let names: Vec<&str> = tests.of("D-12").map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["d_12_a", "d_12_listed"]);
        assert_eq!(tests.problems.len(), 2, "{:?}", tests.problems);
    }
}
