//! An adapter only translates: no MCP header names, no status codes, and little code. So does their shared crate.

use anyhow::Result;
use serde::Deserialize;

use super::problem;
use crate::source::Code;
use crate::workspace::{self, HYPER, Workspace};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rule {
    most_lines: usize,
    own_http: String,
    only_core_has: Vec<String>,
}

pub(super) fn check(workspace: &Workspace, rule: &Rule) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut adapters = workspace.adapters();
    adapters.push(workspace.package(HYPER)?);
    for adapter in adapters {
        let shared = adapter.name.as_str() == HYPER;
        let (mut lines, mut of_http) = (0, 0);
        let src = workspace::directory(adapter).join("src");
        for (path, code) in Code::below(&src)? {
            let is_http = path.with_extension("").starts_with(src.join(&rule.own_http));
            *(if is_http { &mut of_http } else { &mut lines }) += code.lines();
            for (line, word) in knowledge(&code, rule) {
                let place = format!("{}:{line}", workspace.relative(&path).display());
                let advice = "let core decide: it builds the whole response, and the adapter passes it on";
                problems.push(problem(place, format!("holds `{word}`"), advice));
            }
        }
        let bound =
            if shared { "shared".to_owned() } else { format!("fewer than {} allowed", rule.most_lines) };
        println!("{}: {lines} lines of code ({bound})", adapter.name);
        if of_http > 0 {
            println!("{}: {of_http} more in its own HTTP stack", adapter.name);
        }
        if lines >= rule.most_lines && !shared {
            let advice = "move everything that does not translate between core and the runtime into core";
            problems.push(problem(&adapter.name, format!("has {lines} lines of code"), advice));
        }
    }
    Ok(problems)
}

/// Lines with text that only core may have, and that text.
fn knowledge<'a>(code: &Code, rule: &'a Rule) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for name in code.names() {
        let text = name.path.to_ascii_lowercase();
        found.extend(
            rule.only_core_has.iter().filter(|it| text.contains(*it)).map(|it| (name.line, it.as_str())),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::Rules, Code, knowledge};

    #[test]
    fn a_planted_header_or_status_is_found() {
        let rule = Rules::load().unwrap().adapters;
        for (planted, found) in [
            ("// Mcp-Session-Id", None),
            ("const ID: &str = \"Mcp-Session-Id\";", Some((1, "mcp-session-id"))),
            ("fn f() { StatusCode::OK; }", Some((1, "statuscode::"))),
            ("use http::StatusCode::OK;", Some((1, "statuscode::"))),
        ] {
            let text = format!("{planted}\n#[cfg(test)]\nmod tests {{ use http::StatusCode::OK; }}");
            assert_eq!(knowledge(&Code::parse(&text).unwrap(), &rule).first().copied(), found, "{planted}");
        }
    }
}
