//! Streams that belong to no call: GET, and `subscriptions/listen`.

use std::collections::HashSet;

use http::Method;
use mcp_session_core::SessionId;
use serde_json::Value;

use super::{
    Client, Kind, TRIES, envelope, phase_name,
    reading::{Progress, Read, Sink, read},
    status_name,
};
use crate::simulation::{
    network::{self, sleep},
    plan::{Reader, Upload},
};

/// The standalone stream.
pub(super) struct Get {
    pub(super) client: Client,
    pub(super) luck: u64,
    pub(super) reader: Reader,
}

impl Get {
    pub(super) async fn run(self) {
        let world = self.client.world.clone();
        let Some(session) = self.client.session() else { return };
        let (mut progress, mut reader) = (Progress::default(), self.reader);
        let mut sink = Told { session, seen: HashSet::new(), before: HashSet::new(), luck: self.luck };
        for attempt in 0..TRIES * 2 {
            let node = world.balance(self.luck ^ attempt);
            let (sent, phase) = (world.book().moment(), world.phase(node));
            world.book().asks_for_stream(session);
            let mut request = self.client.request(Method::GET, Some(session));
            if let Some(last) = &progress.last {
                request = request.header("last-event-id", last);
                world.book().goes_back(session);
            }
            let line = network::send(&world, node, request, bytes::Bytes::new(), Upload::Whole);
            let Some(head) = self.client.head(line, node).await else {
                sleep(&world.sim, 100).await;
                continue;
            };
            world.book().note(|| format!("stream of {session} at node {node}: {}", head.status));
            world.book().coverage.reach("get", phase_name(phase), status_name(head.status));
            if head.status != 200 && self.client.runs(node, phase) {
                world.book().refused(session, sent, head.status.as_u16());
            }
            match head.status.as_u16() {
                200 => {
                    world.book().used(session, sent);
                    world.book().reads(session, reader.is_fast());
                }
                404 => return world.book().unknown(session, node),
                409 => return world.book().refuses_stream(session),
                400 if progress.last.is_some() => {
                    progress = Progress::default(); // expired: it goes on without it
                    sink.seen.clear();
                    continue;
                }
                503 => {
                    sleep(&world.sim, 200).await;
                    continue;
                }
                status => return world.book().violation("status", || format!("GET got {status}")),
            }
            sink.before = match progress.last {
                None => world.book().heard(session),
                Some(_) => HashSet::new(),
            };
            match read(&self.client, head.line, true, reader, &mut progress, &mut sink).await {
                Read::Ended => {
                    if progress.retry.is_none() {
                        let told = |n: u64| format!(r#"{{"n":{n},"session":"{session}"}}"#);
                        return world.book().reads_end(session, |n| sink.seen.contains(&told(n)));
                    }
                    sleep(&world.sim, progress.retry.unwrap_or(100).max(1)).await;
                }
                Read::Cut => {
                    if reader.is_fast() && attempt == 0 {
                        world.book().cut(node, || format!("the stream of {session}"));
                    }
                    return;
                }
                Read::Broken => world.book().broken(node),
                Read::Left(cut) => match cut.back {
                    Some(time) => sleep(&world.sim, time.max(1)).await,
                    None => return,
                },
            }
            reader = Reader::default();
        }
    }
}

/// The messages on a standalone stream.
struct Told {
    session: SessionId,
    /// What was seen since it was last opened without `Last-Event-ID`.
    seen: HashSet<String>,
    /// The tells that clients had received before this connection was opened, if it was without `Last-Event-ID`.
    before: HashSet<u64>,
    luck: u64,
}

impl Sink for Told {
    fn message(&mut self, client: &Client, message: Value, last: Option<&str>) {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("notifications/tell") => {
                if params["session"].as_str() != Some(&*self.session.to_string()) {
                    let session = self.session;
                    client.world.book().violation("foreign", || format!("{session} got {message}"));
                }
                let n = params["n"].as_u64().unwrap_or(0);
                client.world.book().hears(self.session, n, last, &self.before);
            }
            Some("notifications/tools/list_changed") if params["broadcast"].is_u64() => {}
            Some("ping") => return self.pong(client, &message["id"]),
            Some("notifications/cancelled") => return, // the server withdraws a ping
            _ => {
                let session = self.session;
                return client.world.book().violation("foreign", || format!("{session} got {message}"));
            }
        }
        let text = params.to_string();
        if !self.seen.insert(text) {
            let session = self.session;
            client.world.book().violation("repeated", || format!("{session} got {message} again"));
        }
    }
}

