//! How the cost grows with sessions, with streams, and with streams in one session.

use anyhow::Result;

use super::{Plan, Scenario};
use crate::{
    load::{self, Churn, Echo, Era, Events, churn, echo, open_sessions, tasks, with_streams},
    peer::Peer,
    results::Results,
    server::Server,
};

/// At 56 KB each, more sessions of rmcp need too much memory for a benchmark; those of tower-mcp are not much smaller. The
/// server that is compared with rmcp has as many.
const HEAVY_SESSIONS: usize = 10_000;

/// With fewer, the pages that the first requests leave behind outweigh the sessions.
const ENOUGH_TO_DIVIDE: usize = 1_000;

pub(super) fn sessions(plan: &Plan, results: &mut Results) -> Result<()> {
    for &count in &plan.sessions {
        let mut peers = plan.quick_peers();
        peers.retain(|peer| {
            !matches!(peer, Peer::Rmcp | Peer::RmcpOnOurs | Peer::TowerMcp) || count <= HEAVY_SESSIONS
        });
        plan.in_turn(&peers, (Scenario::Sessions, count), plan.few_rounds, results, |peer| {
            let server = plan.start(peer, Era::Session)?;
            let before = warm(&server)?;
            let tasks_before = peer.counts_tasks().then(|| tasks(server.target())).transpose()?;
            let (sessions, opened_per_second) = open_sessions(server.target(), count)?;
            let resident = server.resident_bytes()?;
            let tasks_after = peer.counts_tasks().then(|| tasks(server.target())).transpose()?;
            // Uses all sessions in turn: measures how they slow each other down.
            let load =
                Echo { connections: count.min(64), time: plan.time, size: 64, era: Era::Session, sessions };
            let report = echo(server.target(), &load)?;
            let mut values = vec![
                ("resident", resident),
                ("opened_per_second", opened_per_second),
                ("per_second", report.per_second),
                ("p99", report.p99),
            ];
            if count >= ENOUGH_TO_DIVIDE {
                values.push(("bytes", (resident - before) / count as f64));
                let tasks = tasks_after.zip(tasks_before);
                values.extend(tasks.map(|(after, before)| ("tasks", (after - before) / count as f64)));
            }
            Ok(values)
        })?;
    }
    Ok(())
}

pub(super) fn streams(plan: &Plan, results: &mut Results) -> Result<()> {
    for &count in &plan.streams {
        plan.paired(&plan.quick_peers(), (Scenario::Streams, count), plan.few_rounds, results, |server| {
            Ok(vec![("bytes", bytes_of_a_stream(&server, count)?)])
        })?;
    }
    Ok(())
}

pub(super) fn events(plan: &Plan, results: &mut Results) -> Result<()> {
    for &streams in &plan.session_streams {
        plan.paired(&plan.quick_peers(), (Scenario::Events, streams), plan.few_rounds, results, |server| {
            let report = load::events(server.target(), &Events { streams, steps: 20, time: plan.time })?;
            Ok(vec![("per_second", report.per_second), ("server_cpu", report.server_cpu)])
        })?;
    }
    Ok(())
}

/// Bytes of the server per open GET stream, including its session and connection.
pub(super) fn bytes_of_a_stream(server: &Server, count: usize) -> Result<f64> {
    let before = warm(server)?;
    let after = with_streams(server.target(), count, || server.resident_bytes())?;
    Ok((after - before) / count as f64)
}

/// The memory of a server after a warm-up: threads, buffers and tables from the first requests belong to no session.
fn warm(server: &Server) -> Result<f64> {
    const WARM_UP: Churn = Churn { connections: 32, time: std::time::Duration::from_millis(100) };
    churn(server.target(), &WARM_UP)?;
    server.resident_bytes()
}
