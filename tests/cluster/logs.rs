//! [`compare`]: the logs in Redis are what clients saw.

use std::{collections::HashSet, time::Instant};

use anyhow::Result;
use redis::Pipeline;

use crate::seen::{Kind, Seen, hash};

/// The number of logs that are read at a time.
const PAGE: usize = 200;

/// The entries of a log: ids, and fields with their values.
type Entries = Vec<(String, Vec<String>)>;

/// A log to read, and what was seen of it.
struct Log<'a> {
    key: String,
    events: &'a [u64],
    /// All of it was seen.
    whole: bool,
    /// It may be gone, or short.
    excused: bool,
    /// When its call ended.
    ended: Option<Instant>,
}

/// What may have happened to logs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) at: Option<Instant>,
    /// Logs of calls that had ended by then may be gone.
    pub(crate) lost_data: bool,
}

/// What logs say and clients did not see, or the reverse.
pub(crate) fn compare(url: &str, seen: &Seen, fault: Fault) -> Result<Vec<String>> {
    let deleted: HashSet<&str> =
        (seen.calls.iter()).filter(|call| call.kind == Kind::Deletes).map(|call| &*call.session).collect();
    let calls = seen.calls.iter().filter(|call| !deleted.contains(&*call.session)).filter_map(|call| {
        Some(Log {
            key: format!("mcp:{{{}}}:s:{}", call.session, call.stream?),
            events: &call.events,
            whole: call.is_answered(),
            excused: fault.lost_data && fault.at.is_some_and(|at| call.ended < at),
            ended: Some(call.ended),
        })
    });
    let streams = seen.listened.iter().filter(|listened| !deleted.contains(&*listened.session));
    let streams = streams.map(|listened| Log {
        key: format!("mcp:{{{}}}:g", listened.session),
        events: &listened.events,
        whole: false,
        excused: fault.lost_data, // its last event may have been read before
        ended: None,
    });
    let logs: Vec<Log<'_>> = calls.chain(streams).collect();
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let mut different = Vec::new();
    for page in logs.chunks(PAGE) {
        let mut pipeline = Pipeline::new();
        for log in page {
            pipeline.cmd("XRANGE").arg(&log.key).arg("-").arg("+");
        }
        let read: Vec<Entries> = pipeline.query(&mut connection)?;
        different.extend(page.iter().zip(&read).filter_map(|(log, read)| log.differs(read, fault)));
    }
    Ok(different)
}

impl Log<'_> {
    fn differs(&self, read: &Entries, fault: Fault) -> Option<String> {
        let (mut events, mut ended) = (Vec::new(), false);
        for (_, fields) in read {
            match &fields[..] {
                [name, event] if name == "d" => events.push(hash(data(event))),
                _ => ended = true,
            }
        }
        let (key, seen, kept) = (&self.key, self.events.len(), events.len());
        let common = seen.min(kept);
        let what = if self.events[..common] != events[..common] {
            "another event"
        } else if kept < seen && !self.excused {
            "fewer events"
        } else if self.whole && kept > seen {
            "more events"
        } else if self.whole && !ended && !self.excused {
            "no end"
        } else {
            return None;
        };
        let after = self.ended.zip(fault.at).map(|(ended, at)| ended.saturating_duration_since(at));
        let when =
            after.map_or_else(String::new, |after| format!("; the call ended {after:.1?} after the fault"));
        Some(format!("{key} has {what}: {kept} and {seen} seen{when}"))
    }
}

fn data(event: &str) -> &str {
    event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default()
}
