//! Inside core: a name is imported from the file that owns it, arrows run down, and `proto` is pure.
//!
//! A room is a file or a folder directly under `src`, such as `session` for `session.rs` and `session/cell.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::{Rules, problem};
use crate::source::{Code, Name};
use crate::workspace::{self, CORE, Workspace};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    rooms: Vec<String>,
    up: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proto {
    imports: Vec<String>,
    forbidden: BTreeMap<String, String>,
}

type Arrows = BTreeSet<(String, String)>;

const OWNER: &str = "import it from the module that defines it, such as `crate::session::Session`";
const IMPURE: &str = "move the code out of proto, which may use only the crates in xtask/arrows.toml";

pub(super) fn check(workspace: &Workspace, rules: &Rules) -> Result<Vec<String>> {
    let src = workspace::directory(workspace.package(CORE)?).join("src");
    let files = Code::below(&src)?;
    let room = |path: &Path| room(path.strip_prefix(&src).unwrap_or(path));
    let rooms: BTreeSet<String> = files.iter().map(|(path, _)| room(path)).filter(|it| it != "lib").collect();
    ensure!(rooms.contains("proto"), "if the machine has moved, update xtask/src/arrows/core.rs");
    let (mut problems, mut arrows) = (Vec::new(), Arrows::new());
    for (path, code) in &files {
        let (room, names) = (room(path), code.names());
        let at = |line| format!("{}:{line}", workspace.relative(path).display());
        for name in &names {
            match below_root(&name.path) {
                Some(other) if !rooms.contains(other) => {
                    let what = format!("uses `{}`, which is in lib.rs only", name.path);
                    problems.push(problem(at(name.line), what, OWNER));
                }
                Some(other) if other != room && room != "lib" => {
                    arrows.insert((room.clone(), other.to_owned()));
                }
                _ => {}
            }
        }
        if room == "proto" {
            let depth = path.strip_prefix(&src)?.iter().count();
            let impure = impurities(&names, depth, &rules.proto, &rules.crates[CORE].uses);
            problems.extend(impure.into_iter().map(|(line, what, advice)| problem(at(line), what, advice)));
        }
    }
    println!("{CORE}: {} files and folders, {} arrows between them", rooms.len(), arrows.len());
    problems.extend(levels(&rooms, &arrows, &rules.core));
    Ok(problems)
}

fn room(below_src: &Path) -> String {
    let first = below_src.iter().next().map(Path::new);
    first.and_then(Path::file_stem).unwrap_or_default().to_string_lossy().into_owned()
}

/// The first segment below the root of the crate: `session` of `crate::session::Session`.
fn below_root(path: &str) -> Option<&str> {
    path.strip_prefix("crate::")?.split("::").next()
}

/// What breaks the order of the rooms.
fn levels(rooms: &BTreeSet<String>, arrows: &Arrows, rule: &Rule) -> Vec<String> {
    const PLACE: &str = "xtask/arrows.toml";
    let level = |room: &String| rule.rooms.iter().position(|it| it == room);
    let mut problems = Vec::new();
    for room in rooms.iter().filter(|room| level(room).is_none()) {
        problems.push(problem(PLACE, format!("`rooms` lacks {room}"), "put it above all that it uses"));
    }
    let runs_up = |arrow: &&(String, String)| level(&arrow.0) > level(&arrow.1) && !rule.up.contains(arrow);
    for (from, to) in arrows.iter().filter(runs_up) {
        let advice = "report what happened as an event, or move the name to the lower room";
        problems.push(problem(format!("{CORE}/src/{from}"), format!("imports from {to}, above it"), advice));
    }
    for (from, to) in rule.up.iter().filter(|arrow| !arrows.contains(arrow)) {
        let what = format!("{from} imports nothing from {to} any more");
        problems.push(problem(PLACE, what, "remove it from `up`"));
    }
    problems
}

