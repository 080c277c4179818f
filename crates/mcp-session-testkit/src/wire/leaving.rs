//! Clients that leave before their answer, or close their sending half.

use serde_json::json;

use super::{Client, Connection, End, ServeHarness, Server, call, until};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    e_24_a_request_is_processed_after_its_client_left,
    a_client_that_closes_its_sending_half_has_its_answer,
}

/// The number of attempts where a race decides.
const TRIES: u64 = 20;

/// How a client leaves after it has sent its request.
#[derive(Debug, Clone, Copy)]
enum Leave {
    Close,
    Finish,
}

impl Leave {
    async fn after(self, client: &Client, request: &str) {
        let mut connection = Connection::open(client.addr).await;
        connection.write(request).await.expect("an open connection");
        if let Self::Finish = self {
            connection.finish().await.expect("an open connection");
        }
    }
}

/// E-24, F-10, D-12: a complete request is processed although its client has already left, for example because its
/// process exited.
async fn e_24_a_request_is_processed_after_its_client_left(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    for leave in [Leave::Close, Leave::Finish] {
        for id in 1..=TRIES {
            let other = server.client().await;
            leave.after(&other, &other.head_with("DELETE", "")).await;
            until("the end of the session", || server.endpoint.stats().sessions == 1).await;

            let before = server.endpoint.stats();
            let mut stream = client.start(id, "gated").await;
            let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } });
            leave.after(&client, &client.request(&cancel)).await;
            let cancelled = || server.endpoint.stats().exchanges_cancelled > before.exchanges_cancelled;
            until("the end of the call", cancelled).await;
            assert_eq!(stream.message().await, Err(End::LastChunk));

            leave.after(&client, &client.request(&call(1000 + id, "quiet", json!({})))).await;
            let begun = || server.endpoint.stats().exchanges_admitted == before.exchanges_admitted + 2;
            until("the start of the call", begun).await;
            leave.after(&client, &client.request(&json!({
                "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1000 + id }
            }))).await;
            until("the end of all requests", || server.endpoint.stats().exchanges == 0).await;
        }
    }
    assert!(server.stop().await.is_clean());
}

/// RFC 9112, 9.6: a client that closes its sending half still reads.
async fn a_client_that_closes_its_sending_half_has_its_answer(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let params = json!({ "text": "x".repeat(500_000) });
    for (id, request) in [
        client.request(&call(0, "echo", json!({ "a": 0 }))),
        client.request(&call(1, "echo", params)),
        client.request(&call(2, "ping", json!({}))),
    ]
    .into_iter()
    .enumerate()
    {
        let mut connection = client.send(&request).await;
        connection.finish().await.expect("an open connection");
        let reply = connection.reply().await;
        assert_eq!((reply.head.status, reply.end), (200, End::Complete));
        assert_eq!(reply.json()["id"], id);
        assert_eq!(connection.closed().await, End::Closed);
    }
    assert!(server.stop().await.is_clean());
}
