//! An HTTP/1.1 client that writes bytes and reports exactly how a body ended.

use std::{
    fmt::Display,
    io::{
        self,
        ErrorKind::{ConnectionReset, UnexpectedEof},
    },
    net::SocketAddr,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time,
};

use super::{
    dial::{ClientStream, dial},
    within,
};

/// How a body ended, or how the connection ended instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With all bytes that `Content-Length` promised.
    Complete,
    /// With the last chunk, `0\r
    /// \r
    /// `.
    LastChunk,
    /// The connection was closed before the end.
    Closed,
    /// The connection was reset before the end.
    Reset,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status.
    pub status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let (value, second) = (values.next(), values.next());
        assert!(second.is_none(), "{name} twice: {self:?}");
        value.map(|(_, value)| value.as_str())
    }
}

/// A complete answer.
#[derive(Debug)]
pub struct Reply {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
    /// How the body ended.
    pub end: End,
}

impl Reply {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The messages of a body of events.
    pub fn messages(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.body);
        text.split_inclusive("\n\n").filter_map(message).collect()
    }
}

/// The rest of a body.
#[derive(Debug, Clone, Copy)]
enum Left {
    Bytes(u64),
    Chunks,
    /// Bytes left of the current chunk, including its line end.
    Chunk(u64),
    Nothing(End),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    socket: Box<dyn ClientStream>,
    addr: Option<SocketAddr>,
    buffer: BytesMut,
    left: Left,
    events: BytesMut,
    /// The last event id that was received.
    pub last_event_id: Option<String>,
    /// The number of reads from the socket that returned bytes.
    pub reads: usize,
}

impl Connection {
    /// Connects.
    pub async fn open(addr: SocketAddr) -> Self {
        Self::connect(addr, TcpSocket::new_v4().expect("a socket")).await
    }

    /// Connects with a small receive buffer, for a client that does not read.
    pub async fn narrow(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("an option");
        Self::connect(addr, socket).await
    }

    async fn connect(addr: SocketAddr, socket: TcpSocket) -> Self {
        let (socket, own) = dial(addr, socket).await;
        Self { addr: Some(own), ..Self::boxed(socket) }
    }

    /// A connection over a stream that is open already.
    pub fn over(socket: impl ClientStream + 'static) -> Self {
        Self::boxed(Box::new(socket))
    }

    fn boxed(socket: Box<dyn ClientStream>) -> Self {
        let (buffer, events, left) = (BytesMut::new(), BytesMut::new(), Left::Nothing(End::Complete));
        Self { socket, addr: None, buffer, left, events, last_event_id: None, reads: 0 }
    }

    /// The client's address.
    ///
    /// # Panics
    ///
    /// If the connection was made by [`over`](Self::over).
    pub fn local_addr(&self) -> SocketAddr {
        self.addr.expect("an address")
    }

