//! The goals for the figures, and whether they are met.

use crate::{
    peer::Peer,
    results::{Results, Spread},
    scenarios::Scenario,
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

fn goals((streams, _): (usize, usize)) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Peer::{AsyncStd, RawSmol, RawTide, RawTokio, Rmcp, Smol, Tokio};
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
        ((Scenario::Echo, 64), (Scenario::Churn, 32), (Scenario::Shutdown, streams));
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
    ]
}

/// Prints the goals that were measured.
pub(crate) fn print(results: &Results, shutdown: (usize, usize)) {
    let measured: Vec<_> =
        goals(shutdown).into_iter().filter_map(|goal| Some((goal.measured(results)?, goal))).collect();
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
