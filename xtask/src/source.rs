//! Rust source as tokens, so that comments and literals mislead no check. Tokens, not items: macros are read, too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use proc_macro2::{Group, Span, TokenStream, TokenTree};
use syn::UseTree;
use walkdir::WalkDir;

/// The path and text of every Rust file below a directory, sorted; empty if the directory does not exist.
pub(crate) fn files_below(directory: &Path) -> Result<Vec<(PathBuf, String)>> {
    let paths =
        WalkDir::new(directory).sort_by_file_name().into_iter().flatten().map(walkdir::DirEntry::into_path);
    let rust = paths.filter(|path| path.extension().is_some_and(|it| it == "rs"));
    rust.map(|path| Ok((path.clone(), std::fs::read_to_string(path)?))).collect()
}

/// The tokens of a text. Fails if it is not Rust.
pub(crate) fn tokens(text: &str) -> Result<TokenStream> {
    text.parse().map_err(|error| anyhow!("{error}"))
}

/// Returns `true` for this punctuation mark.
pub(crate) fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

/// Returns the tokens in braces, such as the body of an item.
pub(crate) fn in_braces(token: &TokenTree) -> Option<&Group> {
    let TokenTree::Group(group) = token else { return None };
    (group.delimiter() == proc_macro2::Delimiter::Brace).then_some(group)
}

/// Calls `visit` with each token and delimiter and its place, in order.
pub(crate) fn each(tokens: &TokenStream, visit: &mut impl FnMut(Option<&TokenTree>, Span)) {
    for token in tokens.clone() {
        if let TokenTree::Group(group) = &token {
            visit(None, group.span_open());
            each(&group.stream(), visit);
            visit(None, group.span_close());
        } else {
            visit(Some(&token), token.span());
        }
    }
}

/// The code of a file: its tokens without doc comments and without items under `#[cfg(test)]`.
#[derive(Debug)]
pub(crate) struct Code(TokenStream);

/// A path, a single word, or a literal in code.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) line: usize,
    /// Such as `std::fmt` or `async`; of `use a::{b, c::d};` there are `a::b` and `a::c::d`.
    pub(crate) path: String,
    /// Whether it is in a `use` declaration.
    pub(crate) imported: bool,
}

impl Code {
    pub(crate) fn parse(text: &str) -> Result<Code> {
        Ok(Code(stripped(tokens(text)?)))
    }

    /// The code of every file below a directory, without `tests.rs` and `tests/`, which by convention belong to a
    /// `mod tests` that is compiled for tests only.
    pub(crate) fn below(directory: &Path) -> Result<Vec<(PathBuf, Code)>> {
        let mut files = files_below(directory)?;
        let is_test = |path: &Path| {
            path.iter().any(|part| ["tests", "tests.rs", "testing.rs"].iter().any(|it| part == *it))
        };
        files.retain(|(path, _)| !is_test(path.strip_prefix(directory).unwrap_or(path)));
        let parse = |(path, text): (PathBuf, String)| {
            Ok((path.clone(), Code::parse(&text).with_context(|| path.display().to_string())?))
        };
        files.into_iter().map(parse).collect()
    }

    /// The number of lines with code.
    pub(crate) fn lines(&self) -> usize {
        let mut lines = BTreeSet::new();
        each(&self.0, &mut |_, span| lines.extend(span.start().line..=span.end().line));
        lines.len()
    }

    /// Every path, word and literal, in order.
    pub(crate) fn names(&self) -> Vec<Name> {
        let mut names = Vec::new();
        find_names(&self.0, &mut names);
        names
    }
}

fn stripped(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        let TokenTree::Group(group) = token else {
            kept.push(token);
            continue;
        };
        let attribute = group.stream().to_string().replace(' ', "");
        if attribute == "cfg(test)" {
            kept.pop(); // the `#`
            tokens.by_ref().find(|it| is_mark(it, ';') || in_braces(it).is_some());
        } else if attribute.starts_with("doc=") {
            while kept.pop_if(|it| is_mark(it, '#') || is_mark(it, '!')).is_some() {}
        } else {
            let mut inner = Group::new(group.delimiter(), stripped(group.stream()));
            inner.set_span(group.span());
            kept.push(inner.into());
        }
    }
    kept.into_iter().collect()
}

fn find_names(tokens: &TokenStream, names: &mut Vec<Name>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut rest = &tokens[..];
    while let [first, after @ ..] = rest {
        rest = after;
        let line = first.span().start().line;
        match first {
            TokenTree::Group(group) => find_names(&group.stream(), names),
            // Not the bound `use<'a>`.
            TokenTree::Ident(word) if word == "use" && !rest.first().is_some_and(|it| is_mark(it, '<')) => {
                let end = rest.iter().position(|it| is_mark(it, ';')).unwrap_or(rest.len());
                let tree = rest[..end].iter().skip_while(|it| is_mark(it, ':')).cloned().collect();
                let mut paths = Vec::new();
                syn::parse2(tree).iter().for_each(|tree| flatten(tree, "", &mut paths));
                names.extend(paths.into_iter().map(|path| Name { line, path, imported: true }));
                rest = &rest[end..];
            }
            TokenTree::Ident(word) => {
                let mut path = word.to_string();
                while let [a, b, TokenTree::Ident(next), after @ ..] = rest
                    && is_mark(a, ':')
                    && is_mark(b, ':')
                {
                    path += &format!("::{next}");
                    rest = after;
                }
                names.push(Name { line, path, imported: false });
            }
            TokenTree::Literal(it) => names.push(Name { line, path: it.to_string(), imported: false }),
            TokenTree::Punct(_) => {}
        }
    }
}

fn flatten(tree: &UseTree, prefix: &str, paths: &mut Vec<String>) {
    match tree {
        UseTree::Path(path) => flatten(&path.tree, &format!("{prefix}{}::", path.ident), paths),
        UseTree::Group(group) => group.items.iter().for_each(|it| flatten(it, prefix, paths)),
        UseTree::Name(name) => paths.push(format!("{prefix}{}", name.ident)),
        UseTree::Rename(rename) => paths.push(format!("{prefix}{}", rename.ident)),
        UseTree::Glob(_) => paths.push(format!("{prefix}*")),
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    const FILE: &str = r##"
//! A comment
use std::{fmt, thread::{self, JoinHandle as Handle}}; // and its reason

fn f<'a>(c: char) -> &'a str {
    if c == '"' { "// not a comment" } else { r#"a "raw" one
    over::two lines"# }
}

/// crate::docs
#[cfg(test)]
mod tests {
    fn hidden() -> &'static str { "}" }
}
fn g() -> impl Sized + use<> { crate::trace::event!("x", crate::a) }
"##;

    #[test]
    fn only_code_outside_of_tests_counts() {
        let code = Code::parse(FILE).unwrap();
        assert_eq!(code.lines(), 6);
        assert_eq!(Code::parse("#[cfg(test)]\nmod tests;\nfn after() {}").unwrap().lines(), 1);
        let all = code.names();
        let paths = all.iter().filter(|name| name.path.contains("::"));
        let paths: Vec<_> = paths.map(|name| (name.line, name.imported, &*name.path)).collect();
        let imports =
            ["std::fmt", "std::thread::self", "std::thread::JoinHandle"].map(|path| (3, true, path));
        assert_eq!(paths[..3], imports);
        let rest = ["r#\"a \"raw\" one\n    over::two lines\"#", "crate::trace::event", "crate::a"];
        assert_eq!(paths[3..].iter().map(|it| it.2).collect::<Vec<_>>(), rest);
    }
}
