//! An HTTP/2 client: hyper's, which also records the frames that the server sends.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpSocket,
    task::JoinHandle,
};

use super::{
    Client,
    dial::{ClientStream, dial},
    until, within,
};

/// The initial window of a stream: how much a client receives before it reads.
const WINDOW: u32 = 64 * 1024;

/// The body type of a request.
pub type Sent = BoxBody<Bytes, Infallible>;

/// A frame that the server sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// DATA, and whether it has `END_STREAM`.
    Data(bool),
    /// HEADERS, and whether it has `END_STREAM`.
    Headers(bool),
    /// `RST_STREAM`.
    Reset,
    /// GOAWAY, and its error code.
    GoAway(u32),
    /// Any other frame.
    Other,
}

/// An HTTP/2 connection.
#[derive(Debug)]
pub struct Http2 {
    client: Client,
    sender: SendRequest<Sent>,
    received: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    /// Connects, to send requests as this client.
    pub async fn open(client: &Client) -> Self {
        Self::with_window(client, WINDOW).await
    }

    /// Connects with this window for each stream: the client receives no more bytes of a stream before it reads.
    pub async fn with_window(client: &Client, window: u32) -> Self {
        let (socket, _) = dial(client.addr, TcpSocket::new_v4().expect("a socket")).await;
        let received = Arc::default();
        let tap = Tap { socket, received: Arc::clone(&received) };
        let mut http = Builder::new(TokioExecutor::new());
        http.initial_stream_window_size(window).initial_connection_window_size(16 * WINDOW);
        let (sender, connection) =
            within("the handshake", http.handshake(TokioIo::new(tap))).await.expect("HTTP/2");
        Self { client: client.clone(), sender, received, task: tokio::spawn(connection) }
    }

    /// Sends a request without a body, and waits for the head of its answer.
    pub async fn send(&mut self, method: &str) -> Response<Incoming> {
        self.send_body(method, Empty::new().boxed()).await
    }

    /// Sends a message, and waits for the head of its answer.
    pub async fn post(&mut self, message: &Value) -> Response<Incoming> {
        self.send_body("POST", Full::from(message.to_string()).boxed()).await
    }

    /// Sends a request with this body, and waits for the head of its answer.
    pub async fn send_body(&mut self, method: &str, body: Sent) -> Response<Incoming> {
        self.try_send(method, body).await.expect("an answer")
    }

    /// Returns `true` if a message is refused, that is if its stream is reset.
    pub async fn is_refused(&mut self, message: &Value) -> bool {
        self.try_send("POST", Full::from(message.to_string()).boxed()).await.is_err()
    }

    /// Sends any request, and waits for the head of its answer.
    pub async fn request(&mut self, request: Request<Sent>) -> Response<Incoming> {
        within("an answer", self.sender.send_request(request)).await.expect("an answer")
    }

    async fn try_send(&mut self, method: &str, body: Sent) -> hyper::Result<Response<Incoming>> {
        let Client { addr, session } = &self.client;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{addr}/mcp"))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if !session.is_empty() {
            request = request.header("mcp-session-id", session);
        }
        let request = request.body(body).expect("a request");
        within("an answer", self.sender.send_request(request)).await
    }

    /// Waits until the server has sent GOAWAY.
    pub async fn goaway(&self) {
        until("GOAWAY", || self.has_goaway()).await;
    }

    /// Returns `true` if the server has sent GOAWAY.
    pub fn has_goaway(&self) -> bool {
        frames(&self.received.lock().expect("no panic")).contains(&(0, Frame::GoAway(0)))
    }

    /// Waits for the server to close the connection. Returns all frames that it sent, each with its stream id.
    pub async fn closed(self) -> Vec<(u32, Frame)> {
        let _ = within("the end of the connection", self.task).await.expect("no panic");
        frames(&self.received.lock().expect("no panic"))
    }
}

/// Splits what a server sent into its frames.
fn frames(mut bytes: &[u8]) -> Vec<(u32, Frame)> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = number(&head[..3]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        let ends = head[4] & 1 == 1;
        let frame = match head[3] {
            0 => Frame::Data(ends),
            1 => Frame::Headers(ends),
            3 => Frame::Reset,
            7 => Frame::GoAway(number(&payload[4..8])),
            _ => Frame::Other,
        };
        frames.push((number(&head[5..]), frame));
        bytes = rest;
    }
    frames
}

/// A socket that records what was read from it.
struct Tap {
    socket: Box<dyn ClientStream>,
    received: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.received.lock().expect("no panic").extend_from_slice(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
