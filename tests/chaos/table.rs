//! [`Table`]: the sums of a campaign, per adapter.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    draw::Adapter,
    judge::{Counts, Failure, SLACK},
    trial::Verdict,
};

#[derive(Debug, Default)]
struct Row {
    trials: u64,
    counts: Counts,
    /// Exits by code; `None` is SIGTERM before the server listened.
    codes: BTreeMap<Option<i32>, u64>,
    farthest: Duration,
    /// Exits more than 0.2 s beyond the ceiling, but by no more than the control was late too.
    late_like_control: u64,
    failures: BTreeMap<Failure, u64>,
}

/// The sums of all trials.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<Adapter, Row>);

impl Table {
    pub(crate) fn add(&mut self, verdict: &Verdict) {
        let row = self.0.entry(verdict.draw.adapter).or_default();
        let Counts { requests, results, errors, told, refused, unknown, left, excused, streams } =
            verdict.counts;
        row.trials += 1;
        row.counts.requests += requests;
        row.counts.results += results;
        row.counts.errors += errors;
        row.counts.told += told;
        row.counts.refused += refused;
        row.counts.unknown += unknown;
        row.counts.left += left;
        row.counts.excused += excused;
        row.counts.streams += streams;
        *row.codes.entry(verdict.code).or_default() += 1;
        row.farthest = row.farthest.max(verdict.beyond);
        let late = verdict.failures.iter().any(|(kind, _)| *kind == Failure::Late);
        row.late_like_control += u64::from(verdict.beyond > SLACK && !late);
        let mut kinds: Vec<Failure> = verdict.failures.iter().map(|(kind, _)| *kind).collect();
        kinds.dedup();
        for kind in kinds {
            *row.failures.entry(kind).or_default() += 1;
        }
    }

    /// Returns `true` if no trial failed.
    pub(crate) fn is_well(&self) -> bool {
        self.0.values().all(|row| row.failures.is_empty())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<38}", "")?;
        for adapter in self.0.keys() {
            write!(f, "{:>12}", adapter.name())?;
        }
        let mut line = |name: &str, value: &dyn Fn(&Row) -> String| {
            write!(f, "\n{name:<38}")?;
            self.0.values().try_for_each(|row| write!(f, "{:>12}", value(row)))
        };
        let code = |row: &Row, code| row.codes.get(&code).copied().unwrap_or(0).to_string();
        line("trials", &|row| row.trials.to_string())?;
        line("requests", &|row| row.counts.requests.to_string())?;
        line("  results", &|row| row.counts.results.to_string())?;
        line("  errors", &|row| row.counts.errors.to_string())?;
        line("    of a shutdown", &|row| row.counts.told.to_string())?;
        line("  refused", &|row| row.counts.refused.to_string())?;
        line("  no byte of a response", &|row| row.counts.unknown.to_string())?;
        line("  left or unread by their clients", &|row| row.counts.left.to_string())?;
        line("  lost within what the docs promise", &|row| row.counts.excused.to_string())?;
        line("GET streams ended", &|row| row.counts.streams.to_string())?;
        line("exit code 0", &|row| code(row, Some(0)))?;
        line("exit code 1", &|row| code(row, Some(1)))?;
        line("SIGTERM before it listened", &|row| code(row, None))?;
        line("farthest exit beyond the ceiling", &|row| {
            format!("{:.0} ms", row.farthest.as_secs_f64() * 1e3)
        })?;
        line("  beyond 0.2 s like the control", &|row| row.late_like_control.to_string())?;
        for kind in Failure::ALL {
            line(&format!("trials with failure: {}", kind.name()), &|row| {
                row.failures.get(&kind).copied().unwrap_or(0).to_string()
            })?;
        }
        Ok(())
    }
}
