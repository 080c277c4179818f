//! SIGTERM, and its effect on the clients.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{task::JoinSet, time::timeout_at};

use super::{
    Target,
    connection::Connection,
    era::Era,
    fleet::{Go, Share, drive},
    message::Call,
    streams::{Running, open_calls, open_listeners, open_streams},
};

/// The load that is open when the signal arrives.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown {
    /// Number of sessions with an open GET stream.
    pub(crate) streams: usize,
    /// Number of `subscriptions/listen` streams.
    pub(crate) listeners: usize,
    /// Number of running calls of each era, each in its own session if there is one.
    pub(crate) calls: Vec<(Era, usize)>,
    /// How long a call takes in total.
    pub(crate) call_time: Duration,
    /// How long the clients keep reading.
    pub(crate) patience: Duration,
}

/// The clients' results. Times are in milliseconds from the signal.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShutdownReport {
    /// Of the calls, by era.
    pub(crate) calls: BTreeMap<Era, Answers>,
    /// Of the listeners: a graceful end is a result.
    pub(crate) listeners: Answers,
    /// GET streams that ended with their last chunk.
    pub(crate) ended: usize,
    /// GET streams that were cut, or were still open when the clients stopped reading.
    pub(crate) cut: usize,
    /// When half of the GET streams, and the last one, had ended.
    pub(crate) ended_median: f64,
    pub(crate) ended_last: f64,
}

/// What came of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Answers {
    /// Exactly one answer, a result, on a stream that ended with its last chunk.
    pub(crate) answered: usize,
    /// Exactly one answer, an error.
    pub(crate) failed: usize,
    /// The stream ended, or was cut, without an answer.
    pub(crate) unanswered: usize,
    /// When the last one had been answered.
    pub(crate) last: f64,
}

/// Opens the load, sends SIGTERM to the server, and reads everything to its end.
pub(crate) fn shutdown(target: &Target, load: &Shutdown) -> Result<ShutdownReport> {
    let pid = target.pid.and_then(|pid| Pid::from_raw(pid as i32)).context("SIGTERM needs a --pid")?;
    /// One step per half second: some progress before the signal, and some after it.
    const INTERVAL: Duration = Duration::from_millis(500);
    let steps = (load.call_time.as_millis() / INTERVAL.as_millis()).max(1) as u32;
    let prepare = async |share: Share| {
        let streams = open_streams(target, share, load.streams).await?;
        let listeners = open_listeners(target, share, load.listeners).await?;
        let slow = (steps, INTERVAL.as_millis() as u64);
        Ok(Open { streams, listeners, calls: open_calls(target, share, &load.calls, slow).await? })
    };
    let conduct = |go: Go<Instant>| {
        let signalled = Instant::now();
        kill_process(pid, Signal::TERM)?;
        go.say(signalled);
        Ok(signalled)
    };
    let run = async |open: Open, signalled: Instant| {
        let until = (signalled + load.patience).into();
        let mut tasks: JoinSet<Seen> = JoinSet::new();
        for mut stream in open.streams {
            tasks.spawn(async move {
                match timeout_at(until, rest(&mut stream)).await {
                    Ok((_, true)) => Seen::Ended(Instant::now()),
                    Ok((_, false)) | Err(_) => Seen::Cut,
                }
            });
        }
        let listeners = open.listeners.into_iter().map(|(call, connection)| (None, call, connection));
        let calls = open.calls.into_iter().map(|(era, call, connection)| (Some(era), call, connection));
        for (era, call, mut connection) in listeners.chain(calls) {
            tasks.spawn(async move {
                let (text, ended) = timeout_at(until, rest(&mut connection)).await.unwrap_or_default();
                let outcome = match answers(&text, call.id()) {
                    (1, 0) if ended => Outcome::Answered(Instant::now()),
                    (0, 1) if ended => Outcome::Failed,
                    _ => Outcome::Unanswered,
                };
                Seen::Request(era, outcome)
            });
        }
        Ok(tasks.join_all().await)
    };
    let (seen, signalled) = drive(target, prepare, conduct, run)?;
    Ok(ShutdownReport::new(seen.into_iter().flatten(), signalled))
}

/// What a thread has open.
struct Open {
    streams: Vec<Connection>,
    listeners: Vec<(Call, Connection)>,
    calls: Vec<Running>,
}

enum Seen {
    Ended(Instant),
    Cut,
    /// A call of this era, or a listener.
    Request(Option<Era>, Outcome),
}

enum Outcome {
    Answered(Instant),
    Failed,
    Unanswered,
}

impl ShutdownReport {
    fn new(seen: impl Iterator<Item = Seen>, signalled: Instant) -> Self {
        let mut report = Self::default();
        let mut ends = Vec::new();
        let millis = |at: Instant| (at - signalled).as_secs_f64() * 1e3;
        for seen in seen {
            match seen {
                Seen::Ended(at) => ends.push(millis(at)),
                Seen::Cut => report.cut += 1,
                Seen::Request(era, outcome) => {
                    let answers = match era {
                        Some(era) => report.calls.entry(era).or_default(),
                        None => &mut report.listeners,
                    };
                    match outcome {
                        Outcome::Answered(at) => {
                            answers.answered += 1;
                            answers.last = answers.last.max(millis(at));
                        }
                        Outcome::Failed => answers.failed += 1,
                        Outcome::Unanswered => answers.unanswered += 1,
                    }
                }
            }
        }
        ends.sort_by(f64::total_cmp);
        report.ended = ends.len();
        report.ended_median = ends.get(ends.len() / 2).copied().unwrap_or_default();
        report.ended_last = ends.last().copied().unwrap_or_default();
        report
    }
}

/// The rest of a stream, and whether it ended with its last chunk.
async fn rest(connection: &mut Connection) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    loop {
        match connection.chunk().await {
            Ok(Some(chunk)) => text.extend_from_slice(chunk),
            Ok(None) => return (text, true),
            Err(_) => return (text, false),
        }
    }
}

/// The numbers of results and errors for this id in the events.
fn answers(events: &[u8], id: u64) -> (usize, usize) {
    let messages = events.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: "));
    let messages = messages.filter_map(|data| serde_json::from_slice::<serde_json::Value>(data).ok());
    messages.filter(|message| message["id"] == id).fold((0, 0), |(results, errors), message| {
        (
            results + usize::from(message.get("result").is_some()),
            errors + usize::from(message.get("error").is_some()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::answers;

    #[test]
    fn only_answers_to_the_call_count() {
        let events = b"id: 1-1\ndata: {\"id\":7,\"result\":{}}\n\n:\n\ndata: {\"id\":8,\"result\":{}}\n\n\
            data: {\"id\":7,\"error\":{}}\n\ndata: {\"method\":\"notifications/progress\"}\n\ndata:\n\n";
        assert_eq!(answers(events, 7), (1, 1));
        assert_eq!(answers(events, 9), (0, 0));
    }
}
