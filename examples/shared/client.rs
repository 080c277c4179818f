//! The client side of HTTP: a connection, a message, and the events of a body.

use std::{fmt, net::SocketAddr, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Any error.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// One HTTP/1.1 connection.
pub type Connection = SendRequest<String>;

/// Connects.
///
/// # Errors
///
/// If nobody listens.
pub async fn connect(server: SocketAddr) -> Result<Connection, Error> {
    let (sender, connection) = handshake(TokioIo::new(TcpStream::connect(server).await?)).await?;
    tokio::spawn(connection); // if it fails, the reader of the body gets the error
    Ok(sender)
}

/// A status other than success, and the body with it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    body: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.body)
    }
}

impl std::error::Error for Refused {}

/// Sends a message with POST, or opens the GET stream.
///
/// # Errors
///
/// [`Refused`], or that the connection ended.
pub async fn send(
    connection: &mut Connection,
    session: Option<&HeaderValue>,
    message: Option<&Value>,
) -> Result<Response<Incoming>, Error> {
    exchange(connection, session, message, None).await
}

/// Resumes a stream after this event.
///
/// # Errors
///
/// As [`send`].
pub async fn resume(
    connection: &mut Connection,
    session: &HeaderValue,
    last_event_id: &str,
) -> Result<Response<Incoming>, Error> {
    exchange(connection, Some(session), None, Some(last_event_id)).await
}

async fn exchange(
    connection: &mut Connection,
    session: Option<&HeaderValue>,
    message: Option<&Value>,
    last_event_id: Option<&str>,
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
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    let request = request.body(message.map(Value::to_string).unwrap_or_default())?;
    connection.ready().await?; // the last response was read to its end
    let response = connection.send_request(request).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Err(Refused { status: head.status, body: String::from_utf8_lossy(&body).into_owned() }.into())
}

/// One server-sent event.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "the examples tell these apart")]
pub enum Event {
    /// A comment, or an event without data: the priming event.
    Silent,
    /// A JSON-RPC message.
    Message(Value),
}

/// The events of a streamed body.
#[derive(Debug)]
#[non_exhaustive]
pub struct Events {
    body: Incoming,
    buffer: Vec<u8>,
    /// The id of the last event that had one.
    pub last_id: Option<String>,
    /// How long to wait before reconnecting, if the server has said so.
    pub retry: Option<Duration>,
}

impl Events {
    /// The events of this response.
    ///
    /// # Errors
    ///
    /// If its body is not chunked: its end would look the same as a cut.
    pub fn new(response: Response<Incoming>) -> Result<Self, Error> {
        match response.headers().get("transfer-encoding") {
            Some(encoding) if encoding == "chunked" => {
                let body = response.into_body();
                Ok(Self { body, buffer: Vec::new(), last_id: None, retry: None })
            }
            _ => Err("the response is not a chunked stream".into()),
        }
    }

    /// The next event; `None` after the last chunk.
    ///
    /// # Errors
    ///
    /// If the body ends without a last chunk, or has an event that no server of the examples sends.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return self.parse(&event);
            }
            match self.body.frame().await {
                Some(frame) => self.buffer.extend(frame?.into_data().unwrap_or_default()),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err("the body ended within an event".into()),
            }
        }
    }

    fn parse(&mut self, event: &[u8]) -> Result<Option<Event>, Error> {
        let mut parsed = Event::Silent;
        for line in std::str::from_utf8(event)?.lines() {
            match line.split_once(':') {
                Some(("data", data)) if !data.trim().is_empty() => {
                    parsed = Event::Message(serde_json::from_str(data)?);
                }
                Some(("id", id)) => self.last_id = Some(id.trim().to_owned()),
                Some(("retry", retry)) => self.retry = Some(Duration::from_millis(retry.trim().parse()?)),
                Some(("" | "data", _)) | Some(("event", " message")) => {}
                Some(_) | None if line.is_empty() => {}
                Some(_) | None => return Err("a field that no event of this server has".into()),
            }
        }
        Ok(Some(parsed))
    }
}
