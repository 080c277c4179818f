//! Connections that are opened before HTTP begins.

use std::{io, net::SocketAddr, time::Duration};

use futures::future::pending;
use http::Extensions;
use mcp_session_core::{Endpoint, RequestContext, Router, ShutdownPolicy};
use mcp_session_testkit::wire::{Client, Connection, End, LONG, SHORT, call, within};
use mcp_session_tokio::{McpService, TokioRuntime, serve_app_over};
use serde_json::json;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

/// What the handshake learns of a client: the byte that it sends first.
#[derive(Debug, Clone, Copy)]
struct Name(u8);

/// A client that begins with `?` never ends its handshake, one that begins with `!` fails it.
async fn handshake(mut socket: TcpStream) -> io::Result<(TcpStream, Extensions)> {
    let name = socket.read_u8().await?;
    match name {
        b'?' => pending().await,
        b'!' => Err(io::ErrorKind::InvalidData.into()),
        _ => {
            let mut extensions = Extensions::new();
            extensions.insert(Name(name));
            Ok((socket, extensions))
        }
    }
}

async fn serve(header_timeout: Duration) -> (SocketAddr, Endpoint, tokio::task::JoinHandle<io::Result<u64>>) {
    let router = Router::new("handshake", "0.0.0").request("name", |cx: RequestContext| async move {
        Ok(json!({ "name": cx.extensions().get::<Name>().map(|Name(name)| char::from(*name)) }))
    });
    let endpoint = Endpoint::new(TokioRuntime::current(), router);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let app = McpService::new(endpoint.clone());
    let server =
        serve_app_over(listener, handshake, endpoint.clone(), app).with_header_timeout(header_timeout);
    let server = tokio::spawn(async move { server.await.map(|report| report.connections_cut) });
    (addr, endpoint, server)
}

async fn ask(addr: SocketAddr, name: &str, id: u64) -> String {
    let client = Client { addr, session: String::new() };
    let mut connection = Connection::open(addr).await;
    connection.write(name.to_owned() + &client.request(&call(id, "name", json!({})))).await.expect("open");
    // Each request of a connection knows it.
    connection.reply().await;
    connection.write(client.request(&call(id + 1, "name", json!({})))).await.expect("open");
    connection.reply().await.json()["result"]["name"].as_str().expect("a name").to_owned()
}

#[tokio::test]
async fn requests_carry_what_the_handshake_has_learned() {
    let (addr, endpoint, server) = serve(LONG).await;
    assert_eq!((ask(addr, "a", 1).await, ask(addr, "b", 1).await), ("a".to_owned(), "b".to_owned()));
    endpoint.shutdown(ShutdownPolicy::default());
    assert_eq!(within("the end", server).await.expect("no panic").expect("a report"), 0);
}

#[tokio::test]
async fn a_handshake_that_hangs_has_the_deadline_of_a_head_and_delays_nobody() {
    let (addr, endpoint, server) = serve(SHORT).await;
    let mut hangs = Connection::open(addr).await;
    hangs.write("?").await.expect("open");
    let mut fails = Connection::open(addr).await;
    fails.write("!").await.expect("open");
    assert!(matches!(fails.drained().await, End::Closed | End::Reset));
    assert_eq!(hangs.drained().await, End::Closed);
    endpoint.shutdown(ShutdownPolicy::default());
    within("the end", server).await.expect("no panic").expect("a report");
}

/// S4: as a connection that has sent nothing, it is closed at once, and is no connection that was cut.
#[tokio::test]
async fn s_4_a_handshake_that_hangs_holds_up_no_shutdown() {
    let (addr, endpoint, server) = serve(LONG).await;
    let mut hangs = Connection::open(addr).await;
    hangs.write("?").await.expect("open");
    assert_eq!(ask(addr, "a", 1).await, "a"); // accepted in order: the other one is in its handshake
    endpoint.shutdown(ShutdownPolicy { drain: LONG, finish: LONG, ..ShutdownPolicy::default() });
    assert_eq!(within("the end", server).await.expect("no panic").expect("a report"), 0);
    assert!(matches!(hangs.drained().await, End::Closed | End::Reset));
}
