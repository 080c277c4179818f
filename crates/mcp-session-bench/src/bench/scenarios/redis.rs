//! Nodes with their sessions on one Redis, and the same server without a store.

use std::{process::Command, time::Duration};

use anyhow::Result;

use super::{Plan, Scenario};
use crate::{
    args::RunArgs,
    load::{
        self, Era, Stamped, StampedReport, Times, deletes, echo_once_each, echo_times, open_sessions,
        stamped, stamped_elsewhere, with_calls,
    },
    peer::Peer,
    redis::{Counters, PerEvent, Redis},
    results::Results,
    server::Server,
};

/// The goal for the memory of a call is that of a log with so many events.
const EVENTS_OF_A_CALL: u32 = 5;

/// The amounts of these scenarios.
#[derive(Debug, Clone)]
pub(crate) struct Amounts {
    rounds: usize,
    time: Duration,
    streams: &'static [usize],
    pub(crate) replies: usize,
    pub(crate) sessions: usize,
}

impl Amounts {
    pub(super) fn new(args: &RunArgs) -> Self {
        let seconds = args.seconds.unwrap_or(if args.short { 0.25 } else { 2.0 });
        Self {
            rounds: args.rounds.unwrap_or(if args.short { 1 } else { 7 }),
            time: Duration::from_secs_f64(seconds),
            streams: if args.short { &[1, 50] } else { &[1, 100, 1_000] },
            replies: if args.short { 20 } else { 500 },
            sessions: if args.short { 100 } else { 1_000 },
        }
    }
}

/// The figures at one rate of events.
struct Rate {
    per_second: u64,
    got: &'static str,
    p50: &'static str,
    p99: &'static str,
    added_p50: &'static str,
    added_p99: &'static str,
    redis_cpu: &'static str,
    script_time: &'static str,
    scripts: &'static str,
    reads: &'static str,
    socket_reads: &'static str,
    socket_writes: &'static str,
}

macro_rules! rate {
    ($per_second:literal, $name:literal) => {
        Rate {
            per_second: $per_second,
            got: concat!("got_", $name),
            p50: concat!("p50_", $name),
            p99: concat!("p99_", $name),
            added_p50: concat!("added_p50_", $name),
            added_p99: concat!("added_p99_", $name),
            redis_cpu: concat!("redis_cpu_", $name),
            script_time: concat!("script_time_", $name),
            scripts: concat!("scripts_", $name),
            reads: concat!("reads_", $name),
            socket_reads: concat!("socket_reads_", $name),
            socket_writes: concat!("socket_writes_", $name),
        }
    };
}

/// Events per second, over all streams.
const RATES: [Rate; 2] = [rate!(1_000, "1k"), rate!(10_000, "10k")];

/// All events without a pause.
const UNPACED: Rate = rate!(0, "most");

