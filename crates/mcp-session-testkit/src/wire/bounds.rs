//! Heads and bodies that arrive too slowly, never end, or are too large.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time;

use super::{Client, Connection, End, LONG, SHORT, ServeHarness, Server, call, initialize};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    a_head_that_never_ends_has_a_deadline,
    a_head_that_drips_has_a_deadline,
    a_head_has_a_limit,
    a_kept_connection_that_is_idle_has_a_deadline,
    a_kept_connection_outlives_the_deadline_for_heads,
    b_44_a_refusal_reaches_a_client_that_is_still_sending,
    s_4_the_rest_of_a_refused_request_holds_nobody_up,
    a_body_that_never_ends_gets_408,
    a_body_that_breaks_off_harms_nobody,
    a_19_an_oversized_body_gets_413,
}

/// The deadline for heads and bodies. Well-behaved clients never reach it: they write each at once.
pub(super) const IMPATIENT: Duration = Duration::from_millis(500);

pub(super) const BODY_LIMIT: usize = 1024;

/// More than any server should accept as a request head.
const HEAD_LIMIT: usize = 16 * 1024 * 1024;

/// A server with short deadlines, a client of it, and the client's GET stream.
pub(super) async fn impatient(harness: &impl ServeHarness) -> (Server, Client, Connection) {
    let server = Server::with(harness, |setup| {
        (setup.header_timeout, setup.idle_timeout) = (IMPATIENT, IMPATIENT);
        setup.config.body_timeout = IMPATIENT;
        setup.config.body_limit = BODY_LIMIT;
    });
    let client = server.client().await;
    let listening = client.listen().await;
    (server, client, listening)
}

/// Other clients, also those whose stream has been open for longer than any deadline, are not affected.
pub(super) async fn others_are_well(server: Server, client: &Client, mut listening: Connection) {
    assert_eq!(client.ask(&call(1, "echo", json!({}))).await.head.status, 200);
    server.session().notify("notifications/well", None::<&()>).await.expect("space");
    assert_eq!(listening.message().await.expect("a message")["method"], "notifications/well");
    server.drain().await;
    assert_eq!(listening.message().await, Err(End::LastChunk));
    assert!(server.ended().await.is_clean());
}

/// No bytes, or the beginning of a head, and then silence: the connection is closed, however long one may be idle that is
/// kept after a request.
async fn a_head_that_never_ends_has_a_deadline(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.header_timeout = IMPATIENT);
    let client = server.client().await;
    let listening = client.listen().await;
    let heads = ["", "P", "POST /mcp HTTP/1.1\r\nhost: localhost\r\n"];
    join_all(heads.map(async |bytes| client.send(bytes).await.drained().await)).await;
    others_are_well(server, &client, listening).await;
}

/// Single bytes now and then do not extend that deadline.
async fn a_head_that_drips_has_a_deadline(harness: &impl ServeHarness) {
    let (server, client, listening) = impatient(harness).await;
    let mut dripping = client.send("POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-drip: ").await;
    dripping.drip("x").await;
    dripping.drained().await;
    others_are_well(server, &client, listening).await;
}

/// The size of a head is bounded.
async fn a_head_has_a_limit(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.header_timeout = LONG);
    let client = server.client().await;
    let mut endless = client.send("POST /mcp HTTP/1.1\r\nhost: localhost\r\n").await;
    let field = format!("x-endless: {}\r\n", "x".repeat(1000)).repeat(64);
    let mut sent = 0;
    while endless.write(&field).await.is_ok() {
        sent += field.len();
        assert!(sent < HEAD_LIMIT, "{sent} bytes of a head were taken");
    }
    endless.drained().await;
    assert_eq!(client.ask(&call(1, "echo", json!({}))).await.head.status, 200);
    assert!(server.stop().await.is_clean());
}

/// The idle timeout applies: not while a request is running, and again from the end of its answer.
async fn a_kept_connection_that_is_idle_has_a_deadline(harness: &impl ServeHarness) {
    let (server, client, listening) = impatient(harness).await;
    let mut kept = client.send(&client.request(&call(1, "quiet", json!({})))).await;
    time::sleep(2 * IMPATIENT).await; // must elapse without effect
    server.open_gate();
    assert_eq!(kept.reply().await.head.status, 200);
    kept.write(client.request(&call(2, "echo", json!({})))).await.expect("an open connection");
    assert_eq!(kept.reply().await.head.status, 200);
    assert_eq!(kept.closed().await, End::Closed);
    others_are_well(server, &client, listening).await;
}

