//! What it costs that threads share an endpoint: beside threads that have one each, and beside a single thread.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use mcp_session_bench::contention::{Endpoints, Kind, Load, Report, run};

use super::{Plan, Scenario};
use crate::{
    args::RunArgs,
    machine::{Cores, pin_thread},
    results::Results,
};

/// A thread ends after so many requests, even if its time is not over: many more than it can send.
const MOST: u64 = 100_000_000;

/// More threads than cores, as multiples of these.
const MORE: [usize; 3] = [2, 4, 16];

/// The amounts of this scenario.
#[derive(Debug, Clone)]
pub(super) struct Amounts {
    rounds: usize,
    time: Duration,
    threads: Vec<usize>,
}

impl Amounts {
    pub(super) fn new(args: &RunArgs, cores: &Cores) -> Self {
        let seconds = args.seconds.unwrap_or(if args.short { 0.02 } else { 0.1 });
        Self {
            rounds: args.rounds.unwrap_or(if args.short { 3 } else { 11 }),
            time: Duration::from_secs_f64(seconds),
            threads: threads(cores.all.len()),
        }
    }
}

/// The numbers of threads on so many cores: powers of two until each core has a thread, then some for each.
fn threads(cores: usize) -> Vec<usize> {
    let fewer = (0..).map(|power| 1 << power).take_while(|threads| *threads < cores);
    let more = MORE.map(|times| times * cores);
    fewer.chain([cores]).chain(more).collect::<BTreeSet<_>>().into_iter().collect()
}

/// All kinds with all numbers of threads, round after round.
pub(super) fn over_threads(plan: &Plan, results: &mut Results) -> Result<()> {
    let Amounts { rounds, threads, .. } = &plan.contention;
    for round in 0..*rounds {
        eprintln!("{}, round {} of {rounds}", Scenario::Contention.name(), round + 1);
        for kind in Kind::ALL {
            let mut one = None;
            for &threads in threads {
                let now = pair(plan, kind, threads, round)?;
                let values = values(now, *one.get_or_insert(now));
                results.add(Scenario::Contention, kind, threads, round, &values);
            }
        }
    }
    Ok(())
}

/// What one endpoint for all threads costs, and one for each.
#[derive(Debug, Clone, Copy)]
struct Pair {
    shared: Report,
    own: Report,
}

/// Which comes first alternates.
fn pair(plan: &Plan, kind: Kind, threads: usize, round: usize) -> Result<Pair> {
    let cores = &plan.cores.all;
    let measure = |endpoints| -> Result<Report> {
        let load = Load { kind, endpoints, threads, time: plan.contention.time, most: MOST };
        let report = run(&load, |thread| pin_thread(cores.get(thread % cores.len().max(1)).copied()));
        let Report { requests, answered, .. } = report;
        ensure!(requests == answered, "{answered} answers to {requests} requests: {load:?}");
        Ok(report)
    };
    if round.is_multiple_of(2) {
        let shared = measure(Endpoints::Shared)?;
        Ok(Pair { shared, own: measure(Endpoints::Own)? })
    } else {
        let own = measure(Endpoints::Own)?;
        Ok(Pair { shared: measure(Endpoints::Shared)?, own })
    }
}

/// The figures beside those of one thread.
fn values(now: Pair, one: Pair) -> [(&'static str, f64); 10] {
    let cpu = |report: Report| report.cpu.as_secs_f64() * 1e6 / report.requests as f64;
    let rate = |report: Report| report.requests as f64 / report.elapsed.as_secs_f64();
    [
        ("of_own", cpu(now.shared) / cpu(now.own)),
        ("added", (cpu(now.shared) - cpu(now.own)) * 1e3),
        ("of_one", cpu(now.shared) / cpu(one.shared)),
        ("own_of_one", cpu(now.own) / cpu(one.own)),
        ("cpu", cpu(now.shared)),
        ("own_cpu", cpu(now.own)),
        ("per_second", rate(now.shared)),
        ("own_per_second", rate(now.own)),
        ("cores", now.shared.cpu.as_secs_f64() / now.shared.elapsed.as_secs_f64()),
        ("requests", now.shared.requests as f64),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_threads_for_fewer_cores_and_for_more() {
        assert_eq!(threads(1), [1, 2, 4, 16]);
        assert_eq!(threads(2), [1, 2, 4, 8, 32]);
        assert_eq!(threads(6), [1, 2, 4, 6, 12, 24, 96]);
        assert_eq!(threads(64), [1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024]);
    }

    #[test]
    fn figures_are_per_request_and_beside_one_thread() {
        let report = |requests, cpu, elapsed| {
            let [cpu, elapsed] = [cpu, elapsed].map(Duration::from_millis);
            Report { requests, answered: requests, cpu, elapsed }
        };
        let one = Pair { shared: report(1_000, 2, 2), own: report(1_000, 1, 2) };
        let now = Pair { shared: report(2_000, 8, 4), own: report(2_000, 2, 4) };
        let expected = [
            ("of_own", 4.0),
            ("added", 3_000.0),
            ("of_one", 2.0),
            ("own_of_one", 1.0),
            ("cpu", 4.0),
            ("own_cpu", 1.0),
            ("per_second", 500_000.0),
            ("own_per_second", 500_000.0),
            ("cores", 2.0),
            ("requests", 2_000.0),
        ];
        for ((name, value), (is, expected)) in values(now, one).into_iter().zip(expected) {
            assert!(name == is && (value - expected).abs() < 1e-9, "{name} {value}");
        }
    }
}
