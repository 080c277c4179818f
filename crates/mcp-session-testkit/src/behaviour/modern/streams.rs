//! The response to a request: JSON or events, and what the events are (G.4).

use mcp_session_core::{RequestError, ResponseMode};
use serde_json::{Value, json};

use super::{
    super::fixture::{Fixture, MODERN, NEVER, SOON},
    begin,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_08_log_messages_that_were_asked_for,
    g_25_the_head_waits_for_the_first_message,
    g_27_notifications_and_then_the_answer,
    g_28_no_request_leaves_the_server,
    g_33_nothing_can_be_resumed,
    g_34_heartbeats_and_headers_of_a_stream,
    f_13_progress_with_a_token_only,
}

/// G-08, G-54: only for a request that asks for them, from its level on, and only on its own stream.
fn g_08_log_messages_that_were_asked_for(bed: &impl TestBed) {
    const LEVELS: [&str; 8] =
        ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let plain = fixture.modern();
        let (mut listener, _) = plain.listen(100, json!({ "toolsListChanged": true })).await;
        for least in [None].into_iter().chain(LEVELS.map(Some)) {
            let client = least.map_or_else(|| plain.clone(), |level| plain.saying("logLevel", level));
            let (running, work) = begin(&mut fixture, &client, &client.call(1, "work")).await;
            for level in LEVELS.into_iter().chain(["loud"]) {
                let params = json!({ "level": level, "data": level });
                work.cx.notify("notifications/message", Some(&params)).await.unwrap();
            }
            work.cx.notify("notifications/message", Some(&json!({ "data": "no level" }))).await.unwrap();
            work.finish(json!({}));
            let reply = running.head().await;
            let asked = LEVELS.iter().skip_while(|level| least.is_none_or(|least| **level != least));
            let asked: Vec<_> = asked.map(|level| json!(level)).collect();
            assert_eq!(reply.is_stream(), least.is_some());
            let messages = if least.is_some() { reply.messages().await } else { vec![reply.json().await] };
            let (answer, logged) = messages.split_last().unwrap();
            assert_eq!(answer["result"]["resultType"], "complete");
            let logged: Vec<_> = logged.iter().map(|message| message["params"]["level"].clone()).collect();
            assert_eq!(logged, asked, "{least:?}");
        }
        assert!(listener.is_silent());

        // A legacy client gets them all: it has no level in its request.
        let legacy = fixture.json_client().await;
        let running = legacy.start(&json!({ "jsonrpc": "2.0", "id": 1, "method": "work" }));
        let work = fixture.work().await;
        work.cx.notify("notifications/message", Some(&json!({ "level": "debug", "data": 1 }))).await.unwrap();
        work.finish(json!({}));
        assert_eq!(running.head().await.messages().await.len(), 2);
    });
}

/// G-25: however long the handler is silent, the form of the response stays open, so that an error can still set the status.
fn g_25_the_head_waits_for_the_first_message(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (mut running, work) = begin(&mut fixture, &client, &client.call(1, "work")).await;
        fixture.elapse(SOON).await;
        assert!(running.head_now().is_none());
        work.fail(mcp_session_core::RpcError::method_not_found("work"));
        let reply = running.head().await;
        assert_eq!(reply.status, 404);
        assert_eq!(reply.json().await["error"]["code"], -32601);

        let (running, work) = begin(&mut fixture, &client, &client.call(2, "work")).await;
        work.finish(json!({ "a": 1 }));
        let reply = running.head().await;
        assert!(!reply.is_stream());
        assert_eq!(reply.answer().await["result"]["a"], 1);
    });
}

/// G-26, G-27, G-29: events before the answer make the response a stream. A client that accepts only one form gets it; in
/// JSON, what precedes the answer is dropped.
fn g_27_notifications_and_then_the_answer(bed: &impl TestBed) {
    for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
        let mut fixture = Fixture::new(bed, |config| config.session.response_mode = mode);
        bed.block_on(async {
            for (accept, form) in [
                ("application/json, text/event-stream", mode),
                ("application/json", ResponseMode::Json),
                ("text/event-stream", ResponseMode::Sse),
            ] {
                let client = fixture.modern().accepting(accept);
                let (running, work) = begin(&mut fixture, &client, &client.call("x", "work")).await;
                for number in 0..3 {
                    work.cx.notify("notifications/x", Some(&json!({ "number": number }))).await.unwrap();
                }
                work.finish(json!({ "a": 1 }));
                let reply = running.head().await;
                assert_eq!((reply.status.as_u16(), reply.is_stream()), (200, form != ResponseMode::Json));
                if form == ResponseMode::Json {
                    assert_eq!(reply.json().await["result"]["a"], 1);
                    continue;
                }
                let messages = reply.messages().await;
                let numbers: Vec<_> = messages.iter().map(|message| &message["params"]["number"]).collect();
                assert_eq!(numbers, [&json!(0), &json!(1), &json!(2), &Value::Null]);
                assert_eq!((&messages[3]["id"], &messages[3]["result"]["a"]), (&json!("x"), &json!(1)));
            }
        });
    }
}

