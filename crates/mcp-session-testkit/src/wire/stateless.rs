//! Requests without a session on the wire (E-26 to E-30): clients that leave, and what a drain does for those that stay.

use std::sync::Arc;

use mcp_session_core::{Runtime, Sessions, ShutdownPhase};
use serde_json::json;

use super::{
    Client, Connection, End, Http2, LONG, SHORT, ServeHarness, Server, call, initialize, still::Still, until,
};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    e_26_e_27_a_request_without_a_session_is_answered,
    e_30_a_client_without_a_session_that_leaves_cancels_its_call,
    e_30_g_30_a_client_that_leaves_is_noticed_without_a_timer,
    e_30_an_open_call_without_a_session_is_not_cancelled,
    e_30_a_client_without_a_session_that_resets_its_http2_stream: Http2,
    s_5_s_7_calls_with_and_without_a_session_in_a_drain,
    s_5_hung_calls_without_a_session_get_one_answer,
    s_11_an_unread_stream_without_a_session_delays_nobody,
}

/// The modes that serve requests without a session.
const MODES: [Sessions; 2] = [Sessions::Optional, Sessions::Stateless];

/// A client that never has a session.
fn nobody(server: &Server) -> Client {
    Client { addr: server.addr, session: String::new() }
}

/// E-26, E-27: JSON and streams, on a kept connection; nothing has an id.
async fn e_26_e_27_a_request_without_a_session_is_answered(harness: &impl ServeHarness) {
    for sessions in MODES {
        let server = Server::with(harness, |setup| setup.config.sessions = sessions);
        let client = nobody(&server);
        let mut connection = Connection::open(client.addr).await;
        for id in 1..=3 {
            connection
                .write(client.request(&call(id, "echo", json!({ "id": id }))))
                .await
                .expect("a kept connection");
            let reply = connection.reply().await;
            assert_eq!((reply.head.status, reply.end), (200, End::Complete));
            assert_eq!(reply.head.get("mcp-session-id"), None);
            assert_eq!(reply.json(), json!({ "jsonrpc": "2.0", "id": id, "result": { "id": id } }));
        }
        let mut stream = client.start(4, "gated").await;
        server.open_gate();
        assert_eq!(stream.message().await.expect("the answer")["result"], json!({ "done": true }));
        assert_eq!((stream.message().await, stream.last_event_id.as_deref()), (Err(End::LastChunk), None));
        let asked = client.ask(&call(5, "ask", json!({}))).await;
        assert_eq!((asked.head.status, &asked.json()["error"]["code"]), (200, &json!(-32603)));
        for method in ["GET", "DELETE"] {
            let refused = client.send(&client.head_with(method, "")).await.reply().await;
            assert_eq!((refused.head.status, refused.head.get("allow")), (405, Some("POST")), "{method}");
        }
        if sessions == Sessions::Stateless {
            let opened = client.ask(&initialize()).await;
            assert_eq!((opened.head.status, opened.head.get("mcp-session-id")), (200, None));
        }
        let stats = server.endpoint.stats();
        assert_eq!((stats.sessions_created, stats.exchanges, stats.streams), (0, 0, 0));
        assert!(server.stop().await.is_clean());
    }
}

/// E-30: a call without a session is cancelled when its client disconnects, before the head, in JSON mode and on a
/// stream. There is one place for such calls, which is free again once the handler is gone.
async fn e_30_a_client_without_a_session_that_leaves_cancels_its_call(harness: &impl ServeHarness) {
    for sessions in MODES {
        let server = Server::with(harness, |setup| {
            setup.config.sessions = sessions;
            setup.config.max_stateless_requests = 1;
            setup.config.session.cancel_grace = SHORT;
            setup.config.session.heartbeat = LONG;
        });
        let client = nobody(&server);
        let quiet = client.request(&call(1, "quiet", json!({})));
        let json = quiet.replace("application/json, text/event-stream", "application/json");
        assert_ne!(json, quiet);
        for cancelled in 1..=9 {
            let left = match cancelled % 3 {
                0 => client.start(1, "gated").await,
                1 => client.send(&quiet).await,
                _ => client.send(&json).await,
            };
            server.reach_counts(1, u64::from(cancelled % 3 == 0)).await;
            drop(left);
            server.reach_counts(0, 0).await;
            assert_eq!(server.endpoint.stats().exchanges_cancelled, cancelled);
            while client.ask(&call(2, "echo", json!({}))).await.head.status != 200 {
                assert_eq!(server.endpoint.stats().exchanges, 0); // refused while the handler is still there
            }
        }
        let stats = server.endpoint.stats();
        assert_eq!((stats.exchanges_cancelled, stats.exchanges_orphaned, stats.sessions), (9, 0, 0));
        let report = server.stop().await;
        assert!(report.is_clean() && report.exchanges.total == 0, "{report}");
    }
}

