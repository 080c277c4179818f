//! The result: a row per release and revision, a column per runtime.

use std::fmt;

use super::checks::Findings;
use super::suite::Run;

#[derive(Debug, Default)]
pub(super) struct Table {
    runtimes: Vec<String>,
    /// A heading and a cell per runtime.
    rows: Vec<(String, Vec<String>)>,
    broken: bool,
}

impl Table {
    /// Adds the result of a run and prints its problems.
    pub(super) fn add(&mut self, run: &Run<'_>, result: Result<Findings, String>) {
        let heading = format!("{} {}", run.release.version, run.revision);
        let cell = match result {
            Ok(findings) if findings.problems.is_empty() => {
                let found = findings.found;
                format!("{} of {}, {} checks", found.scenarios, run.expected.scenarios, found.checks)
            }
            Ok(findings) => {
                println!("\n{heading} on {}:", run.runtime);
                let lines = findings.problems.iter().chain(&findings.notes);
                lines.for_each(|line| println!("    {line}"));
                self.broken = true;
                "FAILED".to_owned()
            }
            Err(why) => {
                println!("\n{heading} on {}: {why}", run.runtime);
                self.broken = true;
                "FAILED".to_owned()
            }
        };
        if !self.runtimes.iter().any(|runtime| runtime == run.runtime) {
            self.runtimes.push(run.runtime.to_owned());
        }
        match self.rows.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, cells)) => cells.push(cell),
            None => self.rows.push((heading, vec![cell])),
        }
    }

    pub(super) fn is_ok(&self) -> bool {
        !self.broken && !self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |heading: &str, cells: &[String]| {
            let cells = cells.iter().map(|cell| format!("{cell:<22}")).collect::<Vec<_>>().concat();
            format!("{heading:<28}{}", cells.trim_end())
        };
        writeln!(f, "{}", line("suite, revision", &self.runtimes))?;
        self.rows.iter().try_for_each(|(heading, cells)| writeln!(f, "{}", line(heading, cells)))
    }
}