type Values = Vec<(&'static str, f64)>;

impl Rate {
    fn load(&self, plan: &Plan, streams: usize) -> Stamped {
        let interval_us = (1_000_000 * streams as u64).checked_div(self.per_second).unwrap_or(0);
        Stamped { streams, interval_us, time: plan.redis.time }
    }

    fn values<M>(&self, report: &StampedReport<M>) -> Values {
        vec![(self.got, report.per_second), (self.p50, report.p50), (self.p99, report.p99)]
    }

    fn costs(&self, report: &StampedReport<Counters>) -> Values {
        let each = PerEvent::of(report.meters, report.events);
        vec![
            (self.redis_cpu, each.cpu),
            (self.script_time, each.script_time),
            (self.scripts, each.scripts),
            (self.reads, each.reads),
            (self.socket_reads, each.socket_reads),
            (self.socket_writes, each.socket_writes),
        ]
    }
}

/// Nodes on a Redis of their own.
struct Cluster {
    // Dropped before their Redis.
    nodes: Vec<Server>,
    redis: Redis,
}

impl Cluster {
    fn start(plan: &Plan, peer: Peer, nodes: usize) -> Result<Self> {
        let tuned: &[&str] = &["--stream-node-max-bytes", "1024"];
        let redis = Redis::start(if peer == Peer::NodeOnTunedRedis { tuned } else { &[] }, &plan.cores)?;
        let nodes = (0..nodes).map(|_| node(plan, peer, Some(&redis))).collect::<Result<_>>()?;
        Ok(Self { nodes, redis })
    }
}

fn node(plan: &Plan, peer: Peer, redis: Option<&Redis>) -> Result<Server> {
    let (executable, flags) = peer.command(&plan.target, Era::Session);
    let mut command = Command::new(executable);
    command.args(flags).arg("--with-parent");
    if let Some(redis) = redis {
        command.args(["--store", &redis.url()]);
    }
    Server::start(command, &plan.version, &plan.cores)
}

/// An event on the connection of its call, with a store and without, one after the other in each round.
pub(super) fn events(plan: &Plan, results: &mut Results) -> Result<()> {
    each_round(plan, Scenario::RedisEvents, plan.redis.streams, |streams, round| {
        let (mut without, mut with) = (Values::new(), Values::new());
        for rate in &RATES {
            let load = rate.load(plan, streams);
            let alone = node(plan, Peer::Node, None)?;
            let alone = stamped(alone.target(), load, || Ok(()))?;
            let cluster = Cluster::start(plan, Peer::NodeOnRedis, 1)?;
            let stored = stamped(cluster.nodes[0].target(), load, || cluster.redis.counters())?;
            without.extend(rate.values(&alone));
            with.extend(rate.values(&stored));
            with.extend([(rate.added_p50, stored.p50 - alone.p50), (rate.added_p99, stored.p99 - alone.p99)]);
            with.extend(rate.costs(&stored));
        }
        results.add(Scenario::RedisEvents, Peer::Node, streams, round, &without);
        results.add(Scenario::RedisEvents, Peer::NodeOnRedis, streams, round, &with);
        Ok(())
    })
}

/// An event that is read at another node. A single stream of 10,000 events a second is left out: nobody resumes that.
pub(super) fn tail(plan: &Plan, results: &mut Results) -> Result<()> {
    each_round(plan, Scenario::RedisTail, plan.redis.streams, |streams, round| {
        let mut values = Values::new();
        for rate in RATES.iter().filter(|rate| streams > 1 || rate.per_second <= 1_000) {
            let cluster = Cluster::start(plan, Peer::NodeOnRedis, 2)?;
            let (owner, reader) = (cluster.nodes[0].target(), cluster.nodes[1].target());
            let meter = || cluster.redis.counters();
            let report = stamped_elsewhere(owner, reader, rate.load(plan, streams), meter)?;
            values.extend(rate.values(&report));
            values.extend(rate.costs(&report));
        }
        results.add(Scenario::RedisTail, Peer::NodeOnRedis, streams, round, &values);
        Ok(())
    })
}

/// Events without a pause.
pub(super) fn limit(plan: &Plan, results: &mut Results) -> Result<()> {
    let streams: Vec<usize> = plan.redis.streams.iter().copied().filter(|streams| *streams > 1).collect();
    each_round(plan, Scenario::RedisLimit, &streams, |streams, round| {
        let cluster = Cluster::start(plan, Peer::NodeOnRedis, 1)?;
        let meter = || cluster.redis.counters();
        let report = stamped(cluster.nodes[0].target(), UNPACED.load(plan, streams), meter)?;
        let each = PerEvent::of(report.meters, report.events);
        let mut values = vec![
            ("per_second", report.per_second),
            ("per_core", 1e6 / each.cpu),
            ("redis_cpu", each.cpu),
            ("scripts", each.scripts),
        ];
        values.extend([("socket_reads", each.socket_reads), ("script_time", each.script_time)]);
        results.add(Scenario::RedisLimit, Peer::NodeOnRedis, streams, round, &values);
        Ok(())
    })
}

/// A reply to a question, and DELETE: through another node, and without a store.
pub(super) fn replies(plan: &Plan, results: &mut Results) -> Result<()> {
    let count = plan.redis.replies;
    let values = |replies: Times, deletes: Times| {
        [
            ("reply_p50", replies.p50),
            ("reply_p99", replies.p99),
            ("delete_p50", deletes.p50),
            ("delete_p99", deletes.p99),
        ]
    };
    each_round(plan, Scenario::RedisReplies, &[count], |_, round| {
        let alone = node(plan, Peer::Node, None)?;
        let at = alone.target();
        let without = values(load::replies(at, at, count)?, deletes(at, at, count)?);
        results.add(Scenario::RedisReplies, Peer::Node, count, round, &without);
        let cluster = Cluster::start(plan, Peer::NodeOnRedis, 2)?;
        let (owner, other) = (cluster.nodes[0].target(), cluster.nodes[1].target());
        let with = values(load::replies(owner, other, count)?, deletes(owner, other, count)?);
        results.add(Scenario::RedisReplies, Peer::NodeOnRedis, count, round, &with);
        Ok(())
    })
}

/// Memory of sessions and calls, with Redis as it is and tuned; connections of a node; commands of an answer in JSON.
pub(super) fn sizes(plan: &Plan, results: &mut Results) -> Result<()> {
    let count = plan.redis.sessions;
    each_round(plan, Scenario::RedisSizes, &[count], |_, round| {
        for peer in [Peer::NodeOnRedis, Peer::NodeOnTunedRedis] {
            let cluster = Cluster::start(plan, peer, 2)?;
            let [first, second] = [0, 1].map(|node| cluster.nodes[node].target());
            // What Redis and the nodes have once they have begun belongs to no session.
            echo_times(first, Era::Session, 1, 1)?;
            echo_times(second, Era::Session, 1, 1)?;
            let begun = cluster.redis.counters()?;
            let (sessions, _) = open_sessions(first, count)?;
            let opened = cluster.redis.counters()?;
            let running = with_calls(first, &sessions, EVENTS_OF_A_CALL, || cluster.redis.counters())?;
            let calls = |ask: &dyn Fn() -> Result<()>| -> Result<f64> {
                let before = cluster.redis.counters()?;
                ask()?;
                let after = cluster.redis.counters()?;
                Ok((after.scripts - before.scripts) / count as f64)
            };
            let elsewhere = calls(&|| echo_once_each(second, &sessions))?;
            let again = calls(&|| echo_once_each(second, &sessions))?;
            let values = [
                ("session_bytes", (opened.memory - begun.memory) / count as f64),
                ("call_bytes", (running.memory - opened.memory) / count as f64),
                ("connections", begun.clients / 2.0),
                ("first_answer", elsewhere),
                ("answer", again),
            ];
            results.add(Scenario::RedisSizes, peer, count, round, &values);
        }
        Ok(())
    })
}

fn each_round(
    plan: &Plan,
    scenario: Scenario,
    xs: &[usize],
    mut measure: impl FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    for &x in xs {
        for round in 0..plan.redis.rounds {
            eprintln!(
                "{} {x} {}, round {} of {}",
                scenario.name(),
                scenario.unit(),
                round + 1,
                plan.redis.rounds
            );
            measure(x, round)?;
        }
    }
    Ok(())
}