/// E-30, G-30: such a call is cancelled at once, not after the time that a client may need which closed only its sending
/// half: here no timer fires.
async fn e_30_g_30_a_client_that_leaves_is_noticed_without_a_timer(harness: &impl ServeHarness) {
    let runtime = Still::new(harness.runtime());
    let server = Server::on(harness, &(Arc::new(runtime.clone()) as Arc<dyn Runtime>), |setup| {
        setup.config.sessions = Sessions::Stateless;
    });
    let client = nobody(&server);
    runtime.stand_still();
    let quiet = client.request(&call(1, "quiet", json!({})));
    let json = quiet.replace("application/json, text/event-stream", "application/json");
    for left in 1..=9 {
        let leaves = match left % 3 {
            0 => client.start(1, "gated").await,
            1 => client.send(&quiet).await,
            _ => client.send(&json).await,
        };
        until("the start of the call", || server.endpoint.stats().exchanges_admitted == left).await;
        drop(leaves);
        until("the end of the call", || server.endpoint.stats().exchanges_cancelled == left).await;
    }
    runtime.go_on();
    server.open_gate(); // `quiet` ignores that it is cancelled
    server.reach_counts(0, 0).await;
    assert!(server.stop().await.is_clean());
}

/// E-30: only a client that leaves cancels its call: others on the same server go on, and so does a call whose client is
/// silent.
async fn e_30_an_open_call_without_a_session_is_not_cancelled(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = nobody(&server);
    let (mut quiet, mut gated) =
        (client.post(&call(1, "quiet", json!({ "a": 1 }))).await, client.start(1, "gated").await);
    let with_session = server.json_client().await;
    let lost = with_session.post(&call(1, "quiet", json!({}))).await;
    for n in 1..=5 {
        let leaves = client.start(1, "gated").await;
        drop(leaves);
        until("the end of the call", || server.endpoint.stats().exchanges_cancelled == n).await;
    }
    drop(lost); // its call goes on (D-12)
    server.reach_counts(3, 1).await;
    server.open_gate();
    assert_eq!(quiet.reply().await.json()["result"], json!({ "a": 1 }));
    assert_eq!(gated.message().await.expect("the answer")["id"], 1);
    assert_eq!(gated.message().await, Err(End::LastChunk));
    server.reach_counts(0, 0).await;
    assert_eq!(server.endpoint.stats().exchanges_cancelled, 5);
    assert!(server.stop().await.is_clean());
}

