//! Inside core, a name is imported from the file that owns it, not through `lib.rs`: so the imports of a file say what it
//! depends on.

use anyhow::Result;

use super::Violation;
use super::imports::Imports;
use crate::source;
use crate::workspace::{self, CORE, Workspace};

const ADVICE: &str = "import it from the module that defines it, such as `crate::session::Session`";

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Violation>> {
    let src = workspace::directory(workspace.package(CORE)?).join("src");
    let mut violations = Vec::new();
    for (path, source) in source::files_below(&src)? {
        let is_module = |name: &str| src.join(format!("{name}.rs")).is_file();
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
    Ok(violations)
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
    use super::through_the_root;

    #[test]
    fn a_name_through_the_root_is_found_in_imports_and_in_the_text() {
        let is_module = |name: &str| name == "session";
        let clean = "use crate::{session::Session, session};\nfn f(_: crate::session::Session) {}";
        assert_eq!(through_the_root(clean, is_module), []);
        for (planted, line) in [("use crate::{Handler, session};", 1), ("\nfn f(_: crate::Handler) {}", 2)] {
            assert_eq!(through_the_root(planted, is_module), [(line, "crate::Handler".to_owned())]);
        }
    }
}
