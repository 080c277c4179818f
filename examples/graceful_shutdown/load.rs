//! The load: sessions with an open stream, running calls, and what their clients see of the end.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::stream::{self, StreamExt, TryStreamExt};
use http::HeaderValue;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    args::Args,
    client::{Connection, Error, Event, Events},
    server::STEPS,
};

/// Clients that connect at the same time. 64: well below what a listener's backlog takes on every system (128).
const AT_ONCE: usize = 64;

/// What the clients have seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// GET streams whose first byte is there.
    pub(crate) opened: AtomicU64,
    /// Calls whose first progress event is there.
    pub(crate) running: AtomicU64,
    /// Progress events.
    pub(crate) progress: AtomicU64,
    /// Calls with exactly one answer, which is a result, on a stream that ended properly.
    pub(crate) answered: AtomicU64,
    /// GET streams that ended with their last chunk.
    pub(crate) ended: AtomicU64,
    /// Streams of both kinds that stopped without it.
    pub(crate) cut: AtomicU64,
}

/// What was lost, in words, and how often.
pub(crate) type Losses = BTreeMap<String, u64>;

/// The clients, each reading in a task of its own.
pub(crate) struct Load {
    readers: JoinSet<Result<(), String>>,
}

impl Load {
    /// Returns once every stream is open and every call has reported progress.
    pub(crate) async fn open(server: SocketAddr, args: &Args, seen: &Arc<Seen>) -> Result<Self, Error> {
        let (mut readers, mut ids) = (JoinSet::new(), Vec::new());
        let mut sessions =
            stream::iter(0..args.sessions).map(|_| open_session(server)).buffer_unordered(AT_ONCE);
        while let Some((id, events)) = sessions.try_next().await? {
            seen.opened.fetch_add(1, Relaxed);
            readers.spawn(read_stream(events, Arc::clone(seen)));
            ids.push(id);
        }
        let mut calls = stream::iter((0..args.calls).zip(&ids))
            .map(|(number, id)| {
                // From half of the time to all of it, so that answers trickle in.
                let time = args.call_time / 2 + args.call_time / 2 * number as u32 / args.calls as u32;
                async move { Ok::<_, Error>((number, start_call(server, id, number, time).await?)) }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((number, events)) = calls.try_next().await? {
            seen.running.fetch_add(1, Relaxed);
            seen.progress.fetch_add(1, Relaxed);
            readers.spawn(read_call(events, number, Arc::clone(seen)));
        }
        Ok(Self { readers })
    }

    /// Waits until every client has read to the end, `limit` at the most, and gives what they miss.
    pub(crate) async fn finish(mut self, limit: Duration) -> Losses {
        let mut losses = Losses::new();
        let all = async {
            while let Some(read) = self.readers.join_next().await {
                if let Err(loss) = read.unwrap_or_else(|error| Err(format!("client failed: {error}"))) {
                    *losses.entry(loss).or_default() += 1;
                }
            }
        };
        let _ = timeout(limit, all).await;
        if !self.readers.is_empty() {
            losses.insert("stream left open by the server".into(), self.readers.len() as u64);
        }
        losses
    }
}

/// Opens a session and its GET stream, and waits for the first byte of that.
async fn open_session(server: SocketAddr) -> Result<(HeaderValue, Events), Error> {
    let mut connection = Connection::open(server).await?;
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "graceful-shutdown", "version": "0.1.0" },
    }});
    let response = connection.send(None, Some(&initialize)).await?;
    let id = response.headers().get("mcp-session-id").cloned().ok_or("no session id")?;
    response.into_body().collect().await?;
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    connection.send(Some(&id), Some(&initialized)).await?.into_body().collect().await?;

    let mut events = Events::new(connection.send(Some(&id), None).await?)?;
    match events.next().await? {
        Some(Event::Comment) => Ok((id, events)),
        Some(Event::Message(_)) | None => Err("a GET stream did not begin with a comment".into()),
    }
}

/// Calls the tool and waits for its first progress event.
async fn start_call(
    server: SocketAddr,
    session: &HeaderValue,
    id: u64,
    time: Duration,
) -> Result<Events, Error> {
    let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": "work",
        "arguments": { "milliseconds": time.as_millis() as u64 },
        "_meta": { "progressToken": id },
    }});
    let mut connection = Connection::open(server).await?;
    let mut events = Events::new(connection.send(Some(session), Some(&call)).await?)?;
    match events.next().await? {
        Some(Event::Message(message)) if is_progress(&message, id) => Ok(events),
        _ => Err("a call did not begin with progress".into()),
    }
}

async fn read_stream(mut events: Events, seen: Arc<Seen>) -> Result<(), String> {
    let end = read(&mut events, &seen, |_| ()).await;
    seen.ended.fetch_add(end.is_ok().into(), Relaxed);
    end.map_err(|error| format!("GET stream cut: {error}"))
}

async fn read_call(mut events: Events, id: u64, seen: Arc<Seen>) -> Result<(), String> {
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
            if progress == STEPS { Ok(()) } else { Err("call without all of its progress".into()) }
        }
        [answer] if answer["id"] == id => {
            let error = &answer["error"];
            Err(format!("call answered with error {}: {}", error["code"], error["message"]))
        }
        [] => Err("call without an answer".into()),
        _ => Err("call with something else than its one answer".into()),
    }
}

/// Reads to the end. Only a proper one is no error.
async fn read(events: &mut Events, seen: &Seen, mut take: impl FnMut(Value)) -> Result<(), Error> {
    loop {
        match events.next().await {
            Ok(Some(Event::Message(message))) => take(message),
            Ok(Some(Event::Comment)) => {}
            Ok(None) => return Ok(()),
            Err(error) => {
                seen.cut.fetch_add(1, Relaxed);
                return Err(error);
            }
        }
    }
}

fn is_progress(message: &Value, token: u64) -> bool {
    message["method"] == "notifications/progress" && message["params"]["progressToken"] == token
}
