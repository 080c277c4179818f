//! The machine in `proto` is pure: no async, no clock, no thread, no socket, and hardly any import.

use std::path::Path;

use anyhow::Result;

use super::Violation;
use super::dependencies::CORE_MAY_USE;
use super::imports::Imports;
use crate::source::{self, Source};
use crate::workspace::{self, CORE, Workspace};

/// The crates that proto may import.
const MAY_IMPORT: [&str; 6] = ["bytes", "core", "serde", "serde_json", "std", "thiserror"];

/// Text that proto must not contain, also in imports, and the advice.
const BANNED: [(&str, &str); 7] = [
    ("async", "take an input and return an output; the shell around the machine awaits"),
    (".await", "take an input and return an output; the shell around the machine awaits"),
    ("Future", "take an input and return an output; the shell around the machine awaits"),
    ("Instant::now", "take `now: Instant` as the first argument"),
    ("SystemTime", "take `now: Instant` as the first argument"),
    ("std::thread", "leave tasks to the shell and its `Runtime`"),
    ("std::net", "leave sockets to the adapters"),
];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Violation>> {
    let src = workspace::directory(workspace.package(CORE)?).join("src");
    let mut files = source::files_below(&src.join("proto"))?;
    if files.is_empty() {
        let advice = "if the machine has moved, update the path in xtask/src/arrows/proto.rs";
        return Ok(vec![Violation::new(CORE, "has no src/proto/**/*.rs, so nothing was checked", advice)]);
    }
    let root = src.join("proto.rs");
    if root.is_file() {
        files.push((root.clone(), Source::parse(&std::fs::read_to_string(&root)?)));
    }
    let mut violations = Vec::new();
    for (path, source) in &files {
        let depth = depth(path.strip_prefix(&src)?);
        let place = workspace.relative(path).display();
        let broken = problems(source, depth).into_iter();
        violations.extend(
            broken.map(|(line, what, advice)| Violation::new(format!("{place}:{line}"), what, advice)),
        );
    }
    Ok(violations)
}

/// How many modules below the crate root a file is: `proto/mod.rs` and `proto.rs` 1, `proto/state.rs` 2.
fn depth(below_src: &Path) -> usize {
    let parts = below_src.components().count();
    if below_src.file_name().is_some_and(|name| name == "mod.rs") { parts - 1 } else { parts }
}

/// Line, problem and advice for each violation in a file of proto.
fn problems(source: &Source, depth: usize) -> Vec<(usize, String, &'static str)> {
    const IMPORT: &str = "move the code out of proto, which may use only std, bytes, serde and thiserror";
    let imports = Imports::of(&source.bare);
    let mut found = Vec::new();
    for (line, text) in (1..).zip(imports.rest.lines()) {
        let banned = BANNED.iter().filter(|(word, _)| holds(text, word));
        found.extend(banned.map(|(word, advice)| (line, format!("holds `{word}`"), *advice)));
        found.extend(paths_out_of_proto(text).map(|path| (line, format!("names `{path}`"), IMPORT)));
    }
    for (line, path) in imports.paths {
        if let Some((_, advice)) = BANNED.iter().find(|(word, _)| holds(&path, word)) {
            found.push((line, format!("imports `{path}`"), advice));
        } else if !may_import(&path, source, depth) {
            found.push((line, format!("imports `{path}`"), IMPORT));
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns `true` if `text` contains `word` and a word ends with it: `.await` is not in `self.awaited`, but `Future` is in
/// `BoxFuture`.
fn holds(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| !text[at + word.len()..].starts_with(is_word))
}

/// Full paths that leave proto: `crate::…`, and the crates that only the rest of core may use.
fn paths_out_of_proto(text: &str) -> impl Iterator<Item = String> + '_ {
    let crates = CORE_MAY_USE.iter().filter(|name| !MAY_IMPORT.contains(name));
    let roots = crates.map(|name| name.replace('-', "_")).chain(["crate".to_owned()]);
    roots.map(|root| format!("{root}::")).filter(|path| {
        text.match_indices(path.as_str()).any(|(at, _)| {
            let is_root = !text[..at].ends_with(|c: char| is_word(c) || c == ':');
            let stays = text[at..].starts_with("crate::proto") && holds(&text[at..], "crate::proto");
            is_root && !stays
        })
    })
}

fn may_import(path: &str, source: &Source, depth: usize) -> bool {
    let ups = path.split("::").take_while(|part| *part == "super").count();
    let root = path.split("::").next().unwrap_or_default();
    match root {
        "crate" => path == "crate::proto" || path.starts_with("crate::proto::"),
        "super" => ups < depth,
        "self" => true,
        _ if MAY_IMPORT.contains(&root) => true,
        // A type of this file (`use State::*`) or one of its own child modules (`pub use id::Id`).
        _ => root.starts_with(char::is_uppercase) || source.bare.contains(&format!("mod {root};")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Source, depth, problems};

    const CLEAN: &str = "//! No async here, and no Instant::now.\n\
        use std::time::{Duration, Instant};\n\
        use bytes::Bytes;\n\
        use crate::proto::id::Id;\n\
        use super::state::State;\n\
        fn f(now: Instant) -> &'static str { \"std::net\" }\n\
        #[cfg(test)]\nmod tests { use futures::executor; }\n";

    fn problems_in(text: &str) -> Vec<String> {
        problems(&Source::parse(text), 2)
            .into_iter()
            .map(|(line, what, _)| format!("{line}: {what}"))
            .collect()
    }

    #[test]
    fn a_pure_file_has_no_problem() {
        assert_eq!(problems_in(CLEAN), Vec::<String>::new());
        assert_eq!(problems_in("fn g() { self.awaited = crate::proto::f(); }"), Vec::<String>::new());
    }

    #[test]
    fn each_planted_violation_is_found() {
        for (planted, problem) in [
            ("async fn g() {}", "7: holds `async`"),
            ("fn g() { Instant::now(); }", "7: holds `Instant::now`"),
            ("use std::{fmt, thread};", "7: imports `std::thread`"),
            ("use http::StatusCode;", "7: imports `http::StatusCode`"),
            ("use crate::manager::Manager;", "7: imports `crate::manager::Manager`"),
            ("use super::super::manager::Manager;", "7: imports `super::super::manager::Manager`"),
            ("fn g() { tracing::debug!(\"x\"); }", "7: names `tracing::`"),
            ("fn g() -> crate::error::Error {}", "7: names `crate::`"),
            ("fn g() -> BoxFuture {}", "7: holds `Future`"),
            ("fn g() { f().await; }", "7: holds `.await`"),
            ("use std::{net::TcpStream, time::SystemTime};", "7: imports `std::net::TcpStream`"),
        ] {
            let text = CLEAN.replace("#[cfg(test)]", &format!("{planted}\n#[cfg(test)]"));
            assert_eq!(problems_in(&text).first().map(String::as_str), Some(problem), "{planted}");
        }
    }

    #[test]
    fn only_paths_inside_of_proto_count_as_its_own() {
        assert_eq!(
            problems_in("mod id;\npub(crate) use id::Id;\nfn g() -> crate::proto::Id {}"),
            Vec::<String>::new()
        );
        assert_eq!(depth(Path::new("proto/mod.rs")), 1);
        assert_eq!(depth(Path::new("proto.rs")), 1);
        assert_eq!(depth(Path::new("proto/state.rs")), 2);
        assert_eq!(depth(Path::new("proto/state/mod.rs")), 2);
    }
}
