//! [`Wire`]: a proxy between one client and the server. It records each request as the server gets it, and may lose the
//! session id.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

const SESSION_ID: &str = "mcp-session-id";

/// More than any of the clients sends.
const MOST_HEADERS: usize = 64;

/// A request that a server got.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Request {
    pub(super) http_method: String,
    /// The header `MCP-Protocol-Version`.
    pub(super) version: Option<String>,
    /// Whether it arrived with a session id.
    pub(super) has_id: bool,
    /// Whether the proxy has removed a session id.
    pub(super) lost_id: bool,
    /// The method of the JSON-RPC request or notification.
    pub(super) rpc_method: Option<String>,
    /// The version that a JSON-RPC request names in its `_meta`.
    pub(super) meta_version: Option<String>,
    /// Whether it is a JSON-RPC request.
    pub(super) is_rpc_request: bool,
}

/// The proxy. It accepts connections until it is dropped.
#[derive(Debug)]
pub(super) struct Wire {
    address: SocketAddr,
    /// What the client is to use instead of the server's URL.
    pub(super) url: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    loses_id: bool,
    /// What arrived, or why that cannot be said.
    seen: Mutex<Result<Vec<Request>, String>>,
    ended: AtomicBool,
}

impl Wire {
    /// Starts a proxy in front of `url`.
    pub(super) fn before(url: &str, loses_id: bool) -> Result<Wire> {
        let rest = url.strip_prefix("http://").context("the URL is http")?;
        let (server, path) = rest.split_once('/').context("the URL has a path")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Shared {
            server: server.parse()?,
            loses_id,
            seen: Mutex::new(Ok(Vec::new())),
            ended: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_thread.ended.load(Ordering::SeqCst) {
                    return;
                }
                let _ = of_thread.serve(client); // fails if the server has gone; the client sees a lost connection
            }
        });
        Ok(Wire { address, url: format!("http://{address}/{path}"), shared })
    }

    /// All requests so far, in the order in which they began to arrive.
    pub(super) fn seen(&self) -> Result<Vec<Request>> {
        let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone().map_err(anyhow::Error::msg)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the thread
    }
}

impl Shared {
    /// Relays one connection, on two threads that end with it.
    fn serve(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || relay(from_server, to_client));
        let shared = Arc::clone(self);
        thread::spawn(move || shared.requests(client, server));
        Ok(())
    }

    /// Passes the requests of a connection on. The end of the input is passed on too, a lost connection as one.
    fn requests(&self, client: TcpStream, mut server: TcpStream) {
        let mut client = BufReader::new(client);
        let end = loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match client.read_until(b'\n', &mut head) {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            if !head.ends_with(b"\r\n\r\n") {
                break if head.is_empty() { Shutdown::Write } else { Shutdown::Both };
            }
            let (mut request, length) = match read_head(&head) {
                Ok(read) => read,
                Err(error) => {
                    *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Err(format!("{error:#}"));
                    break Shutdown::Both;
                }
            };
            if self.loses_id && request.has_id {
                head = without_id(&head);
                (request.has_id, request.lost_id) = (false, true);
            }
            let mut body = vec![0; length];
            if client.read_exact(&mut body).is_err() {
                break Shutdown::Both;
            }
            request.read_body(&body);
            if let Ok(seen) = &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
                seen.push(request);
            }
            if server.write_all(&head).and_then(|()| server.write_all(&body)).is_err() {
                break Shutdown::Both;
            }
        };
        let _ = server.shutdown(end); // fails if it is already closed
    }
}

/// Passes the answers on.
fn relay(mut from: TcpStream, mut to: TcpStream) {
    let end = if io::copy(&mut from, &mut to).is_ok() { Shutdown::Write } else { Shutdown::Both };
    let _ = to.shutdown(end); // fails if it is already closed
    if end == Shutdown::Both {
        let _ = from.shutdown(end); // the client has gone
    }
}

/// What a head says, and the length of the body. None of the clients sends a body in chunks.
fn read_head(head: &[u8]) -> Result<(Request, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    ensure!(parsed.parse(head)?.is_complete(), "a head without an end");
    let mut request =
        Request { http_method: parsed.method.unwrap_or_default().to_owned(), ..Request::default() };
    let mut length = 0;
    for header in &*parsed.headers {
        let value = String::from_utf8_lossy(header.value).trim().to_owned();
        match &*header.name.to_ascii_lowercase() {
            "content-length" => length = value.parse()?,
            "transfer-encoding" => bail!("a request with Transfer-Encoding: {value}"),
            "mcp-protocol-version" => request.version = Some(value),
            SESSION_ID => request.has_id = true,
            _ => {}
        }
    }
    Ok((request, length))
}

/// A head without the lines of the session id.
fn without_id(head: &[u8]) -> Vec<u8> {
    let is_id = |line: &&[u8]| {
        line.get(..SESSION_ID.len()).is_some_and(|name| name.eq_ignore_ascii_case(SESSION_ID.as_bytes()))
    };
    head.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_id(line)).flatten().copied().collect()
}

impl Request {
    fn read_body(&mut self, body: &[u8]) {
        let message: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.rpc_method = text(&message["method"]);
        self.is_rpc_request = self.rpc_method.is_some() && !message["id"].is_null();
        self.meta_version = text(&message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

    use super::{Request, Wire};

    const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{
        "io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

    /// Sends two requests on one connection; returns what arrives at the server, and what is recorded.
    fn relayed(loses_id: bool) -> (String, Vec<Request>) {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/mcp", server.local_addr().unwrap());
        let wire = Wire::before(&url, loses_id).unwrap();
        let mut client = TcpStream::connect(wire.address).unwrap();
        let post = format!(
            "POST /mcp HTTP/1.1\r\nMCP-Session-Id: abc\r\nmcp-protocol-version:  2026-07-28\r\n\
             Content-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        client.write_all(post.as_bytes()).unwrap();
        client.write_all(b"GET /mcp HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut from_proxy, _) = server.accept().unwrap();
        let mut arrived = String::new();
        from_proxy.read_to_string(&mut arrived).unwrap();
        from_proxy.write_all(b"answer").unwrap();
        drop(from_proxy);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        (arrived, wire.seen().unwrap())
    }

    #[test]
    fn requests_are_recorded_and_passed_on() {
        let (arrived, seen) = relayed(false);
        assert!(arrived.contains("MCP-Session-Id: abc\r\n") && arrived.contains(BODY), "{arrived}");
        assert!(arrived.ends_with("GET /mcp HTTP/1.1\r\nhost: a\r\n\r\n"), "{arrived}");
        let version = Some("2026-07-28".to_owned());
        let post = Request {
            http_method: "POST".to_owned(),
            version: version.clone(),
            has_id: true,
            lost_id: false,
            rpc_method: Some("tools/list".to_owned()),
            meta_version: version,
            is_rpc_request: true,
        };
        let get = Request { http_method: "GET".to_owned(), ..Request::default() };
        assert_eq!(seen, [post, get]);
    }

    #[test]
    fn the_session_id_is_lost_if_wanted() {
        let (arrived, seen) = relayed(true);
        assert!(!arrived.contains("abc") && arrived.contains("\r\nmcp-protocol-version:"), "{arrived}");
        assert!(seen[0].lost_id && !seen[0].has_id && !seen[1].lost_id, "{seen:?}");
    }
}
