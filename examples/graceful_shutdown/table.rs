//! The table at the end: what the clients saw, what the server reports, and the verdict on both.

use std::{fmt, sync::atomic::Ordering::Relaxed};

use mcp_session_core::ShutdownReport;

use crate::{args::Args, load::Losses, reader::Seen, server::STEPS};

pub(crate) struct Table {
    /// A label, the number the clients saw, the number expected, and a remark.
    seen: [(&'static str, u64, u64, &'static str); 3],
    cut: u64,
    report: ShutdownReport,
    lost: Vec<String>,
}

impl Table {
    pub(crate) fn new(args: &Args, seen: &Seen, report: ShutdownReport, losses: Losses) -> Self {
        let Args { calls, sessions, .. } = *args;
        let mut lost: Vec<_> = losses.into_iter().map(|(what, times)| format!("{times} x {what}")).collect();
        if !report.is_clean() {
            lost.push("the report is not clean".to_owned());
        }
        // The report must count everything: one that is clean because it missed something is worthless.
        let totals = [
            ("sessions", report.sessions, sessions),
            ("exchanges", report.exchanges.total, calls),
            ("exchanges answered", report.exchanges.answered, calls),
            ("streams", report.streams.total, sessions + calls), // the answer of a call is a stream too
            ("streams ended", report.streams.ended, sessions + calls),
        ];
        for (what, reported, total) in totals.into_iter().filter(|(_, reported, total)| reported != total) {
            lost.push(format!("the report counts {reported} of {total} {what}"));
        }
        let rows = [
            ("calls answered", seen.answered.load(Relaxed), calls, ", once, each on its own stream"),
            ("GET streams ended", seen.ended.load(Relaxed), sessions, ", with their last chunk"),
            ("progress events", seen.progress.load(Relaxed), calls * STEPS, ""),
        ];
        Self { seen: rows, cut: seen.cut.load(Relaxed), report, lost }
    }

    /// Returns `true` if nothing was lost according to both the clients and the server.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.cut == 0 && self.seen.iter().all(|(_, seen, total, _)| seen == total)
    }
}

/// Aligned with the columns of [`ShutdownReport`]'s table, which follows.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "what the clients saw")?;
        for (what, seen, total, how) in &self.seen {
            writeln!(f, "{what:<17}{seen:>7}   of {total}{how}")?;
        }
        writeln!(f, "{:<17}{:>7}", "streams cut", self.cut)?;
        writeln!(f, "\nwhat the server reports\n{}\n", self.report)?;
        if self.is_clean() {
            return f.write_str("nothing was lost");
        }
        f.write_str("LOST, or ended with an error")?;
        self.lost.iter().try_for_each(|what| write!(f, "\n  {what}"))
    }
}
