//! Connection behaviour specific to this adapter: the limits of `async-h1`, and other routes beside the endpoint.

mod bed;

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
};

use bed::AsyncStdBed;
use futures::{TryStreamExt, future::BoxFuture};
use mcp_session_async_std::{AsyncStdRuntime, McpEndpoint, Serve, serve, serve_app};
use mcp_session_core::{Endpoint, RequestContext, Router, RpcError, ShutdownPolicy};
use mcp_session_testkit::wire::{self, Connection, End, LIMIT, call, until};
use serde_json::{Value, json};
use tide::{Body, Next, Request};

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

/// Runs a test beside the runtime of its server.
fn run(test: impl AsyncFnOnce(&AsyncStdBed) + Send) {
    wire::run(&AsyncStdBed, test);
}

/// A session, and a connection to send its requests on.
struct Client {
    session: wire::Client,
    connection: Connection,
}

impl Client {
    async fn open(addr: SocketAddr) -> Self {
        let session = wire::Client::with_version(addr, "2025-06-18").await;
        Self { connection: Connection::open(addr).await, session }
    }

    async fn send(&mut self, requests: &str) {
        self.connection.write(requests).await.expect("the server reads");
    }

    async fn json(&mut self) -> Value {
        let reply = self.connection.reply().await;
        assert_eq!(reply.end, End::Complete, "{reply:?}");
        reply.json()
    }

    fn post_chunked(&self, message: &Value) -> String {
        let body = message.to_string();
        let (first, second) = body.split_at(body.len() / 2);
        let chunks = format!("{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
        self.session.head_with("POST", "Transfer-Encoding: chunked\r\n") + &chunks
    }
}

fn echo(id: u64) -> Value {
    call(id, "echo", json!({ "odd": "\u{e4}\n" }))
}

#[test]
fn pipelined_requests_are_all_answered_in_order() {
    run(async |_| {
        let endpoint = endpoint();
        let mut client = Client::open(start(|listener| serve(listener, endpoint))).await;
        let delete = "DELETE /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let all: String = (0..20)
            .map(|id| match id % 3 {
                0 => client.session.request(&echo(id)),
                1 => client.post_chunked(&echo(id)),
                _ => delete.to_owned(),
            })
            .collect();
        client.send(&all).await;
        for id in 0..20 {
            match id % 3 {
                2 => assert_eq!(client.connection.reply().await.head.status, 405),
                _ => assert_eq!(client.json().await["id"], id),
            }
        }
        // The same, byte by byte.
        for byte in [client.session.request(&echo(20)), client.post_chunked(&echo(21))].concat().bytes() {
            client.connection.write([byte]).await.expect("the server reads");
        }
        assert_eq!([client.json().await["id"].clone(), client.json().await["id"].clone()], [20, 21]);
    });
}

#[test]
fn what_is_left_of_a_body_is_not_the_next_request() {
    run(async |_| {
        let endpoint = endpoint();
        let mut client = Client::open(start(|listener| serve(listener, endpoint))).await;
        let large = "GET / HTTP/1.1\r\n".repeat(5 * 1024 * 1024 / 16);
        client.send(&(client.session.head("POST", large.len()) + &large)).await;
        client.send(&client.session.request(&echo(1))).await;
        assert_eq!(client.connection.reply().await.head.status, 413);
        assert_eq!(client.json().await["id"], 1);
    });
}

#[test]
fn a_client_that_leaves_is_noticed_while_nothing_is_written() {
    run(async |_| {
        let endpoint = endpoint();
        let streams = || endpoint.stats().streams;
        let address = start(|listener| serve(listener, endpoint.clone()));
        for behind in ["", "POST /mcp HTTP/1.1\r\n"] {
            let mut client = Client::open(address).await;
            client.send(&(client.session.get() + behind)).await; // also after the beginning of another request
            until("the stream is open", || streams() == 1).await;
            drop(client);
            until("the stream has ended", || streams() == 0).await;
        }
    });
}

/// Stricter than hyper, because the parser of a proxy in front is unknown.
#[test]
fn an_ambiguous_request_is_refused_and_ends_its_connection() {
    run(async |_| {
        let endpoint = endpoint();
        let address = start(|listener| serve(listener, endpoint));
        // By its chunks, it begins with the end of the body.
        let hidden = "0\r\n\r\nDELETE /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n";
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
            let mut client = Client::open(address).await;
            client.send(&(client.session.head_with("POST", &framing) + hidden)).await;
            let refused = client.connection.reply().await.head;
            assert_eq!((refused.status, refused.get("connection")), (400, Some("close")), "{framing}");
            client.connection.closed().await;
            let next = client.session.ask(&echo(1)).await;
            assert_eq!(next.head.status, 200, "the hidden request was not served");
        }
    });
}

