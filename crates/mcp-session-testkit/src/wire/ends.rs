//! How answers and streams end on the wire (S7).

use mcp_session_core::ShutdownPhase;
use serde_json::{Value, json};
use tokio::time;

use super::{Connection, End, SHORT, ServeHarness, Server, call, large};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    s_7_post_and_get_streams_end_with_the_last_chunk,
    a_ready_answer_is_sent_in_one_write: OneWrite,
    s_9_a_json_answer_of_the_last_moment_is_complete,
}

/// S7, S4, S5: while draining, an idle stream ends first, and a running one after its answer. Then the connections
/// close.
async fn s_7_post_and_get_streams_end_with_the_last_chunk(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let mut get = client.listen().await;
    let mut post = client.start(1, "gated").await;

    server.drain().await;
    assert_eq!(get.rest().await.1, End::LastChunk, "the idle stream ends first (S4)");
    server.open_gate();
    assert_eq!(post.message().await.expect("the answer")["result"], json!({ "done": true }));
    assert_eq!(post.message().await, Err(End::LastChunk), "one answer, then the end (S5)");

    assert_eq!((get.closed().await, post.closed().await), (End::Closed, End::Closed));
    let report = server.ended().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.exchanges.answered, report.streams.ended), (1, 2), "{report}");
}

/// `one_write`: with two writes, a delayed acknowledgement in between can cost 44 ms each time.
async fn a_ready_answer_is_sent_in_one_write(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let mut connection = Connection::open(client.addr).await;
    for id in 0..100 {
        let reads = connection.reads;
        connection.write(client.request(&call(id, "echo", json!({ "id": id })))).await.unwrap();
        let reply = connection.reply().await;
        assert_eq!(connection.reads - reads, 1, "head and body arrive together");
        assert_eq!((reply.head.status, reply.end), (200, End::Complete));
        assert_eq!(reply.head.get("content-type"), Some("application/json"));
        assert_eq!(reply.json(), json!({ "jsonrpc": "2.0", "id": id, "result": { "id": id } }));
    }
    assert_eq!(server.endpoint.stats().streams_ended, 0, "no stream was made for them");
}

/// S9: an answer that was handed over reaches its client completely, even a slow one: the budget of the last phase
/// applies to connections too.
async fn s_9_a_json_answer_of_the_last_moment_is_complete(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let params: Value = serde_json::from_str(large().get()).expect("JSON");
    let mut answer = server.json_client().await.post(&call(1, "quiet", params.clone())).await;
    server.reach_counts(1, 0).await;
    server.drain().await;
    server.open_gate();
    server.reach(ShutdownPhase::Closed).await;
    // The client starts to read only now, and slowly, so most of the answer has not left the server yet. The pause is
    // the client's slowness, not a wait.
    time::sleep(2 * SHORT).await;
    let reply = answer.reply().await;
    assert_eq!((reply.head.status, reply.end), (200, End::Complete));
    assert_eq!(reply.json()["result"], params);
    assert_eq!(answer.closed().await, End::Closed);
    let report = server.ended().await;
    assert!(report.is_clean() && report.exchanges.answered == 1, "{report}");
}
