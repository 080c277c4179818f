//! `http2`: the same scenarios over HTTP/2, and some specific to it.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, future::join_all, stream};
use http_body_util::{BodyExt, StreamBody};
use mcp_session_core::{Runtime, ShutdownPhase};
use serde_json::{Value, json};

use super::{
    Client, Frame, Http2, LONG, SHORT, ServeHarness, Server,
    bounds::{BODY_LIMIT, impatient, others_are_well},
    call, initialize, initialized,
    stall::{fill, one_cut, small_queues},
    still::Still,
};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    a_preface_that_never_ends_has_a_deadline: Http2,
    an_idle_connection_has_a_deadline: Http2,
    over_http2_the_same_bodies_get_408_and_413: Http2,
    s_2_while_draining_requests_are_answered_or_refused: Http2,
    a_lame_duck_says_goaway_and_serves_everything: Http2,
    s_11_an_answer_that_is_never_taken_is_reset_in_time: Http2,
    s_11_what_waits_for_a_client_is_bounded: Http2,
    s_4_an_idle_connection_ends_with_goaway: Http2,
    s_7_streams_end_without_a_reset_and_the_connection_with_goaway: Http2,
    s_11_an_unread_stream_delays_no_other_of_its_connection: Http2,
}

/// An incomplete preface, one without frames, and a head frame that never ends: each connection is closed.
async fn a_preface_that_never_ends_has_a_deadline(harness: &impl ServeHarness) {
    let (server, client, listening) = impatient(harness).await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = format!("{preface}\0\0\0\x04\0\0\0\0\0");
    let head = format!("{settings}\0\0\x01\x01\0\0\0\0\x01\x04"); // HEADERS without END_HEADERS
    let beginnings = [&preface[..18], preface, &settings, &head];
    join_all(beginnings.map(async |bytes| client.send(bytes).await.drained().await)).await;
    others_are_well(server, &client, listening).await;
}

/// The header timeout bounds how long a connection may be idle; it ends with GOAWAY.
async fn an_idle_connection_has_a_deadline(harness: &impl ServeHarness) {
    let (server, client, listening) = impatient(harness).await;
    let mut http = Http2::open(&client).await;
    for id in 1..=2 {
        assert_eq!(http.post(&call(id, "echo", json!({}))).await.status().as_u16(), 200);
    }
    let frames = http.closed().await;
    assert!(frames.contains(&(0, Frame::GoAway(0))), "{frames:?}");
    others_are_well(server, &client, listening).await;
}

