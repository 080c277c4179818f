//! `docs/coverage.md`: which requirements of the specification we implement, and the tests that show it.

use std::fmt::Write as _;

use super::index::Index;
use super::requirements::{Requirements, Section, Standing};

const HEAD: &str = "\
# Coverage of the specification

The requirements of the MCP specification for the session layer of a server, as restated in
[requirements.toml](requirements.toml), with the tests that show them. A scenario of the testkit's suites is listed once
and runs on every runtime. `cargo xtask coverage --write` generates this page; `cargo xtask test-all` checks that it is
up to date and that nothing is missing.

`MUST`, `SHOULD` and `MAY` are the specification's words; `REC` is our choice where it is silent or ambiguous. S is the
server, C the client, B both. 03, 06 and 11 are the revisions 2025-03-26, 2025-06-18 and 2025-11-25, L is all three, and
26 is 2026-07-28.

";

/// The whole page.
pub(super) fn render(requirements: &Requirements, tests: &Index) -> String {
    let mut page = HEAD.to_owned();
    page += &table(requirements, tests);
    for (letter, section) in &requirements.sections {
        let _ = write!(page, "\n## {letter}: {}\n\n", section.title);
        page += "| | level | who | revisions | requirement | shown by |\n|---|---|---|---|---|---|\n";
        for it in &section.requirements {
            let links: Vec<String> = tests.of(&it.id).map(|test| link(&test.name, &test.file)).collect();
            let shown = match it.standing(links.len()) {
                Standing::Tested => links.join(", "),
                other => other.to_string(),
            };
            let (id, level, who, versions) = (&it.id, &it.level, &it.who, &it.versions);
            let _ = writeln!(page, "| {id} | {level} | {who} | {versions} | {} | {shown} |", it.text);
        }
    }
    page
}

/// The totals in one line.
pub(super) fn sums(requirements: &Requirements, tests: &Index) -> String {
    let mut sums = [0; 6];
    for section in requirements.sections.values() {
        sums.iter_mut().zip(count(section, tests)).for_each(|(sum, count)| *sum += count);
    }
    let [tested, shown, declined, open, not_ours, missing] = sums;
    format!(
        "{tested} tested, {shown} shown otherwise, {declined} declined, {open} to come, {not_ours} optional or not the \
         server's, {missing} without a test"
    )
}

fn table(requirements: &Requirements, tests: &Index) -> String {
    let mut table = "| section | tested | shown otherwise | declined | to come | optional or not the server's | missing |\n\
        |---|---|---|---|---|---|---|\n"
        .to_owned();
    for (letter, section) in &requirements.sections {
        let counts = count(section, tests).map(|count| count.to_string()).join(" | ");
        let _ = writeln!(table, "| {letter}: {} | {counts} |", section.title);
    }
    table
}

/// The numbers of requirements that are tested, shown otherwise, declined, open, optional or not ours, and missing.
fn count(section: &Section, tests: &Index) -> [usize; 6] {
    let mut counts = [0; 6];
    for requirement in &section.requirements {
        let place = match requirement.standing(tests.of(&requirement.id).count()) {
            Standing::Tested => 0,
            Standing::Shown(_) => 1,
            Standing::Declined(_) => 2,
            Standing::Open(_) => 3,
            Standing::NotOurs | Standing::Optional => 4,
            Standing::Missing => 5,
        };
        counts[place] += 1;
    }
    counts
}

fn link(name: &str, file: &std::path::Path) -> String {
    format!("[`{name}`](../{})", file.display())
}
