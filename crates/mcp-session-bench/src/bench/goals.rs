//! The goals for the figures, and whether they are met.

use std::collections::BTreeMap;

use crate::{
    peer::Peer,
    results::{Results, Spread},
    scenarios::{Plan, Scenario},
};

/// A bound on the median of a figure, or of its ratio to another server's.
struct Goal {
    what: &'static str,
    scenario: Scenario,
    x: usize,
    metric: &'static str,
    peer: Peer,
    against: Option<Peer>,
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

fn goals(plan: &Plan) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Peer::{AsyncStd, RawParsing, RawSmol, RawTide, RawTokio, Rmcp, Smol, Tokio};
    let goal = |what, (scenario, x), metric, peer, against: Option<Peer>, bound| Goal {
        what,
        scenario,
        x,
        metric,
        peer,
        against,
        bound,
    };
    let (echo, churn, shutdown) =
        ((Scenario::Echo, 64), (Scenario::Churn, 32), (Scenario::Shutdown, plan.shutdown.0));
    let (leftovers, shutdown_eras) =
        ((Scenario::Leftovers, plan.calls), (Scenario::ShutdownEras, plan.shutdown_eras.0));
    let raw = Some(RawTokio);
    vec![
        goal("echo requests/s of raw hyper", echo, "per_second", Tokio, raw, AtLeast(0.75)),
        goal("echo requests/s of rmcp", echo, "per_second", Tokio, Some(Rmcp), AtLeast(4.0)),
        goal("echo requests/s of raw hyper", echo, "per_second", Smol, Some(RawSmol), AtLeast(0.75)),
        goal("echo requests/s of raw tide", echo, "per_second", AsyncStd, Some(RawTide), AtLeast(0.6)),
        goal("echo p99 of raw hyper", echo, "p99", Tokio, raw, AtMost(2.0)),
        goal("server processor time per request of raw hyper", echo, "server_cpu", Tokio, raw, AtMost(1.4)),
        goal(
            "bytes per idle session, 10,000",
            (Scenario::Sessions, 10_000),
            "bytes",
            Tokio,
            None,
            AtMost(1_024.0),
        ),
        goal(
            "bytes per idle session, 100,000",
            (Scenario::Sessions, 100_000),
            "bytes",
            Tokio,
            None,
            AtMost(512.0),
        ),
        goal(
            "bytes per GET stream of raw hyper",
            (Scenario::Streams, 1_000),
            "bytes",
            Tokio,
            raw,
            AtMost(1.15),
        ),
        goal(
            "1 MB echo: server processor time of raw hyper that parses",
            (Scenario::Messages, 1_000_000),
            "server_cpu",
            Tokio,
            Some(RawParsing),
            AtMost(1.5),
        ),
        goal("sessions created and deleted/s of raw hyper", churn, "per_second", Tokio, raw, AtLeast(0.7)),
        goal(
            "share of the running calls answered at SIGTERM",
            shutdown,
            "answered_share",
            Tokio,
            None,
            AtLeast(1.0),
        ),
        goal(
            "share of the running calls answered at SIGTERM",
            shutdown,
            "answered_share",
            Smol,
            None,
            AtLeast(1.0),
        ),
        goal(
            "share of the running calls answered at SIGTERM",
            shutdown,
            "answered_share",
            AsyncStd,
            None,
            AtLeast(1.0),
        ),
        goal(
            "time until all GET streams ended of raw hyper",
            shutdown,
            "ended_last",
            Tokio,
            raw,
            AtMost(1.5),
        ),
        goal(
            "bytes per listener of raw hyper, 1,000",
            (Scenario::Listeners, 1_000),
            "bytes",
            Tokio,
            raw,
            AtMost(1.1),
        ),
        goal(
            "bytes per listener of raw hyper, 10,000",
            (Scenario::Listeners, 10_000),
            "bytes",
            Tokio,
            raw,
            AtMost(1.1),
        ),
    ]
    .into_iter()
    .chain([Tokio, Smol, AsyncStd].into_iter().flat_map(|peer| {
        [
            goal(
                "growth of RSS from 1,000 to 20,000 calls without a session, of 5 % or 2 MB",
                leftovers,
                "stateless_of_allowed",
                peer,
                None,
                AtMost(1.0),
            ),
            goal(
                "growth of RSS from 1,000 to 20,000 calls of 2026-07-28, of 5 % or 2 MB",
                leftovers,
                "modern_of_allowed",
                peer,
                None,
                AtMost(1.0),
            ),
            goal(
                "share of the listeners and the running calls of all eras answered at SIGTERM",
                shutdown_eras,
                "all_answered_share",
                peer,
                None,
                AtLeast(1.0),
            ),
        ]
    }))
    .chain(redis(plan))
    .collect()
}

