//! [`judge`]: holds what clients saw against the log, the report and the exit of the server.
//!
//! A request is *admitted* if the server's log or its report says so. Its client knows it from the first byte of a response
//! with status 200. A client whose connection was refused, or that got 503, was not admitted. What a client cannot know:
//!
//! - *Written, and its connection ended before any byte of a response.* If the request was written some time before SIGTERM, on
//!   a connection of its own, it is owed a response, even if that is a 503; without one it counts as lost. Later, or on a kept
//!   connection that the server was closing, it may have met the end of the listener or of the connection. If the
//!   log is readable, it decides: a request whose handler ended was admitted. If not, the request is one that the
//!   report may count or not.
//! - *Left.* A client that cuts its connection learns nothing. The report may count its request or not.
//! - *Answered near SIGTERM.* Whether draining had begun is known for an error with the reason `shutdown`, and for the end
//!   of a listener. Any other answer that arrived after SIGTERM may be counted or not.
//!
//! So each total of the report has a lower and an upper bound, which are equal when nothing of this has happened.

use std::{collections::HashMap, os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

use serde_json::Value;

use crate::{
    draw::{Adapter, Draw, Moment, Stderr, Stop},
    seen::{Conduct, Micros, NO_CONNECTION, Outcome, Seen, What},
};

/// How far an exit may be beyond the ceiling: the time in which connections flush, and as much again for the end of the process.
/// If the machine was busy at that instant, as much more as the [control](crate::control::Control) was late.
pub(crate) const SLACK: Duration = Duration::from_millis(200);

/// How long a client that has closed its sending half may wait for its answer: README, Limits.
const HALF_CLOSED: Duration = Duration::from_millis(900);

/// After this many microseconds a server has accepted a connection, on a busy machine too. One that still waits in the kernel
/// when the listener is closed is reset: nothing of it was admitted.
const ACCEPTED: Micros = 50_000;

/// The kinds of failures, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// Admitted, or owed a response, and a client that reads got none.
    Lost,
    /// A client that reads had the beginning of a body and not its proper end.
    Cut,
    /// More than one answer, a foreign answer, 404 for a live session, a refusal before SIGTERM, no HTTP.
    Violation,
    /// The report contradicts itself or what clients saw.
    Report,
    /// The exit code contradicts the report or what clients saw.
    Code,
    /// The exit was too far beyond the ceiling.
    Late,
    /// Descriptors, calls or sessions are left after the load.
    Left,
    /// The trial itself failed.
    Trial,
}

impl Failure {
    pub(crate) const ALL: [Self; 8] = [
        Self::Lost,
        Self::Cut,
        Self::Violation,
        Self::Report,
        Self::Code,
        Self::Late,
        Self::Left,
        Self::Trial,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Cut => "cut",
            Self::Violation => "violation",
            Self::Report => "report",
            Self::Code => "exit code",
            Self::Late => "late exit",
            Self::Left => "left behind",
            Self::Trial => "trial",
        }
    }
}

/// What is counted for the table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) results: u64,
    pub(crate) errors: u64,
    /// Of these errors, those of a shutdown.
    pub(crate) told: u64,
    pub(crate) refused: u64,
    /// No byte of a response.
    pub(crate) unknown: u64,
    /// Left by clients that cut, or cut by the server on clients that do not read.
    pub(crate) left: u64,
    /// Lost to readers because a handler blocked threads for longer than the shutdown had, because they had closed their
    /// sending half, or because a second signal came during a stop.
    pub(crate) excused: u64,
    /// Proper ends of GET streams.
    pub(crate) streams: u64,
}

/// What a trial has gathered.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) term: Micros,
    pub(crate) exited: Micros,
    /// From SIGTERM to the exit.
    pub(crate) took: Duration,
    /// How far the exit was beyond the ceiling, or beyond the end of a stop that lasted longer.
    pub(crate) beyond: Duration,
    /// How late the control was at that instant, if that matters.
    pub(crate) control: Duration,
    pub(crate) status: Option<ExitStatus>,
    /// It had printed its URL.
    pub(crate) listened: bool,
    pub(crate) report: Value,
    pub(crate) seen: Vec<Seen>,
    /// The outcome of each request whose handler ended, as logged.
    logged: HashMap<u64, String>,
    failures: Vec<(Failure, String)>,
}

