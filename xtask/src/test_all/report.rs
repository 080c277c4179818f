//! The results of the steps: the table, and the last line, which scripts may parse.

use std::fmt;
use std::time::Duration;

/// Tests, as libtest counts them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) ignored: usize,
}

impl Counts {
    /// Adds the counts of a `test result: ok. 3 passed; 0 failed; 1 ignored; …` line; ignores other lines.
    pub(super) fn add_line(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result: ") else { return };
        let words: Vec<&str> = result.split_whitespace().collect();
        for pair in words.windows(2) {
            let number = pair[0].parse().unwrap_or(0);
            match pair[1] {
                "passed;" => self.passed += number,
                "failed;" => self.failed += number,
                "ignored;" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// The number of tests that were run.
    pub(super) fn run(self) -> usize {
        self.passed + self.failed
    }
}

/// How a step ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    verdict: Verdict,
    counts: Option<Counts>,
    /// A note for the row: parts of the step that could not run on this machine.
    note: String,
}

#[derive(Debug)]
enum Verdict {
    Ok,
    Failed(String),
    Skipped(String),
}

impl Outcome {
    fn new(verdict: Verdict) -> Outcome {
        Outcome { verdict, counts: None, note: String::new() }
    }

    pub(crate) fn ok() -> Outcome {
        Outcome::new(Verdict::Ok)
    }

    pub(crate) fn failed(why: impl Into<String>) -> Outcome {
        Outcome::new(Verdict::Failed(why.into()))
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Outcome {
        Outcome::new(Verdict::Skipped(why.into()))
    }

    /// For a check that has already printed its problems.
    pub(crate) fn from_success(success: bool) -> Outcome {
        if success { Outcome::ok() } else { Outcome::failed("see above") }
    }

    /// Adds a note about what was left out.
    pub(crate) fn with_note(self, note: String) -> Outcome {
        Outcome { note, ..self }
    }

    pub(super) fn with_counts(self, counts: Counts) -> Outcome {
        Outcome { counts: Some(counts), ..self }
    }
}

/// The steps that ran, in order.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<(String, Outcome, Duration)>,
    /// The suites, runtime by runtime: name, scenarios, and how many of them are ignored. They are also counted among the
    /// tests of the steps.
    pub(super) scenarios: Vec<(String, usize, usize)>,
}

impl Report {
    pub(super) fn add(&mut self, step: String, outcome: Outcome, time: Duration) {
        self.rows.push((step, outcome, time));
    }

    pub(super) fn failed(&self) -> bool {
        self.rows.iter().any(|(_, outcome, _)| matches!(outcome.verdict, Verdict::Failed(_)))
    }

    /// The sums over all tests. A step that failed without a failing test (for example because it did not compile) counts as
    /// one failure, so that the last line never says `0 failed` after a failure.
    fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        for (_, outcome, _) in &self.rows {
            let counts = outcome.counts.unwrap_or_default();
            totals.add(counts);
            if matches!(outcome.verdict, Verdict::Failed(_)) && counts.failed == 0 {
                totals.failed += 1;
            }
        }
        totals
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            self.rows.iter().map(|(step, ..)| step).chain(self.scenarios.iter().map(|(name, ..)| name));
        let width = names.map(String::len).max().unwrap_or_default();
        writeln!(f, "{:width$}  {:>5}  {:>7}  result", "step", "tests", "time")?;
        for (step, outcome, time) in &self.rows {
            let tests = outcome.counts.map_or("-".to_owned(), |counts| counts.passed.to_string());
            write!(f, "{step:width$}  {tests:>5}  {:>5.1} s  ", time.as_secs_f64())?;
            match &outcome.verdict {
                Verdict::Ok => write!(f, "ok")?,
                Verdict::Failed(why) => write!(f, "FAILED: {}", brief(why))?,
                Verdict::Skipped(why) => write!(f, "skipped: {}", brief(why))?,
            }
            writeln!(f, "{}{}", if outcome.note.is_empty() { "" } else { "; " }, outcome.note)?;
        }
        if !self.scenarios.is_empty() {
            writeln!(f, "\n{:width$}  {:>5}", "suite and runtime", "tests")?;
        }
        for (name, scenarios, ignored) in &self.scenarios {
            let note = if *ignored > 0 { format!("  {ignored} of them ignored") } else { String::new() };
            writeln!(f, "{name:width$}  {scenarios:>5}{note}")?;
        }
        let Counts { passed, failed, ignored } = self.totals();
        write!(f, "\n{passed} passed, {failed} failed, {ignored} skipped")
    }
}

/// The part of a reason that fits in a row; the full reason is printed above the table.
fn brief(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Counts, Outcome, Report};

    #[test]
    fn libtest_lines_are_added_up() {
        let mut counts = Counts::default();
        counts.add_line(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
        );
        counts.add_line("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        counts.add_line("7 passed; 7 failed;");
        assert_eq!(counts, Counts { passed: 4, failed: 2, ignored: 1 });
    }

    #[test]
    fn the_last_line_never_hides_a_failure() {
        let mut report = Report::default();
        let counts = Counts { passed: 4, failed: 0, ignored: 1 };
        report.add("test a".to_owned(), Outcome::ok().with_counts(counts), Duration::ZERO);
        report.add("deny".to_owned(), Outcome::skipped("not installed"), Duration::ZERO);
        assert!(!report.failed());
        assert_eq!(report.to_string().lines().last(), Some("4 passed, 0 failed, 1 skipped"));
        report.add("docs".to_owned(), Outcome::failed("exit status: 101"), Duration::ZERO);
        assert!(report.failed());
        assert_eq!(report.to_string().lines().last(), Some("4 passed, 1 failed, 1 skipped"));
    }
}
