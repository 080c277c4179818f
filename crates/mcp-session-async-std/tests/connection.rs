//! Connection behaviour specific to this adapter: the limits of `async-h1`, and other routes beside the endpoint.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use futures::{TryStreamExt, future::BoxFuture};
use mcp_session_async_std::{AsyncStdRuntime, McpEndpoint, Serve, serve, serve_app};
use mcp_session_core::{Endpoint, RequestContext, Router, RpcError, ShutdownPolicy};
use serde_json::{Value, json};
use tide::{Body, Next, Request};

/// Longer than any test takes; it ends a test that hangs.
const NEVER: Duration = Duration::from_secs(60);

fn endpoint() -> Endpoint {
    let router = Router::new("connection", "0.1.0").request("echo", async |cx: RequestContext| {
        let token = cx.extensions().get::<u32>().copied();
        Ok::<_, RpcError>(json!({ "params": cx.params::<Value>()?, "token": token }))
    });
    let router = router.request("wait", async |cx: RequestContext| {
        if cx.params::<Value>()?["notify"] == true {
            cx.notify("notifications/waiting", None::<&()>).await?;
        }
        cx.draining().await;
        Ok::<_, RpcError>(json!({}))
    });
    Endpoint::new(AsyncStdRuntime, router)
}

/// Serves in the background, on its own port.
fn start(server: impl FnOnce(async_std::net::TcpListener) -> Serve) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    async_std::task::spawn(server(listener.into()).into_future());
    address
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < NEVER, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A client on one connection.
struct Client {
    socket: BufReader<TcpStream>,
    session: String,
}

#[derive(Debug)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    /// The body, and whether it ended cleanly.
    body: Vec<u8>,
    whole: bool,
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        assert!(self.whole, "{self:?}");
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("a connection");
        socket.set_read_timeout(Some(NEVER)).expect("a timeout");
        Self { socket: BufReader::new(socket), session: String::new() }
    }

    /// Connects and opens a session.
    fn open(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        let me = json!({ "name": "client", "version": "1" });
        let me = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": me });
        client
            .send(&client.post(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": me })));
        client.session = client.receive().header("mcp-session-id").expect("a session").to_owned();
        client.send(&client.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })));
        assert_eq!(client.receive().status, 202);
        client
    }

    fn head(&self, method: &str, more: &str) -> String {
        let session = match self.session.as_str() {
            "" => String::new(),
            id => format!("Mcp-Session-Id: {id}\r\n"),
        };
        let types = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
        format!("{method} /mcp HTTP/1.1\r\nHost: localhost\r\n{types}{session}{more}\r\n")
    }

    fn post(&self, message: &Value) -> String {
        let body = message.to_string();
        self.head("POST", &format!("Content-Length: {}\r\n", body.len())) + &body
    }

    fn post_chunked(&self, message: &Value) -> String {
        let body = message.to_string();
        let (first, second) = body.split_at(body.len() / 2);
        let chunks = format!("{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
        self.head("POST", "Transfer-Encoding: chunked\r\n") + &chunks
    }

    fn send(&self, text: &str) {
        self.socket.get_ref().write_all(text.as_bytes()).expect("the server reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.socket.read_line(&mut line).expect("the server writes");
        line.trim_end().to_owned()
    }

    fn receive(&mut self) -> Response {
        let status = self.line();
        let status = status.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no response: {status:?}"));
        let status = status[..3].parse().expect("a status");
        let mut headers = Vec::new();
        while let Some((name, value)) = self.line().split_once(": ") {
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new(), whole: status == 100 };
        if let Some(length) = response.header("content-length") {
            response.body = vec![0; length.parse().expect("a length")];
            response.whole = self.socket.read_exact(&mut response.body).is_ok();
        }
        while !response.whole {
            let Ok(length) = usize::from_str_radix(&self.line(), 16) else { break };
            let mut chunk = vec![0; length + 2]; // with its line end
            self.socket.read_exact(&mut chunk).expect("a whole chunk");
            response.body.extend(&chunk[..length]);
            response.whole = length == 0;
        }
        response
    }

    fn is_closed(&mut self) -> bool {
        !matches!(self.socket.read(&mut [0]), Ok(1..))
    }
}

fn echo(id: usize) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "echo", "params": { "odd": "\u{e4}\n" } })
}