impl Facts {
    pub(crate) fn fail(&mut self, kind: Failure, why: impl Into<String>) {
        self.failures.push((kind, why.into()));
    }

    /// The earliest time at which the shutdown can have been over.
    fn closed(&self) -> Option<Micros> {
        let took = self.report["took_ms"].as_f64()?;
        Some(self.term + (took * 1e3) as Micros)
    }

    /// Takes the outcome of each request from a log at level `debug`.
    pub(crate) fn read_log(&mut self, log: &str) {
        for line in log.lines().filter(|line| line.contains(" exchange ended ")) {
            // The fields follow the message; a span before it has fields of the same names.
            let Some((_, fields)) = line.split_once(" exchange ended ") else { continue };
            let field = |name: &str| {
                let value = fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
                value.map(|value| value.trim_matches('"').to_owned())
            };
            let id = field("request").and_then(|id| id.parse().ok());
            if let Some((id, outcome)) = id.zip(field("outcome")) {
                self.logged.insert(id, outcome);
            }
        }
    }
}

/// The outcome of a trial.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) failures: Vec<(Failure, String)>,
    pub(crate) counts: Counts,
    pub(crate) beyond: Duration,
    pub(crate) control: Duration,
    pub(crate) report: Value,
}

pub(crate) fn judge(draw: &Draw, mut facts: Facts) -> Judged {
    let mut counts = Counts::default();
    let seen = std::mem::take(&mut facts.seen);
    for seen in &seen {
        count(seen, &mut counts);
        if matches!(seen.conduct, Conduct::Reads | Conduct::HalfCloses | Conduct::HalfSends) {
            reader(draw, &mut facts, seen, &mut counts);
        }
    }
    exit(draw, &mut facts);
    if facts.listened && facts.status.is_some_and(|status| status.code().is_some()) {
        report(draw, &mut facts, &seen, &counts);
    }
    let Facts { failures, beyond, control, report, .. } = facts;
    Judged { failures, counts, beyond, control, report }
}

fn count(seen: &Seen, counts: &mut Counts) {
    if seen.what == What::Get {
        counts.streams += u64::from(seen.outcome == Outcome::Result);
        return;
    }
    counts.requests += 1;
    match seen.outcome {
        Outcome::Result => counts.results += 1,
        Outcome::Error { .. } => counts.errors += 1,
        Outcome::Refused(_) => counts.refused += 1,
        Outcome::Unanswered(_) => counts.unknown += 1,
        Outcome::Left | Outcome::Cut { .. } => counts.left += 1,
        Outcome::Silent | Outcome::Violated(_) => {}
    }
    counts.told += u64::from(seen.is_told_of_shutdown());
}

/// Returns `true` if blocked handlers held the server up for longer than it had for the last bytes of other calls: README,
/// Limits.
fn is_blocked(draw: &Draw) -> bool {
    draw.blocked() >= draw.finish / 2
}

/// Returns `true` if a second SIGTERM may have met a server that was just continued, and taken from its clients the moment in
/// which they read: it ends any phase at once.
fn is_hurried(draw: &Draw) -> bool {
    let stopped = |stop: Stop| Duration::from_millis(stop.at_ms.max(0).unsigned_abs());
    draw.stop.zip(draw.again).is_some_and(|(stop, again)| again >= stopped(stop))
}