/// E-30: `RST_STREAM` is the same, while the connection and its other streams go on.
async fn e_30_a_client_without_a_session_that_resets_its_http2_stream(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = nobody(&server);
    let mut http = Http2::open(&client).await;
    let stays = http.post(&call(1, "gated", json!({}))).await;
    assert_eq!(stays.status(), 200);
    for n in 1..=5 {
        let leaves = http.post(&call(1, "gated", json!({}))).await;
        assert_eq!(leaves.status(), 200);
        drop(leaves); // hyper resets the stream
        until("the end of the call", || server.endpoint.stats().exchanges_cancelled == n).await;
        server.reach_counts(1, 1).await;
    }
    server.open_gate();
    let body = http_body_util::BodyExt::collect(stays.into_body()).await.expect("the whole body").to_bytes();
    assert!(String::from_utf8_lossy(&body).contains(r#""done":true"#));
    assert!(server.stop().await.is_clean());
}

/// S5, S7: calls with and without a session, as JSON and on streams, each get their answer and a proper end while the
/// server drains. Then the connections close.
async fn s_5_s_7_calls_with_and_without_a_session_in_a_drain(harness: &impl ServeHarness) {
    for sessions in MODES {
        let server = Server::with(harness, |setup| setup.config.sessions = sessions);
        let client = nobody(&server);
        let (mut streams, mut waiting) = (Vec::new(), Vec::new());
        for id in 1..=5 {
            streams.push((1, client.start(1, "gated").await)); // equal ids
            waiting.push((id, client.post(&call(id, "quiet", json!({ "id": id }))).await));
        }
        if sessions == Sessions::Optional {
            for id in 1..=5 {
                streams.push((id, server.client().await.start(id, "gated").await));
                let quiet = call(id, "quiet", json!({ "id": id }));
                waiting.push((id, server.json_client().await.post(&quiet).await));
            }
        }
        let all = (streams.len() + waiting.len()) as u64;
        server.reach_counts(all, streams.len() as u64).await;
        server.drain().await;
        for (message, status) in [(call(9, "echo", json!({})), 503), (call(9, "ping", json!({})), 200)] {
            let mut connection = client.post(&message).await;
            let reply = connection.reply().await;
            assert_eq!(
                (reply.head.status, reply.head.get("connection")),
                (status, Some("close")),
                "{reply:?}"
            );
            assert_eq!(reply.head.get("retry-after"), (status == 503).then_some("1"));
            assert_eq!(connection.closed().await, End::Closed);
        }
        server.open_gate();
        for (id, stream) in &mut streams {
            assert_eq!(stream.message().await.expect("the answer")["id"], *id);
            assert_eq!(stream.message().await, Err(End::LastChunk));
            assert_eq!(stream.closed().await, End::Closed);
        }
        for (id, waiting) in &mut waiting {
            let reply = waiting.reply().await;
            assert_eq!((reply.head.status, reply.end), (200, End::Complete));
            assert_eq!(reply.json()["result"], json!({ "id": id }));
            assert_eq!(waiting.closed().await, End::Closed);
        }
        let report = server.ended().await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(
            (report.exchanges.total, report.exchanges.answered, report.stateless),
            (all, all, 10),
            "{report}"
        );
        assert_eq!(report.streams.ended, streams.len() as u64, "{report}");
    }
}

/// S5, S10: a call whose handler hangs gets one error, before the end of its body.
async fn s_5_hung_calls_without_a_session_get_one_answer(harness: &impl ServeHarness) {
    for sessions in MODES {
        let server = Server::with(harness, |setup| setup.config.sessions = sessions);
        let client = nobody(&server);
        let mut hanging = Vec::new();
        for id in 1..=5 {
            hanging.push((id, client.start(id, "hang").await));
        }
        let mut quiet = client.post(&call(9, "quiet", json!({}))).await;
        server.reach_counts(6, 5).await;
        for phase in [ShutdownPhase::Draining, ShutdownPhase::Cancelling, ShutdownPhase::Finishing] {
            server.signal();
            server.reach(phase).await;
        }
        for (id, stream) in &mut hanging {
            let answer = stream.message().await.expect("an answer");
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(*id), &json!(-32000)));
            assert_eq!(answer["error"]["data"], json!({ "reason": "shutdown", "retryable": true }));
            assert_eq!(stream.message().await, Err(End::LastChunk));
        }
        let reply = quiet.reply().await;
        assert_eq!((reply.end, &reply.json()["error"]["code"]), (End::Complete, &json!(-32000)));
        let report = server.ended().await;
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.exchanges.synthesized, report.stateless), (6, 6), "{report}");
    }
}

/// S11, S3: a client that does not read its stream does not delay the others, nor the end.
async fn s_11_an_unread_stream_without_a_session_delays_nobody(harness: &impl ServeHarness) {
    for sessions in MODES {
        let server = Server::with(harness, |setup| {
            setup.config.sessions = sessions;
            (setup.policy.drain, setup.policy.cancel, setup.policy.finish) =
                (LONG, SHORT, super::stall::FINISH);
        });
        let client = nobody(&server);
        let mut unread = client.stall(&client.request(&call(1, "flood", json!({})))).await;
        let mut gated = client.start(2, "gated").await;
        server.reach_counts(2, 2).await;
        server.drain().await;
        server.open_gate();
        assert_eq!(gated.message().await.expect("the answer")["id"], 2);
        assert_eq!(gated.message().await, Err(End::LastChunk));
        server.signal(); // the other one would flood on
        let report = server.ended().await;
        assert_eq!(
            (report.exchanges.answered, report.exchanges.forced, report.streams.cut),
            (1, 1, 1),
            "{report}"
        );
        assert_eq!((report.stateless, report.failures.len()), (2, 1), "{report}");
        assert_ne!(unread.drained().await, End::LastChunk);
    }
}
