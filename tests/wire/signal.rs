//! Signals, the ceiling, and a server with nothing to do.

use mcp_session_core::ShutdownPhase;
use mcp_session_tests::wire::{Connection, End, Http2, LONG, SHORT, Server, call};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn s10_the_first_signal_begins_and_the_next_ones_escalate() {
    let server = Server::start().await; // every phase may take longer than this test
    let mut hanging = server.client().await.start(7, "hang").await;
    assert_eq!(server.endpoint.stats().phase, ShutdownPhase::Running);
    for phase in [ShutdownPhase::Draining, ShutdownPhase::Cancelling, ShutdownPhase::Finishing] {
        server.signal();
        server.reach(phase).await;
    }
    let answer = hanging.message().await.expect("an answer");
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32000)));
    assert_eq!(answer["error"]["data"], json!({ "reason": "shutdown", "retryable": true }));
    assert_eq!(hanging.message().await, Err(End::LastChunk));
    let report = server.ended().await;
    assert!(report.is_clean() && report.exchanges.synthesized == 1, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_the_last_signal_does_not_wait_for_a_reader() {
    let server = Server::start().await;
    let client = server.client().await;
    let mut unread = client.stall(&client.request(&call(1, "flood", json!({})))).await;
    server.reach_counts(1, 1).await;
    for phase in
        [ShutdownPhase::Draining, ShutdownPhase::Cancelling, ShutdownPhase::Finishing, ShutdownPhase::Closed]
    {
        server.signal();
        server.reach(phase).await;
    }
    let report = server.ended().await;
    assert!(report.took < LONG, "{report}");
    assert_eq!(report.streams.cut, 1, "{report}");
    assert_ne!(unread.drained().await, End::LastChunk);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_neither_hung_handlers_nor_unread_streams_move_the_ceiling() {
    let server = Server::with(|setup| {
        (setup.policy.drain, setup.policy.cancel, setup.policy.finish) = (SHORT, SHORT, SHORT);
    })
    .await;
    let mut hanging = Vec::new();
    let mut stalled = Vec::new();
    for id in 1..=5 {
        let client = server.client().await;
        hanging.push((id, client.start(id, "hang").await));
        stalled.push(client.stall(&client.request(&call(100, "flood", json!({})))).await);
        // Parts of requests that are never complete.
        stalled.push(client.send("P").await);
        stalled.push(client.send(&(client.head("POST", 100) + "{")).await);
    }
    server.reach_counts(10, 10).await;
    let report = server.stop().await;
    assert_eq!(report.exchanges.synthesized, 5, "{report}");
    assert_eq!((report.exchanges.forced, report.streams.cut), (5, 5), "{report}");
    for (id, mut stream) in hanging {
        assert_eq!(stream.message().await.expect("an answer")["id"], id);
        assert_eq!(stream.message().await, Err(End::LastChunk));
    }
    for mut connection in stalled {
        connection.drained().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_with_nothing_in_flight_idle_connections_close_and_the_server_ends() {
    let server = Server::start().await;
    let client = server.client().await;
    let mut unused = Connection::open(client.addr).await;
    let mut kept = Connection::open(client.addr).await;
    kept.write(client.request(&call(1, "echo", json!({})))).await.unwrap();
    assert_eq!(kept.reply().await.head.status, 200);
    let mut http = Http2::open(&client).await;
    assert_eq!(http.post(&call(2, "ping", json!({}))).await.status().as_u16(), 200);

    let report = server.stop().await; // although every phase may take longer than this test
    assert!(report.is_clean() && report.exchanges.total == 0, "{report}");
    assert_eq!((unused.closed().await, kept.closed().await), (End::Closed, End::Closed));
    http.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s7_a_shutdown_that_somebody_else_begins_ends_the_server_too() {
    let server = Server::start().await;
    let mut listening = server.client().await.listen().await;
    let shutdown = server.endpoint.shutdown(Default::default());
    assert_eq!(listening.rest().await.1, End::LastChunk);
    assert_eq!(shutdown.await, server.ended().await);
}
