//! Inside core, a name is imported from the file that owns it, not through `lib.rs`: so the imports of a file say what it
//! depends on.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::Violation;
use super::imports::Imports;
use crate::source;
use crate::workspace::{self, CORE, Workspace};

const ADVICE: &str = "import it from the module that defines it, such as `crate::session::Session`";

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Violation>> {
    let src = workspace::directory(workspace.package(CORE)?).join("src");
    let is_module = |name: &str| src.join(format!("{name}.rs")).is_file();
    let (mut violations, mut rooms, mut arrows) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (path, source) in source::files_below(&src)? {
        let room = room(path.strip_prefix(&src)?);
        if room != "lib" {
            let others = used(&source.bare).into_iter().filter(|other| *other != room && is_module(other));
            arrows.extend(others.map(|other| (room.clone(), other)));
            rooms.insert(room);
        }
        let place = workspace.relative(&path).display();
        let through = through_the_root(&source.bare, is_module).into_iter();
        violations.extend(through.map(|(line, path)| {
            Violation::new(
                format!("{place}:{line}"),
                format!("uses `{path}`, which is in lib.rs only"),
                ADVICE,
            )
        }));
    }
    println!("{CORE}: {} files and folders, {} arrows between them", rooms.len(), arrows.len());
    Ok(violations)
}

/// The file or folder directly under `src` that a file belongs to: `session` for `session.rs` and `session/cell.rs`.
fn room(below_src: &Path) -> String {
    let first = below_src.components().next().map(|part| Path::new(part.as_os_str()));
    first.and_then(Path::file_stem).unwrap_or_default().to_string_lossy().into_owned()
}

/// What a file names right below the crate's root.
fn used(bare: &str) -> BTreeSet<String> {
    let Imports { paths, rest } = Imports::of(bare);
    let imported = paths.iter().filter_map(|(_, path)| path.strip_prefix("crate::"));
    let named = imported.chain(rest.split("crate::").skip(1));
    named
        .map(|path| {
            path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned()
        })
        .collect()
}

/// Lines and paths of what is named through the crate's root without being a module there.
fn through_the_root(bare: &str, is_module: impl Fn(&str) -> bool) -> Vec<(usize, String)> {
    let Imports { paths, rest } = Imports::of(bare);
    let inline = (1..).zip(rest.lines()).flat_map(|(line, text)| {
        let names = text.split("crate::").skip(1);
        names.map(move |name| {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            (line, format!("crate::{}", &name[..end]))
        })
    });
    let named = paths.into_iter().chain(inline);
    let through = named.filter(|(_, path)| {
        let first = path.strip_prefix("crate::").and_then(|below| below.split("::").next());
        first.is_some_and(|first| !first.is_empty() && !is_module(first))
    });
    through.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{room, through_the_root, used};

    #[test]
    fn a_name_through_the_root_is_found_in_imports_and_in_the_text() {
        let is_module = |name: &str| name == "session";
        let clean = "use crate::{session::Session, session};\nfn f(_: crate::session::Session) {}";
        assert_eq!(through_the_root(clean, is_module), []);
        for (planted, line) in [("use crate::{Handler, session};", 1), ("\nfn f(_: crate::Handler) {}", 2)] {
            assert_eq!(through_the_root(planted, is_module), [(line, "crate::Handler".to_owned())]);
        }
    }

    #[test]
    fn rooms_and_what_they_use_are_read_from_paths_and_text() {
        let rooms =
            ["session.rs", "session/cell.rs", "proto/session/tests.rs"].map(|path| room(Path::new(path)));
        assert_eq!(rooms, ["session", "session", "proto"]);
        let text = "use crate::{proto::{self, Json}, sync::lock};\nfn f() { crate::trace::told(); }";
        assert_eq!(used(text).into_iter().collect::<Vec<_>>(), ["proto", "sync", "trace"]);
    }
}
