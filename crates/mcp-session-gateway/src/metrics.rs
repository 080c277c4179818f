//! The metrics, as text of `OpenMetrics`, which Prometheus reads. Nothing of a client is in them, and the only labels are servers and
//! their states, so their number does not grow.

use std::fmt;

use mcp_session_core::Stats;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{front::Served, server::state::ServerStats};

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The states that [`ServerState::as_str`](crate::server::state::ServerState::as_str) names.
const STATES: [&str; 6] = ["starting", "ready", "restarting", "crash_loop", "at_limit", "draining"];

/// What is read of a server.
#[derive(Debug)]
struct Reading {
    name: String,
    is_ready: bool,
    state: &'static str,
    children: ServerStats,
    sessions: Stats,
    /// Requests that were refused for their `Host` or `Origin`, before the endpoint saw them.
    at_the_door: u64,
}

/// A value of a server.
type Value = fn(&Reading) -> u64;

#[rustfmt::skip]
const GAUGES: [(&str, &str, Value); 8] = [
    ("ready", "1 if new clients are served", |read| u64::from(read.is_ready)),
    ("sessions", "Open sessions", |read| read.sessions.sessions),
    ("calls", "Requests of clients that are not answered yet", |read| read.sessions.exchanges),
    ("streams", "Open streams of responses, POST and GET", |read| read.sessions.streams),
    ("subscriptions", "Open subscriptions without a session", |read| read.sessions.subscriptions),
    ("children", "Child processes that run or are ending", |read| read.children.children as u64),
    ("children_sessions", "Sessions that have a child, or use the shared one", |read| read.children.sessions as u64),
    ("children_calls", "Calls that children are working on", |read| read.children.calls as u64),
];

#[rustfmt::skip]
const COUNTERS: [(&str, &str, Value); 20] = [
    ("sessions_created", "Sessions that were opened", |read| read.sessions.sessions_created),
    ("sessions_terminated", "Sessions that have ended", |read| read.sessions.sessions_terminated),
    ("sessions_evicted", "Sessions that were opened and not used, and made room for others", |read| read.sessions.sessions_evicted),
    ("calls_admitted", "Requests of clients that were admitted", |read| read.sessions.exchanges_admitted),
    ("calls_answered", "Requests that got their own answer", |read| read.sessions.exchanges_answered),
    ("calls_synthesized", "Requests that got an error because their answer did not come in time", |read| read.sessions.exchanges_synthesized),
    ("calls_cancelled", "Requests that their client has cancelled", |read| read.sessions.exchanges_cancelled),
    ("calls_forced", "Requests whose answer could not be delivered", |read| read.sessions.exchanges_forced),
    ("requests_refused", "HTTP requests that were refused", |read| read.sessions.requests_refused + read.at_the_door),
    ("responses_stalled", "Responses that were cut because their client did not read", |read| read.sessions.responses_stalled),
    ("streams_cut", "Streams that did not end properly", |read| read.sessions.streams_cut),
    ("children_spawned", "Children that were started", |read| read.children.spawned),
    ("children_failed", "Children that did not start or did not answer initialize", |read| read.children.failed),
    ("children_died", "Children that ended while they were needed", |read| read.children.died),
    ("children_terminated", "Children that needed a SIGTERM to end", |read| read.children.terminated),
    ("children_killed", "Children that needed a SIGKILL to end", |read| read.children.killed),
    ("calls_lost", "Calls whose child died before it answered", |read| read.children.calls_lost),
    ("calls_refused", "Calls that were refused at a limit of the server", |read| read.children.refused),
    ("lines_dropped", "Lines of children that were no message", |read| read.children.lines_dropped),
    ("notifications_dropped", "Notifications of children whose client did not keep up", |read| read.children.notifications_dropped),
];

/// The metrics of these servers at this moment.
///
/// # Errors
///
/// Never in practice: text is written to memory.
pub(crate) fn text(served: &[Served]) -> Result<String, fmt::Error> {
    let readings = served.iter().map(|one| Reading {
        name: one.name().to_owned(),
        is_ready: one.is_ready(),
        state: one.server.state().as_str(),
        children: one.server.stats(),
        sessions: one.endpoint.stats(),
        at_the_door: one.doorkeeper.refused(),
    });
    text_of(readings.collect())
}

fn text_of(readings: Vec<Reading>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("mcp_gateway");
    registry.register_collector(Box::new(Readings(readings)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Readings(Vec<Reading>);

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in GAUGES {
            self.family(&mut encoder, name, help, |read| ConstGauge::new(value(read)))?;
        }
        for (name, help, value) in COUNTERS {
            self.family(&mut encoder, name, help, |read| ConstCounter::new(value(read)))?;
        }
        let kind = ConstGauge::new(0_u64).metric_type();
        let mut states =
            encoder.encode_descriptor("state", "1 for the state of the server", None::<&Unit>, kind)?;
        for read in &self.0 {
            for state in STATES {
                let labels = [("server", read.name.as_str()), ("state", state)];
                ConstGauge::new(u64::from(read.state == state)).encode(states.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl Readings {
    fn family<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        metric: impl Fn(&Reading) -> M,
    ) -> Result<(), fmt::Error> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let mut family = encoder.encode_descriptor(name, help, None::<&Unit>, metric(first).metric_type())?;
        for read in &self.0 {
            metric(read).encode(family.encode_family(&[("server", read.name.as_str())])?)?;
        }
        Ok(())
    }
}
