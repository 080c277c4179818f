//! Requests that are served while the server drains.

use mcp_session_core::ShutdownPhase;
use serde_json::json;

use super::{Client, Connection, End, LONG, ServeHarness, Server, call, initialize, initialized};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    s_2_draining_answers_everything_and_404s_no_live_id,
    b_18_a_reply_on_a_new_connection_reaches_its_handler_while_draining,
    e_24_delete_while_draining_ends_the_session_at_once,
    s_14_a_post_that_is_half_there_when_the_drain_begins_is_refused,
    a_lame_duck_serves_everything_and_says_close,
}

/// S2: on a kept-alive connection and on new ones, each request gets 503 with `Retry-After` or its answer, and
/// `Connection: close`.
async fn s_2_draining_answers_everything_and_404s_no_live_id(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let (client, nobody) = (server.client().await, Client { addr: server.addr, session: String::new() });
    let mut kept = Connection::open(client.addr).await;
    kept.write(client.request(&call(1, "echo", json!({})))).await.unwrap();
    assert_eq!(kept.reply().await.head.get("connection"), None);
    let mut running = client.start(2, "gated").await;
    server.drain().await;

    // On the kept-alive connection, and then on new ones: the listener is still open.
    kept.write(client.request(&call(3, "ping", json!({})))).await.unwrap();
    let reply = kept.reply().await;
    assert_eq!((reply.head.status, reply.head.get("connection")), (200, Some("close")));
    assert_eq!(kept.closed().await, End::Closed);
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } });
    let reply = json!({ "jsonrpc": "2.0", "id": 9, "result": {} });
    for (request, status) in [
        (nobody.request(&initialize()), 503),
        (client.request(&call(4, "echo", json!({}))), 503),
        (client.get(), 503),
        (client.request(&call(5, "ping", json!({}))), 200),
        (client.request(&initialized()), 202),
        (client.request(&cancel), 202),
        (client.request(&reply), 202),
    ] {
        let mut connection = client.send(&request).await;
        let reply = connection.reply().await;
        assert_eq!((reply.head.status, reply.end), (status, End::Complete), "{request}: {reply:?}");
        assert_eq!(reply.head.get("connection"), Some("close"), "{reply:?}");
        assert_eq!(reply.head.get("retry-after"), (status == 503).then_some("1"), "{reply:?}");
        assert_eq!(connection.closed().await, End::Closed);
    }

    server.open_gate();
    assert_eq!(running.message().await.expect("the answer")["id"], 2);
    assert!(server.ended().await.is_clean());
}

/// B-18: a running call may still send requests to its client.
async fn b_18_a_reply_on_a_new_connection_reaches_its_handler_while_draining(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let mut asking = client.post(&call(1, "ask", json!({}))).await;
    asking.head().await.expect("an answer");
    let asked = asking.message().await.expect("a request");
    assert_eq!(asked["method"], "roots/list");
    server.drain().await;

    let reply = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "roots": [] } });
    assert_eq!(client.ask(&reply).await.head.status, 202);
    assert_eq!(asking.message().await.expect("the answer")["result"], json!({ "roots": [] }));
    assert_eq!(asking.message().await, Err(End::LastChunk));
    let report = server.ended().await;
    assert!(report.is_clean() && report.exchanges.answered == 1, "{report}");
}

/// E-24: a client may still delete its session, which ends the calls of that session only.
async fn e_24_delete_while_draining_ends_the_session_at_once(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let (client, other) = (server.client().await, server.client().await);
    let mut cancelled = client.start(1, "gated").await;
    let mut running = other.start(1, "gated").await;
    server.drain().await;

    let delete = client.head_with("DELETE", "");
    assert_eq!(client.send(&delete).await.reply().await.head.status, 204);
    assert_eq!(client.send(&delete).await.reply().await.head.status, 404);
    assert_eq!(other.ask(&call(2, "ping", json!({}))).await.head.status, 200, "the other one goes on");
    server.open_gate();
    for stream in [&mut cancelled, &mut running] {
        assert_eq!(stream.message().await.expect("one answer")["id"], 1);
        assert_eq!(stream.message().await, Err(End::LastChunk));
    }
    let report = server.ended().await;
    assert!(report.is_clean() && report.sessions == 2, "{report}");
}

/// S14: a request that was not admitted before the drain is refused, however much of it had arrived.
async fn s_14_a_post_that_is_half_there_when_the_drain_begins_is_refused(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let mut running = client.start(1, "gated").await;
    let request = client.request(&call(2, "echo", json!({})));
    let (half, rest) = request.split_at(request.len() - 10);
    let mut posting = client.send(half).await;
    server.drain().await;
    posting.write(rest).await.expect("an open connection");
    let reply = posting.reply().await;
    assert_eq!((reply.head.status, &reply.json()["id"], reply.end), (503, &json!(2), End::Complete));
    server.open_gate();
    assert_eq!(running.message().await.expect("the answer")["id"], 1);
    assert!(server.ended().await.is_clean());
}

/// Phase `LameDuck`: everything is served, including new sessions, and clients are told to reconnect.
async fn a_lame_duck_serves_everything_and_says_close(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.policy.lame_duck = LONG);
    assert!(server.endpoint.is_ready());
    server.signal();
    server.reach(ShutdownPhase::LameDuck).await;
    assert!(!server.endpoint.is_ready());

    let client = server.client().await;
    let reply = client.ask(&call(1, "echo", json!({}))).await;
    assert_eq!((reply.head.status, reply.head.get("connection")), (200, Some("close")));
    let mut listening = client.listen().await;
    server.signal(); // ends the lame-duck phase
    assert_eq!(listening.message().await, Err(End::LastChunk));
    let report = server.ended().await;
    assert!(report.is_clean() && report.sessions == 1, "{report}");
}
