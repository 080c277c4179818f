//! Reads a response as a client of the plan does.

use mcp_session_core::{Runtime, proto::EventId};
use serde_json::Value;

use super::{Client, Line, Piece};
use crate::simulation::{
    network::sleep,
    plan::{Cut, Reader},
};

/// What a reader does with a response.
pub(in crate::simulation) trait Sink: Send {
    /// A message has arrived. `last`: the last event id that was received.
    fn message(&mut self, client: &Client, message: Value, last: Option<&str>);
}

/// How far a client has read the events of a stream.
#[derive(Debug, Default)]
pub(in crate::simulation) struct Progress {
    /// The last event id that was received.
    pub(super) last: Option<String>,
    /// The last `retry`, in milliseconds.
    pub(super) retry: Option<u64>,
    /// A priming event was received (D-08).
    pub(super) primed: bool,
    /// A `retry` was received on this connection.
    pub(super) invited: bool,
}

/// How the reading of a connection ended.
#[derive(Debug)]
pub(in crate::simulation) enum Read {
    /// With a proper end of body.
    Ended,
    /// The server has cut it.
    Cut,
    /// The server is gone.
    Broken,
    /// The client has left.
    Left(Cut),
}

/// Reads a response.
pub(in crate::simulation) async fn read(
    client: &Client,
    mut line: Line,
    events: bool,
    reader: Reader,
    progress: &mut Progress,
    sink: &mut impl Sink,
) -> Read {
    let sim = &client.world.sim;
    progress.invited = false;
    let mut frames = 0;
    let mut body = Vec::new();
    loop {
        if let Some((_, time)) = reader.pause.filter(|(after, _)| *after == frames) {
            sleep(sim, time).await;
        }
        if let Some(cut) = reader.cut.filter(|cut| cut.after == frames) {
            leave(client, line, cut);
            return Read::Left(cut);
        }
        match line.next().await {
            None => return Read::Broken,
            Some(Piece::Cut) => return Read::Cut,
            Some(Piece::End) => {
                if !events && !body.is_empty() {
                    match serde_json::from_slice(&body) {
                        Ok(message) => sink.message(client, message, None),
                        Err(error) => {
                            client
                                .world
                                .book()
                                .violation("malformed", || format!("a body is no JSON: {error}"));
                        }
                    }
                }
                return Read::Ended;
            }
            Some(Piece::Head(..)) => {
                client.world.book().violation("malformed", || "a second head".to_owned());
            }
            Some(Piece::Data(data)) if events => receive(client, &data, progress, sink),
            Some(Piece::Data(data)) => body.extend_from_slice(&data),
        }
        frames += 1;
        sleep(sim, reader.pace).await;
    }
}

/// The connection ends for the client. Perhaps a proxy hides that from the server for a while.
fn leave(client: &Client, mut line: Line, cut: Cut) {
    let Some((time, reads)) = cut.hidden else { return };
    let sim = client.world.sim.clone();
    client.world.sim.spawn(Box::pin(async move {
        let hidden = Box::pin(sleep(&sim, time));
        let proxy = Box::pin(async move {
            while reads && line.next().await.is_some() {}
            std::future::pending::<()>().await;
        });
        futures::future::select(hidden, proxy).await;
    }));
}

/// Reads the events of a frame (WHATWG).
fn receive(client: &Client, data: &[u8], progress: &mut Progress, sink: &mut impl Sink) {
    client
        .world
        .book()
        .note(|| format!("client {}: reads {:?}", client.number, String::from_utf8_lossy(data)));
    let malformed = |text: &str| {
        client.world.book().violation("malformed", || format!("an event: {text:?}"));
    };
    let Ok(text) = std::str::from_utf8(data) else { return malformed("not UTF-8") };
    let Some(text) = text.strip_suffix("\n\n") else { return malformed(text) };
    for event in text.split("\n\n") {
        let (mut message, mut named) = (None, None);
        for line in event.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => {
                    if !grows(progress.last.as_deref(), id) {
                        let last = progress.last.clone();
                        client.world.book().violation("ids", || format!("the id {id} follows {last:?}"));
                    }
                    progress.last = Some(id.to_owned());
                    named = EventId::parse(id);
                }
                Some(("retry", time)) => {
                    progress.retry = time.parse().ok();
                    progress.invited = true;
                }
                Some(("data", "")) => progress.primed = true,
                Some(("event", "message")) => {}
                Some(("data", data)) => {
                    if let (Some(id), Some(session)) = (named, client.session()) {
                        client.world.receives(session, id, data);
                    }
                    message = serde_json::from_str(data).ok();
                }
                _ if line.starts_with(':') => {}
                _ => malformed(line),
            }
        }
        if let Some(message) = message {
            sink.message(client, message, progress.last.as_deref());
        }
    }
}

/// Returns `true` if an id is later than the last one of its stream.
fn grows(last: Option<&str>, id: &str) -> bool {
    let Some(id) = EventId::parse(id) else { return false };
    let Some(last) = last.and_then(EventId::parse) else { return true };
    last.stream != id.stream || id.position > last.position
}
