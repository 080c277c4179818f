//! The load: sessions with an open stream, and running calls.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures::stream::{self, StreamExt, TryStreamExt};
use http::HeaderValue;
use http_body_util::BodyExt;
use mcp_session_examples::client::{Error, Event, Events, connect, send};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    args::Args,
    reader::{Seen, is_progress, read_call, read_stream},
};

/// Clients that connect at the same time. 64: below the backlog of a listener on every system (128 and up).
const AT_ONCE: usize = 64;

/// Descriptions of losses, with their counts.
pub(crate) type Losses = BTreeMap<String, u64>;

/// The clients, each of which reads in its own task.
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
                // From half of the time to all of it, so that answers arrive spread out.
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

    /// Waits until every client has read to the end, for at most `limit`, and returns what was lost.
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
            losses.insert("stream did not end in time".into(), self.readers.len() as u64);
        }
        losses
    }
}

/// Opens a session and its GET stream, and waits for the first byte of the stream.
async fn open_session(server: SocketAddr) -> Result<(HeaderValue, Events), Error> {
    let mut connection = connect(server).await?;
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "graceful-shutdown", "version": "0.1.0" },
    }});
    let response = send(&mut connection, None, Some(&initialize)).await?;
    let id = response.headers().get("mcp-session-id").cloned().ok_or("no session id")?;
    response.into_body().collect().await?;
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    send(&mut connection, Some(&id), Some(&initialized)).await?.into_body().collect().await?;

    let mut events = Events::new(send(&mut connection, Some(&id), None).await?)?;
    match events.next().await? {
        Some(Event::Silent) => Ok((id, events)),
        Some(Event::Message(_)) | None => Err("a GET stream began with a message".into()),
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
    let mut events = Events::new(send(&mut connect(server).await?, Some(session), Some(&call)).await?)?;
    loop {
        match events.next().await? {
            Some(Event::Silent) => {} // the priming event
            Some(Event::Message(message)) if is_progress(&message, id) => return Ok(events),
            Some(Event::Message(_)) | None => return Err("a call did not begin with progress".into()),
        }
    }
}
