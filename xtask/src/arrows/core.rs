//! Inside core: a name is imported from the file that owns it, and arrows run down.
//!
//! A room is a file or a folder directly under `src`, such as `session` for `session.rs` and `session/cell.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::problem;
use crate::source::Code;
use crate::workspace::{self, CORE, Workspace};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rule {
    rooms: Vec<String>,
    only_sync_has: Vec<String>,
    up: Vec<(String, String)>,
}

type Arrows = BTreeSet<(String, String)>;

/// The room with the locks, atomics and wakers of all others.
const SYNC: &str = "sync";

const OWNER: &str = "import it from the module that defines it, such as `crate::session::Session`";

pub(super) fn check(workspace: &Workspace, rule: &Rule) -> Result<Vec<String>> {
    let src = workspace::directory(workspace.package(CORE)?).join("src");
    let files = Code::below(&src)?;
    let room = |path: &Path| room(path.strip_prefix(&src).unwrap_or(path));
    let rooms: BTreeSet<String> = files.iter().map(|(path, _)| room(path)).filter(|it| it != "lib").collect();
    ensure!(rooms.contains("session"), "if sessions have moved, update xtask/src/arrows/core.rs");
    let (mut problems, mut arrows) = (Vec::new(), Arrows::new());
    for (path, code) in &files {
        let (room, names) = (room(path), code.names());
        let at = |line| format!("{}:{line}", workspace.relative(path).display());
        for name in names.iter().filter(|name| room != SYNC && is_of_sync(&name.path, rule)) {
            let advice = "import it from `crate::sync`, and add it there if it is missing";
            problems.push(problem(at(name.line), format!("names `{}`", name.path), advice));
        }
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
    }
    println!("{CORE}: {} files and folders, {} arrows between them", rooms.len(), arrows.len());
    problems.extend(levels(&rooms, &arrows, rule));
    Ok(problems)
}

fn room(below_src: &Path) -> String {
    let first = below_src.iter().next().map(Path::new);
    first.and_then(Path::file_stem).unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether only `sync` may name this path, or something below it.
fn is_of_sync(path: &str, rule: &Rule) -> bool {
    rule.only_sync_has.iter().any(|it| {
        path.strip_prefix(it.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::Rules, Rule, below_root, is_of_sync, levels, room};

    #[test]
    fn a_planted_lock_is_found() {
        let rule = Rules::load().unwrap().core;
        for (path, found) in [
            ("std::sync::Mutex", true),
            ("std::sync::atomic::AtomicU8", true),
            ("std::sync::Arc", false),
            ("std::sync::OnceState", false),
            ("crate::sync::Mutex", false),
        ] {
            assert_eq!(is_of_sync(path, &rule), found, "{path}");
        }
    }

    #[test]
    fn what_runs_up_is_found() {
        let arrow = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let rooms = ["endpoint", "session", "store"].map(str::to_owned);
        let (up, only_sync_has) = (vec![arrow("store", "session")], Vec::new());
        let rule = Rule { rooms: rooms.to_vec(), only_sync_has, up };
        let broken = |arrows: &[_]| levels(&rooms.clone().into(), &arrows.iter().cloned().collect(), &rule);
        let allowed = [arrow("endpoint", "store"), arrow("store", "session")];
        assert_eq!(broken(&allowed), [""; 0]);
        let planted = broken(&[&allowed[..], &[arrow("session", "endpoint")]].concat());
        assert!(planted[0].contains("src/session: imports from endpoint"), "{planted:?}");
        assert!(broken(&[])[0].contains("any more"));
        assert!(levels(&["new".to_owned()].into(), &Default::default(), &rule)[0].contains("lacks new"));
        assert_eq!(below_root("crate::Handler"), Some("Handler"));
        assert_eq!(["a.rs", "a/b.rs", "a/b/c.rs"].map(|path| room(Path::new(path))), ["a"; 3]);
    }
}
