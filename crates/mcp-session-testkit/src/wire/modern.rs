//! Revision 2026-07-28 over real sockets: clients that leave, and what a drain does to calls and listeners (G.4, G.6).

use http::Request;
use http_body_util::{BodyExt, Full};
use mcp_session_core::ShutdownReport;
use serde_json::{Value, json};

use super::{Client, Connection, End, Frame, Http2, LONG, ServeHarness, Server, call, until};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    g_30_a_cut_stream_cancels_its_handler,
    g_32_a_cut_call_in_json_mode_cancels_its_handler,
    g_57_a_cut_listener_is_forgotten,
    s_7_calls_and_listeners_end_with_the_last_chunk,
    g_69_a_modern_request_gets_503_while_draining,
    g_30_a_reset_stream_cancels_its_handler: Http2,
    s_7_calls_and_listeners_end_without_a_reset: Http2,
}

const VERSION: &str = "2026-07-28";

/// The headers that repeat a message.
fn fields(message: &Value) -> [(&'static str, &str); 2] {
    [("mcp-protocol-version", VERSION), ("mcp-method", message["method"].as_str().expect("a method"))]
}

/// A client without a session.
fn client(server: &Server) -> Client {
    Client { addr: server.addr, session: String::new() }
}

/// A request of this revision.
fn modern(id: u64, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/logLevel": "info",
    });
    call(id, method, params)
}

fn listening(id: u64) -> Value {
    modern(id, "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }))
}

/// Sends a message on a new connection, and reads nothing.
async fn post(server: &Server, message: &Value) -> Connection {
    let body = message.to_string();
    let fields: String = fields(message).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let fields = format!("{fields}content-length: {}\r\n", body.len());
    client(server).send(&(client(server).head_with("POST", &fields) + &body)).await
}

/// Opens a stream, and reads its first message.
async fn open(server: &Server, message: &Value) -> Connection {
    let mut stream = post(server, message).await;
    let head = stream.head().await.expect("an answer");
    assert_eq!((head.status, head.get("content-type")), (200, Some("text/event-stream")));
    assert_eq!((head.get("x-accel-buffering"), head.get("mcp-session-id")), (Some("no"), None));
    stream.message().await.expect("a message");
    stream
}

/// A server that can be listened to.
fn start(harness: &impl ServeHarness) -> Server {
    Server::with(harness, |setup| setup.config.session.cancel_grace = LONG)
}

/// Waits until this many calls were cancelled, and nothing of them is left. The gate lets their handlers end.
async fn cancelled(server: &Server, count: u64) {
    until("the cancellation", || server.endpoint.stats().exchanges_cancelled == count).await;
    until("the end of the stream", || server.endpoint.stats().streams == 0).await;
}

/// G-30: the connection of a stream is closed, or its sending half and then the rest.
async fn g_30_a_cut_stream_cancels_its_handler(harness: &impl ServeHarness) {
    let server = start(harness);
    for id in 1..=10 {
        drop(open(&server, &modern(id, "gated", json!({}))).await);
        cancelled(&server, id).await;
    }
    assert_eq!(server.endpoint.stats().exchanges_answered, 0);
    server.open_gate();
    assert!(server.stop().await.is_clean());
}

/// G-32: nothing of the answer has been sent.
async fn g_32_a_cut_call_in_json_mode_cancels_its_handler(harness: &impl ServeHarness) {
    let server = start(harness);
    for id in 1..=10 {
        let connection = post(&server, &modern(id, "quiet", json!({}))).await;
        until("the start of the call", || server.endpoint.stats().exchanges_admitted == id).await;
        drop(connection);
        cancelled(&server, id).await;
    }
    server.open_gate();
    assert!(server.stop().await.is_clean());
}

/// G-57: its place is free.
async fn g_57_a_cut_listener_is_forgotten(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.config.max_subscriptions = 1);
    for id in 1..=10 {
        drop(open(&server, &listening(id)).await);
        until("the end of the subscription", || server.endpoint.stats().subscriptions == 0).await;
    }
    assert!(server.stop().await.is_clean());
}

fn clean(report: &ShutdownReport, stateless: u64) {
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.stateless, report.exchanges.answered), (stateless, stateless), "{report}");
}

