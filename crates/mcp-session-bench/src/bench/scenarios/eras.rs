//! The same call in a session, without one, and of 2026-07-28; what such calls leave behind; listeners.

use anyhow::Result;

use super::{Plan, Scenario, echo::load};
use crate::{
    load::{Era, echo, echo_times, with_listeners},
    results::Results,
    server::Server,
};

/// Number of connections of calls that are counted.
const CONNECTIONS: usize = 32;

/// The calls after which memory is read first: threads, buffers and tables are there by then.
const FEW_CALLS: usize = 1_000;

/// How much more memory than after the first calls is none: what an allocator keeps differs from run to run.
const ALLOWED_SHARE: f64 = 0.05;
const ALLOWED_BYTES: f64 = 2e6;

/// The names of an era's figures: rate, times, processor time, and that as a multiple of what a call in a session takes.
const ECHOES: [(Era, [&str; 5]); 3] = [
    (
        Era::Session,
        ["session_per_second", "session_p50", "session_p99", "session_server_cpu", "session_of_session"],
    ),
    (
        Era::Stateless,
        [
            "stateless_per_second",
            "stateless_p50",
            "stateless_p99",
            "stateless_server_cpu",
            "stateless_of_session",
        ],
    ),
    (
        Era::Modern,
        ["modern_per_second", "modern_p50", "modern_p99", "modern_server_cpu", "modern_of_session"],
    ),
];

/// The names of an era's figures: memory after the few calls and after all, what each call in between left, and all of that as
/// a multiple of what is allowed.
const LEFTOVERS: [(Era, [&str; 4]); 2] = [
    (
        Era::Stateless,
        ["stateless_resident_few", "stateless_resident", "stateless_bytes", "stateless_of_allowed"],
    ),
    (Era::Modern, ["modern_resident_few", "modern_resident", "modern_bytes", "modern_of_allowed"]),
];

/// Each era on a fresh server, one after the other, so that only what is close in time is compared.
pub(super) fn echoes(plan: &Plan, results: &mut Results) -> Result<()> {
    for &connections in &plan.era_connections {
        let at = (Scenario::Eras, connections);
        plan.in_turn(&plan.quick_peers(), at, plan.rounds, results, |peer| {
            let mut values = Vec::new();
            let mut session = f64::NAN;
            for (era, [per_second, p50, p99, server_cpu, of_session]) in ECHOES {
                let report = echo(plan.start(peer, era)?.target(), &load(plan, era, connections, 64))?;
                values.extend([
                    (per_second, report.per_second),
                    (p50, report.p50),
                    (p99, report.p99),
                    (server_cpu, report.server_cpu),
                ]);
                if era == Era::Session {
                    session = report.server_cpu;
                } else {
                    values.push((of_session, report.server_cpu / session));
                }
            }
            Ok(values)
        })?;
    }
    Ok(())
}

/// The memory of a server after some calls, and after many more.
pub(super) fn leftovers(plan: &Plan, results: &mut Results) -> Result<()> {
    let calls = plan.calls;
    let at = (Scenario::Leftovers, calls);
    plan.in_turn(&plan.quick_peers(), at, plan.few_rounds, results, |peer| {
        let mut values = Vec::new();
        for (era, [resident_few, resident, bytes, of_allowed]) in LEFTOVERS {
            let server = plan.start(peer, era)?;
            echo_times(server.target(), era, CONNECTIONS, FEW_CALLS)?;
            let few = server.resident_bytes()?;
            echo_times(server.target(), era, CONNECTIONS, calls - FEW_CALLS)?;
            let all = server.resident_bytes()?;
            let grown = all - few;
            values.extend([
                (resident_few, few),
                (resident, all),
                (bytes, grown / (calls - FEW_CALLS) as f64),
                (of_allowed, grown / (few * ALLOWED_SHARE).max(ALLOWED_BYTES)),
            ]);
        }
        Ok(values)
    })
}

pub(super) fn listeners(plan: &Plan, results: &mut Results) -> Result<()> {
    for &count in &plan.listeners {
        let at = (Scenario::Listeners, count);
        plan.in_turn(&plan.quick_peers(), at, plan.few_rounds, results, |peer| {
            Ok(vec![("bytes", bytes_of_a_listener(&plan.start(peer, Era::Modern)?, count)?)])
        })?;
    }
    Ok(())
}

/// Bytes of the server per open `subscriptions/listen` stream, including its connection.
fn bytes_of_a_listener(server: &Server, count: usize) -> Result<f64> {
    // Threads, buffers and tables from the first requests belong to no listener.
    echo_times(server.target(), Era::Modern, CONNECTIONS, FEW_CALLS)?;
    let before = server.resident_bytes()?;
    let after = with_listeners(server.target(), count, || server.resident_bytes())?;
    Ok((after - before) / count as f64)
}