/// G-28, D-05: neither a request to the client nor a connection that closes before the answer.
fn g_28_no_request_leaves_the_server(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern().declaring(json!({ "sampling": {}, "roots": {}, "elicitation": {} }));
        let (running, work) = begin(&mut fixture, &client, &client.call(1, "work")).await;
        work.cx.notify("notifications/x", None::<&()>).await.unwrap();
        for method in ["roots/list", "sampling/createMessage", "elicitation/create", "ping"] {
            let asked = work.cx.request(method, None::<&()>, NEVER).await;
            assert_eq!(asked, Err(RequestError::NoRequests), "{method}");
        }
        assert!(!work.cx.close_stream(SOON));
        assert!(work.cx.data::<()>().is_none());
        work.finish(json!({}));
        let messages = running.head().await.messages().await;
        let methods: Vec<_> = messages.iter().map(|message| &message["method"]).collect();
        assert_eq!(methods, [&json!("notifications/x"), &Value::Null]);
    });
}

/// G-33: no event ids, no priming event, no `retry`; a `Last-Event-ID` that comes is ignored.
fn g_33_nothing_can_be_resumed(bed: &impl TestBed) {
    for mode in [ResponseMode::Auto, ResponseMode::Sse] {
        let mut fixture = Fixture::new(bed, |config| {
            config.session.replay = Some(Default::default());
            config.session.response_mode = mode;
        });
        bed.block_on(async {
            let client = fixture.modern();
            let message = client.call_with(1, "work", json!({ "_meta": { "progressToken": 1 } }));
            let headers = [("last-event-id", Some("1-1"))];
            let (mut reply, work) = futures::join!(client.post_with(&message, &headers), async {
                let work = fixture.work().await;
                work.cx.progress(1.0, None, None).await.unwrap();
                work
            });
            assert_eq!(reply.message().await.unwrap()["method"], "notifications/progress");
            work.finish(json!({}));
            while reply.message().await.is_some() {}
            assert_eq!((reply.last_event_id(), reply.retry()), (None, None));

            let (listener, _) = client.listen(2, json!({ "toolsListChanged": true })).await;
            assert_eq!((listener.last_event_id(), listener.retry()), (None, None));
        });
    }
}

/// G-34: comments on a stream that is silent, and headers that keep proxies from holding events back.
fn g_34_heartbeats_and_headers_of_a_stream(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.heartbeat = SOON);
    bed.block_on(async {
        let client = fixture.modern();
        // A silence makes the response a stream.
        let (running, work) = begin(&mut fixture, &client, &client.call(1, "work")).await;
        let mut reply = running.head().await;
        let listener = client.post(&client.listening(2, json!({ "toolsListChanged": true }))).await;
        for reply in [&reply, &listener] {
            assert!(reply.is_stream());
            assert_eq!(reply.header("x-accel-buffering"), "no");
            assert!(reply.header("cache-control").contains("no-cache"), "{}", reply.header("cache-control"));
            assert_eq!(reply.header("mcp-session-id"), "");
        }
        assert_eq!(reply.event().await.unwrap().unwrap(), ":\n\n");
        assert_eq!(reply.event().await.unwrap().unwrap(), ":\n\n");
        work.finish(json!({ "a": 1 }));
        assert_eq!(reply.answer().await["result"]["a"], 1);

        let mut listener = listener;
        assert!(listener.message().await.is_some()); // the acknowledgement
        for _ in 0..3 {
            assert_eq!(listener.event().await.unwrap().unwrap(), ":\n\n");
        }
    });
}

/// F-13, F-14: as in the other era.
fn f_13_progress_with_a_token_only(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        for token in [Value::Null, json!("t"), json!(0)] {
            let message = client.call_with(1, "work", json!({ "_meta": { "progressToken": token } }));
            let (running, work) = begin(&mut fixture, &client, &message).await;
            assert_eq!(work.cx.wants_progress(), !token.is_null());
            for progress in [1.0, 0.5, 1.0, f64::NAN, 2.0] {
                work.cx.progress(progress, Some(2.0), Some("so far")).await.unwrap();
            }
            let version = work.cx.protocol_version();
            assert_eq!(version.as_str(), MODERN);
            work.finish(json!({}));
            let reply = running.head().await;
            if token.is_null() {
                assert!(!reply.is_stream());
                continue;
            }
            let messages = reply.messages().await;
            let progress: Vec<_> = messages.iter().map(|message| &message["params"]["progress"]).collect();
            assert_eq!(progress, [&json!(1.0), &json!(2.0), &Value::Null]);
            assert_eq!(messages[0]["params"]["progressToken"], token);
        }
    });
}
