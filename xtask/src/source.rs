//! Rust source as text, without comments, literals and test modules, which checks must ignore.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A file with comments and, unless requested, `#[cfg(test)]` items blanked out; lines keep their numbers.
#[derive(Debug)]
pub(crate) struct Source {
    /// The code, with its string literals.
    pub(crate) code: String,
    /// The code, with string and character literals blanked out as well.
    pub(crate) bare: String,
}

impl Source {
    pub(crate) fn parse(text: &str) -> Source {
        let (mut code, mut bare) = blank(text);
        while let Some(range) = next_test_item(&bare) {
            erase(&mut code, range.clone());
            erase(&mut bare, range);
        }
        Source { code, bare }
    }

    /// The same, but keeps test items.
    pub(crate) fn with_tests(text: &str) -> Source {
        let (code, bare) = blank(text);
        Source { code, bare }
    }

    /// The number of lines with code.
    pub(crate) fn lines_of_code(&self) -> usize {
        self.code.lines().filter(|line| !line.trim().is_empty()).count()
    }
}

/// Every Rust file below a directory, parsed, in the order of their paths; none without such a directory.
///
/// Left out are `tests.rs` and files below `tests/`: by convention they belong to a `mod tests`, which is compiled for
/// tests only.
pub(crate) fn files_below(directory: &Path) -> Result<Vec<(PathBuf, Source)>> {
    let is_test = |path: &Path| {
        let below = path.strip_prefix(directory).unwrap_or(path);
        below.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
    };
    let files = texts_below(directory)?.into_iter().filter(|(path, _)| !is_test(path));
    Ok(files.map(|(path, text)| (path, Source::parse(&text))).collect())
}

/// The text of every Rust file below a directory, sorted by path; empty if the directory does not exist.
pub(crate) fn texts_below(directory: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    if directory.is_dir() {
        let entries: std::io::Result<Vec<_>> = fs::read_dir(directory)?.collect();
        let mut paths: Vec<PathBuf> = entries?.iter().map(fs::DirEntry::path).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                files.extend(texts_below(&path)?);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                files.push((path, text));
            }
        }
    }
    Ok(files)
}

/// Returns two copies: the first without comments, the second without comments and literals.
fn blank(text: &str) -> (String, String) {
    let (mut code, mut bare) = (text.to_owned(), text.to_owned());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let comment = comment(rest);
        let token = comment.or_else(|| literal(rest)).unwrap_or_else(|| plain(rest));
        if comment.is_some() {
            erase(&mut code, at..at + token);
        }
        if comment.is_some() || literal(rest).is_some() {
            erase(&mut bare, at..at + token);
        }
        at += token;
    }
    (code, bare)
}

/// The length of a comment at the start of `rest`; block comments nest.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += char_length(&rest[at..]);
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(rest.len())
}

/// The length of a string or character literal at the start of `rest`.
fn literal(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches(['b', 'c']);
    let raw = body.strip_prefix('r').map(|raw| raw.trim_start_matches('#'));
    if let Some(raw) = raw.filter(|raw| raw.starts_with('"')) {
        let hashes = body.len() - 1 - raw.len();
        let end = format!("\"{}", "#".repeat(hashes));
        let start = rest.len() - raw.len() + 1;
        return Some(rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len()));
    }
    let quote = body.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let start = rest.len() - body.len() + 1;
    let mut escaped = false;
    for (at, c) in rest[start..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(start + at + 1),
            // A quote that is not closed after one character starts a lifetime.
            _ if quote == '\'' && at > 0 && !rest[start..].starts_with('\\') => return None,
            _ => {}
        }
    }
    (quote == '"').then_some(rest.len())
}

/// The length of any other token at the start of `rest`: a whole word, so that no literal starts inside a word.
fn plain(rest: &str) -> usize {
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    if word > 0 { word } else { char_length(rest) }
}

fn char_length(rest: &str) -> usize {
    rest.chars().next().map_or(1, char::len_utf8)
}

/// Overwrites a range with spaces of the same length; line ends stay.
pub(crate) fn erase(text: &mut String, range: Range<usize>) {
    let blanks: String =
        text[range.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(range, &blanks);
}

/// The first item under `#[cfg(test)]`: from the attribute to its `;` or closing brace.
fn next_test_item(bare: &str) -> Option<Range<usize>> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let start = bare.find(ATTRIBUTE)?;
    let mut depth = 0;
    for (at, c) in bare[start + ATTRIBUTE.len()..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, ';' | '}') {
            return Some(start..start + ATTRIBUTE.len() + at + 1);
        }
    }
    Some(start..bare.len())
}

#[cfg(test)]
mod tests {
    use super::Source;

    const FILE: &str = r##"
//! A comment
use std::fmt; // and its reason

/* a block
   /* that nests */ */
fn f<'a>(c: char) -> &'a str {
    if c == '"' || c == '\'' || c == '/' { "// not a comment" } else { r#"a "raw" one
    over two lines"# }
}

#[cfg(test)]
mod tests {
    fn hidden() -> &'static str { "}" }
}
"##;

    #[test]
    fn only_code_outside_of_tests_counts() {
        assert_eq!(Source::parse(FILE).lines_of_code(), 5);
        assert_eq!(Source::parse("").lines_of_code(), 0);
        assert_eq!(Source::parse("#[cfg(test)]\nmod tests;\nfn after() {}").lines_of_code(), 1);
    }

    #[test]
    fn a_planted_line_is_counted() {
        let planted = FILE.replace("/* a block", "fn planted() {} /* a block");
        assert_eq!(Source::parse(&planted).lines_of_code(), 6);
    }

    #[test]
    fn literals_are_in_code_but_not_in_bare() {
        let source = Source::parse(FILE);
        assert!(source.code.contains("// not a comment") && source.code.contains("over two lines"));
        assert!(!source.bare.contains("not a comment") && !source.bare.contains("over two lines"));
        assert!(!source.code.contains("A comment") && !source.code.contains("nests"));
        assert!(!source.code.contains("hidden") && source.bare.contains("&'a str"));
        assert_eq!(source.code.lines().count(), FILE.lines().count(), "lines keep their numbers");
    }
}
