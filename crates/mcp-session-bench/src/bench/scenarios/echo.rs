//! Requests over connections and of different sizes, and sessions that are created and deleted.

use std::sync::Arc;

use anyhow::Result;

use super::{Plan, Scenario};
use crate::{
    load::{Churn, Echo, EchoReport, Era, churn, echo},
    results::Results,
};

/// Size of a message in bytes, unless the scenario varies it.
const SMALL: usize = 64;

/// Number of connections, unless the scenario varies it.
const MANY: usize = 64;

pub(super) fn over_connections(plan: &Plan, results: &mut Results) -> Result<()> {
    for &connections in &plan.connections {
        let peers = if connections == MANY { plan.peers.clone() } else { plan.quick_peers() };
        plan.paired(&peers, (Scenario::Echo, connections), plan.rounds, results, |server| {
            echo(server.target(), &load(plan, Era::Session, connections, SMALL)).map(values)
        })?;
    }
    Ok(())
}

pub(super) fn over_sizes(plan: &Plan, results: &mut Results) -> Result<()> {
    for &size in &plan.sizes {
        plan.paired(&plan.quick_peers(), (Scenario::Messages, size), plan.few_rounds, results, |server| {
            let report = echo(server.target(), &load(plan, Era::Session, 8, size))?;
            let mut values = values(report);
            // Each byte is received and sent.
            values.push(("megabytes_per_second", report.per_second * size as f64 / 1e6));
            Ok(values)
        })?;
    }
    Ok(())
}

pub(super) fn churning(plan: &Plan, results: &mut Results) -> Result<()> {
    const CONNECTIONS: usize = 32;
    let load = Churn { connections: CONNECTIONS, time: plan.time };
    plan.paired(&plan.quick_peers(), (Scenario::Churn, CONNECTIONS), plan.rounds, results, |server| {
        let (per_second, server_cpu) = churn(server.target(), &load)?;
        Ok(vec![("per_second", per_second), ("server_cpu", server_cpu)])
    })
}

pub(super) fn load(plan: &Plan, era: Era, connections: usize, size: usize) -> Echo {
    Echo { connections, time: plan.time, size, era, sessions: Arc::default() }
}

pub(super) fn values(report: EchoReport) -> Vec<(&'static str, f64)> {
    let EchoReport {
        requests,
        per_second,
        p50,
        p99,
        max,
        server_cpu,
        client_cpu,
        server_cores,
        client_cores,
    } = report;
    vec![
        ("requests", requests as f64),
        ("per_second", per_second),
        ("p50", p50),
        ("p99", p99),
        ("max", max),
        ("server_cpu", server_cpu),
        ("client_cpu", client_cpu),
        ("server_cores", server_cores),
        ("client_cores", client_cores),
    ]
}