#[test]
fn pipelined_requests_are_all_answered_in_order() {
    let endpoint = endpoint();
    let mut client = Client::open(start(|listener| serve(listener, endpoint)));
    let delete = "DELETE /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let all: String = (0..20)
        .map(|id| match id % 3 {
            0 => client.post(&echo(id)),
            1 => client.post_chunked(&echo(id)),
            _ => delete.to_owned(),
        })
        .collect();
    client.send(&all);
    for id in 0..20 {
        let response = client.receive();
        match id % 3 {
            2 => assert_eq!(response.status, 400),
            _ => assert_eq!((response.status, &response.json()["id"]), (200, &json!(id))),
        }
    }
    // The same, byte by byte.
    for byte in [client.post(&echo(20)), client.post_chunked(&echo(21))].concat().bytes() {
        client.socket.get_ref().write_all(&[byte]).expect("the server reads");
    }
    assert_eq!([client.receive().json()["id"].clone(), client.receive().json()["id"].clone()], [20, 21]);
}

#[test]
fn what_is_left_of_a_body_is_not_the_next_request() {
    let endpoint = endpoint();
    let mut client = Client::open(start(|listener| serve(listener, endpoint)));
    let large = "GET / HTTP/1.1\r\n".repeat(5 * 1024 * 1024 / 16);
    client.send(&(client.head("POST", &format!("Content-Length: {}\r\n", large.len())) + &large));
    client.send(&client.post(&echo(1)));
    assert_eq!(client.receive().status, 413);
    assert_eq!(client.receive().json()["id"], 1);
}

#[test]
fn a_client_that_leaves_is_noticed_while_nothing_is_written() {
    let endpoint = endpoint();
    let streams = || endpoint.stats().streams;
    let address = start(|listener| serve(listener, endpoint.clone()));
    for behind in ["", "POST /mcp HTTP/1.1\r\n"] {
        let client = Client::open(address);
        client.send(&(client.head("GET", "") + behind)); // also after the beginning of another request
        until("the stream is open", || streams() == 1);
        drop(client);
        until("the stream has ended", || streams() == 0);
    }
}

/// Stricter than hyper, because the parser of a proxy in front is unknown.
#[test]
fn an_ambiguous_request_is_refused_and_ends_its_connection() {
    let endpoint = endpoint();
    let address = start(|listener| serve(listener, endpoint));
    let hidden = "DELETE /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = format!("Content-Length: {}\r\n", hidden.len());
    for framing in [
        format!("{length}{length}"),
        format!("Content-Length: {0}, {0}\r\n", hidden.len()),
        format!("{length}Transfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\n{length}"),
        "Transfer-Encoding: gzip, chunked\r\n".to_owned(),
        length.replace("\r\n", "\n"),
        format!("X: a\r b\r\n{length}"),
        format!("{length}X-Name: \u{e4}\r\n"),
    ] {
        let mut client = Client::open(address);
        client.send(&(client.head("POST", &framing) + hidden));
        let refused = client.receive();
        assert_eq!((refused.status, refused.header("connection")), (400, Some("close")), "{framing}");
        assert!(client.is_closed(), "{framing}");
        let session = std::mem::take(&mut client.session);
        client = Client { session, ..Client::connect(address) };
        client.send(&client.post(&echo(1)));
        assert_eq!(client.receive().status, 200, "the hidden request was not served");
    }
}

