//! [`Table`]: one row for each play.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{args::Play, judge::Judged, plays::Happened};

#[derive(Debug, Default)]
struct Row {
    runs: u64,
    /// Runs that could not be judged, or in which something was wrong.
    failed: u64,
    calls: usize,
    results: usize,
    given_up: usize,
    unknown: usize,
    refused: usize,
    lost: usize,
    doubled: usize,
    different: usize,
    wrong: usize,
    errors: BTreeMap<String, usize>,
    attach: Vec<Duration>,
    next: Vec<Duration>,
    exits: Vec<Duration>,
    running: Vec<u64>,
    error_after: Vec<Duration>,
}

/// The sums of all runs.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<Play, Row>);

impl Table {
    pub(crate) fn add(&mut self, play: Play, run: Option<(&Judged, &Happened)>) {
        let row = self.0.entry(play).or_default();
        row.runs += 1;
        let Some((judged, happened)) = run else {
            row.failed += 1;
            return;
        };
        row.failed += u64::from(!judged.is_well());
        row.calls += judged.calls;
        row.results += judged.results;
        row.given_up += judged.given_up;
        row.unknown += judged.unknown;
        row.refused += judged.refused;
        row.lost += judged.lost.len();
        row.doubled += judged.doubled.len();
        row.different += judged.different.len();
        row.wrong += judged.wrong.len();
        for (reason, count) in &judged.errors {
            *row.errors.entry(reason.clone()).or_default() += count;
        }
        row.attach.extend(&judged.attach);
        row.next.extend(&judged.next);
        row.error_after.extend(&judged.error_after);
        row.exits.extend(&happened.exits);
        row.running.extend(&happened.running);
    }

    /// Whether every run was well.
    pub(crate) fn is_well(&self) -> bool {
        self.0.values().all(|row| row.failed == 0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<14}{:>5}{:>8}{:>8}{:>9}{:>8}{:>6}{:>9}{:>11}{:>7}{:>9}  {:<16}{:<16}{:<16}",
            "play",
            "runs",
            "calls",
            "results",
            "given up",
            "unknown",
            "lost",
            "doubled",
            "other logs",
            "wrong",
            "503",
            "attach ms",
            "next event ms",
            "exit s",
        )?;
        for (play, row) in &self.0 {
            let Row {
                runs,
                failed,
                calls,
                results,
                given_up,
                unknown,
                lost,
                doubled,
                different,
                wrong,
                refused,
                ..
            } = row;
            write!(
                f,
                "\n{:<14}{runs:>5}{calls:>8}{results:>8}{given_up:>9}{unknown:>8}{lost:>6}{doubled:>9}{different:>11}{wrong:>7}{refused:>9}",
                play.name(),
            )?;
            write!(f, "  {:<16}{:<16}", spread(&row.attach, 1e3), spread(&row.next, 1e3))?;
            write!(f, "{:<16}", spread(&row.exits, 1.0))?;
            for (reason, count) in &row.errors {
                write!(f, "\n{:<14}{count} errors: {reason}", "")?;
            }
            if !row.error_after.is_empty() {
                let mut after = row.error_after.clone();
                after.sort_unstable();
                let last = after.last().map_or(0.0, Duration::as_secs_f64);
                write!(f, "\n{:<14}errors after {} s, the last after {last:.2} s", "", spread(&after, 1.0))?;
            }
            if let (Some(least), Some(most)) = (row.running.iter().min(), row.running.iter().max()) {
                write!(f, "\n{:<14}{least} to {most} calls ran at a node that was stopped", "")?;
            }
            if *failed > 0 {
                write!(f, "\n{:<14}{failed} of {runs} runs FAILED", "")?;
            }
        }
        Ok(())
    }
}

/// The median and the 99th percentile, times this many for a second.
fn spread(times: &[Duration], unit: f64) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |part: f64| {
        let index = (times.len().saturating_sub(1)) as f64 * part;
        times.get(index.round() as usize).map(|time| time.as_secs_f64() * unit)
    };
    match at(0.5).zip(at(0.99)) {
        Some((median, high)) => format!("{median:.1} / {high:.1}"),
        None => "-".to_owned(),
    }
}
