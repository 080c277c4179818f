//! The functions of a file, parsed as far as needed to recognize tests.

use crate::source::Source;

/// A function in a file.
#[derive(Debug, Default)]
pub(super) struct Function {
    pub(super) name: String,
    /// Its doc comment, and the comments in its body.
    pub(super) comments: String,
    attributes: String,
    /// Its indentation: lines that are indented further are its body.
    indent: usize,
}

impl Function {
    /// Returns `true` if it has a test attribute.
    pub(super) fn is_test(&self) -> bool {
        self.attributes.contains("test]") || self.attributes.contains("test(")
    }
}

/// The functions of a file.
pub(super) fn of(text: &str) -> Vec<Function> {
    let source = Source::with_tests(text);
    let mut functions = Vec::new();
    let mut next = Function::default();
    for ((line, code), bare) in text.lines().zip(source.code.lines()).zip(source.bare.lines()) {
        let comment = line.get(code.trim_end().len()..).unwrap_or_default().trim_start();
        let indent = line.len() - line.trim_start().len();
        if let Some(docs) = comment.strip_prefix("///") {
            next.comments += docs;
        } else if bare.trim_start().starts_with("#[") {
            next.attributes += bare;
        } else if let Some(name) = function_name(bare.trim_start()) {
            let name = name.to_owned();
            functions.push(Function { name, indent, ..std::mem::take(&mut next) });
        } else {
            next = Function::default();
        }
        let body = functions.last_mut().filter(|function| indent > function.indent);
        if let (Some(function), false) = (body, comment.starts_with("///")) {
            function.comments += comment.trim_start_matches('/');
        }
    }
    functions
}

fn function_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("fn ").or_else(|| Some(line.split_once(" fn ")?.1))?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0).then(|| &rest[..end])
}

/// The words in a file with a macro that generates tests, without the names of functions that the file defines.
pub(super) fn listed_by_a_suite(text: &str) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::{Function, listed_by_a_suite};

    const FILE: &str = "/// D-12: stays.\n/// And D-13.\n#[test]\nfn d_12_stays() {\n    f(\"//\"); // D-14\n}\n\n\
        /// A-01\n\nfn helper() {}\n// fn commented() {}\n#[tokio::test(flavor = \"x\")]\nasync fn s_7_ends() {}\n\
        pub fn e_24_scenario(bed: &impl TestBed) {}\nmacro_rules! suite {\n    () => { e_24_scenario #[test] };\n}\n";

    #[test]
    fn functions_have_their_docs_and_attributes() {
        let found = super::of(FILE);
        let names: Vec<&str> = found.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["d_12_stays", "helper", "s_7_ends", "e_24_scenario"]);
        assert_eq!(found[0].comments, " D-12: stays. And D-13. D-14");
        assert_eq!((found[1].comments.as_str(), found[1].is_test()), ("", false));
        assert_eq!(found.iter().map(Function::is_test).collect::<Vec<_>>(), [true, false, true, false]);
        assert!(listed_by_a_suite(FILE).contains(&"e_24_scenario".to_owned()));
        assert!(!listed_by_a_suite(FILE).contains(&"d_12_stays".to_owned()));
    }
}
