//! The table at the end: what the clients saw, and how each node ended.

use std::{fmt, sync::atomic::Ordering::Relaxed};

use crate::{args::Args, deploy::Replaced, load::Seen, node::STEPS};

pub(crate) struct Table<'a> {
    pub(crate) args: &'a Args,
    pub(crate) seen: &'a Seen,
    pub(crate) replaced: &'a [Replaced],
}

impl Table<'_> {
    fn calls(&self) -> u64 {
        self.args.sessions * self.args.calls
    }

    /// Returns `true` if nothing was lost, for the clients and for the nodes.
    pub(crate) fn is_clean(&self) -> bool {
        let Self { seen, replaced, .. } = self;
        seen.lost.load(Relaxed) == 0
            && seen.answered.load(Relaxed) == self.calls()
            && seen.steps.load(Relaxed) == self.calls() * STEPS
            && replaced.iter().all(|node| node.ended.report.is_clean())
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { args, seen, replaced } = self;
        let calls = self.calls();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        writeln!(f, "what the clients saw")?;
        writeln!(f, "{:<17}{:>7}   of {}", "sessions", count(&seen.opened), args.sessions)?;
        writeln!(f, "{:<17}{:>7}   of {calls}, once", "calls answered", count(&seen.answered))?;
        writeln!(f, "{:<17}{:>7}   of {}, in order", "progress events", count(&seen.steps), calls * STEPS)?;
        writeln!(f, "{:<17}{:>7}   went on at another node", "streams moved", count(&seen.moved))?;
        writeln!(
            f,
            "{:<17}{:>7}   by a node that drained, and taken by another",
            "refused",
            count(&seen.refused)
        )?;
        writeln!(f, "{:<17}{:>7}", "lost", count(&seen.lost))?;
        writeln!(f, "\nwhat the nodes report")?;
        for (number, Replaced { running, ended }) in (1..).zip(*replaced) {
            let exchanges = &ended.report.exchanges;
            let verdict = if ended.report.is_clean() { "clean" } else { "NOT CLEAN" };
            writeln!(
                f,
                "node {number}{:>10.1} s   {verdict}, {running} calls ran, answered {}, synthesized {}, forced {}",
                ended.took.as_secs_f64(),
                exchanges.answered,
                exchanges.synthesized,
                exchanges.forced,
            )?;
        }
        if self.is_clean() {
            return f.write_str("\nnothing was lost");
        }
        f.write_str("\nLOST, or ended with an error")?;
        seen.losses().iter().try_for_each(|(why, times)| write!(f, "\n  {times} x {why}"))
    }
}
