//! A batch on the wire (A-24, S5): one response, an answer for each of its requests, one end.

use serde_json::{Value, json};

use super::{Client, End, ServeHarness, Server, call, initialize, initialized};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    a_24_s_5_a_batch_in_a_drain_gets_all_its_answers,
}

async fn client(server: &Server) -> Client {
    let mut client = Client { addr: server.addr, session: String::new() };
    let mut message = initialize();
    message["params"]["protocolVersion"] = json!("2025-03-26");
    let reply = client.ask(&message).await;
    client.session = reply.head.get("mcp-session-id").expect("a session id").to_owned();
    assert_eq!(client.ask(&json!([initialized()])).await.head.status, 202);
    client
}

fn ids(messages: &[Value]) -> Vec<u64> {
    let mut ids: Vec<_> = messages.iter().filter_map(|message| message["id"].as_u64()).collect();
    ids.sort_unstable();
    ids
}

/// A-24, S5: all answers, including those during a drain, and then the last chunk.
async fn a_24_s_5_a_batch_in_a_drain_gets_all_its_answers(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = client(&server).await;
    let batch = json!([call(1, "gated", json!({})), call(2, "echo", json!({})), call(3, "gated", json!({}))]);
    let mut stream = client.post(&batch).await;
    let head = stream.head().await.expect("an answer");
    assert_eq!((head.status, head.get("content-type")), (200, Some("text/event-stream")));
    let mut messages = Vec::new();
    for _ in 0..3 {
        messages.push(stream.message().await.expect("two notifications and an answer"));
    }
    assert_eq!(ids(&messages), [2]);
    server.reach_counts(2, 2).await;
    server.drain().await;
    assert_eq!(client.ask(&batch).await.head.status, 503);
    server.open_gate();
    let mut messages = Vec::new();
    let end = loop {
        match stream.message().await {
            Ok(message) => messages.push(message),
            Err(end) => break end,
        }
    };
    assert_eq!((ids(&messages), messages.len(), end), (vec![1, 3], 2, End::LastChunk));
    assert_eq!(stream.closed().await, End::Closed);
    let report = server.ended().await;
    assert!(report.is_clean() && report.exchanges.answered == 2, "{report}");
}