/// S7, G-55: the result of each listener when the drain begins, the answer of each call when its handler has it, and the
/// last chunk behind both.
async fn s_7_calls_and_listeners_end_with_the_last_chunk(harness: &impl ServeHarness) {
    let server = start(harness);
    let (mut calls, mut listeners) = (Vec::new(), Vec::new());
    for id in 1..=5 {
        calls.push(open(&server, &modern(id, "gated", json!({}))).await);
        listeners.push(open(&server, &listening(100 + id)).await);
    }
    let mut quiet = post(&server, &modern(50, "quiet", json!({}))).await;
    until("the start of the calls", || server.endpoint.stats().exchanges_admitted == 11).await;
    server.drain().await;
    for (id, mut listener) in (101_u64..).zip(listeners) {
        let result = listener.message().await.expect("its result");
        assert_eq!((&result["id"], &result["result"]["resultType"]), (&json!(id), &json!("complete")));
        assert_eq!(listener.message().await, Err(End::LastChunk));
    }
    server.open_gate();
    for (id, mut call) in (1_u64..).zip(calls) {
        let answer = call.message().await.expect("its answer");
        assert_eq!((&answer["id"], &answer["result"]["done"]), (&json!(id), &json!(true)));
        assert_eq!(call.message().await, Err(End::LastChunk));
    }
    let reply = quiet.reply().await;
    assert_eq!((reply.head.status, reply.end), (200, End::Complete));
    assert_eq!((reply.json()["id"].as_u64(), reply.head.get("connection")), (Some(50), Some("close")));
    clean(&server.ended().await, 11);
}

/// G-69: with `Retry-After`, and a JSON-RPC error of this revision.
async fn g_69_a_modern_request_gets_503_while_draining(harness: &impl ServeHarness) {
    let server = start(harness);
    let mut running = open(&server, &modern(1, "gated", json!({}))).await;
    server.drain().await;
    for message in [modern(2, "echo", json!({})), modern(3, "server/discover", json!({})), listening(4)] {
        let mut connection = post(&server, &message).await;
        let reply = connection.reply().await;
        assert_eq!((reply.head.status, reply.end), (503, End::Complete), "{reply:?}");
        assert_eq!((reply.head.get("retry-after"), reply.head.get("connection")), (Some("1"), Some("close")));
        let answer = reply.json();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&message["id"], &json!(-32603)));
        assert_eq!(connection.closed().await, End::Closed);
    }
    server.open_gate();
    assert_eq!(running.message().await.expect("the answer")["id"], 1);
    assert_eq!(running.message().await, Err(End::LastChunk));
    clean(&server.ended().await, 1);
}

/// A request of this revision over HTTP/2.
fn over_http2(server: &Server, message: &Value) -> Request<super::Sent> {
    let request = Request::post(format!("http://{}/mcp", server.addr))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json");
    let request =
        fields(message).iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Full::from(message.to_string()).boxed()).expect("a request")
}

/// G-30: `RST_STREAM` ends one call, and neither the connection nor the other calls on it.
async fn g_30_a_reset_stream_cancels_its_handler(harness: &impl ServeHarness) {
    let server = start(harness);
    let mut http = Http2::open(&client(&server)).await;
    let other = http.request(over_http2(&server, &modern(100, "gated", json!({})))).await;
    assert_eq!(other.status().as_u16(), 200);
    for id in 1..=10 {
        let reply = http.request(over_http2(&server, &modern(id, "gated", json!({})))).await;
        assert_eq!(reply.status().as_u16(), 200);
        drop(reply);
        until("the cancellation", || server.endpoint.stats().exchanges_cancelled == id).await;
        until("the end of the stream", || server.endpoint.stats().streams == 1).await;
    }
    let listener = http.request(over_http2(&server, &listening(1))).await;
    assert_eq!(server.endpoint.stats().subscriptions, 1);
    drop(listener);
    until("the end of the subscription", || server.endpoint.stats().subscriptions == 0).await;
    server.open_gate();
    let answer = other.into_body().collect().await.expect("the end of the answer").to_bytes();
    assert!(String::from_utf8_lossy(&answer).contains(r#""done":true"#), "{answer:?}");
    assert!(server.stop().await.is_clean());
}

/// S7, G-55: `END_STREAM` on each.
async fn s_7_calls_and_listeners_end_without_a_reset(harness: &impl ServeHarness) {
    let server = start(harness);
    let mut http = Http2::open(&client(&server)).await;
    let call = http.request(over_http2(&server, &modern(1, "gated", json!({})))).await;
    let listener = http.request(over_http2(&server, &listening(2))).await;
    assert_eq!((call.status().as_u16(), listener.status().as_u16()), (200, 200));
    server.drain().await;
    let ended = listener.into_body().collect().await.expect("the end of the listener").to_bytes();
    assert!(String::from_utf8_lossy(&ended).contains(r#""resultType":"complete""#), "{ended:?}");
    server.open_gate();
    let answer = call.into_body().collect().await.expect("the end of the answer").to_bytes();
    assert!(String::from_utf8_lossy(&answer).contains(r#""done":true"#), "{answer:?}");
    clean(&server.ended().await, 2);
    let frames = http.closed().await;
    let ends = [1, 3].map(|stream| frames.contains(&(stream, Frame::Data(true))));
    assert_eq!(ends, [true, true], "END_STREAM: {frames:?}");
    assert!(frames.iter().all(|(_, frame)| *frame != Frame::Reset), "{frames:?}");
}
