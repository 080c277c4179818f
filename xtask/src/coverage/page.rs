//! `docs/coverage.md`: which requirements of the specification we implement, and the tests that show it.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::index::Index;
use super::requirements::{Requirement, Requirements};

const HEAD: &str = "\
# Coverage of the specification

The requirements of the MCP specification for the session layer of a server, as restated in
[requirements.toml](requirements.toml), with the tests that show them. A scenario of the testkit's suites is listed once
and runs on every runtime. `cargo xtask coverage --write` generates this page; `cargo xtask test-all` checks that it is
up to date and that nothing is missing.

`MUST`, `SHOULD` and `MAY` are the specification's words; `REC` is our choice where it is silent or ambiguous. S is the
server, C the client, B both. 03, 06 and 11 are the revisions 2025-03-26, 2025-06-18 and 2025-11-25, L is all three, and
26 is 2026-07-28.

| section | tested | shown otherwise | declined | to come | optional or not the server's | missing |
|---|---|---|---|---|---|---|
";

/// The whole page.
pub(super) fn render(requirements: &Requirements, tests: &Index) -> String {
    let mut page = HEAD.to_owned();
    for (letter, section) in &requirements.sections {
        let counts = count(&section.requirements, tests).map(|count| count.to_string()).join(" | ");
        let _ = writeln!(page, "| {letter}: {} | {counts} |", section.title);
    }
    for (letter, section) in &requirements.sections {
        let _ = write!(page, "\n## {letter}: {}\n\n", section.title);
        page += "| | level | who | revisions | requirement | shown by |\n|---|---|---|---|---|---|\n";
        for it in &section.requirements {
            let link = |(name, file): &(String, PathBuf)| format!("[`{name}`](../{})", file.display());
            let links: Vec<String> = tests.of(&it.id).iter().map(link).collect();
            let shown = if links.is_empty() { it.standing(0).1 } else { links.join(", ") };
            let (id, level, who, versions) = (&it.id, &it.level, &it.who, &it.versions);
            let _ = writeln!(page, "| {id} | {level} | {who} | {versions} | {} | {shown} |", it.text);
        }
    }
    page
}

/// The totals in one line.
pub(super) fn sums(requirements: &Requirements, tests: &Index) -> String {
    let [tested, shown, declined, open, not_ours, missing] =
        count(requirements.sections.values().flat_map(|section| &section.requirements), tests);
    format!(
        "{tested} tested, {shown} shown otherwise, {declined} declined, {open} to come, {not_ours} optional or not the \
         server's, {missing} without a test"
    )
}

/// How many requirements have each [`Standing`](super::requirements::Standing), in its order.
fn count<'a>(requirements: impl IntoIterator<Item = &'a Requirement>, tests: &Index) -> [usize; 6] {
    let mut counts = [0; 6];
    for it in requirements {
        counts[it.standing(tests.of(&it.id).len()).0 as usize] += 1;
    }
    counts
}