    /// Writes bytes unchanged.
    ///
    /// # Errors
    ///
    /// If the server has closed the connection.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("writing", self.socket.write_all(bytes.as_ref())).await
    }

    /// Closes the sending half, as a client does after its last request.
    ///
    /// # Errors
    ///
    /// If the server has closed the connection.
    pub async fn finish(&mut self) -> io::Result<()> {
        within("closing half", self.socket.shutdown()).await
    }

    /// Reads the head of an answer.
    ///
    /// # Errors
    ///
    /// How the connection ended instead of a head.
    pub async fn head(&mut self) -> Result<Head, End> {
        let text = self.until(b"\r\n\r\n").await?;
        let text = String::from_utf8(text.to_vec()).expect("a head in ASCII");
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let field = |line: &str| line.split_once(':').map(|(name, value)| (name.into(), value.trim().into()));
        let head = Head { status: status.expect("a status line"), fields: lines.filter_map(field).collect() };
        self.left = match (head.get("content-length"), head.get("transfer-encoding")) {
            (None, Some("chunked")) => Left::Chunks,
            (None, None) if matches!(head.status, 100 | 204) => Left::Nothing(End::Complete),
            (Some(length), None) => Left::Bytes(length.parse().expect("a length")),
            _ => panic!("a body of unknown length: {head:?}"),
        };
        Ok(head)
    }

    /// Reads the next bytes of the body.
    ///
    /// # Errors
    ///
    /// How the body ended.
    pub async fn data(&mut self) -> Result<Bytes, End> {
        loop {
            match self.left {
                Left::Nothing(end) => return Err(end),
                Left::Bytes(0) => self.left = Left::Nothing(End::Complete),
                Left::Bytes(left) => {
                    let data = self.some(left).await?;
                    self.left = Left::Bytes(left - data.len() as u64);
                    return Ok(data);
                }
                Left::Chunks => {
                    let line = self.until(b"\r\n").await?;
                    let size = std::str::from_utf8(&line).expect("a chunk's size").trim();
                    match u64::from_str_radix(size, 16).expect("a chunk's size") {
                        0 => {
                            assert_eq!(&self.until(b"\r\n").await?[..], b"\r\n", "no trailers");
                            self.left = Left::Nothing(End::LastChunk);
                        }
                        size => self.left = Left::Chunk(size),
                    }
                }
                Left::Chunk(0) => {
                    assert_eq!(&self.until(b"\r\n").await?[..], b"\r\n", "the end of a chunk");
                    self.left = Left::Chunks;
                }
                Left::Chunk(left) => {
                    let data = self.some(left).await?;
                    self.left = Left::Chunk(left - data.len() as u64);
                    return Ok(data);
                }
            }
        }
    }

    /// Reads the next message of a body of events.
    ///
    /// # Errors
    ///
    /// How the body ended.
    pub async fn message(&mut self) -> Result<Value, End> {
        loop {
            if let Some(end) = find(&self.events, b"\n\n") {
                let event = self.events.split_to(end);
                let event = String::from_utf8_lossy(&event);
                let id = event.lines().find_map(|line| line.strip_prefix("id: "));
                self.last_event_id = id.map(str::to_owned).or(self.last_event_id.take());
                match message(&event) {
                    Some(message) => return Ok(message),
                    None => continue, // a comment, or a priming event
                }
            }
            let data = self.data().await?;
            self.events.extend_from_slice(&data);
        }
    }

    /// Reads the body to its end.
    pub async fn rest(&mut self) -> (Vec<u8>, End) {
        let mut body = self.events.split().to_vec();
        loop {
            match self.data().await {
                Ok(data) => body.extend_from_slice(&data),
                Err(end) => return (body, end),
            }
        }
    }

    /// Reads a complete answer.
    pub async fn reply(&mut self) -> Reply {
        let head = self.head().await.expect("an answer");
        let (body, end) = self.rest().await;
        Reply { head, body, end }
    }

    /// Waits for the server to close the connection. No further bytes may arrive.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn closed(&mut self) -> End {
        let end = self.drained().await;
        assert!(self.buffer.is_empty(), "more bytes: {:?}", self.buffer);
        end
    }

    /// Waits for the server to close the connection, and discards further bytes.
    pub async fn drained(&mut self) -> End {
        loop {
            if let Err(end) = self.fill().await {
                return end;
            }
        }
    }

    /// Writes these bytes repeatedly until the server answers or closes the connection.
    pub async fn drip(&mut self, bytes: &str) {
        let refused = async {
            while self.buffer.is_empty() && matches!(self.left, Left::Nothing(End::Complete)) {
                // The pause makes the input slow, it is not a wait: without it, the limit for bytes would be reached
                // first.
                match time::timeout(Duration::from_millis(5), self.fill()).await {
                    Ok(_) => return,
                    Err(_) if self.write(bytes).await.is_err() => return,
                    Err(_) => {}
                }
            }
        };
        within("an end of the server's patience", refused).await;
    }

    async fn until(&mut self, pattern: &[u8]) -> Result<Bytes, End> {
        loop {
            if let Some(end) = find(&self.buffer, pattern) {
                return Ok(self.buffer.split_to(end).freeze());
            }
            self.fill().await?;
        }
    }

    async fn some(&mut self, limit: u64) -> Result<Bytes, End> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let length = usize::try_from(limit).unwrap_or(usize::MAX).min(self.buffer.len());
        Ok(self.buffer.copy_to_bytes(length))
    }

    async fn fill(&mut self) -> Result<(), End> {
        self.buffer.reserve(4096);
        let end = match within("reading", self.socket.read_buf(&mut self.buffer)).await {
            Ok(0) => End::Closed,
            Ok(_) => {
                self.reads += 1;
                return Ok(());
            }
            // The latter is how TLS ends without its own end.
            Err(error) if matches!(error.kind(), ConnectionReset | UnexpectedEof) => End::Reset,
            Err(error) => panic!("{error}"),
        };
        self.left = Left::Nothing(end);
        Err(end)
    }
}