impl Told {
    fn pong(&self, client: &Client, id: &Value) {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        let (client, luck) = (client.clone(), self.luck);
        let replies = client.clone();
        drop(client.background(async move {
            let node = replies.world.balance(luck);
            let line = replies.post(node, message, Upload::Whole, "");
            drop(replies.head(line, node).await);
        }));
    }
}

/// `subscriptions/listen`.
pub(super) struct Listen {
    pub(super) client: Client,
    pub(super) luck: u64,
    pub(super) reader: Reader,
    pub(super) id: u64,
}

impl Listen {
    pub(super) async fn run(self) {
        debug_assert_eq!(self.client.kind(), Kind::Modern);
        let world = self.client.world.clone();
        let node = world.balance(self.luck);
        let phase = world.phase(node);
        let params = envelope(r#""notifications":{"toolsListChanged":true},"#);
        let id = self.id;
        let message =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{params}}}"#);
        let line = self.client.post(node, message, Upload::Whole, "subscriptions/listen");
        let Some(head) = self.client.head(line, node).await else { return };
        world.book().coverage.reach("listen", phase_name(phase), status_name(head.status));
        match head.status.as_u16() {
            200 => {}
            503 => return self.client.check_unavailable(node, phase, "a listener"),
            status => return world.book().violation("status", || format!("a listener got {status}")),
        }
        let fast = self.reader.is_fast();
        let at = phase.filter(|_| fast).map(|(_, generation)| (node, generation));
        let mut sink = Heard { id, at, acknowledged: None, ended: false, seen: HashSet::new() };
        let outcome =
            read(&self.client, head.line, true, self.reader, &mut Progress::default(), &mut sink).await;
        match outcome {
            Read::Ended if !sink.ended => {
                world.book().violation("no-answer", || format!("the listener {id} ended without a result"));
            }
            Read::Cut if self.reader.is_fast() => world.book().cut(node, || format!("the listener {id}")),
            Read::Broken => world.book().broken(node),
            Read::Ended | Read::Cut | Read::Left(_) => {}
        }
    }
}

/// The messages on the stream of a listener.
struct Heard {
    id: u64,
    /// Where it listens, if its client reads all the time.
    at: Option<(usize, usize)>,
    /// Its number in the book, if it is in there.
    acknowledged: Option<Option<usize>>,
    ended: bool,
    seen: HashSet<u64>,
}

impl Sink for Heard {
    fn message(&mut self, client: &Client, message: Value, _: Option<&str>) {
        let mut book = client.world.book();
        let id = self.id;
        if self.ended {
            return book
                .violation("after-end", || format!("the listener {id} got {message} after its result"));
        }
        match message["method"].as_str() {
            Some("notifications/subscriptions/acknowledged") if self.acknowledged.is_none() => {
                self.acknowledged = Some(self.at.map(|at| book.listens(at)));
            }
            Some("notifications/tools/list_changed") if self.acknowledged.is_some() => {
                let number = message["params"]["broadcast"].as_u64().unwrap_or(u64::MAX);
                if !self.seen.insert(number) {
                    book.violation("repeated", || format!("the listener {id} got {message} again"));
                }
            }
            None if message["id"].as_u64() == Some(id) && message.get("result").is_some() => {
                self.ended = true;
                if let Some(listener) = self.acknowledged.flatten() {
                    book.listener_ends(listener, &self.seen);
                }
            }
            _ => book.violation("foreign", || format!("the listener {id} got {message}")),
        }
    }
}
