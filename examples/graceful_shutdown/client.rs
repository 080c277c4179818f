//! The client side of HTTP: a connection, a message, and the events of a body.

use std::net::SocketAddr;

use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// One HTTP/1.1 connection.
pub(crate) type Connection = SendRequest<String>;

pub(crate) async fn connect(server: SocketAddr) -> Result<Connection, Error> {
    let (sender, connection) = handshake(TokioIo::new(TcpStream::connect(server).await?)).await?;
    tokio::spawn(connection); // if it fails, the reader of the body gets the error
    Ok(sender)
}

/// Sends a message with POST, or opens the GET stream. Any status other than success is an error.
pub(crate) async fn send(
    connection: &mut Connection,
    session: Option<&HeaderValue>,
    message: Option<&Value>,
) -> Result<Response<Incoming>, Error> {
    let mut request = Request::builder()
        .method(if message.is_some() { Method::POST } else { Method::GET })
        .uri("/mcp")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    let request = request.body(message.map(Value::to_string).unwrap_or_default())?;
    connection.ready().await?; // the last response was read to its end
    let response = connection.send_request(request).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Err(format!("{}: {}", head.status, String::from_utf8_lossy(&body)).into())
}

/// One server-sent event.
pub(crate) enum Event {
    /// A comment, or an event without data: the priming event.
    Silent,
    Message(Value),
}

/// The events of a streamed body.
pub(crate) struct Events {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Events {
    /// Returns an error for a body that is not chunked: its end would look the same as a cut.
    pub(crate) fn new(response: Response<Incoming>) -> Result<Self, Error> {
        match response.headers().get("transfer-encoding") {
            Some(encoding) if encoding == "chunked" => {
                Ok(Self { body: response.into_body(), buffer: Vec::new() })
            }
            _ => Err("the response is not a chunked stream".into()),
        }
    }

    /// The next event; `None` after the last chunk. If the body ends without a last chunk, hyper returns an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return parse(&event);
            }
            match self.body.frame().await {
                Some(frame) => self.buffer.extend(frame?.into_data().unwrap_or_default()),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err("the body ended within an event".into()),
            }
        }
    }
}

fn parse(event: &[u8]) -> Result<Option<Event>, Error> {
    let mut parsed = Event::Silent;
    for line in std::str::from_utf8(event)?.lines() {
        match line.split_once(':') {
            Some(("data", data)) if !data.trim().is_empty() => {
                parsed = Event::Message(serde_json::from_str(data)?);
            }
            Some(("" | "data" | "id" | "retry", _)) | Some(("event", " message")) => {}
            Some(_) | None if line.is_empty() => {}
            Some(_) | None => return Err("a field that no event of this server has".into()),
        }
    }
    Ok(Some(parsed))
}