/// A client with a session. Every request uses a new connection, unless a test says otherwise.
#[derive(Debug, Clone)]
pub struct Client {
    /// The server's address.
    pub addr: SocketAddr,
    /// The value of the session header.
    pub session: String,
}

impl Client {
    /// Opens a session with `initialize` and `notifications/initialized`.
    pub async fn open(addr: SocketAddr) -> Self {
        Self::with_version(addr, "2025-11-25").await
    }

    /// Like [`open`](Self::open), with this version.
    pub async fn with_version(addr: SocketAddr, version: &str) -> Self {
        let mut client = Self { addr, session: String::new() };
        let mut initialize = initialize();
        initialize["params"]["protocolVersion"] = version.into();
        let reply = client.ask(&initialize).await;
        assert_eq!(reply.head.status, 200, "{reply:?}");
        client.session = reply.head.get("mcp-session-id").expect("a session id").to_owned();
        assert_eq!(client.ask(&initialized()).await.head.status, 202);
        client
    }

    /// The head of a request with a body of this length.
    pub fn head(&self, method: &str, length: impl Display) -> String {
        self.head_with(method, &format!("content-length: {length}\r\n"))
    }

    /// The head of a request with these additional fields.
    pub fn head_with(&self, method: &str, fields: &str) -> String {
        let session = match self.session.as_str() {
            "" => String::new(),
            id => format!("mcp-session-id: {id}\r\n"),
        };
        format!(
            "{method} /mcp HTTP/1.1\r\nhost: {}\r\naccept: application/json, text/event-stream\r\n\
             content-type: application/json\r\n{session}{fields}\r\n",
            self.addr
        )
    }

    /// A complete request with this message.
    pub fn request(&self, message: &Value) -> String {
        let body = message.to_string();
        self.head("POST", body.len()) + &body
    }

    /// Sends a message on a new connection and reads nothing.
    pub async fn post(&self, message: &Value) -> Connection {
        self.send(&self.request(message)).await
    }

    /// Sends a message on a new connection and reads the complete answer.
    pub async fn ask(&self, message: &Value) -> Reply {
        self.post(message).await.reply().await
    }

    /// Resumes a stream after this event.
    pub async fn resume(&self, last_event_id: &str) -> Connection {
        let mut stream =
            self.send(&self.head_with("GET", &format!("last-event-id: {last_event_id}\r\n"))).await;
        let head = stream.head().await.expect("an answer");
        assert_eq!((head.status, head.get("content-type")), (200, Some("text/event-stream")));
        stream
    }

    /// The request for the GET stream.
    pub fn get(&self) -> String {
        self.head_with("GET", "")
    }

    /// Opens the GET stream.
    pub async fn listen(&self) -> Connection {
        let mut stream = self.send(&self.get()).await;
        let head = stream.head().await.expect("an answer");
        assert_eq!((head.status, head.get("content-type")), (200, Some("text/event-stream")));
        stream
    }

    /// Starts a call that first sends a notification, and reads the notification.
    pub async fn start(&self, id: u64, method: &str) -> Connection {
        let mut stream = self.post(&call(id, method, json!({}))).await;
        assert_eq!(stream.head().await.expect("an answer").status, 200);
        assert_eq!(stream.message().await.expect("a message")["params"]["data"], "started");
        stream
    }

    /// Sends a request on a new connection and reads only the head of the answer.
    pub async fn stall(&self, request: &str) -> Connection {
        let mut connection = Connection::narrow(self.addr).await;
        connection.write(request).await.expect("an open connection");
        assert_eq!(connection.head().await.expect("an answer").status, 200);
        connection
    }

    /// Sends bytes on a new connection.
    pub async fn send(&self, request: &str) -> Connection {
        let mut connection = Connection::open(self.addr).await;
        connection.write(request).await.expect("an open connection");
        connection
    }
}

/// A request.
#[allow(clippy::needless_pass_by_value, reason = "written in place")]
pub fn call(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// The request that opens a session.
pub fn initialize() -> Value {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": { "roots": {} },
        "clientInfo": { "name": "wire", "version": "0" },
    });
    call(0, "initialize", params)
}

/// The notification that follows `initialize`.
pub fn initialized() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
}

/// Returns the message of an event, if it has one.
fn message(event: &str) -> Option<Value> {
    let data: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    // Clients ignore an event without data, such as a priming event.
    data.iter()
        .any(|line| !line.trim().is_empty())
        .then(|| serde_json::from_str(&data.join("\n")).expect("JSON in an event"))
}

/// The position after the first `pattern`.
fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern).map(|begin| begin + pattern.len())
}
