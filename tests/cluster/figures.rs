//! [`Figures`]: what a run has cost Redis.

use std::fmt;

use anyhow::{Context as _, Result};
use redis::{Connection, Pipeline};

use crate::seen::Seen;

/// The number of keys of each kind whose memory is asked for.
const SAMPLE: usize = 300;

/// The counters of a Redis at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    commands: f64,
    /// Seconds of processor.
    cpu: f64,
    peak: f64,
    events: usize,
}

/// The means of a run.
#[derive(Debug)]
pub(crate) struct Figures {
    events: usize,
    calls_per_event: f64,
    micros_per_event: f64,
    peak: f64,
    record: f64,
    table: f64,
    log: f64,
    log_events: f64,
}

/// Asks for the counters. `events` is the number of events that clients have read.
pub(crate) fn counters(url: &str, events: usize) -> Result<Counters> {
    let mut redis = redis::Client::open(url)?.get_connection()?;
    let info: String = redis::cmd("INFO").arg("everything").query(&mut redis)?;
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.trim().parse::<f64>().ok()).with_context(|| format!("no {name}"))
    };
    // The most that nodes send, and not what scripts do: these are in no script.
    let calls = |line: &str| -> Option<f64> {
        let (name, fields) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let sent = ["evalsha", "xread"].contains(&name);
        sent.then(|| fields.strip_prefix("calls=")?.split(',').next()?.parse().ok())?
    };
    let commands = info.lines().filter_map(calls).sum();
    let cpu = field("used_cpu_user")? + field("used_cpu_sys")?;
    Ok(Counters { commands, cpu, peak: field("used_memory_peak")?, events })
}

impl Figures {
    /// The difference between two moments, and the memory of some keys.
    pub(crate) fn new(url: &str, seen: &Seen, before: Counters, after: Counters) -> Result<Self> {
        let mut redis = redis::Client::open(url)?.get_connection()?;
        let sessions = || seen.listened.iter().map(|listened| format!("mcp:{{{}}}", listened.session));
        let logs = seen.calls.iter().rev().filter(|call| call.is_answered());
        let logs: Vec<_> = logs.filter_map(|call| Some((call, call.stream?))).take(SAMPLE).collect();
        let keys = logs.iter().map(|(call, stream)| format!("mcp:{{{}}}:s:{stream}", call.session));
        let length: usize = logs.iter().map(|(call, _)| call.events.len()).sum();
        let events = after.events - before.events;
        let per_event = |sum: f64| sum / events.max(1) as f64;
        Ok(Self {
            events,
            calls_per_event: per_event(after.commands - before.commands),
            micros_per_event: per_event((after.cpu - before.cpu) * 1e6),
            peak: after.peak,
            record: mean(&mut redis, sessions())?,
            table: mean(&mut redis, sessions().map(|key| key + ":x"))?,
            log: mean(&mut redis, keys)?,
            log_events: length as f64 / logs.len().max(1) as f64,
        })
    }
}

/// The mean memory of those keys that exist.
fn mean(redis: &mut Connection, keys: impl Iterator<Item = String>) -> Result<f64> {
    let mut pipeline = Pipeline::new();
    for key in keys.take(SAMPLE) {
        pipeline.cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0);
    }
    let usage: Vec<Option<f64>> = pipeline.query(redis)?;
    let usage: Vec<f64> = usage.into_iter().flatten().collect();
    Ok(usage.iter().sum::<f64>() / usage.len().max(1) as f64)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, calls_per_event, micros_per_event, peak, record, table, log, log_events } = self;
        write!(
            f,
            "redis: {events} events, each {calls_per_event:.2} scripts and blocking reads, and {micros_per_event:.0} us of processor; \
             peak {:.1} MB; a record {record:.0} B, a table {table:.0} B, a log of {log_events:.1} events {log:.0} B",
            peak / 1e6,
        )
    }
}
