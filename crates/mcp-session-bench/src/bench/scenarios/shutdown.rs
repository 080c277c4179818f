//! SIGTERM.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Plan, Scenario};
use crate::{
    load::{Answers, Era, Shutdown, ShutdownReport, shutdown},
    results::Results,
    server::Server,
};

/// How long the calls take in total: opening them takes part of it, the rest is still to be done when the signal
/// arrives.
const CALL_TIME: Duration = Duration::from_millis(2_500);

/// How long clients wait for their answers: our own default budget for a shutdown is 20 seconds.
const PATIENCE: Duration = Duration::from_secs(22);

pub(super) fn with_calls(plan: &Plan, results: &mut Results) -> Result<()> {
    let (streams, calls) = plan.shutdown;
    let load = Shutdown { streams, ..load(0, vec![(Era::Session, calls)]) };
    let rounds = plan.few_rounds;
    plan.paired(&plan.quick_peers(), (Scenario::Shutdown, streams), rounds, results, |server| {
        stop(server, &load)
    })
}

pub(super) fn of_streams(plan: &Plan, results: &mut Results) -> Result<()> {
    for &streams in &plan.shutdown_scale {
        let load = Shutdown { streams, ..load(0, Vec::new()) };
        let rounds = plan.few_rounds;
        plan.paired(&plan.quick_peers(), (Scenario::ShutdownScale, streams), rounds, results, |server| {
            stop(server, &load)
        })?;
    }
    Ok(())
}

/// All that one server of each peer can serve at the same time.
pub(super) fn of_eras(plan: &Plan, results: &mut Results) -> Result<()> {
    let (listeners, calls) = plan.shutdown_eras;
    plan.in_turn(&plan.quick_peers(), (Scenario::ShutdownEras, listeners), plan.few_rounds, results, |peer| {
        let calls = calls.into_iter().filter(|(era, _)| peer.streams_calls(*era)).collect();
        stop(plan.start(peer, Era::Session)?, &load(listeners, calls))
    })
}

fn load(listeners: usize, calls: Vec<(Era, usize)>) -> Shutdown {
    Shutdown { streams: 0, listeners, calls, call_time: CALL_TIME, patience: PATIENCE }
}

fn stop(mut server: Server, load: &Shutdown) -> Result<Vec<(&'static str, f64)>> {
    let report = shutdown(server.target(), load)?;
    // The clients are gone by now: a server that has not ended yet is not waiting for them.
    let begin = Instant::now();
    let exited = server.wait(Duration::from_secs(5));
    let ShutdownReport { calls, listeners, ended, cut, ended_median, ended_last } = report;
    // Until the process ended, if it ended by itself.
    let mut values =
        vec![("exit_after_clients", exited.map_or(f64::NAN, |_| begin.elapsed().as_secs_f64() * 1e3))];
    if load.streams > 0 {
        values.extend([
            ("streams_ended", ended as f64),
            ("streams_cut", cut as f64),
            ("ended_median", ended_median),
            ("ended_last", ended_last),
        ]);
    }
    if load.listeners > 0 {
        values.extend([
            ("listeners_answered", listeners.answered as f64),
            ("listeners_unanswered", (listeners.failed + listeners.unanswered) as f64),
        ]);
        if listeners.answered > 0 {
            values.push(("listeners_last", listeners.last));
        }
    }
    for (era, answers) in &calls {
        let (answered, unanswered) = match era {
            Era::Session => ("session_answered", "session_unanswered"),
            Era::Stateless => ("stateless_answered", "stateless_unanswered"),
            Era::Modern => ("modern_answered", "modern_unanswered"),
        };
        values.extend([(answered, answers.answered as f64), (unanswered, answers.unanswered as f64)]);
    }
    let all: Vec<Answers> = calls.into_values().collect();
    let sum = |count: fn(&Answers) -> usize| all.iter().map(count).sum::<usize>() as f64;
    let total: usize = load.calls.iter().map(|(_, count)| count).sum();
    if total > 0 {
        let answered = sum(|it| it.answered);
        values.extend([
            ("calls_answered", answered),
            ("calls_failed", sum(|it| it.failed)),
            ("calls_unanswered", sum(|it| it.unanswered)),
            ("answered_share", answered / total as f64),
        ]);
        if answered > 0.0 {
            values.push(("answered_last", all.iter().map(|it| it.last).fold(0.0, f64::max)));
        }
    }
    if total > 0 && load.listeners > 0 {
        let both = (sum(|it| it.answered) + listeners.answered as f64) / (total + load.listeners) as f64;
        values.push(("all_answered_share", both));
    }
    Ok(values)
}