/// Line, problem and advice for each name in a file of proto that it must not have. `depth` is how many modules below
/// the root the file is: 1 for `proto.rs`, 2 for `proto/state.rs`.
fn impurities(names: &[Name], depth: usize, rule: &Proto, crates: &[String]) -> Vec<(usize, String, String)> {
    let modules: Vec<&str> =
        names.windows(2).filter(|it| it[0].path == "mod").map(|it| &*it[1].path).collect();
    let mut found = Vec::new();
    for Name { line, path, imported } in names {
        let segments: Vec<&str> = path.split("::").collect();
        let root = segments[0];
        let stays = match root {
            _ if segments.len() == 1 && !imported => true,
            "crate" => segments[1] == "proto",
            "super" => segments.iter().take_while(|segment| **segment == "super").count() < depth,
            _ if rule.imports.iter().any(|it| it == root) => true,
            _ if !imported => !crates.iter().any(|it| it.replace('-', "_") == root),
            // A type of this file (`use State::*`) or one of its own child modules (`pub use id::Id`).
            _ => root == "self" || root.starts_with(char::is_uppercase) || modules.contains(&root),
        };
        let is_of = |ban: &str| match ban.strip_prefix('*') {
            Some(end) => segments.iter().any(|segment| segment.ends_with(end)),
            None => format!("::{path}::").contains(&format!("::{ban}::")),
        };
        let verb = if *imported { "imports" } else { "names" };
        let forbidden = rule.forbidden.iter().find(|(ban, _)| is_of(ban)).map(|(_, advice)| advice.as_str());
        if let Some(advice) = forbidden.or((!stays).then_some(IMPURE)) {
            found.push((*line, format!("{verb} `{path}`"), advice.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Code, Rule, Rules, below_root, impurities, levels, room};

    #[test]
    fn what_runs_up_is_found() {
        let arrow = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let rooms = ["endpoint", "session", "proto"].map(str::to_owned);
        let rule = Rule { rooms: rooms.to_vec(), up: vec![arrow("proto", "session")] };
        let broken = |arrows: &[_]| levels(&rooms.clone().into(), &arrows.iter().cloned().collect(), &rule);
        let allowed = [arrow("endpoint", "proto"), arrow("proto", "session")];
        assert_eq!(broken(&allowed), [""; 0]);
        let planted = broken(&[&allowed[..], &[arrow("session", "endpoint")]].concat());
        assert!(planted[0].contains("src/session: imports from endpoint"), "{planted:?}");
        assert!(broken(&[])[0].contains("any more"));
        assert!(levels(&["new".to_owned()].into(), &Default::default(), &rule)[0].contains("lacks new"));
        assert_eq!(below_root("crate::Handler"), Some("Handler"));
        assert_eq!(["a.rs", "a/b.rs", "a/b/c.rs"].map(|path| room(Path::new(path))), ["a"; 3]);
    }

    const PURE: &str = "//! No async here, and no Instant::now.\n\
        use std::time::{Duration, Instant};\n\
        use crate::proto::id::Id;\n\
        use super::state::State;\n\
        mod child;\nuse child::Child;\n\
        fn f(now: Instant) -> &'static str { self.awaited; crate::proto::f(); \"std::net\" }\n\
        #[cfg(test)]\nmod tests { use futures::executor; }\n";

    #[test]
    fn each_planted_impurity_is_found() {
        let rules = Rules::load().unwrap();
        let found = |text: &str| {
            impurities(
                &Code::parse(text).unwrap().names(),
                2,
                &rules.proto,
                &rules.crates["mcp-session-core"].uses,
            )
        };
        assert!(found(PURE).is_empty(), "{:?}", found(PURE));
        for (planted, what) in [
            ("async fn g() {}", "names `async`"),
            ("fn g() { Instant::now(); }", "names `Instant::now`"),
            ("use std::{fmt, thread};", "imports `std::thread`"),
            ("use http::StatusCode;", "imports `http::StatusCode`"),
            ("use crate::manager::Manager;", "imports `crate::manager::Manager`"),
            ("use super::super::manager::Manager;", "imports `super::super::manager::Manager`"),
            ("fn g() { tracing::debug!(\"x\"); }", "names `tracing::debug`"),
            ("fn g() -> crate::error::Error {}", "names `crate::error::Error`"),
            ("fn g() -> BoxFuture {}", "names `BoxFuture`"),
            ("fn g() { f().await; }", "names `await`"),
            ("use std::{net::TcpStream, time::SystemTime};", "imports `std::net::TcpStream`"),
        ] {
            let found = found(&format!("{PURE}{planted}"));
            assert_eq!((found[0].0, found[0].1.as_str()), (10, what), "{planted}");
        }
    }
}
