//! The clients' view of the shutdown: each reads its stream to the last chunk and reports what was lost.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use mcp_session_examples::client::{Error, Event, Events};
use serde_json::Value;

use crate::server::STEPS;

/// Counts of what all clients have seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// GET streams whose first byte was received.
    pub(crate) opened: AtomicU64,
    /// Calls whose first progress event was received.
    pub(crate) running: AtomicU64,
    /// Received progress events.
    pub(crate) progress: AtomicU64,
    /// Calls with exactly one answer, a result, on a stream that ended properly.
    pub(crate) answered: AtomicU64,
    /// GET streams that ended properly, with their last chunk.
    pub(crate) ended: AtomicU64,
    /// Streams of both kinds that did not end properly.
    pub(crate) cut: AtomicU64,
}

/// Reads a GET stream to its end. The error says what was lost.
pub(crate) async fn read_stream(mut events: Events, seen: Arc<Seen>) -> Result<(), String> {
    let end = read(&mut events, &seen, |_| ()).await;
    seen.ended.fetch_add(end.is_ok().into(), Relaxed);
    end.map_err(|error| format!("GET stream cut: {error}"))
}

/// Reads what follows the first progress event of a call. The error says what was lost.
pub(crate) async fn read_call(mut events: Events, id: u64, seen: Arc<Seen>) -> Result<(), String> {
    let (mut progress, mut answers) = (1, Vec::new());
    let end = read(&mut events, &seen, |message| {
        if is_progress(&message, id) {
            seen.progress.fetch_add(1, Relaxed);
            progress += 1;
        } else {
            answers.push(message);
        }
    });
    end.await.map_err(|error| format!("call cut: {error}"))?;
    match &answers[..] {
        [answer] if answer["id"] == id && answer["result"].is_object() => {
            seen.answered.fetch_add(1, Relaxed);
            if progress == STEPS { Ok(()) } else { Err("call with missing progress events".into()) }
        }
        [answer] if answer["id"] == id => {
            let error = &answer["error"];
            Err(format!("call answered with error {}: {}", error["code"], error["message"]))
        }
        [] => Err("call without an answer".into()),
        _ => Err("call with something other than its one answer".into()),
    }
}

pub(crate) fn is_progress(message: &Value, token: u64) -> bool {
    message["method"] == "notifications/progress" && message["params"]["progressToken"] == token
}

async fn read(events: &mut Events, seen: &Seen, mut take: impl FnMut(Value)) -> Result<(), Error> {
    loop {
        match events.next().await {
            Ok(Some(Event::Message(message))) => take(message),
            Ok(Some(Event::Silent)) => {}
            Ok(None) => return Ok(()),
            Err(error) => {
                seen.cut.fetch_add(1, Relaxed);
                return Err(error);
            }
        }
    }
}