/// A load balancer keeps its connections open for longer than a head may take.
async fn a_kept_connection_outlives_the_deadline_for_heads(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.header_timeout = SHORT);
    let client = Client { addr: server.addr, session: String::new() };
    let mut kept = client.send(&client.request(&initialize())).await;
    assert_eq!(kept.reply().await.head.status, 200);
    time::sleep(3 * SHORT).await; // must elapse without effect
    kept.write(client.request(&initialize())).await.expect("an open connection");
    assert_eq!(kept.reply().await.head.status, 200);
    let request = client.request(&initialize());
    kept.write(&request[..20]).await.expect("an open connection");
    kept.drained().await; // the next head has the deadline again
    assert!(server.stop().await.is_clean());
}

/// B-44: a request can be refused from its head alone. Its client can read the refusal although it is still sending,
/// is told that the connection closes, and may send everything that it began.
async fn b_44_a_refusal_reaches_a_client_that_is_still_sending(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.config.body_limit = 64 * 1024);
    let client = server.client().await;
    for size in [9_000, 70_000, 300_000, 3_000_000] {
        let body = "x".repeat(size);
        let good = client.head("POST", size);
        for (head, status) in [
            (good.replace("application/json\r\n", "text/plain\r\n"), 415),
            (good.replace("application/json, text/event-stream", "text/html"), 406),
            (good.replace("POST", "PUT"), 405),
            (good.replace("localhost", "rebound.example").replace("127.0.0.1", "rebound.example"), 403),
            (good.clone(), 413),
        ] {
            if status == 413 && size <= 64 * 1024 {
                continue;
            }
            assert!(status == 413 || head != good);
            let mut connection = client.send(&head).await;
            for part in body.as_bytes().chunks(100_000) {
                connection.write(part).await.expect("the rest is read and discarded");
            }
            let reply = connection.reply().await;
            assert_eq!((reply.head.status, reply.end), (status, End::Complete), "{size}: {reply:?}");
            match reply.head.get("connection") {
                Some("close") => assert_eq!(connection.closed().await, End::Closed, "{status} {size}"),
                _ => {
                    connection.write(client.request(&call(2, "ping", json!({})))).await.expect("kept");
                    assert_eq!(connection.reply().await.head.status, 200, "{status} {size}");
                }
            }
        }
    }
    assert!(server.stop().await.is_clean());
}

/// S4: the rest of a refused request does not delay a shutdown.
async fn s_4_the_rest_of_a_refused_request_holds_nobody_up(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let head = client.head("POST", 1_000_000).replace("application/json\r\n", "text/plain\r\n");
    let mut connection = client.send(&(head + "x")).await;
    assert_eq!(connection.reply().await.head.status, 415);
    let report = server.stop().await; // although every phase may take longer than this test
    assert!(report.is_clean() && report.connections_cut == 0, "{report}");
    assert!(matches!(connection.drained().await, End::Closed | End::Reset));
}

/// A body that stops, or arrives too slowly, gets a complete answer at its deadline.
async fn a_body_that_never_ends_gets_408(harness: &impl ServeHarness) {
    let (server, client, listening) = impatient(harness).await;
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

/// A client leaves in the middle of its request.
async fn a_body_that_breaks_off_harms_nobody(harness: &impl ServeHarness) {
    let (server, client, listening) = impatient(harness).await;
    drop(client.send(&(client.head("POST", 100) + "{")).await);
    others_are_well(server, &client, listening).await;
}

/// A-19: with and without `Content-Length`.
async fn a_19_an_oversized_body_gets_413(harness: &impl ServeHarness) {
    let (server, client, listening) = impatient(harness).await;
    let large = call(1, "echo", json!({ "text": "x".repeat(BODY_LIMIT) })).to_string();
    let announced = client.head("POST", large.len());
    let chunked = client.head_with("POST", "transfer-encoding: chunked\r\n");
    let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for request in [announced.clone(), announced + &large, chunked + &chunk] {
        let mut connection = client.send(&request).await;
        refused(&mut connection, 413).await;
        // The rest of the body precedes the next request: the connection may end.
        if connection.write(client.request(&call(2, "echo", json!({})))).await.is_ok() {
            match connection.head().await {
                Ok(head) => assert_eq!(head.status, 200),
                Err(end) => assert!(matches!(end, End::Closed | End::Reset)),
            }
        }
    }
    others_are_well(server, &client, listening).await;
}

/// A complete JSON-RPC error without an id: the id could not be read.
async fn refused(connection: &mut Connection, status: u16) {
    let reply = connection.reply().await;
    assert_eq!((reply.head.status, reply.end), (status, End::Complete), "{reply:?}");
    assert_eq!(reply.json()["id"], Value::Null);
    assert!(reply.json()["error"]["code"].is_i64(), "{reply:?}");
}
