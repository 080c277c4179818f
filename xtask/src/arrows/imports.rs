//! The paths in `use` declarations.

use crate::source;

/// The paths in the `use` declarations of a file, and its text without them.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Imports {
    /// The line in which a declaration starts, and a full path: `use a::{b, c::d};` is `a::b` and `a::c::d`.
    pub(super) paths: Vec<(usize, String)>,
    /// The rest of the text; lines keep their numbers.
    pub(super) rest: String,
}

impl Imports {
    pub(super) fn of(bare: &str) -> Imports {
        let mut imports = Imports { paths: Vec::new(), rest: bare.to_owned() };
        while let Some(start) = next_use(&imports.rest) {
            let end = imports.rest[start..].find(';').map_or(imports.rest.len(), |at| start + at);
            let line = imports.rest[..start].matches('\n').count() + 1;
            let tree =
                imports.rest[start + "use".len()..end].split_whitespace().collect::<Vec<_>>().join(" ");
            let mut paths = Vec::new();
            flatten("", &tree, &mut paths);
            imports.paths.extend(paths.into_iter().map(|path| (line, path)));
            source::erase(&mut imports.rest, start..end);
        }
        imports
    }
}

/// Where the next `use` declaration starts. (The bound `use<'a>` is not one.)
fn next_use(text: &str) -> Option<usize> {
    text.match_indices("use").map(|(at, _)| at).find(|&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + "use".len()..].chars().next();
        before.is_none_or(|c| c.is_whitespace() || ";{}])".contains(c))
            && after.is_some_and(|c| c.is_whitespace() || c == ':')
    })
}

/// Adds the paths of a use tree to `paths`.
fn flatten(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim_start_matches("::");
        if !path.is_empty() {
            paths.push(format!("{prefix}{path}").replace(' ', ""));
        }
        return;
    };
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let prefix = format!("{prefix}{}", head.trim().trim_start_matches("::"));
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                flatten(&prefix, &group[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    flatten(&prefix, &group[start..], paths);
}

#[cfg(test)]
mod tests {
    use super::Imports;

    #[test]
    fn a_use_tree_becomes_full_paths() {
        let text = "use std::{fmt, thread::{self, JoinHandle}};\n\n\
            pub(crate) use crate::proto::{\n    id::Id as Name,\n    *,\n};\n\
            use ::bytes::Bytes;\nfn reuse() -> impl Sized + use<> {}";
        let imports = Imports::of(text);
        let expected = [
            (1, "std::fmt"),
            (1, "std::thread::self"),
            (1, "std::thread::JoinHandle"),
            (3, "crate::proto::id::Id"),
            (3, "crate::proto::*"),
            (7, "bytes::Bytes"),
        ];
        assert_eq!(imports.paths, expected.map(|(line, path)| (line, path.to_owned())));
        assert_eq!(imports.rest.lines().nth(7), Some("fn reuse() -> impl Sized + use<> {}"));
        assert!(!imports.rest.contains("std") && !imports.rest.contains("Name"));
    }
}