/// S14: a request that was sent ahead when the server stops is answered, or its client is told that it is not.
#[test]
fn pipelined_requests_at_a_stop_are_answered_or_their_client_is_told() {
    for notify in [false, true] {
        let endpoint = endpoint();
        let served = endpoint.clone();
        let mut client = Client::open(start(|listener| serve(listener, served)));
        let wait = json!({ "jsonrpc": "2.0", "id": 1, "method": "wait", "params": { "notify": notify } });
        let echo = client.post(&echo(2));
        client.send(&(client.post(&wait) + &echo + &echo));
        until("the call runs", || endpoint.stats().exchanges == 1);
        if notify {
            client.socket.fill_buf().expect("the head is out");
        }
        endpoint.shutdown(ShutdownPolicy::default());
        let answer = client.receive();
        assert_eq!((answer.status, answer.whole), (200, true));
        let told = match notify {
            false => answer,
            true => client.receive(),
        };
        assert_eq!((told.status, told.header("connection")), (if notify { 503 } else { 200 }, Some("close")));
        assert_eq!(client.socket.read(&mut [0]).expect("no reset, which could take the answers"), 0);
    }
}

/// nginx uses it for its upstreams by default.
#[test]
fn http_1_0_gets_no_chunks_and_the_end_of_its_connection() {
    let endpoint = endpoint();
    let mut client = Client::open(start(|listener| serve(listener, endpoint)));
    let post = client.post(&echo(1)).replace("HTTP/1.1", "HTTP/1.0");
    client.send(&post);
    let answer = client.receive();
    assert_eq!((&answer.json()["id"], answer.header("connection")), (&json!(1), Some("close")));
    assert!(client.is_closed());

    let session = std::mem::take(&mut client.session);
    client = Client { session, ..Client::connect(client.socket.get_ref().peer_addr().expect("an address")) };
    client.send(&client.head("GET", "").replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(client.line(), "HTTP/1.1 200 OK");
    let fields: Vec<_> = std::iter::from_fn(|| Some(client.line()).filter(|line| !line.is_empty())).collect();
    assert!(!fields.iter().any(|field| field.starts_with("transfer-encoding")), "{fields:?}");
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let endpoint = endpoint();
    let mut client = Client::open(start(|listener| serve(listener, endpoint)));
    let body = echo(1).to_string();
    client.send(&client.head("POST", &format!("Expect: 100-continue\r\nContent-Length: {}\r\n", body.len())));
    assert_eq!(client.receive().status, 100);
    client.send(&body);
    assert_eq!(client.receive().json()["id"], 1);
}

fn middleware(mut request: Request<()>, next: Next<'_, ()>) -> BoxFuture<'_, tide::Result> {
    assert!(request.peer_addr().is_some_and(|peer| peer.starts_with("127.0.0.1:")));
    let mut extensions = http::Extensions::new();
    extensions.insert(7_u32);
    request.set_ext(extensions);
    Box::pin(async move {
        let mut response = next.run(request).await;
        response.insert_header("x-middleware", "was here");
        Ok(response)
    })
}

#[test]
fn middleware_and_other_routes_go_on_working() {
    let endpoint = endpoint();
    let mut app = tide::new();
    app.with(middleware);
    app.at("/mcp").all(McpEndpoint::new(endpoint.clone()));
    app.at("/hello").get(async |_| Ok("hello"));
    app.at("/cut").get(async |_| {
        let pieces = [Ok("begin"), Err(std::io::Error::other("cut"))];
        let pieces = futures::stream::iter(pieces).into_async_read();
        Ok(tide::Response::builder(200).body(Body::from_reader(pieces, None)).build())
    });
    let address = start(|listener| serve_app(listener, endpoint, app));
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");

    let mut client = Client::open(address);
    client.send(&client.post(&echo(1)));
    assert_eq!(client.receive().json()["result"]["token"], 7); // the value that the middleware passes to the handler

    client.send(&(get("/hello") + &get("/nowhere") + &get("/mcp")));
    let hello = client.receive();
    assert_eq!((hello.status, hello.header("x-middleware")), (200, Some("was here")));
    assert_eq!(hello.body, b"hello");
    assert_eq!(client.receive().status, 404);
    assert_eq!(client.receive().status, 406);

    // A body that fails has no last chunk.
    client.send(&get("/cut"));
    let cut = client.receive();
    assert_eq!((cut.status, cut.body, cut.whole), (200, b"begin".to_vec(), false));
    assert!(client.is_closed());
}
