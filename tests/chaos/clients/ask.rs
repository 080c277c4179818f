//! [`Line`]: sends requests over a kept connection, reads what comes, and judges it as a client.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use mcp_session_testkit::wire::{Connection, End, Head};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use super::World;
use crate::seen::{Conduct, NO_CONNECTION, Outcome, Seen, What, now};

/// A receive buffer that holds almost nothing, in bytes, for a client that does not read.
const NARROW: u32 = 4_096;

/// What is asked, by whom, and how.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) id: u64,
    pub(super) client: &'static str,
    pub(super) what: What,
    pub(super) conduct: Conduct,
    pub(super) request: String,
}

/// A client's connection. It is opened when it is needed, and again when it has ended.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) connection: Option<Connection>,
}

/// What a client goes on with.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: Option<u16>,
    pub(super) session: Option<String>,
    /// There is no server any more.
    pub(super) gone: bool,
}

impl Line {
    /// Connects.
    pub(super) async fn open(address: SocketAddr) -> io::Result<Connection> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Connection::over(socket))
    }

    /// Connects, with a receive buffer for a client that does not read.
    pub(super) async fn narrow(address: SocketAddr) -> io::Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(NARROW)?;
        Ok(Connection::over(socket.connect(address).await?))
    }

    /// Sends a request, reads the whole response, and records what came of it.
    pub(super) async fn ask(&mut self, world: &World, ask: Ask) -> Answer {
        self.ask_in(world, ask, None).await
    }

    /// The same in a session that another task may delete.
    pub(super) async fn ask_in(&mut self, world: &World, ask: Ask, deleted: Option<&AtomicBool>) -> Answer {
        let fresh = self.connection.is_none();
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Self::open(world.address).await,
        };
        let mut seen = ask.seen(fresh);
        let is_deleted = || deleted.is_some_and(|deleted| deleted.load(SeqCst));
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(_) => {
                seen.end(Outcome::Unanswered(NO_CONNECTION.to_owned()));
                world.record(seen);
                return Answer { gone: true, ..Answer::default() };
            }
        };
        let mut written = connection.write(&ask.request).await;
        if written.is_ok() && ask.conduct == Conduct::HalfCloses {
            written = connection.finish().await;
        }
        seen.sent = now();
        // Even if it could not be written: a refusal may be there.
        let head = connection.head().await;
        let answer = read(&mut connection, &mut seen, head, written.err()).await;
        let closes = seen.head.is_none() || answer.1;
        if !closes && !matches!(seen.outcome, Outcome::Cut { .. } | Outcome::Violated(_)) {
            self.connection = Some(connection);
        }
        seen.deleted = is_deleted();
        world.record(seen);
        answer.0
    }
}

impl Ask {
    pub(super) fn seen(&self, fresh: bool) -> Seen {
        let (client, what, conduct, id) = (self.client.to_owned(), self.what, self.conduct, self.id);
        let outcome = Outcome::Left;
        Seen {
            id,
            client,
            what,
            conduct,
            fresh,
            sent: now(),
            head: None,
            ended: now(),
            outcome,
            deleted: false,
        }
    }
}

impl Seen {
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        self.ended = now();
    }
}

/// Reads the rest of a response. Also returns whether the server closes the connection after it.
pub(super) async fn read(
    connection: &mut Connection,
    seen: &mut Seen,
    head: Result<Head, End>,
    unwritten: Option<io::Error>,
) -> (Answer, bool) {
    let head = match head {
        Ok(head) => head,
        Err(end) => {
            let how = unwritten.map_or(String::new(), |error| format!(", not written: {error}"));
            seen.end(Outcome::Unanswered(format!("{end:?}{how}")));
            return (Answer::default(), true);
        }
    };
    seen.head = Some(now());
    let closes = head.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let session = head.get("mcp-session-id").map(str::to_owned);
    let answer = Answer { status: Some(head.status), session, gone: false };
    let outcome = if head.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
        events(connection, seen.id, seen.what).await
    } else {
        let (body, end) = connection.rest().await;
        match (head.status, end) {
            (_, End::Closed | End::Reset) => Outcome::Cut { answered: false },
            (200, _) => match serde_json::from_slice::<Value>(&body) {
                Ok(message) if message["id"] == seen.id => judged(&message),
                message => Outcome::Violated(format!("{message:?}")),
            },
            (202 | 204, _) => Outcome::Result,
            (status, _) => Outcome::Refused(status),
        }
    };
    seen.end(outcome);
    (answer, closes)
}

/// Reads a stream to its end: one answer to this request and none to another, or none on a GET stream.
async fn events(connection: &mut Connection, id: u64, what: What) -> Outcome {
    let mut outcome = None;
    loop {
        match connection.message().await {
            Ok(message) if message.get("method").is_some() => {
                if outcome.is_some() {
                    return Outcome::Violated(format!("after the answer: {message}"));
                }
            }
            Ok(message) if message["id"] != id || outcome.is_some() || what == What::Get => {
                return Outcome::Violated(format!("a second or a foreign answer: {message}"));
            }
            Ok(message) => outcome = Some(judged(&message)),
            Err(End::Closed | End::Reset) => return Outcome::Cut { answered: outcome.is_some() },
            Err(End::Complete | End::LastChunk) if what == What::Get => return Outcome::Result,
            Err(End::Complete | End::LastChunk) => return outcome.unwrap_or(Outcome::Silent),
        }
    }
}

fn judged(answer: &Value) -> Outcome {
    match (answer.get("result"), answer.get("error")) {
        (Some(_), None) => Outcome::Result,
        (None, Some(error)) => Outcome::Error {
            code: error["code"].as_i64().unwrap_or_default(),
            reason: error["data"]["reason"].as_str().unwrap_or_default().to_owned(),
        },
        _ => Outcome::Violated(answer.to_string()),
    }
}
