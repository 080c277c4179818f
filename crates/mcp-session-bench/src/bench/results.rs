//! [`Results`]: every figure of a run, with medians, ranges and paired ratios.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::Path,
};

use anyhow::Result;
use serde::Serialize;

use crate::{peer::Peer, scenarios::Scenario, subject::Subject};

/// The figures from one run of one server, or of one kind of requests.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Record {
    pub(crate) scenario: &'static str,
    pub(crate) peer: &'static str,
    /// The amount: connections, sessions, streams, threads or bytes.
    pub(crate) x: usize,
    /// Runs of one round are close in time: only they are compared.
    pub(crate) round: usize,
    pub(crate) values: BTreeMap<&'static str, f64>,
}

/// All measured figures.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: BTreeMap<&'static str, String>,
    pub(crate) records: Vec<Record>,
}

/// The median and the range of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Results {
    pub(crate) fn add(
        &mut self,
        scenario: Scenario,
        subject: impl Into<Subject>,
        x: usize,
        round: usize,
        values: &[(&'static str, f64)],
    ) {
        let values = values.iter().copied().collect();
        let record = Record { scenario: scenario.name(), peer: subject.into().name(), x, round, values };
        let shown: Vec<_> = record.values.iter().map(|(name, value)| format!("{name} {value:.1}")).collect();
        eprintln!("  {:<20}{}", record.peer, shown.join("  "));
        self.records.push(record);
    }

    fn of(&self, scenario: Scenario, subject: Subject, x: usize) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .filter(move |it| (it.scenario, it.peer, it.x) == (scenario.name(), subject.name(), x))
    }

    /// The amounts for which the scenario was measured.
    pub(crate) fn xs(&self, scenario: Scenario) -> BTreeSet<usize> {
        self.records.iter().filter(|it| it.scenario == scenario.name()).map(|it| it.x).collect()
    }

    /// What was measured, in the order of the tables.
    pub(crate) fn subjects(&self, scenario: Scenario) -> Vec<Subject> {
        let measured = |subject: &Subject| {
            self.records.iter().any(|it| (it.scenario, it.peer) == (scenario.name(), subject.name()))
        };
        Subject::all().filter(measured).collect()
    }

    /// The peers among them.
    pub(crate) fn peers(&self, scenario: Scenario) -> Vec<Peer> {
        self.subjects(scenario).into_iter().filter_map(Subject::peer).collect()
    }

    pub(crate) fn spread(
        &self,
        scenario: Scenario,
        subject: impl Into<Subject>,
        x: usize,
        metric: &str,
    ) -> Option<Spread> {
        Spread::of(self.of(scenario, subject.into(), x).filter_map(|it| it.values.get(metric).copied()))
    }

    /// The ratios of `peer` to `other`, from runs of the same round.
    pub(crate) fn ratio(
        &self,
        scenario: Scenario,
        x: usize,
        metric: &str,
        peer: Peer,
        other: Peer,
    ) -> Option<Spread> {
        let ratios = self.of(scenario, peer.into(), x).filter_map(|it| {
            let pair = self.of(scenario, other.into(), x).find(|other| other.round == it.round)?;
            Some(it.values.get(metric)? / pair.values.get(metric).filter(|value| **value > 0.0)?)
        });
        Spread::of(ratios)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, serde_json::to_vec_pretty(self)?)?)
    }
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, low, high })
    }
}

/// `12.3k (11.0k-13.1k)`
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, low, high } = *self;
        if low == high {
            return f.write_str(&short(median));
        }
        write!(f, "{} ({}-{})", short(median), short(low), short(high))
    }
}

/// An amount: `64`, `10k`.
pub(crate) fn amount(x: usize) -> String {
    match x {
        0..10_000 => x.to_string(),
        10_000..1_000_000 if x.is_multiple_of(1_000) => format!("{}k", x / 1_000),
        _ if x.is_multiple_of(1_000_000) => format!("{}M", x / 1_000_000),
        _ => short(x as f64),
    }
}

/// A number with about three digits.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1e6 => format!("{:.2}M", value / 1e6),
        size if size >= 1e5 => format!("{:.0}k", value / 1e3),
        size if size >= 1e4 => format!("{:.1}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_runs_in_the_same_round() {
        let mut results = Results::default();
        for (round, ours, raw) in [(0, 80.0, 100.0), (1, 40.0, 50.0), (2, 90.0, 100.0)] {
            results.add(Scenario::Echo, Peer::Tokio, 64, round, &[("per_second", ours)]);
            results.add(Scenario::Echo, Peer::RawTokio, 64, round, &[("per_second", raw)]);
        }
        let ratio = results.ratio(Scenario::Echo, 64, "per_second", Peer::Tokio, Peer::RawTokio);
        assert_eq!(ratio, Some(Spread { median: 0.8, low: 0.8, high: 0.9 }));
        assert_eq!(results.ratio(Scenario::Echo, 64, "per_second", Peer::Tokio, Peer::Rmcp), None);
        assert_eq!(results.spread(Scenario::Echo, Peer::Tokio, 64, "per_second").unwrap().median, 80.0);
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.751, "0.75"),
            (12.34, "12.3"),
            (999.0, "999"),
            (36_400.0, "36.4k"),
            (259_000.0, "259k"),
            (2.5e6, "2.50M"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
