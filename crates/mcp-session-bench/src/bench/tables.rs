//! The tables: one per figure, with a row per amount and a column per server. Then the ratios.

use crate::{
    results::{Results, amount},
    scenarios::Scenario,
};

/// A figure that gets a table.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
}

/// The figures of a scenario to show, the most important first.
pub(crate) fn metrics(scenario: Scenario) -> &'static [Metric] {
    const fn metric(name: &'static str, title: &'static str) -> Metric {
        Metric { name, title }
    }
    const RATE: Metric = metric("per_second", "requests/s");
    const CPU: Metric = metric("server_cpu", "server processor time, us per request");
    match scenario {
        Scenario::Echo => {
            const {
                &[
                    RATE,
                    metric("p50", "p50, us"),
                    metric("p99", "p99, us"),
                    CPU,
                    metric("client_cpu", "client processor time, us per request"),
                    metric("server_cores", "cores that the server kept busy"),
                    metric(
                        "client_cores",
                        "cores that the client kept busy: if all of its cores, the client was the bottleneck",
                    ),
                ]
            }
        }
        Scenario::Churn => {
            const {
                &[
                    metric("per_second", "sessions created and deleted/s"),
                    metric("server_cpu", "server processor time, us per session"),
                ]
            }
        }
        Scenario::Sessions => {
            const {
                &[
                    metric("bytes", "bytes of RSS per idle session"),
                    metric("tasks", "tokio tasks per idle session"),
                    metric("resident", "RSS of the server, bytes"),
                    metric("opened_per_second", "sessions opened/s"),
                    metric("per_second", "requests/s over all sessions in turn"),
                    metric("p99", "p99 of these, us"),
                ]
            }
        }
        Scenario::Streams => {
            const { &[metric("bytes", "bytes of RSS per open GET stream, with session and connection")] }
        }
        Scenario::Events => {
            const {
                &[
                    metric("per_second", "events/s on all streams of one session"),
                    metric("server_cpu", "server processor time, us per event"),
                ]
            }
        }
        Scenario::Messages => {
            const { &[RATE, metric("megabytes_per_second", "MB/s each way"), metric("p99", "p99, us"), CPU] }
        }
        Scenario::Shutdown => {
            const {
                &[
                    metric("calls_answered", "running calls answered"),
                    metric("calls_unanswered", "running calls without an answer"),
                    metric("streams_ended", "GET streams that ended with their last chunk"),
                    metric("ended_median", "half of the streams ended, ms after SIGTERM"),
                    metric("ended_last", "all streams ended, ms after SIGTERM"),
                    metric("answered_last", "all calls answered, ms after SIGTERM"),
                    metric("exit_after_clients", "process ended, ms after the clients had everything"),
                ]
            }
        }
        Scenario::ShutdownScale => {
            const {
                &[
                    metric("ended_last", "all streams ended, ms after SIGTERM"),
                    metric("ended_median", "half of the streams ended, ms after SIGTERM"),
                    metric("streams_cut", "streams cut"),
                ]
            }
        }
        Scenario::Eras => {
            const {
                &[
                    metric("session_per_second", "in a session, requests/s"),
                    metric("stateless_per_second", "without a session, requests/s"),
                    metric("modern_per_second", "of 2026-07-28, requests/s"),
                    metric("session_p50", "in a session, p50, us"),
                    metric("stateless_p50", "without a session, p50, us"),
                    metric("modern_p50", "of 2026-07-28, p50, us"),
                    metric("session_p99", "in a session, p99, us"),
                    metric("stateless_p99", "without a session, p99, us"),
                    metric("modern_p99", "of 2026-07-28, p99, us"),
                    metric("session_server_cpu", "in a session, server processor time, us per request"),
                    metric(
                        "stateless_server_cpu",
                        "without a session, server processor time, us per request",
                    ),
                    metric("modern_server_cpu", "of 2026-07-28, server processor time, us per request"),
                    metric("stateless_of_session", "without a session, processor time of that in a session"),
                    metric("modern_of_session", "of 2026-07-28, processor time of that in a session"),
                ]
            }
        }
        Scenario::Leftovers => {
            const {
                &[
                    metric("stateless_bytes", "without a session, bytes of RSS left per call"),
                    metric("stateless_resident_few", "without a session, RSS after 1,000 calls, bytes"),
                    metric("stateless_resident", "without a session, RSS after all calls, bytes"),
                    metric("modern_bytes", "of 2026-07-28, bytes of RSS left per call"),
                    metric("modern_resident_few", "of 2026-07-28, RSS after 1,000 calls, bytes"),
                    metric("modern_resident", "of 2026-07-28, RSS after all calls, bytes"),
                ]
            }
        }
        Scenario::Listeners => {
            const { &[metric("bytes", "bytes of RSS per `subscriptions/listen` stream, with connection")] }
        }
        Scenario::ShutdownEras => {
            const {
                &[
                    metric("modern_answered", "running calls of 2026-07-28 answered"),
                    metric("stateless_answered", "running calls without a session answered"),
                    metric("session_answered", "running calls in a session answered"),
                    metric(
                        "listeners_answered",
                        "listeners that ended with their result and their last chunk",
                    ),
                    metric("calls_unanswered", "running calls without an answer"),
                    metric("listeners_unanswered", "listeners without their result"),
                    metric("listeners_last", "all listeners ended, ms after SIGTERM"),
                    metric("answered_last", "all calls answered, ms after SIGTERM"),
                    metric("exit_after_clients", "process ended, ms after the clients had everything"),
                ]
            }
        }
        Scenario::Contention => {
            const {
                &[
                    metric("of_own", "processor time per request, of that with an endpoint for each thread"),
                    metric("added", "processor time that sharing adds, ns per request"),
                    metric("of_one", "processor time per request, of that with one thread"),
                    metric("own_of_one", "the same with an endpoint for each thread"),
                    metric("cpu", "processor time, us per request"),
                    metric("own_cpu", "the same with an endpoint for each thread"),
                    metric("per_second", "requests/s of all threads"),
                    metric("own_per_second", "the same with an endpoint for each thread"),
                    metric("cores", "cores that the threads kept busy: if fewer than wanted, they met less"),
                ]
            }
        }
        Scenario::RedisEvents => {
            const {
                &[
                    metric("got_1k", "events/s, of 1,000"),
                    metric("p50_1k", "from the handler to its client, 1,000 events/s: p50, us"),
                    metric("p99_1k", "the same: p99, us"),
                    metric("added_p50_1k", "p50 with a store, less that without in the same round, us"),
                    metric("added_p99_1k", "p99 with a store, less that without in the same round, us"),
                    metric("redis_cpu_1k", "processor time of Redis, us per event"),
                    metric(
                        "script_time_1k",
                        "time within scripts by the clock, us per event: with what they wait for a core",
                    ),
                    metric("socket_reads_1k", "reads of sockets by Redis, per event"),
                    metric("got_10k", "events/s, of 10,000"),
                    metric("p50_10k", "from the handler to its client, 10,000 events/s: p50, us"),
                    metric("p99_10k", "the same: p99, us"),
                    metric("added_p50_10k", "p50 with a store, less that without in the same round, us"),
                    metric("added_p99_10k", "p99 with a store, less that without in the same round, us"),
                    metric("redis_cpu_10k", "processor time of Redis, us per event"),
                    metric(
                        "script_time_10k",
                        "time within scripts by the clock, us per event: with what they wait for a core",
                    ),
                    metric("scripts_10k", "scripts per event"),
                    metric("socket_reads_10k", "reads of sockets by Redis, per event"),
                ]
            }
        }
        Scenario::RedisTail => {
            const {
                &[
                    metric("got_1k", "events/s, of 1,000"),
                    metric("p50_1k", "from the handler to a client at another node, 1,000 events/s: p50, us"),
                    metric("p99_1k", "the same: p99, us"),
                    metric(
                        "redis_cpu_1k",
                        "processor time of Redis, us per event, with all that its reader needs",
                    ),
                    metric("got_10k", "events/s, of 10,000"),
                    metric(
                        "p50_10k",
                        "from the handler to a client at another node, 10,000 events/s: p50, us",
                    ),
                    metric("p99_10k", "the same: p99, us"),
                    metric(
                        "redis_cpu_10k",
                        "processor time of Redis, us per event, with all that its reader needs",
                    ),
                    metric(
                        "script_time_10k",
                        "time within scripts by the clock, us per event: with what they wait for a core",
                    ),
                    metric("scripts_10k", "scripts per event"),
                    metric("reads_10k", "blocking reads per event"),
                    metric("socket_reads_10k", "reads of sockets by Redis, per event"),
                ]
            }
        }
        Scenario::RedisLimit => {
            const {
                &[
                    metric("per_second", "events/s of one node without a pause"),
                    metric("redis_cpu", "processor time of Redis, us per event"),
                    metric(
                        "script_time",
                        "time within scripts by the clock, us per event: with what they wait for a core",
                    ),
                    metric("per_core", "events/s that a core of Redis can take, by that time"),
                    metric("scripts", "scripts per event"),
                    metric("socket_reads", "reads of sockets by Redis, per event"),
                ]
            }
        }
        Scenario::RedisReplies => {
            const {
                &[
                    metric("reply_p50", "from a reply until the handler has it: p50, us"),
                    metric("reply_p99", "the same: p99, us"),
                    metric("delete_p50", "from DELETE until the stream of the call has ended: p50, us"),
                    metric("delete_p99", "the same: p99, us"),
                ]
            }
        }
        Scenario::RedisSizes => {
            const {
                &[
                    metric("session_bytes", "bytes of Redis per idle session"),
                    metric("call_bytes", "bytes of Redis per running call with 5 events"),
                    metric("connections", "connections of a node"),
                    metric("answer", "scripts for an answer in JSON"),
                    metric("first_answer", "scripts for the first at a node that did not know the session"),
                ]
            }
        }
        Scenario::Adapters | Scenario::Micro | Scenario::Instructions | Scenario::Redis => &[],
    }
}