/// A client that reads has the outcome of each request that was admitted.
fn reader(draw: &Draw, facts: &mut Facts, seen: &Seen, counts: &mut Counts) {
    let logged = facts.logged.get(&seen.id).cloned();
    let waited = Duration::from_micros(seen.ended.saturating_sub(seen.sent));
    // On async-std a stream ends with its client's sending half: its docs.
    let may_be_gone = waited >= HALF_CLOSED
        || draw.stop.is_some()
        || (draw.adapter == Adapter::AsyncStd && seen.head.is_some());
    let gone = seen.conduct == Conduct::HalfCloses && may_be_gone;
    let (kind, why) = match &seen.outcome {
        Outcome::Result | Outcome::Error { .. } | Outcome::Left => return,
        Outcome::Refused(503) if seen.ended < facts.term => (Failure::Violation, "503 before SIGTERM"),
        Outcome::Refused(503) if logged.is_some() => (Failure::Lost, "refused, although it was admitted"),
        Outcome::Refused(503 | 408) => return,
        // A GET that DELETE has overtaken.
        Outcome::Refused(404) if seen.deleted => return,
        // S2: after Closed, every id gets 404.
        Outcome::Refused(404) if facts.closed().is_some_and(|closed| seen.ended >= closed) => return,
        Outcome::Refused(_) => (Failure::Violation, "another status than 200 and 503"),
        Outcome::Violated(_) => (Failure::Violation, "a violation"),
        Outcome::Silent => (Failure::Lost, "its stream ended without an answer"),
        Outcome::Cut { .. } => (Failure::Cut, "its body was cut"),
        Outcome::Unanswered(_) if logged.is_some() => (Failure::Lost, "admitted, and no byte of a response"),
        Outcome::Unanswered(_)
            if seen.fresh
                && seen.sent + ACCEPTED < facts.term
                && draw.descriptors.is_none()
                && seen.conduct != Conduct::HalfSends =>
        {
            (Failure::Lost, "sent before SIGTERM, and no byte of a response")
        }
        Outcome::Unanswered(_) => return,
    };
    let held_up = is_blocked(draw) || is_hurried(draw);
    if gone || (held_up && matches!(kind, Failure::Lost | Failure::Cut)) {
        counts.excused += 1;
        return;
    }
    let at = |time: Micros| i128::from(time) - i128::from(facts.term);
    let (sent, head, ended) = (at(seen.sent), seen.head.map(at), at(seen.ended));
    facts.fail(
        kind,
        format!(
            "{why}: {} {:?} of a client ({}, {:?}), sent at {sent} us from SIGTERM, head {head:?}, ended {ended}, \
             exit {}; seen {:?}, logged {logged:?}",
            seen.id,
            seen.what,
            seen.client,
            seen.conduct,
            at(facts.exited),
            seen.outcome,
        ),
    );
}

/// The exit is in time, and its code is the truth.
fn exit(draw: &Draw, facts: &mut Facts) {
    let Some(status) = facts.status else { return };
    let Facts { took, beyond, control, .. } = *facts;
    if draw.is_timed && beyond > SLACK + control {
        let why = format!("{took:?}, {beyond:?} beyond what it had; the control was {control:?} late");
        facts.fail(Failure::Late, why);
    }
    let early = matches!(draw.moment, Moment::Start(_)) && !facts.listened;
    match (status.code(), status.signal()) {
        (None, Some(15)) if early => {} // before it listened, nothing was served
        (Some(0 | 1), _) if facts.report.is_object() => {}
        _ => facts.fail(Failure::Code, format!("{status}, report {}", facts.report)),
    }
}

