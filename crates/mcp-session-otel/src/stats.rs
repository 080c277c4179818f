//! What an endpoint counts, as instruments.

use mcp_session_core::{Buffered, Endpoint, ShutdownPhase, Stats};
use opentelemetry::metrics::Meter;

/// A number that goes up and down: its name, what it says, and where it is.
type Gauge = (&'static str, &'static str, fn(&Stats) -> u64);

/// What is there now.
const GAUGES: [Gauge; 5] = [
    ("mcp.server.sessions", "Sessions that are served", |it| it.sessions),
    ("mcp.server.requests", "Requests that are running", |it| it.exchanges),
    ("mcp.server.streams", "Streams that clients read", |it| it.streams),
    ("mcp.server.subscriptions", "Subscriptions of 2026-07-28", |it| it.subscriptions),
    (
        "mcp.server.shutdown.phase",
        "0 running, 1 lame duck, 2 draining, 3 cancelling, 4 finishing, 5 closed",
        phase,
    ),
];

/// What has been since the start.
const COUNTERS: [Gauge; 14] = [
    ("mcp.server.sessions.created", "Sessions that were opened", |it| it.sessions_created),
    ("mcp.server.sessions.terminated", "Sessions that have ended", |it| it.sessions_terminated),
    ("mcp.server.sessions.evicted", "Sessions that had to make room", |it| it.sessions_evicted),
    ("mcp.server.requests.admitted", "Requests that were admitted", |it| it.exchanges_admitted),
    ("mcp.server.requests.answered", "Requests that their handler answered", |it| it.exchanges_answered),
    (
        "mcp.server.requests.synthesized",
        "Requests that got an error in place of their handler's answer",
        |it| it.exchanges_synthesized,
    ),
    ("mcp.server.requests.cancelled", "Requests that were cancelled", |it| it.exchanges_cancelled),
    ("mcp.server.requests.forced", "Requests whose answer could not be handed over", |it| {
        it.exchanges_forced
    }),
    ("mcp.server.requests.orphaned", "Requests whose client left for good", |it| it.exchanges_orphaned),
    ("mcp.server.requests.refused", "Requests that were not admitted", |it| it.requests_refused),
    ("mcp.server.streams.ended", "Streams that ended properly", |it| it.streams_ended),
    ("mcp.server.streams.cut", "Streams that were cut", |it| it.streams_cut),
    ("mcp.server.responses.stalled", "Responses whose reader stood still", |it| it.responses_stalled),
    ("mcp.server.pings.unanswered", "Pings that a client did not answer", |it| it.pings_unanswered),
];

/// What is held for clients: its name, what it says, its unit, and where it is.
type Held = (&'static str, &'static str, &'static str, fn(&Buffered) -> u64);

const HELD: [Held; 3] = [
    ("mcp.server.queue.size", "Bytes that wait in the streams of sessions", "By", |it| it.queue_bytes),
    ("mcp.server.replay.events", "Events that sessions keep for replay", "{event}", |it| it.replay_events),
    ("mcp.server.replay.size", "Bytes that sessions keep for replay", "By", |it| it.replay_bytes),
];

fn phase(stats: &Stats) -> u64 {
    match stats.phase {
        ShutdownPhase::Running => 0,
        ShutdownPhase::LameDuck => 1,
        ShutdownPhase::Draining => 2,
        ShutdownPhase::Cancelling => 3,
        ShutdownPhase::Finishing => 4,
        _ => 5,
    }
}

/// Reports them whenever metrics are collected.
pub(crate) fn report(meter: &Meter, endpoint: &Endpoint) {
    for (name, text, get) in GAUGES {
        let endpoint = endpoint.clone();
        let gauge = meter.u64_observable_gauge(name).with_description(text);
        gauge.with_callback(move |it| it.observe(get(&endpoint.stats()), &[])).build();
    }
    for (name, text, unit, get) in HELD {
        let endpoint = endpoint.clone();
        let gauge = meter.u64_observable_gauge(name).with_description(text).with_unit(unit);
        gauge.with_callback(move |it| it.observe(get(&endpoint.manager().buffered()), &[])).build();
    }
    for (name, text, get) in COUNTERS {
        let endpoint = endpoint.clone();
        let counter = meter.u64_observable_counter(name).with_description(text);
        counter.with_callback(move |it| it.observe(get(&endpoint.stats()), &[])).build();
    }
}
