//! Every scenario is in the list of its macro.

use std::{collections::HashSet, fs, path::Path};

#[test]
fn every_behaviour_scenario_is_listed() {
    assert_eq!(unlisted("behaviour", "bed: &impl TestBed"), Vec::<String>::new());
}

#[test]
fn every_wire_scenario_is_listed() {
    assert_eq!(unlisted("wire", "harness: &impl ServeHarness"), Vec::<String>::new());
}

/// Returns the scenarios in `src/{suite}/` that `src/{suite}.rs` does not name. A scenario is a public function whose
/// first parameter is `parameter`.
fn unlisted(suite: &str, parameter: &str) -> Vec<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let list = fs::read_to_string(source.join(suite).with_extension("rs")).expect("the list");
    let listed: HashSet<&str> = list.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).collect();
    let mut written = Vec::new();
    for file in fs::read_dir(source.join(suite)).expect("the suite's directory") {
        let text = fs::read_to_string(file.expect("an entry").path()).expect("a source file");
        written.extend(scenarios(&text, parameter).map(str::to_owned));
    }
    assert!(written.len() > 20, "only these were found: {written:?}");
    written.retain(|name| !listed.contains(name.as_str()));
    written
}

/// The names of the public functions in `text` whose first parameter is `parameter`.
fn scenarios<'a>(text: &'a str, parameter: &'a str) -> impl Iterator<Item = &'a str> {
    let functions = ["\npub fn ", "\npub async fn "].into_iter().flat_map(|begin| text.split(begin).skip(1));
    functions.filter_map(move |function| {
        let (name, rest) = function.split_once('(')?;
        rest.trim_start().starts_with(parameter).then_some(name)
    })
}
