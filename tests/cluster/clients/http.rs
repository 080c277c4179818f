//! [`Response`]: a request on a connection of its own, and the events of its response.

use std::{net::SocketAddr, time::Duration};

use mcp_session_testkit::wire::{Connection, End, Head};
use serde_json::Value;
use tokio::{net::TcpStream, time};

/// How long the head of a response may take: longer than any pause or stall of a play.
const SILENCE: Duration = Duration::from_secs(25);

/// A response whose head is there.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) head: Head,
    connection: Connection,
    buffer: Vec<u8>,
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Stream and position.
    pub(super) id: Option<(u64, u64)>,
    pub(super) data: String,
    /// How many milliseconds to wait before reconnecting.
    pub(super) retry: Option<u64>,
}

impl Response {
    /// Sends a request. `None` if the connection ended before the head of a response.
    pub(super) async fn to(address: SocketAddr, request: &str) -> Option<Self> {
        let socket = TcpStream::connect(address).await.ok()?;
        socket.set_nodelay(true).ok()?;
        let mut connection = Connection::over(socket);
        let _ = connection.write(request).await; // a refusal may be there
        let head = time::timeout(SILENCE, connection.head()).await.ok()?.ok()?;
        Some(Self { head, connection, buffer: Vec::new() })
    }

    pub(super) fn is_stream(&self) -> bool {
        self.head.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// The body as JSON, if it is complete.
    pub(super) async fn json(mut self) -> Option<Value> {
        let (body, end) = self.connection.rest().await;
        (end == End::Complete).then(|| serde_json::from_slice(&body).ok())?
    }

    /// The next event; or how the body ended.
    pub(super) async fn event(&mut self) -> Result<Event, End> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let text: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(Event::parse(&String::from_utf8_lossy(&text)));
            }
            let data = self.connection.data().await?;
            self.buffer.extend_from_slice(&data);
        }
    }
}

impl Event {
    pub(super) fn parse(text: &str) -> Self {
        let mut event = Self::default();
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => {
                    let parts = id.split_once('-').map(|(stream, at)| (stream.parse(), at.parse()));
                    event.id = parts.and_then(|(stream, at)| Some((stream.ok()?, at.ok()?)));
                }
                Some(("data", data)) => data.clone_into(&mut event.data),
                Some(("retry", retry)) => event.retry = retry.parse().ok(),
                Some(_) | None => {}
            }
        }
        event
    }
}