/// A-19: 408 and 413 affect only one stream; the connection lives on.
async fn over_http2_the_same_bodies_get_408_and_413(harness: &impl ServeHarness) {
    let (server, client, listening) = impatient(harness).await;
    let mut http = Http2::open(&client).await;
    let begin = Bytes::from(r#"{"jsonrpc":"2.0","#);
    let frames = stream::iter([Ok(hyper::body::Frame::data(begin))]).chain(stream::pending());
    let endless = http.send_body("POST", BodyExt::boxed(StreamBody::new(frames))).await;
    assert_eq!(endless.status().as_u16(), 408);
    let large = http.post(&call(1, "echo", json!({ "text": "x".repeat(BODY_LIMIT) }))).await;
    assert_eq!(large.status().as_u16(), 413);
    assert_eq!(http.post(&call(2, "echo", json!({}))).await.status().as_u16(), 200);
    others_are_well(server, &client, listening).await;
}

/// S2, RFC 9113, 6.8: an existing connection gets GOAWAY, and its streams continue. A new connection is served, and
/// gets GOAWAY with its first request. HTTP/2 has no `Connection: close`.
async fn s_2_while_draining_requests_are_answered_or_refused(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let unused = Http2::open(&client).await;
    let mut before = Http2::open(&client).await;
    assert_eq!(before.post(&call(1, "echo", json!({}))).await.status().as_u16(), 200);
    let own = before.post(&call(2, "gated", json!({}))).await;
    let mut running = client.start(3, "gated").await;
    server.drain().await;
    unused.goaway().await;
    before.goaway().await;

    for (message, status) in
        [(call(4, "ping", json!({})), 200), (call(5, "echo", json!({})), 503), (initialize(), 503)]
    {
        let nobody = Client { addr: server.addr, session: String::new() };
        let mut http = Http2::open(if message["method"] == "initialize" { &nobody } else { &client }).await;
        let reply = http.post(&message).await;
        assert_eq!((reply.status().as_u16(), reply.headers().get("connection")), (status, None), "{message}");
        assert_eq!(reply.headers().contains_key("retry-after"), status == 503);
        reply.into_body().collect().await.expect("a whole answer");
        let frames = http.closed().await;
        assert!(frames.contains(&(0, Frame::GoAway(0))), "{frames:?}");
    }
    server.open_gate();
    let answer = own.into_body().collect().await.expect("the end of the answer").to_bytes();
    assert!(String::from_utf8_lossy(&answer).contains(r#""result":{"done":true}"#), "{answer:?}");
    assert_eq!(running.message().await.expect("the answer")["id"], 3);
    let report = server.ended().await;
    assert!(report.is_clean() && report.connections_cut == 0, "{report}");
}

/// Phase `LameDuck`: an existing connection gets GOAWAY at once, not when a timer fires, and so does a new one after it was
/// served.
async fn a_lame_duck_says_goaway_and_serves_everything(harness: &impl ServeHarness) {
    let runtime = Still::new(harness.runtime());
    let server = Server::on(harness, &(Arc::new(runtime.clone()) as Arc<dyn Runtime>), |setup| {
        setup.policy.lame_duck = LONG;
    });
    let client = Client { addr: server.addr, session: String::new() };
    let mut http = Http2::open(&client).await;
    let opened = http.post(&initialize()).await;
    assert_eq!(opened.status().as_u16(), 200);
    // To the end: otherwise its client resets the stream, and the server looks at the connection because of that.
    opened.into_body().collect().await.expect("the answer");
    runtime.stand_still();
    server.signal();
    server.reach(ShutdownPhase::LameDuck).await;
    http.goaway().await;
    runtime.go_on();
    http.closed().await;
    for sessions in 2..=3 {
        let mut http = Http2::open(&client).await;
        assert_eq!(http.post(&initialize()).await.status().as_u16(), 200);
        assert_eq!(server.endpoint.stats().sessions, sessions);
        let frames = http.closed().await;
        assert!(frames.contains(&(0, Frame::GoAway(0))), "{frames:?}");
    }
    server.signal(); // ends the lame-duck phase
    let report = server.ended().await;
    assert!(report.is_clean() && report.sessions == 3, "{report}");
}

/// Half a mebibyte: several windows of a stream, and too much for the buffers on the way.
fn half_a_mebibyte(id: u64) -> Value {
    call(id, "echo", json!({ "text": "x".repeat(512 * 1024) }))
}

/// S11: an answer of which the client takes nothing is reset in time and counted. The connection lives on.
async fn s_11_an_answer_that_is_never_taken_is_reset_in_time(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.serve = |serve| serve.with_stall_timeout(SHORT));
    let client = server.client().await;
    let mut other = Http2::open(&client).await;
    let listening = other.send("GET").await; // an idle stream is no stall
    let mut http = Http2::with_window(&client, 0).await;
    for id in 1..=3 {
        let unread = http.post(&half_a_mebibyte(id)).await;
        assert_eq!(unread.status().as_u16(), 200);
        unread.into_body().collect().await.expect_err("not as if it were complete");
        assert_eq!(server.endpoint.stats().responses_stalled, id);
    }
    assert_eq!(http.post(&initialized()).await.status().as_u16(), 202);
    server.drain().await;
    listening.into_body().collect().await.expect("the end of the GET stream");
    let report = server.ended().await;
    assert_eq!((report.streams.cut, report.connections_cut), (0, 0), "{report}");
}

/// S11: the bytes that wait for the client of one connection are bounded. While it takes nothing, its further
/// requests are refused unprocessed, and counted.
async fn s_11_what_waits_for_a_client_is_bounded(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.serve = |serve| serve.with_send_backlog(1 << 20));
    let client = server.client().await;
    let mut http = Http2::open(&client).await;
    let mut unread = Vec::new();
    for id in 1..=3 {
        // One window of each is taken.
        let reply = http.post(&half_a_mebibyte(id)).await;
        assert_eq!(reply.status().as_u16(), 200);
        unread.push(reply.into_body());
    }
    let admitted = server.endpoint.stats().exchanges_admitted;
    for id in 4..=7 {
        assert!(http.is_refused(&half_a_mebibyte(id)).await, "call {id}");
    }
    let stats = server.endpoint.stats();
    assert_eq!((stats.exchanges_admitted, stats.responses_stalled), (admitted, 4));
    assert_eq!(client.ask(&call(8, "echo", json!({}))).await.head.status, 200, "others go on");

    for body in unread {
        assert!(body.collect().await.expect("a whole answer").to_bytes().len() > 512 * 1024);
    }
    let reply = http.post(&half_a_mebibyte(9)).await;
    assert_eq!(reply.status().as_u16(), 200);
    assert!(reply.into_body().collect().await.expect("a whole answer").to_bytes().len() > 512 * 1024);
    assert!(server.stop().await.is_clean());
}

/// S4: the server does not wait for the client to leave.
async fn s_4_an_idle_connection_ends_with_goaway(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let mut http = Http2::open(&server.client().await).await;
    assert_eq!(http.post(&call(1, "ping", json!({}))).await.status().as_u16(), 200);
    let report = server.stop().await; // although every phase may take longer than this test
    assert!(report.is_clean() && report.exchanges.total == 0, "{report}");
    let frames = http.closed().await;
    assert!(frames.contains(&(0, Frame::GoAway(0))), "{frames:?}");
}

/// S7: `END_STREAM` on each stream, never `RST_STREAM`.
async fn s_7_streams_end_without_a_reset_and_the_connection_with_goaway(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let mut http = Http2::open(&server.client().await).await;
    let get = http.send("GET").await;
    let post = http.post(&call(1, "gated", json!({}))).await;
    assert_eq!((get.status().as_u16(), post.status().as_u16()), (200, 200));

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

/// S11: the window of that stream is full, those of the others are not.
async fn s_11_an_unread_stream_delays_no_other_of_its_connection(harness: &impl ServeHarness) {
    let server = Server::with(harness, small_queues);
    let client = server.client().await;
    let mut http = Http2::open(&client).await;
    let unread = http.send("GET").await;
    fill(&server, &server.session()).await;

    let echo = http.post(&call(1, "echo", json!({}))).await.into_body().collect().await;
    assert!(!echo.expect("the whole answer").to_bytes().is_empty());
    let gated = http.post(&call(2, "gated", json!({}))).await;
    server.open_gate();
    gated.into_body().collect().await.expect("the end of the answer");

    one_cut(&server.stop().await);
    assert!(unread.into_body().collect().await.is_err(), "not as if it were complete");
    let frames = http.closed().await;
    assert!(!frames.contains(&(1, Frame::Data(true))), "{frames:?}");
    assert!(frames.contains(&(5, Frame::Data(true))), "{frames:?}");
}
