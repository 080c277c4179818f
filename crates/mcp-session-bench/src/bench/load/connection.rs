//! [`Connection`]: one kept HTTP/1.1 connection, written and read by hand so that the client costs little compared with
//! the server.

use std::{io, net::SocketAddr};

use anyhow::{Result, bail, ensure};
use httparse::Status;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// More headers than any peer sends.
const MAX_HEADERS: usize = 24;

/// The size of a read: fits a whole small response.
const READ: usize = 1024;

/// How the body of a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) session: Option<String>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    /// The bytes read so far; those from `at` on are not parsed yet.
    buffer: Vec<u8>,
    at: usize,
    /// The body of the last chunked response.
    decoded: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, buffer: Vec::new(), at: 0, decoded: Vec::new() })
    }

    /// Writes a whole request.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.socket.write_all(request).await
    }

    /// Sends a request, reads the whole response, and requires a success status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<(Head, &[u8])> {
        self.send(request).await?;
        let head = self.head().await?;
        let status = head.status;
        let body = self.body(head.framing).await?;
        ensure!((200..300).contains(&status), "status {status}: {}", String::from_utf8_lossy(body));
        Ok((head, body))
    }

    pub(crate) async fn head(&mut self) -> Result<Head> {
        self.buffer.drain(..self.at);
        self.at = 0;
        loop {
            if let Some((length, head)) = parse(&self.buffer)? {
                self.at = length;
                return Ok(head);
            }
            self.fill(READ).await?;
        }
    }

    /// The rest of the body.
    pub(crate) async fn body(&mut self, framing: Framing) -> Result<&[u8]> {
        match framing {
            Framing::Length(length) => {
                let missing = |it: &Self| (it.at + length).saturating_sub(it.buffer.len());
                while missing(self) > 0 {
                    self.fill(missing(self)).await?;
                }
                self.at += length;
                Ok(&self.buffer[self.at - length..self.at])
            }
            Framing::Chunked => {
                let mut decoded = std::mem::take(&mut self.decoded);
                decoded.clear();
                while let Some(chunk) = self.chunk().await? {
                    decoded.extend_from_slice(chunk);
                }
                self.decoded = decoded;
                Ok(&self.decoded)
            }
        }
    }

    /// The next chunk of a chunked body; `None` after the last one. If the connection ends before that, returns an error.
    pub(crate) async fn chunk(&mut self) -> Result<Option<&[u8]>> {
        loop {
            match httparse::parse_chunk_size(&self.buffer[self.at..]) {
                Ok(Status::Complete((line, size))) => {
                    let (begin, size) = (self.at + line, size as usize);
                    let end = begin + size + 2; // a line break follows the data, also for size 0
                    while self.buffer.len() < end {
                        self.fill(end - self.buffer.len()).await?;
                    }
                    ensure!(&self.buffer[end - 2..end] == b"\r\n", "a chunk does not end with a line break");
                    self.at = end;
                    return Ok((size > 0).then(|| &self.buffer[begin..begin + size]));
                }
                Ok(Status::Partial) => {
                    self.buffer.drain(..self.at);
                    self.at = 0;
                    self.fill(READ).await?;
                }
                Err(error) => bail!("a chunk has no valid size line: {error}"),
            }
        }
    }

    /// Reads the available bytes, at least one.
    async fn fill(&mut self, hint: usize) -> io::Result<()> {
        self.buffer.reserve(hint.max(READ));
        match self.socket.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The head at the start of `bytes` and its length, if it is complete.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let mut head = Head { status, framing: Framing::Length(0), session: None };
    for header in &*response.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            head.framing = Framing::Length(std::str::from_utf8(header.value)?.parse()?);
        } else if is("transfer-encoding") {
            head.framing = Framing::Chunked;
        } else if is("mcp-session-id") {
            head.session = Some(String::from_utf8(header.value.to_vec())?);
        }
    }
    Ok(Some((length, head)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A connection whose peer sends these bytes and then closes.
    async fn hearing(said: &'static str) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = Connection::open(listener.local_addr().unwrap()).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        tokio::spawn(async move { socket.write_all(said.as_bytes()).await });
        connection
    }

    #[tokio::test]
    async fn responses_of_both_framings_follow_each_other() {
        let mut connection = hearing(
            "HTTP/1.1 200 OK\r\nMcp-Session-Id: s\r\nContent-Length: 2\r\n\r\nhi\
             HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n\
             HTTP/1.1 204 No Content\r\n\r\n",
        )
        .await;
        let head = connection.head().await.unwrap();
        assert_eq!((head.status, head.session.as_deref()), (200, Some("s")));
        assert_eq!(connection.body(head.framing).await.unwrap(), b"hi");
        let head = connection.head().await.unwrap();
        assert_eq!(connection.body(head.framing).await.unwrap(), b"abcd");
        let head = connection.head().await.unwrap();
        assert_eq!((head.status, head.framing), (204, Framing::Length(0)));
    }

    #[tokio::test]
    async fn a_stream_without_its_last_chunk_is_an_error() {
        let mut connection =
            hearing("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
        let head = connection.head().await.unwrap();
        assert_eq!(head.framing, Framing::Chunked);
        assert_eq!(connection.chunk().await.unwrap(), Some(&b"abc"[..]));
        assert!(connection.chunk().await.is_err());
    }
}