/// The totals of the report are what clients saw.
fn report(draw: &Draw, facts: &mut Facts, seen: &[Seen], counts: &Counts) {
    let report = facts.report.clone();
    let of = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(u64::MAX);
    let failures = report["failures"].as_array().map_or(0, Vec::len) as u64;
    let (total, forced) = (of("/exchanges/total"), of("/exchanges/forced"));
    let (synthesized, streams_cut) = (of("/exchanges/synthesized"), of("/streams/cut"));
    let (connections_cut, sessions) = (of("/connections_cut"), of("/sessions"));
    let parts = of("/exchanges/answered")
        .saturating_add(synthesized)
        .saturating_add(of("/exchanges/cancelled"))
        .saturating_add(forced);
    let mut check = |kind, well: bool, why: String| {
        if !well {
            facts.failures.push((kind, why));
        }
    };
    check(Failure::Report, parts == total, format!("the exchanges are {total}, their parts {parts}"));
    let streams = of("/streams/ended").saturating_add(streams_cut);
    check(
        Failure::Report,
        streams == of("/streams/total"),
        format!("the parts of the streams are {streams}"),
    );

    let cut = forced.saturating_add(streams_cut).saturating_add(connections_cut);
    let clean = cut == 0 && failures == 0;
    let code = facts.status.and_then(|status| status.code());
    check(Failure::Code, code == Some(i32::from(!clean)), format!("exit code {code:?}, clean {clean}"));

    let (term, exited) = (facts.term, facts.exited);
    let number = |of: &dyn Fn(&Seen) -> bool| seen.iter().filter(|seen| of(seen)).count() as u64;
    let reads = |seen: &Seen| seen.conduct == Conduct::Reads;
    // What may have been running when draining began, or was admitted since.
    let is_possible = |seen: &Seen| {
        let late = seen.ended >= term || seen.outcome == Outcome::Left;
        let refused = matches!(seen.outcome, Outcome::Refused(_)) || seen.conduct == Conduct::HalfSends;
        seen.what.is_request() && late && !refused && seen.sent <= exited
    };
    let possible = number(&is_possible);
    let sure = number(&|seen| {
        let listened = seen.what == What::Listen && seen.outcome == Outcome::Result;
        seen.is_told_of_shutdown() || (listened && seen.head.is_some_and(|head| head < term))
    });
    check(
        Failure::Report,
        (sure..=possible).contains(&total),
        format!("{total} exchanges; clients know of {sure} for sure, and of {possible} at most"),
    );
    let hung = number(&|seen| seen.what == What::Hang && seen.is_told_of_shutdown());
    let unseen = number(&|seen| is_possible(seen) && !seen.is_answered());
    check(
        Failure::Report,
        (hung..=counts.told + unseen).contains(&synthesized),
        format!("{synthesized} synthesized; {hung} hung, {} were told, {unseen} unseen", counts.told),
    );

    // Whoever did not leave and has not all of a body was cut, and the report knows it.
    let incomplete = number(&|seen| {
        matches!(seen.outcome, Outcome::Cut { .. }) && seen.conduct != Conduct::HalfCloses // it has left
    });
    check(
        Failure::Report,
        incomplete <= cut,
        format!("{incomplete} clients have a part of a body, and the report counts {cut}"),
    );
    // And nothing is said to be cut that could not be. An excuse leaves that open, and so does a request that the server
    // has not come to read before the end.
    let unread = number(&|seen| matches!(&seen.outcome, Outcome::Unanswered(how) if how != NO_CONNECTION));
    let others = number(&|seen| !reads(seen)) + counts.excused + unread;
    let held_up = is_blocked(draw);
    check(
        Failure::Report,
        held_up || forced.max(streams_cut) <= others,
        format!("{forced} forced, {streams_cut} streams cut, and {others} clients that do not read"),
    );
    check(
        Failure::Report,
        held_up || others > 0 || (failures == 0 && connections_cut == 0),
        format!("{failures} failures, {connections_cut} connections cut, and all clients read"),
    );

    let before = |seen: &Seen| seen.ended < term && seen.outcome == Outcome::Result;
    let opened = number(&|seen| seen.what == What::Initialize && before(seen));
    let may_be_open = number(&|seen| {
        let refused = matches!(seen.outcome, Outcome::Refused(_)) || seen.sent > exited;
        seen.what == What::Initialize && !refused
    });
    let deleted = number(&|seen| seen.what == What::Delete && before(seen));
    let may_be_deleted = number(&|seen| seen.what == What::Delete);
    let bounds = opened.saturating_sub(may_be_deleted)..=may_be_open - deleted;
    check(
        Failure::Report,
        bounds.contains(&sessions),
        format!("{sessions} sessions; clients know of {bounds:?}"),
    );
    if let Moment::Quiet(_) = draw.moment {
        // Clients that cut their connection leave their session open, and what they have called in it runs on.
        let called = number(&|seen| seen.outcome == Outcome::Left && seen.client == "session");
        let left = (total.saturating_sub(called), of("/streams/total"), sessions);
        let expected = (0, 0, may_be_open - deleted);
        check(
            Failure::Left,
            left == expected,
            format!("exchanges, streams, sessions are {left:?} after the load and not {expected:?}"),
        );
    }
    if draw.stderr == Stderr::File {
        let answered = seen.iter().filter(|seen| {
            let handled = matches!(seen.what, What::Quick | What::Slow | What::Block | What::Panic);
            handled && seen.outcome == Outcome::Result
        });
        let unlogged = answered.filter(|seen| !facts.logged.contains_key(&seen.id)).count();
        check(Failure::Trial, unlogged == 0, format!("{unlogged} answered requests are not in the log"));
    }
}