/// Prints all tables.
pub(crate) fn print(results: &Results, scenarios: &[Scenario]) {
    println!("\n# Figures\n\nMedian (lowest-highest).\n");
    for (name, value) in &results.machine {
        println!("- {name}: {value}");
    }
    for &scenario in scenarios {
        for metric in metrics(scenario) {
            values(results, scenario, metric);
        }
        // Counts of answers have no ratios.
        let compared = match scenario {
            Scenario::Shutdown | Scenario::ShutdownEras | Scenario::Leftovers => 0,
            Scenario::Eras => 3, // the rate of each era
            _ => 1,
        };
        for metric in metrics(scenario).iter().take(compared) {
            ratios(results, scenario, metric);
        }
    }
}

fn values(results: &Results, scenario: Scenario, metric: &Metric) {
    let subjects = results.subjects(scenario);
    if subjects.is_empty() {
        return;
    }
    println!("\n## {}: {}\n", scenario.name(), metric.title);
    println!(
        "| {} | {} |",
        scenario.unit(),
        subjects.iter().map(|subject| subject.name()).collect::<Vec<_>>().join(" | ")
    );
    println!("|---|{}", "---|".repeat(subjects.len()));
    for x in results.xs(scenario) {
        let cells = subjects.iter().map(|subject| {
            results
                .spread(scenario, *subject, x, metric.name)
                .map_or_else(|| "-".to_owned(), |spread| spread.to_string())
        });
        println!("| {} | {} |", amount(x), cells.collect::<Vec<_>>().join(" | "));
    }
}

fn ratios(results: &Results, scenario: Scenario, metric: &Metric) {
    let pairs: Vec<_> = results
        .peers(scenario)
        .into_iter()
        .flat_map(|peer| peer.compared_to().iter().map(move |other| (peer, *other)))
        .filter(|(_, other)| results.peers(scenario).contains(other))
        .collect();
    if pairs.is_empty() {
        return;
    }
    println!("\n## {}: {}, ratio of the same round\n", scenario.name(), metric.title);
    let names = pairs.iter().map(|(peer, other)| format!("{} / {}", peer.name(), other.name()));
    println!("| {} | {} |", scenario.unit(), names.collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---|".repeat(pairs.len()));
    for x in results.xs(scenario) {
        let cells = pairs.iter().map(|(peer, other)| {
            results
                .ratio(scenario, x, metric.name, *peer, *other)
                .map_or_else(|| "-".to_owned(), |ratio| ratio.to_string())
        });
        println!("| {} | {} |", amount(x), cells.collect::<Vec<_>>().join(" | "));
    }
}
