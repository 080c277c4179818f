//! Connections that break over real sockets, and clients that come back.

use mcp_session_core::SendError;
use serde_json::json;

use super::{End, ServeHarness, Server, call, until};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    d_33_an_answer_that_came_while_its_client_was_away_is_not_lost,
    d_23_a_new_connection_takes_over_streams_of_abandoned_ones,
    d_30_a_stream_cut_within_an_event_resumes_without_loss,
}

/// D-33, D-12: the answer to a call that ended while its client was away is kept, and can be fetched repeatedly.
async fn d_33_an_answer_that_came_while_its_client_was_away_is_not_lost(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let stream = client.start(1, "gated").await;
    let last = stream.last_event_id.clone().expect("an id");
    drop(stream);
    server.reach_counts(1, 0).await; // the server knows of the cut, and the call goes on (D-12)
    server.open_gate();
    server.reach_counts(0, 0).await; // the answer is kept: no client is connected
    for _ in 0..2 {
        let mut stream = client.resume(&last).await;
        assert_eq!(stream.message().await.expect("the answer")["result"], json!({ "done": true }));
        assert_eq!(stream.message().await, Err(End::LastChunk));
    }
    assert!(server.stop().await.is_clean());
}

/// D-23, D-21: streams move to the newer connection, and the older one ends cleanly.
async fn d_23_a_new_connection_takes_over_streams_of_abandoned_ones(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let mut given_up = client.start(1, "gated").await; // still open, as far as the server can see
    let mut call = client.resume(given_up.last_event_id.as_deref().expect("an id")).await;
    assert_eq!(given_up.message().await, Err(End::LastChunk));
    let (mut old, session) = (client.listen().await, server.session());
    session.notify("notifications/n", Some(&json!({ "n": 1 }))).await.expect("space");
    assert_eq!(old.message().await.expect("a message")["params"]["n"], 1);
    let mut new = client.resume(old.last_event_id.as_deref().expect("an id")).await;
    assert_eq!(old.message().await, Err(End::LastChunk));
    session.notify("notifications/n", Some(&json!({ "n": 2 }))).await.expect("space");
    assert_eq!(new.message().await.expect("a message")["params"]["n"], 2);
    server.open_gate();
    assert_eq!(call.message().await.expect("the answer")["id"], 1);
    assert_eq!(call.message().await, Err(End::LastChunk));
    server.drain().await;
    assert_eq!(new.message().await, Err(End::LastChunk));
    assert!(server.ended().await.is_clean());
}

/// D-30: events that were in transit when the connection was cut come again, complete and in order.
async fn d_30_a_stream_cut_within_an_event_resumes_without_loss(harness: &impl ServeHarness) {
    const LARGE: usize = 64 * 1024;
    let server = Server::start(harness);
    let client = server.client().await;
    let session = server.session();
    let mut get = client.listen().await;
    let text = "x".repeat(LARGE);
    for n in 0..20 {
        until("space", || {
            session.try_notify("notifications/n", Some(&json!({ "n": n, "text": text })))
                != Err(SendError::Full)
        })
        .await;
    }
    let (mut seen, mut cuts) = (Vec::new(), 0);
    while seen.len() < 20 {
        let message = get.message().await.expect("a message");
        seen.push(message["params"]["n"].as_u64().expect("a number"));
        if seen.len() % 3 == 0 {
            // Some of the following events are in transit, and lost with the connection.
            get = client.resume(&get.last_event_id.clone().expect("an id")).await;
            cuts += 1;
        }
    }
    assert_eq!((seen, cuts), ((0..20).collect(), 6));
    let mut answered = client.post(&call(1, "echo", json!({}))).await;
    assert_eq!(answered.reply().await.head.status, 200);
    drop(get);
    assert!(server.stop().await.is_clean());
}
