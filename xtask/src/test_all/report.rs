//! The results of the steps: the table, and the last line, which scripts may parse.

use std::fmt;
use std::time::Duration;

use crate::table;

/// Tests, as libtest counts them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    failed: usize,
    ignored: usize,
}

impl Counts {
    /// Adds up the `test result: ok. 3 passed; 0 failed; 1 ignored; …` lines in an output.
    pub(super) fn of(output: &str) -> Counts {
        let results = output.lines().filter_map(|line| line.trim_start().strip_prefix("test result: "));
        let words: Vec<&str> = results.flat_map(str::split_whitespace).collect();
        let sum = |what| {
            let pairs = words.windows(2).filter(|pair| pair[1] == what);
            pairs.filter_map(|pair| pair[0].parse::<usize>().ok()).sum()
        };
        Counts { passed: sum("passed;"), failed: sum("failed;"), ignored: sum("ignored;") }
    }

    fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// How a step ended: well, unless it failed or was skipped.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) failed: Option<String>,
    pub(super) skipped: Option<String>,
    pub(super) counts: Option<Counts>,
    /// A note for the row: parts of the step that could not run on this machine.
    pub(super) note: String,
}

impl Outcome {
    pub(super) fn failed(why: String) -> Outcome {
        Outcome { failed: Some(why), ..Outcome::default() }
    }

    pub(super) fn skipped(why: impl Into<String>) -> Outcome {
        Outcome { skipped: Some(why.into()), ..Outcome::default() }
    }

    /// Adds a reason why it failed.
    pub(super) fn fail(&mut self, why: impl fmt::Display) {
        self.failed = Some(self.failed.take().map_or_else(|| why.to_string(), |it| format!("{it}, {why}")));
    }

    /// Adds the result of another part of the step.
    pub(super) fn add(&mut self, part: &Outcome) {
        part.failed.iter().for_each(|why| self.fail(why));
        part.counts.iter().for_each(|counts| self.counts.get_or_insert_default().add(*counts));
    }

    pub(super) fn note(self, note: impl Into<String>) -> Outcome {
        Outcome { note: note.into(), ..self }
    }
}

/// For a check that has already printed its problems.
impl From<bool> for Outcome {
    fn from(success: bool) -> Outcome {
        Outcome { failed: (!success).then(|| "see above".to_owned()), ..Outcome::default() }
    }
}

impl From<(bool, String)> for Outcome {
    fn from((success, note): (bool, String)) -> Outcome {
        Outcome::from(success).note(note)
    }
}

/// The steps that ran, in order.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) rows: Vec<(String, Outcome, Duration)>,
    /// The suites, runtime by runtime: name, scenarios, and how many of them are ignored. They are also counted among the
    /// tests of the steps.
    pub(super) scenarios: Vec<(String, usize, usize)>,
}

impl Report {
    pub(super) fn failed(&self) -> bool {
        self.rows.iter().any(|(_, outcome, _)| outcome.failed.is_some())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The part of a reason that fits in a row; the full reason is printed above the table.
        let brief =
            |text: &str| text.lines().next().unwrap_or_default().chars().take(100).collect::<String>();
        let mut rows = vec![["step", "tests", "   time", "result"].map(str::to_owned).to_vec()];
        let mut totals = Counts::default();
        for (step, Outcome { failed, skipped, counts, note }, time) in &self.rows {
            let tests = counts.map_or("-".to_owned(), |counts| counts.passed.to_string());
            let result = match (failed, skipped) {
                (Some(why), _) => format!("FAILED: {}", brief(why)),
                (None, Some(why)) => format!("skipped: {}", brief(why)),
                (None, None) => "ok".to_owned(),
            };
            let result = if note.is_empty() { result } else { format!("{result}; {note}") };
            rows.push(vec![
                step.clone(),
                format!("{tests:>5}"),
                format!("{:>5.1} s", time.as_secs_f64()),
                result,
            ]);
            let counts = counts.unwrap_or_default();
            totals.add(counts);
            // A step that failed without a failing test, such as one that did not compile, counts as one failure, so that
            // the last line never says `0 failed` after a failure.
            totals.failed += usize::from(failed.is_some() && counts.failed == 0);
        }
        writeln!(f, "{}", table::render(&rows))?;
        rows = vec![["suite and runtime", "tests"].map(str::to_owned).to_vec()];
        for (name, scenarios, ignored) in &self.scenarios {
            let note = if *ignored > 0 { format!("{ignored} of them ignored") } else { String::new() };
            rows.push(vec![name.clone(), format!("{scenarios:>5}"), note]);
        }
        if !self.scenarios.is_empty() {
            writeln!(f, "{}", table::render(&rows))?;
        }
        let Counts { passed, failed, ignored } = totals;
        write!(f, "{passed} passed, {failed} failed, {ignored} skipped")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Counts, Outcome, Report};

    #[test]
    fn the_last_line_adds_up_and_never_hides_a_failure() {
        let mut counts = Counts::of(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s\n\
             7 passed; 7 failed;\ntest result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        assert_eq!(counts, Counts { passed: 4, failed: 2, ignored: 1 });
        counts.failed = 0;
        let mut report = Report::default();
        let mut last = |outcome| {
            report.rows.push(("step".to_owned(), outcome, Duration::ZERO));
            (report.failed(), report.to_string().lines().last().map(str::to_owned).unwrap())
        };
        let well = Outcome { counts: Some(counts), ..Outcome::from(true) };
        assert_eq!(last(well), (false, "4 passed, 0 failed, 1 skipped".to_owned()));
        assert_eq!(
            last(Outcome::skipped("not installed")),
            (false, "4 passed, 0 failed, 1 skipped".to_owned())
        );
        assert_eq!(last(Outcome::from(false)), (true, "4 passed, 1 failed, 1 skipped".to_owned()));
    }
}
