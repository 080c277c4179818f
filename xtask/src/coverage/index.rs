//! The tests in the sources, and the requirements that they name.
//!
//! A test is a function with a test attribute, or a scenario: a function that a suite's macro lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use proc_macro2::{TokenStream, TokenTree};

use super::ids::{ids_in_comments, ids_in_name};
use super::requirements::Requirements;
use crate::source::{self, each, in_braces, is_mark};
use crate::workspace::{self, Workspace};

#[derive(Debug, Default)]
pub(super) struct Index {
    /// For each id the tests: the name, and the file relative to the root.
    by_id: BTreeMap<String, Vec<(String, PathBuf)>>,
    /// Unknown ids, and functions named like tests that nothing runs.
    pub(super) problems: Vec<String>,
}

impl Index {
    /// Searches the packages of the workspace.
    pub(super) fn find(workspace: &Workspace, requirements: &Requirements) -> Result<Index> {
        let mut index = Index::default();
        for package in workspace.packages().into_iter().filter(|package| package.name.as_str() != "xtask") {
            let mut found = Found::default();
            for (path, text) in source::files_below(workspace::directory(package))? {
                let tokens = source::tokens(&text).with_context(|| path.display().to_string())?;
                found.scan(tokens, &text, workspace.relative(&path));
            }
            index.add(&found, requirements);
        }
        Ok(index)
    }

    /// The tests that name a requirement.
    pub(super) fn of(&self, id: &str) -> &[(String, PathBuf)] {
        self.by_id.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    fn add(&mut self, found: &Found, requirements: &Requirements) {
        for Function { name, file, comments, is_test } in &found.functions {
            let place = file.display();
            let in_name = ids_in_name(name);
            if !is_test && !found.listed.contains(name) {
                if !in_name.is_empty() {
                    self.problems.push(format!("{place}: {name} is named like a test, but nothing runs it"));
                }
                continue;
            }
            let mut ids = BTreeSet::new();
            for id in in_name.into_iter().chain(ids_in_comments(comments)) {
                let known = requirements.meant_by(&id);
                if known.is_empty() {
                    self.problems.push(format!("{place}: {name} names {id}, which is not a requirement"));
                }
                ids.extend(known);
            }
            for id in ids {
                self.by_id.entry(id).or_default().push((name.clone(), file.clone()));
            }
        }
    }
}

#[derive(Debug)]
struct Function {
    name: String,
    file: PathBuf,
    /// Its doc comment, and the comments in its body.
    comments: String,
    /// Whether it has a test attribute.
    is_test: bool,
}

/// The functions of a package, and the words in macros among its items: there, suites list their scenarios.
#[derive(Debug, Default)]
struct Found {
    functions: Vec<Function>,
    listed: BTreeSet<String>,
}

impl Found {
    fn scan(&mut self, items: TokenStream, text: &str, file: &Path) {
        let items: Vec<TokenTree> = items.into_iter().collect();
        let mut rest = &items[..];
        let (mut comments, mut is_test) = (String::new(), false);
        while let [first, after @ ..] = rest {
            rest = after;
            match (first, after) {
                (hash, [TokenTree::Group(attribute), after @ ..]) if is_mark(hash, '#') => {
                    rest = after;
                    let attribute = attribute.stream().to_string();
                    let name = attribute.split('(').next().unwrap_or_default();
                    is_test |= name.rsplit(':').next().is_some_and(|last| last.trim() == "test");
                    comments += attribute.strip_prefix("doc").unwrap_or_default();
                    continue;
                }
                (TokenTree::Ident(word), [TokenTree::Ident(name), after @ ..]) if word == "fn" => {
                    let end = after.iter().position(|it| in_braces(it).is_some() || is_mark(it, ';'));
                    if let Some(body) = end.and_then(|end| in_braces(&after[end])) {
                        rest = &after[end.unwrap_or_default() + 1..];
                        let mut range = body.span().byte_range();
                        if text[range.clone()].contains("//") {
                            // The text that is no token: comments and spaces.
                            range.start += 1;
                            each(&body.stream(), &mut |_, span| {
                                comments +=
                                    text.get(range.start..span.byte_range().start).unwrap_or_default();
                                range.start = span.byte_range().end;
                            });
                            comments += &text[range];
                        }
                    }
                    let (name, file) = (name.to_string(), file.to_owned());
                    self.functions.push(Function { name, file, comments: comments.clone(), is_test });
                }
                (TokenTree::Ident(_), [bang, after @ ..]) if is_mark(bang, '!') => {
                    let mut after_fn = false;
                    each(&after.iter().take(2).cloned().collect(), &mut |token, _| {
                        let Some(TokenTree::Ident(word)) = token else { return };
                        self.listed.extend((!after_fn).then(|| word.to_string()));
                        after_fn = word == "fn";
                    });
                    continue;
                }
                _ if let Some(items) = in_braces(first) => self.scan(items.stream(), text, file),
                _ if is_mark(first, ';') || is_mark(first, ',') => {}
                _ => continue,
            }
            (comments, is_test) = (String::new(), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Found, Index, Requirements, source::tokens};

    const FILE: &str = "//! D-12\nuse a::b;\n/// D-12: stays.\n/// And D-13.\n#[test]\nfn a() {\n    f(\"// D-15\"); // D-14\n}\n\n\
        /// D-12\nfn helper() {}\n// fn commented() {}\n#[tokio::test(flavor = \"x\")]\nasync fn d_12_b() {}\n\
        pub fn d_13_listed(bed: &impl TestBed) { assert!(d_14_lost) }\n#[cfg(test)]\nfn d_14_lost() {}\n\
        suite! { TestBed; d_13_listed }\nmod tests {\n    #[test]\n    fn d_99_c() {}\n}";

    #[test]
    fn tests_are_found_and_so_are_unused_ones_and_unknown_ids() {
        let line = "{ level = \"MUST\", who = \"S\", versions = \"all\", text = \"x\" }\n";
        let list = "unserved = {}\ngroups = {}\n[D]\ntitle = \"t\"\n";
        let list = format!("{list}D-12 = {line}D-13 = {line}D-14 = {line}");
        let (mut index, mut found) = (Index::default(), Found::default());
        found.scan(tokens(FILE).unwrap(), FILE, Path::new("x.rs"));
        index.add(&found, &Requirements::parse(&list).unwrap());
        let tests = |id| index.of(id).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        assert_eq!([tests("D-12"), tests("D-13")], [["a", "d_12_b"], ["a", "d_13_listed"]]);
        assert_eq!(tests("D-14"), ["a"]);
        assert!(index.problems[0].contains("d_14_lost is named like a test, but nothing runs it"));
        assert!(index.problems[1].contains("d_99_c names D-99, which is not a requirement"));
        assert_eq!(index.problems.len(), 2);
    }
}
