//! Replays the corpus of each fuzz target.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use mcp_session_tests::fuzz::TARGETS;

/// The target of the async-std adapter, which is built with its feature only.
const OPTIONAL: &str = "http1";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

/// The names in a folder, without what begins with a dot.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names =
        entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("a name"));
    names.filter(|name| !name.starts_with('.')).collect()
}

/// Runs a target with each input of its corpus.
fn replay(name: &str) {
    let (_, run) = TARGETS.iter().find(|(own, _)| *own == name).expect("it is listed");
    let folder = root().join("corpus").join(name);
    let inputs = names(&folder);
    assert!(!inputs.is_empty(), "{} has no input", folder.display());
    let broken: Vec<_> = inputs
        .iter()
        .filter(|input| {
            let bytes = fs::read(folder.join(input)).expect("it can be read");
            catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_err()
        })
        .collect();
    assert!(broken.is_empty(), "inputs of {name} that break a promise: {broken:?}");
    println!("{name}: {} inputs", inputs.len());
}

macro_rules! replayed {
    ($($(#[$feature:meta])? $name:ident,)+) => {
        $(
            $(#[$feature])?
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )+

        /// The names of the tests above.
        const REPLAYED: &[&str] = &[$($(#[$feature])? stringify!($name)),+];
    };
}

replayed! {
    endpoint,
    event_id,
    headers,
    hosts,
    #[cfg(feature = "async-std")] http1,
    json_rpc,
    sse,
    wire_form,
}

/// Every target is listed, replayed, has a corpus and an executable.
#[test]
fn each_target_is_in_all_places() {
    let mut listed: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(REPLAYED.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), listed);
    listed.insert(OPTIONAL.to_owned());
    assert_eq!(names(&root().join("corpus")), listed);
    let files = names(&root().join("fuzz_targets"));
    assert_eq!(files, listed.iter().map(|name| format!("{name}.rs")).collect());
}
