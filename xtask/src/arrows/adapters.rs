//! An adapter only translates: no MCP header names, no status codes, and little code. So does their shared crate.

use std::path::Path;

use anyhow::Result;

use super::Violation;
use crate::source::{self, Source};
use crate::workspace::{self, HYPER, Workspace};

/// An adapter must have fewer lines of code. The five parts of an adapter fit; a sixth would be protocol.
const MOST_LINES: usize = 300;

/// The HTTP stack of an adapter without hyper, below `src`. Like the shared crate of the hyper adapters, it is not counted
/// as translation: it may be longer, but must not know more of the protocol.
const OWN_HTTP: &str = "http1";

/// Text that only core may contain, in lower case.
const CORE_ONLY: [&str; 4] = ["mcp-session-id", "mcp-protocol-version", "last-event-id", "statuscode::"];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let mut adapters = workspace.adapters();
    adapters.push(workspace.package(HYPER)?);
    for adapter in adapters {
        let shared = adapter.name.as_str() == HYPER;
        let files = source::files_below(&workspace::directory(adapter).join("src"))?;
        let (http, adapts): (Vec<_>, Vec<_>) = files.iter().partition(|(path, _)| is_http(path));
        let count =
            |files: &[&(_, Source)]| files.iter().map(|(_, source)| source.lines_of_code()).sum::<usize>();
        let lines = count(&adapts);
        let bound = if shared { "shared".to_owned() } else { format!("fewer than {MOST_LINES} allowed") };
        println!("{}: {lines} lines of code ({bound})", adapter.name);
        if !http.is_empty() {
            println!("{}: {} more in its own HTTP stack", adapter.name, count(&http));
        }
        // The shared crate of the hyper adapters is not an adapter: it may be longer, but not know more of the protocol.
        if lines >= MOST_LINES && !shared {
            let advice = "move everything that does not translate between core and the runtime into core";
            violations.push(Violation::new(
                adapter.name.as_str(),
                format!("has {lines} lines of code"),
                advice,
            ));
        }
        for (path, source) in &files {
            let place = workspace.relative(path).display();
            violations.extend(problems(source).into_iter().map(|(line, word)| {
                let advice = "let core decide: it builds the whole response, and the adapter passes it on";
                Violation::new(format!("{place}:{line}"), format!("holds `{word}`"), advice)
            }));
        }
    }
    Ok(violations)
}

/// Returns `true` for files of an adapter's own HTTP stack: `src/http1.rs` or below `src/http1`.
fn is_http(path: &Path) -> bool {
    let file = path.file_stem().is_some_and(|stem| stem == OWN_HTTP);
    file || path.parent().is_some_and(|folder| folder.ends_with(Path::new("src").join(OWN_HTTP)))
}

/// Lines that contain text that only core may contain.
fn problems(source: &Source) -> Vec<(usize, &'static str)> {
    let lines = (1..).zip(source.code.lines().map(str::to_ascii_lowercase));
    let found = |(line, text): (usize, String)| {
        CORE_ONLY.into_iter().filter(move |word| text.contains(word)).map(move |word| (line, word))
    };
    lines.flat_map(found).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Source, is_http, problems};

    #[test]
    fn a_planted_header_or_status_is_found() {
        let clean = "// Mcp-Session-Id is core's business\nfn f() {}\n\
            #[cfg(test)]\nmod tests { use http::StatusCode::OK; }";
        assert_eq!(problems(&Source::parse(clean)), []);
        let header = clean.replace("fn f() {}", "const ID: &str = \"Mcp-Session-Id\";");
        assert_eq!(problems(&Source::parse(&header)), [(2, "mcp-session-id")]);
        let status = clean.replace("fn f() {}", "fn f() { StatusCode::OK; }");
        assert_eq!(problems(&Source::parse(&status)), [(2, "statuscode::")]);
    }

    #[test]
    fn an_http_stack_is_recognized_by_its_path() {
        for (path, http) in [
            ("crates/a/src/http1.rs", true),
            ("crates/a/src/http1/head.rs", true),
            ("crates/a/src/http1head.rs", false),
            ("crates/http1/src/lib.rs", false),
        ] {
            assert_eq!(is_http(Path::new(path)), http, "{path}");
        }
    }
}