/// The goals for a store on Redis.
fn redis(plan: &Plan) -> impl Iterator<Item = Goal> {
    use Peer::{NodeOnRedis, NodeOnTunedRedis};
    let most = |scenario, x, metric, peer, most, what| Goal {
        what,
        scenario,
        x,
        metric,
        peer,
        against: None,
        bound: Bound::AtMost(most),
    };
    let (events, tail) = (Scenario::RedisEvents, Scenario::RedisTail);
    let (replies, sizes) = (Scenario::RedisReplies, Scenario::RedisSizes);
    let (calls, sessions) = (plan.redis.replies, plan.redis.sessions);
    [
        most(events, 1, "added_p50_10k", NodeOnRedis, 300.0, "added p50 of an event, 1 stream, 10k/s, us"),
        most(events, 1, "added_p99_10k", NodeOnRedis, 1_500.0, "added p99 of an event, 1 stream, 10k/s, us"),
        most(
            events,
            100,
            "added_p50_10k",
            NodeOnRedis,
            300.0,
            "added p50 of an event, 100 streams, 10k/s, us",
        ),
        most(
            events,
            100,
            "added_p99_10k",
            NodeOnRedis,
            1_500.0,
            "added p99 of an event, 100 streams, 10k/s, us",
        ),
        most(
            events,
            1_000,
            "added_p50_10k",
            NodeOnRedis,
            300.0,
            "added p50 of an event, 1,000 streams, 10k/s, us",
        ),
        most(
            events,
            1_000,
            "added_p99_10k",
            NodeOnRedis,
            1_500.0,
            "added p99 of an event, 1,000 streams, 10k/s, us",
        ),
        most(tail, 1_000, "p50_10k", NodeOnRedis, 700.0, "p50 at another node, 1,000 streams, 10k/s, us"),
        most(tail, 1_000, "p99_10k", NodeOnRedis, 5_000.0, "p99 at another node, 1,000 streams, 10k/s, us"),
        most(events, 1_000, "redis_cpu_10k", NodeOnRedis, 8.0, "Redis per event, 1,000 streams, 10k/s, us"),
        most(replies, calls, "reply_p50", NodeOnRedis, 1_000.0, "p50 of a reply through another node, us"),
        most(replies, calls, "delete_p50", NodeOnRedis, 1_500.0, "p50 of DELETE through another node, us"),
        most(sizes, sessions, "session_bytes", NodeOnRedis, 700.0, "bytes of Redis per idle session"),
        most(sizes, sessions, "call_bytes", NodeOnRedis, 4_600.0, "bytes of Redis per running call"),
        most(
            sizes,
            sessions,
            "call_bytes",
            NodeOnTunedRedis,
            1_500.0,
            "bytes of Redis per running call, tuned",
        ),
        most(sizes, sessions, "connections", NodeOnRedis, 2.0, "connections of a node"),
        most(sizes, sessions, "first_answer", NodeOnRedis, 1.0, "scripts for the first answer at a node"),
        most(sizes, sessions, "answer", NodeOnRedis, 0.1, "scripts for an answer in JSON"),
    ]
    .into_iter()
    .chain(
        [
            (100, "events/s for each core of Redis without a pause, 100 streams"),
            (1_000, "events/s for each core of Redis without a pause, 1,000 streams"),
        ]
        .map(|(streams, what)| Goal {
            what,
            scenario: Scenario::RedisLimit,
            x: streams,
            metric: "per_core",
            peer: NodeOnRedis,
            against: None,
            bound: Bound::AtLeast(100_000.0),
        }),
    )
}

/// Prints the goals for the instructions of a call without a session, as multiples of a call in one and its envelope.
pub(crate) fn print_instructions(counts: &BTreeMap<String, f64>) {
    let of = |names: &[&str]| names.iter().map(|name| counts.get(*name)).sum::<Option<f64>>();
    println!("\n| work | at most | instructions | |\n|---|---|---|---|");
    for (what, work, bound, bounds) in [
        ("an `echo` call without a session", "handle-stateless", "one in a session", &["echo"][..]),
        (
            "an `echo` call of 2026-07-28",
            "handle-modern",
            "one in a session and the envelope",
            &["echo", "envelope"],
        ),
    ] {
        if let (Some(count), Some(most)) = (of(&[work]), of(bounds)) {
            let verdict = if count <= most { "met" } else { "missed" };
            println!("| {what} | {bound}: {most:.0} | {count:.0} | {verdict} |");
        }
    }
}

/// Prints the goals that were measured.
pub(crate) fn print(results: &Results, plan: &Plan) {
    let measured: Vec<_> =
        goals(plan).into_iter().filter_map(|goal| Some((goal.measured(results)?, goal))).collect();
    if measured.is_empty() {
        return;
    }
    println!("\n# Goals\n\n| server | figure | goal | measured | |\n|---|---|---|---|---|");
    for (spread, goal) in measured {
        let (bound, met) = match goal.bound {
            Bound::AtLeast(bound) => (format!(">= {bound}"), spread.median >= bound),
            Bound::AtMost(bound) => (format!("<= {bound}"), spread.median <= bound),
        };
        let verdict = if met { "met" } else { "missed" };
        println!("| {} | {} | {bound} | {spread} | {verdict} |", goal.peer.name(), goal.what);
    }
}

impl Goal {
    fn measured(&self, results: &Results) -> Option<Spread> {
        match self.against {
            Some(other) => results.ratio(self.scenario, self.x, self.metric, self.peer, other),
            None => results.spread(self.scenario, self.peer, self.x, self.metric),
        }
    }
}
