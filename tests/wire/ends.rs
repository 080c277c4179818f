//! How answers and streams end on the wire (S7).

use http_body_util::BodyExt;
use mcp_session_core::ShutdownPhase;
use mcp_session_tests::wire::{Connection, End, Frame, Http2, Server, call, large};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn s7_post_and_get_streams_end_with_the_last_chunk() {
    let server = Server::start().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn s7_http2_streams_end_without_a_reset_and_the_connection_with_goaway() {
    let server = Server::start().await;
    let mut http = Http2::open(&server.client().await).await;
    let get = http.send("GET").await;
    let post = http.post(&call(1, "gated", json!({}))).await;
    assert_eq!((get.status(), post.status()), (200.try_into().unwrap(), 200.try_into().unwrap()));

    server.drain().await;
    get.into_body().collect().await.expect("the end of the GET stream");
    server.open_gate();
    let answer = post.into_body().collect().await.expect("the end of the answer").to_bytes();
    assert!(String::from_utf8_lossy(&answer).contains(r#""result":{"done":true}"#), "{answer:?}");

    let report = server.ended().await;
    assert!(report.is_clean(), "{report}");
    let frames = http.closed().await;
    let ends = [1, 3].map(|stream| frames.contains(&(stream, Frame::Data(true))));
    assert_eq!(ends, [true, true], "END_STREAM: {frames:?}");
    assert!(frames.contains(&(0, Frame::GoAway(0))), "{frames:?}");
    assert!(frames.iter().all(|(_, frame)| *frame != Frame::Reset), "{frames:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_there_at_once_is_one_write() {
    let server = Server::start().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn s9_a_json_answer_of_the_last_moment_is_complete() {
    let server = Server::start().await;
    let params: Value = serde_json::from_str(large().get()).expect("JSON");
    let mut answer = server.json_client().await.post(&call(1, "quiet", params.clone())).await;
    server.reach_counts(1, 0).await;
    server.drain().await;
    server.open_gate();
    server.reach(ShutdownPhase::Closed).await;
    // Only now is it read, so most of it has not left the server yet.
    let reply = answer.reply().await;
    assert_eq!((reply.head.status, reply.end), (200, End::Complete));
    assert_eq!(reply.json()["result"], params);
    assert_eq!(answer.closed().await, End::Closed);
    let report = server.ended().await;
    assert!(report.is_clean() && report.exchanges.answered == 1, "{report}");
}