/// S14: a request that was sent ahead when the server stops is answered, or its client is told that it is not.
#[test]
fn pipelined_requests_at_a_stop_are_answered_or_their_client_is_told() {
    run(async |_| {
        for notify in [false, true] {
            let endpoint = endpoint();
            let served = endpoint.clone();
            let mut client = Client::open(start(|listener| serve(listener, served))).await;
            let wait = client.session.request(&call(1, "wait", json!({ "notify": notify })));
            let echo = client.session.request(&echo(2));
            client.send(&(wait + &echo + &echo)).await;
            until("the call runs", || endpoint.stats().exchanges == 1).await;
            let begun = if notify { Some(client.connection.head().await.expect("a head")) } else { None };
            endpoint.shutdown(ShutdownPolicy::default());
            let (told, status) = match begun {
                None => (client.connection.reply().await, 200),
                Some(head) => {
                    assert_eq!((head.status, client.connection.rest().await.1), (200, End::LastChunk));
                    (client.connection.reply().await, 503)
                }
            };
            assert_eq!((told.head.status, told.head.get("connection")), (status, Some("close")));
            assert_eq!(told.end, End::Complete);
            assert_eq!(client.connection.closed().await, End::Closed, "a reset could take the answers");
        }
    });
}

/// nginx uses it for its upstreams by default.
#[test]
fn http_1_0_gets_no_chunks_and_the_end_of_its_connection() {
    run(async |_| {
        let endpoint = endpoint();
        let address = start(|listener| serve(listener, endpoint));
        let mut client = Client::open(address).await;
        client.send(&client.session.request(&echo(1)).replace("HTTP/1.1", "HTTP/1.0")).await;
        let answer = client.connection.reply().await;
        assert_eq!((&answer.json()["id"], answer.head.get("connection")), (&json!(1), Some("close")));
        client.connection.closed().await;

        // The body of this one ends with its connection.
        let mut socket = TcpStream::connect(address).expect("a connection");
        socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let get = client.session.get().replace("HTTP/1.1", "HTTP/1.0");
        socket.write_all(get.as_bytes()).expect("the server reads");
        let lines = BufReader::new(socket).lines().map(|line| line.expect("the server writes"));
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        assert_eq!(head[0], "HTTP/1.1 200 OK");
        assert!(!head.iter().any(|line| line.to_lowercase().starts_with("transfer-encoding")), "{head:?}");
    });
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    run(async |_| {
        let endpoint = endpoint();
        let mut client = Client::open(start(|listener| serve(listener, endpoint))).await;
        let body = echo(1).to_string();
        let expects = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", body.len());
        client.send(&client.session.head_with("POST", &expects)).await;
        assert_eq!(client.connection.head().await.expect("a head").status, 100);
        client.send(&body).await;
        assert_eq!(client.json().await["id"], 1);
    });
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
    run(async |_| {
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

        let mut client = Client::open(address).await;
        client.send(&client.session.request(&echo(1))).await;
        // The value that the middleware passes to the handler.
        assert_eq!(client.json().await["result"]["token"], 7);

        client.send(&(get("/hello") + &get("/nowhere") + &get("/mcp"))).await;
        let hello = client.connection.reply().await;
        assert_eq!((hello.head.status, hello.head.get("x-middleware")), (200, Some("was here")));
        assert_eq!(hello.body, b"hello");
        assert_eq!(client.connection.reply().await.head.status, 404);
        assert_eq!(client.connection.reply().await.head.status, 406);

        // A body that fails has no last chunk.
        client.send(&get("/cut")).await;
        let cut = client.connection.reply().await;
        assert_eq!((cut.head.status, cut.body, cut.end), (200, b"begin".to_vec(), End::Closed));
    });
}
