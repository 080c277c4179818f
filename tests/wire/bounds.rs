//! Heads and bodies that drip, never end, or are too large.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use mcp_session_tests::wire::{Client, Connection, End, Http2, SHORT, Server, call};
use serde_json::{Value, json};

const LIMIT: usize = 1024;

async fn impatient() -> (Server, Client, Connection) {
    let server = Server::with(|setup| {
        setup.header_timeout = SHORT;
        setup.config.body_timeout = SHORT;
        setup.config.body_limit = LIMIT;
    })
    .await;
    let client = server.client().await;
    let listening = client.listen().await;
    (server, client, listening)
}

/// Others, also those whose stream has been open for longer than any of the deadlines, do not notice.
async fn others_are_well(server: Server, client: &Client, mut listening: Connection) {
    assert_eq!(client.ask(&call(1, "echo", json!({}))).await.head.status, 200);
    server.session().notify("notifications/well", None::<&()>).await.expect("space");
    assert_eq!(listening.message().await.expect("a message")["method"], "notifications/well");
    server.drain().await;
    assert_eq!(listening.message().await, Err(End::LastChunk));
    assert!(server.ended().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_has_a_deadline() {
    let (server, client, listening) = impatient().await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = format!("{preface}\0\0\0\x04\0\0\0\0\0");
    for bytes in ["", "P", "POST /mcp HTTP/1.1\r\nhost: localhost\r\n", &preface[..18], preface, &settings] {
        client.send(bytes).await.drained().await;
    }
    others_are_well(server, &client, listening).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_drips_has_a_deadline() {
    let (server, client, listening) = impatient().await;
    let mut dripping = client.send("POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-drip: ").await;
    dripping.drip("x").await;
    dripping.drained().await;
    others_are_well(server, &client, listening).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_is_idle_has_a_deadline() {
    let (server, client, listening) = impatient().await;
    let mut kept = Connection::open(client.addr).await;
    for id in 1..=2 {
        kept.write(client.request(&call(id, "echo", json!({})))).await.unwrap();
        assert_eq!(kept.reply().await.head.status, 200);
    }
    assert_eq!(kept.closed().await, End::Closed);
    others_are_well(server, &client, listening).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_gets_408() {
    let (server, client, listening) = impatient().await;
    let half = client.head("POST", 100) + r#"{"jsonrpc":"2.0","#;
    let silent = client.head_with("POST", "transfer-encoding: chunked\r\n") + "1\r\n{\r\n";
    for request in [half, silent.clone()] {
        timed_out(client.send(&request).await).await;
    }
    let mut dripping = client.send(&silent).await;
    dripping.drip("1\r\n \r\n").await;
    timed_out(dripping).await;
    others_are_well(server, &client, listening).await;
}

async fn timed_out(mut connection: Connection) {
    refused(&mut connection, 408).await;
    assert!(matches!(connection.drained().await, End::Closed | End::Reset));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_harms_nobody() {
    let (server, client, listening) = impatient().await;
    drop(client.send(&(client.head("POST", 100) + "{")).await);
    others_are_well(server, &client, listening).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_19_an_oversized_body_gets_413() {
    let (server, client, listening) = impatient().await;
    let large = call(1, "echo", json!({ "text": "x".repeat(LIMIT) })).to_string();
    let announced = client.head("POST", large.len());
    let chunked = client.head_with("POST", "transfer-encoding: chunked\r\n");
    let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for request in [announced.clone(), announced + &large, chunked + &chunk] {
        let mut connection = client.send(&request).await;
        refused(&mut connection, 413).await;
        // The rest of the body is in the way of a next request: the connection may end.
        if connection.write(client.request(&call(2, "echo", json!({})))).await.is_ok() {
            match connection.head().await {
                Ok(head) => assert_eq!(head.status, 200),
                Err(end) => assert!(matches!(end, End::Closed | End::Reset)),
            }
        }
    }
    others_are_well(server, &client, listening).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_the_same_bodies_get_408_and_413() {
    let (server, client, listening) = impatient().await;
    let mut http = Http2::open(&client).await;
    let begin = Bytes::from(r#"{"jsonrpc":"2.0","#);
    let frames = stream::iter([Ok(Frame::data(begin))]).chain(stream::pending());
    let endless = http.send_body("POST", BodyExt::boxed(StreamBody::new(frames))).await;
    assert_eq!(endless.status().as_u16(), 408);
    let large = http.post(&call(1, "echo", json!({ "text": "x".repeat(LIMIT) }))).await;
    assert_eq!(large.status().as_u16(), 413);
    // The connection lives on.
    assert_eq!(http.post(&call(2, "echo", json!({}))).await.status().as_u16(), 200);
    others_are_well(server, &client, listening).await;
}

/// A complete JSON-RPC error, of no request: its id could not be read.
async fn refused(connection: &mut Connection, status: u16) {
    let reply = connection.reply().await;
    assert_eq!((reply.head.status, reply.end), (status, End::Complete), "{reply:?}");
    assert_eq!(reply.json()["id"], Value::Null);
    assert!(reply.json()["error"]["code"].is_i64(), "{reply:?}");
}
