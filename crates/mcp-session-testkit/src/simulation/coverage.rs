//! [`Coverage`]: how often each kind of thing was reached.

use std::{collections::BTreeMap, fmt};

/// How often each input met each phase, and how it went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Coverage(BTreeMap<(&'static str, &'static str, &'static str), u64>);

/// What a run of many schedules must reach: input, phase or kind, and outcome.
#[rustfmt::skip]
const MUST: &[(&str, &str, &str)] = &[
    ("initialize", "running", "accepted"), ("initialize", "running", "503"), ("initialize", "draining", "503"),
    ("initialize", "closed", "503"), ("initialize", "lame duck", "accepted"),
    ("request", "running", "accepted"), ("request", "running", "400"), ("request", "running", "404"),
    ("request", "running", "503"), ("request", "lame duck", "accepted"), ("request", "draining", "503"),
    ("request", "cancelling", "503"), ("request", "finishing", "503"), ("request", "closed", "404"),
    ("resume", "running", "accepted"), ("resume", "running", "400"), ("resume", "running", "404"),
    ("resume", "draining", "accepted"), ("resume", "cancelling", "accepted"), ("resume", "finishing", "accepted"),
    ("get", "running", "accepted"), ("get", "running", "409"), ("get", "draining", "503"),
    ("list", "running", "accepted"), ("list", "draining", "accepted"),
    ("ping", "running", "accepted"), ("ping", "draining", "accepted"),
    ("cancel", "running", "accepted"), ("cancel", "draining", "accepted"),
    ("delete", "running", "accepted"), ("delete", "draining", "accepted"), ("delete", "running", "404"),
    ("listen", "running", "accepted"), ("listen", "draining", "503"),
    ("call", "session", "answered"), ("call", "session", "cancelled"), ("call", "session", "cut"),
    ("call", "session", "expired"), ("call", "session", "broken"), ("call", "session", "went away"),
    ("call", "stateless", "answered"), ("call", "stateless", "went away"), ("call", "stateless", "cut"),
    ("call", "modern", "answered"), ("call", "modern", "went away"), ("call", "modern", "cut"),
    ("shutdown", "clean", "over"), ("shutdown", "not clean", "over"),
];

impl Coverage {
    pub(super) fn reach(&mut self, input: &'static str, phase: &'static str, outcome: &'static str) {
        *self.0.entry((input, phase, outcome)).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(*what).or_default() += times;
        }
    }

    /// What was not reached, and must be.
    pub(super) fn missing(&self) -> Vec<String> {
        let reached = |what: &&(&'static str, &'static str, &'static str)| self.0.contains_key(*what);
        let missing = MUST.iter().filter(|what| !reached(what));
        missing.map(|(input, phase, outcome)| format!("{input}, {phase}: {outcome}")).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((input, phase, outcome), times) in &self.0 {
            writeln!(f, "{times:>12}  {input:<14} {phase:<12} {outcome}")?;
        }
        Ok(())
    }
}
