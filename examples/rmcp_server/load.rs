//! The clients: sessions with an open stream, running calls, and how each of these ended.

use std::{net::SocketAddr, time::Duration};

use futures::stream::{self, StreamExt, TryStreamExt};
use http::HeaderValue;
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use mcp_session_examples::client::{Error, Event, Events, connect, send};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};

use crate::args::Compare;

/// Clients that connect at the same time: below the backlog of a listener on every system (128 and up).
const AT_ONCE: usize = 64;

/// The id of the slow call, in its session, and of its progress token.
const SLOW: u64 = 3;

/// How calls ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answers {
    /// With a result that is no error.
    pub(crate) results: u64,
    /// With a JSON-RPC error, or a result that says `isError`.
    pub(crate) errors: u64,
    /// The stream ended or was cut, or nothing came in time.
    pub(crate) nothing: u64,
}

impl Answers {
    pub(crate) fn count(&mut self, answer: Option<&Value>) {
        match answer {
            Some(answer) if answer["result"].is_object() && answer["result"]["isError"] != true => {
                self.results += 1;
            }
            Some(_) => self.errors += 1,
            None => self.nothing += 1,
        }
    }
}

/// Open sessions and running calls.
#[derive(Debug)]
pub(crate) struct Load {
    /// The GET streams, held open: a client does not leave by itself.
    _streams: Vec<Response<Incoming>>,
    calls: Vec<Events>,
}

impl Load {
    /// Returns once every session is open and every call has reported progress.
    pub(crate) async fn open(server: SocketAddr, args: &Compare) -> Result<Self, Error> {
        let sessions: Vec<_> = stream::iter(0..args.sessions)
            .map(|_| open_session(server))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let calls = stream::iter(sessions.iter().take(args.calls as usize))
            .map(|(session, _)| start_call(server, session, args.seconds))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Self { _streams: sessions.into_iter().map(|(_, stream)| stream).collect(), calls })
    }

    /// Reads every call to its answer, for at most `limit`. The streams of the sessions stay open.
    pub(crate) async fn answers(&mut self, limit: Duration) -> Answers {
        let mut readers = JoinSet::new();
        for call in self.calls.drain(..) {
            readers.spawn(async move { timeout(limit, answer(call)).await.ok().flatten() });
        }
        let mut answers = Answers::default();
        while let Some(read) = readers.join_next().await {
            answers.count(read.ok().flatten().as_ref());
        }
        answers
    }
}

/// Opens a session and its GET stream, and sees that it has a counter of its own.
async fn open_session(server: SocketAddr) -> Result<(HeaderValue, Response<Incoming>), Error> {
    let mut connection = connect(server).await?;
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "compare", "version": "0.1.0" },
    }});
    let response = send(&mut connection, None, Some(&initialize)).await?;
    let session = response.headers().get("mcp-session-id").cloned().ok_or("no session id")?;
    response.into_body().collect().await?;
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    send(&mut connection, Some(&session), Some(&initialized)).await?.into_body().collect().await?;

    for (id, tool) in [(1, "increment"), (2, "get")] {
        let response = send(&mut connection, Some(&session), Some(&call(id, tool, &json!({})))).await?;
        let body = response.into_body().collect().await?.to_bytes();
        if !String::from_utf8_lossy(&body).contains(r#""text":"1""#) {
            return Err(
                format!("{tool} in a new session is not 1: {}", String::from_utf8_lossy(&body)).into()
            );
        }
    }
    let stream = send(&mut connection, Some(&session), None).await?;
    Ok((session, stream))
}

/// Calls `slow`, and waits for its first progress event.
async fn start_call(server: SocketAddr, session: &HeaderValue, seconds: u64) -> Result<Events, Error> {
    let call = call(SLOW, "slow", &json!({ "seconds": seconds }));
    let mut events = Events::new(send(&mut connect(server).await?, Some(session), Some(&call)).await?)?;
    loop {
        match events.next().await? {
            Some(Event::Silent) => {} // the priming event
            Some(Event::Message(message)) if message["method"] == "notifications/progress" => {
                return Ok(events);
            }
            Some(Event::Message(message)) => {
                return Err(format!("a call did not begin with progress: {message}").into());
            }
            None => return Err("a call ended before it began".into()),
        }
    }
}

fn call(id: u64, tool: &str, arguments: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": tool, "arguments": arguments, "_meta": { "progressToken": id },
    }})
}

/// The answer of a call. `None`: its stream ended, or was cut, without one.
async fn answer(mut events: Events) -> Option<Value> {
    while let Ok(Some(event)) = events.next().await {
        match event {
            Event::Message(message) if message["id"] == SLOW => return Some(message),
            Event::Message(_) | Event::Silent => {}
        }
    }
    None
}
