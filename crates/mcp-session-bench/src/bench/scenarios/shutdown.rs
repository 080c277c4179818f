//! SIGTERM.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Plan, Scenario};
use crate::{
    load::{Shutdown, ShutdownReport, shutdown},
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
    let load = Shutdown { streams, calls, call_time: CALL_TIME, patience: PATIENCE };
    let rounds = plan.few_rounds;
    plan.paired(&plan.quick_peers(), (Scenario::Shutdown, streams), rounds, results, |server| {
        stop(server, &load)
    })
}

pub(super) fn of_streams(plan: &Plan, results: &mut Results) -> Result<()> {
    for &streams in &plan.shutdown_scale {
        let load = Shutdown { streams, calls: 0, call_time: CALL_TIME, patience: PATIENCE };
        let rounds = plan.few_rounds;
        plan.paired(&plan.quick_peers(), (Scenario::ShutdownScale, streams), rounds, results, |server| {
            stop(server, &load)
        })?;
    }
    Ok(())
}

fn stop(mut server: Server, load: &Shutdown) -> Result<Vec<(&'static str, f64)>> {
    let report = shutdown(server.target(), load)?;
    // The clients are gone by now: a server that has not ended yet is not waiting for them.
    let begin = Instant::now();
    let exited = server.wait(Duration::from_secs(5));
    let ShutdownReport { answered, failed, unanswered, ended, cut, ended_median, ended_last, answered_last } =
        report;
    let mut values = vec![
        ("streams_ended", ended as f64),
        ("streams_cut", cut as f64),
        ("ended_median", ended_median),
        ("ended_last", ended_last),
        // Until the process ended, if it ended by itself.
        ("exit_after_clients", exited.map_or(f64::NAN, |_| begin.elapsed().as_secs_f64() * 1e3)),
    ];
    if load.calls > 0 {
        values.extend([
            ("calls_answered", answered as f64),
            ("calls_failed", failed as f64),
            ("calls_unanswered", unanswered as f64),
            ("answered_last", answered_last),
            ("answered_share", answered as f64 / load.calls as f64),
        ]);
    }
    Ok(values)
}
