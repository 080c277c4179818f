//! Exchanges: how a request is answered, and what may precede the answer.

use std::time::Duration;

use futures::FutureExt;
use http::{Method, StatusCode};
use mcp_session_core::{CancelReason, ErrorCode, RequestError, ResponseMode, RpcError, SendError, Session};
use serde_json::{Value, json};

use super::fixture::{Fixture, NEVER, SOON, cancel, initialize, notification, request, request_with};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    answers_at_once_are_json,
    d_02_progress_then_answer_then_end,
    silence_becomes_a_stream,
    d_14_response_modes,
    b_45_answers_come_in_the_form_that_is_accepted,
    a_03_only_objects_leave,
    a_panic_answers_and_the_session_lives_on,
    a_07_duplicate_ids,
    a_08_ids_keep_their_type,
    a_17_params_arrive_byte_for_byte,
    a_17_a_long_result_leaves_byte_for_byte,
    a_18_unknown_methods,
    f_02_f_08_cancelled_requests,
    f_33_a_handler_that_ignores_its_cancellation_is_dropped,
    d_12_a_client_that_leaves_does_not_cancel,
    f_21_requests_to_the_client,
    f_23_a_reply_from_another_session,
    f_24_a_reply_that_does_not_come,
    f_24_a_request_that_cannot_be_sent,
    c_13_undeclared_capabilities,
    f_14_progress_that_waits,
    d_45_numbers_that_are_not_finite,
    e_20_secrets_are_not_printed,
    f_13_f_14_progress_needs_a_token_and_grows,
}

/// An answer that is ready at once is JSON: no task, no stream.
fn answers_at_once_are_json(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let reply = client.post(&request_with(1, "echo", json!({ "a": [1, 2] }))).await;
        assert!(!reply.is_stream());
        assert_eq!(reply.json().await, json!({ "jsonrpc": "2.0", "id": 1, "result": { "a": [1, 2] } }));
        assert_eq!(fixture.endpoint.stats().streams_ended, 0);
        assert_eq!(fixture.endpoint.stats().exchanges_answered, 1 + 1); // `initialize` was the other
    });
}

/// D-01, D-02, D-04: the handler's messages come first, then the answer, then the end; all on this stream only.
fn d_02_progress_then_answer_then_end(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let mut get = client.get().await;
        assert!(get.event().await.is_some());
        let running = client.start(&request_with("p", "work", json!({ "_meta": { "progressToken": 5 } })));
        let work = fixture.work().await;
        work.cx.progress(0.5, Some(1.0), Some("half")).await.unwrap();
        work.cx
            .notify("notifications/message", Some(&json!({ "level": "info", "data": "hi" })))
            .await
            .unwrap();
        let mut reply = running.head().await;
        assert!(reply.is_stream());
        assert_eq!(reply.header("cache-control"), "no-cache, no-transform"); // D-41
        let progress = reply.message().await.unwrap();
        let params = json!({ "progressToken": 5, "progress": 0.5, "total": 1.0, "message": "half" });
        assert_eq!(
            progress,
            json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
        );
        assert_eq!(reply.message().await.unwrap()["method"], "notifications/message");
        let cx = work.cx.clone();
        work.finish(json!({ "ok": 1 }));
        assert_eq!(
            reply.message().await.unwrap(),
            json!({ "jsonrpc": "2.0", "id": "p", "result": { "ok": 1 } })
        );
        assert_eq!(reply.message().await, None);
        // F-15: nothing follows the answer.
        assert_eq!(cx.notify("late", None::<&()>).await, Err(SendError::Closed));
        assert_eq!(cx.cancelled().await, CancelReason::Answered);
        assert!(get.is_silent()); // D-18
    });
}

/// After one heartbeat interval of silence the response becomes a stream, so that no proxy gives up.
fn silence_becomes_a_stream(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.heartbeat = SOON);
    bed.block_on(async {
        let client = fixture.json_client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let mut reply = running.head().await;
        assert!(reply.is_stream());
        assert_eq!(reply.event().await.unwrap().unwrap(), ":\n\n");
        work.finish(json!({}));
        assert_eq!(reply.answer().await["id"], 1);
    });
}

/// A policy can make every answer a stream or every answer JSON. In JSON mode, messages before the answer are
/// dropped, and requests to the client fail at once (D-14).
fn d_14_response_modes(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.response_mode = ResponseMode::Sse);
    bed.block_on(async {
        let opened = fixture.stranger().post(&initialize("2025-11-25", "client")).await;
        assert!(opened.is_stream() && opened.session().is_some());
        assert_eq!(opened.answer().await["result"]["protocolVersion"], "2025-11-25");
        let client =
            fixture.stranger().with_session(fixture.endpoint.manager().sessions().first().map(Session::id));
        let at_once = client.post(&request(1, "echo")).await;
        assert!(at_once.is_stream());
        assert_eq!(at_once.answer().await["id"], 1);
        let mut later = client.start(&request(2, "work")).head().await; // the head does not wait for the answer
        later.opened().await;
        assert!(later.is_silent());
        fixture.work().await.finish(json!({}));
        assert_eq!(later.answer().await["id"], 2);
    });
    let mut fixture = Fixture::new(bed, |config| {
        config.session.response_mode = ResponseMode::Json;
        config.session.heartbeat = SOON;
    });
    bed.block_on(async {
        let client = fixture.client().await;
        let mut running = client.start(&request_with(1, "work", json!({ "_meta": { "progressToken": 1 } })));
        let work = fixture.work().await;
        work.cx.progress(1.0, None, None).await.unwrap();
        let failed = work.cx.request("sampling/createMessage", None::<&()>, NEVER).await;
        assert_eq!(failed, Err(RequestError::Send(SendError::Closed)));
        fixture.elapse(SOON * 2).await;
        assert!(running.head_now().is_none());
        work.finish(json!({}));
        let reply = running.head().await;
        assert!(!reply.is_stream());
        assert_eq!(reply.answer().await["id"], 1);
    });
}

/// B-45, D-14: a client that accepts one form gets its answers in that form. If it accepts only JSON, it waits for
/// the answer, and earlier messages are dropped; if only events, the stream opens at once. Without `Accept`, both
/// forms are accepted. A server in JSON mode requires only JSON.
fn b_45_answers_come_in_the_form_that_is_accepted(bed: &impl TestBed) {
    let modes = [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json];
    for mode in modes {
        let mut fixture = Fixture::new(bed, |config| {
            config.session.response_mode = mode;
            config.session.heartbeat = SOON;
        });
        bed.block_on(async {
            for accept in
                ["application/json", "application/json;q=0.5, text/event-stream;q=0", "application/*"]
            {
                let stranger = fixture.stranger().accepting(accept);
                let opened = stranger.post(&initialize("2025-11-25", "client")).await;
                assert!(!opened.is_stream(), "{mode:?} {accept}");
                let client = stranger.with_session(opened.session());
                client.post(&notification("notifications/initialized")).await;
                for method in ["echo", "ping", "no/such/method"] {
                    let reply = client.post(&request(1, method)).await;
                    assert_eq!((reply.status.as_u16(), reply.is_stream()), (200, false), "{mode:?} {accept}");
                    assert_eq!(reply.json().await["id"], 1);
                }
                let token = json!({ "_meta": { "progressToken": 1 } });
                let mut running = client.start(&request_with(2, "work", token));
                let work = fixture.work().await;
                work.cx.progress(1.0, None, None).await.unwrap();
                work.cx.notify("notifications/message", None::<&()>).await.unwrap();
                let failed = work.cx.request("roots/list", None::<&()>, NEVER).await;
                assert_eq!(failed, Err(RequestError::Send(SendError::Closed)));
                assert!(!work.cx.close_stream(SOON));
                fixture.elapse(SOON * 2).await;
                assert!(running.head_now().is_none(), "{mode:?} {accept}: it waits for the answer");
                work.finish(json!({ "a": 1 }));
                let reply = running.head().await;
                assert!(!reply.is_stream(), "{mode:?} {accept}");
                assert_eq!(reply.answer().await["result"], json!({ "a": 1 }));
            }
            for accept in ["text/event-stream", "text/*", "*/*, application/json;q=0"] {
                let stranger = fixture.stranger().accepting(accept);
                let opened = stranger.post(&initialize("2025-06-18", "client")).await;
                assert!(opened.is_stream(), "{mode:?} {accept}");
                let client = stranger.with_session(opened.session());
                assert_eq!(opened.answer().await["id"], 0);
                client.post(&notification("notifications/initialized")).await;
                for method in ["echo", "ping", "no/such/method"] {
                    let reply = client.post(&request(1, method)).await;
                    assert!(reply.is_stream(), "{mode:?} {accept} {method}");
                    assert_eq!(reply.answer().await["id"], 1);
                }
                let mut reply = client.start(&request(2, "work")).head().await; // at once
                assert!(reply.is_stream(), "{mode:?} {accept}");
                let work = fixture.work().await;
                work.cx.notify("notifications/message", None::<&()>).await.unwrap();
                assert_eq!(reply.message().await.unwrap()["method"], "notifications/message");
                work.finish(json!({}));
                assert_eq!(reply.answer().await["id"], 2);
            }
            for accept in ["", "*/*", "application/json, text/event-stream"] {
                let stranger = fixture.stranger().accepting(accept);
                let opened = stranger.post(&initialize("2025-11-25", "client")).await;
                assert_eq!(opened.is_stream(), mode == ResponseMode::Sse, "{mode:?} {accept:?}");
                let client = stranger.with_session(opened.session());
                let reply = client.post(&request(1, "echo")).await;
                assert_eq!(reply.is_stream(), mode == ResponseMode::Sse, "{mode:?} {accept:?}");
            }
            for accept in ["text/html", "*/*;q=0", "application/json;q=0, text/event-stream;q=0.0"] {
                let stranger = fixture.stranger().accepting(accept);
                let refused = stranger.post(&initialize("2025-11-25", "client")).await;
                assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE, "{mode:?} {accept}");
                assert_eq!(refused.json().await["error"]["code"], -32600);
            }
        });
    }
}

/// Results and params that are not objects do not reach the client.
fn a_03_only_objects_leave(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        assert_eq!(work.cx.notify("notifications/x", Some(&json!([1]))).await, Err(SendError::Invalid));
        let asked = work.cx.request("roots/list", Some("params"), NEVER).await;
        assert_eq!(asked, Err(RequestError::Send(SendError::Invalid)));
        assert_eq!(client.session().try_notify("notifications/x", Some(&7)), Err(SendError::Invalid));
        work.finish(json!(["no", "object"]));
        assert_eq!(running.head().await.answer().await["error"]["code"], -32603);
    });
}

/// A handler that panics answers -32603 with the id. The session and its other calls continue.
fn a_panic_answers_and_the_session_lives_on(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let answer = client.post(&request("boom", "panic")).await.answer().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("boom"), &json!(-32603)));
        assert_eq!(client.post(&request(2, "echo")).await.status, 200);
        work.finish(json!({}));
        assert_eq!(running.head().await.answer().await["id"], 1);
    });
}

/// A-07: a second request with an id in flight is refused, and the first is unaffected; `1` and `"1"` are different
/// ids; the id of a completed request may be used again.
fn a_07_duplicate_ids(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let refused = client.post(&request(1, "echo")).await;
        assert_eq!(refused.status, 400);
        let body = refused.json().await;
        assert_eq!((&body["id"], &body["error"]["code"]), (&json!(1), &json!(-32600)));
        assert_eq!(client.post(&request("1", "echo")).await.status, 200);
        let other = fixture.client().await; // ids are separate for each session
        assert_eq!(other.post(&request(1, "echo")).await.status, 200);
        work.finish(json!({ "first": true }));
        assert_eq!(running.head().await.answer().await["result"]["first"], true);
        assert_eq!(client.post(&request(1, "echo")).await.status, 200);
    });
}

/// A-08: an answer repeats the id with its type and value.
fn a_08_ids_keep_their_type(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        for id in ["1", "\"1\"", "9007199254740993", "-5", "\"a\\nb\"", "18446744073709551615"] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"echo"}}"#);
            let mut reply = client.send(client.request(Method::POST).body(body).unwrap()).await;
            let text = reply.event().await.unwrap().unwrap();
            let expected = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
            assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
        }
    });
}

/// A-17: params reach the handler byte for byte.
fn a_17_params_arrive_byte_for_byte(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let params = "{ \"n\" : 1.50, \"big\":123456789012345678901234567890,\n \"u\":\"\\u00e9\" }";
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"work","params":{params},"extra":0}}"#);
        let (endpoint, request) =
            (fixture.endpoint.clone(), client.request(Method::POST).body(body).unwrap());
        fixture.runtime.spawn(Box::pin(async move {
            endpoint.handle(request).await;
        }));
        let work = fixture.work().await;
        assert_eq!(work.cx.raw_params().unwrap().as_str(), params);
        assert!(work.cx.params::<Vec<u8>>().is_err());
        work.finish(json!({}));
    });
}

/// A-17, A-35: a result that is long enough to be sent in pieces is the handler's own text, in one JSON and in one event, with
/// and without a session. What 2026-07-28 adds to it changes nothing else.
fn a_17_a_long_result_leaves_byte_for_byte(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for length in [1_000, 40_000, 1_000_000] {
            let text = format!("{{ \"text\" : \"{}\\u00e9\\n\", \"n\":1.50 }}", "m\\\"".repeat(length / 3));
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo","params":{text}}}"#);
            let expected = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{text}}}"#);
            for client in [fixture.client().await, fixture.json_client().await, fixture.stranger()] {
                let reply = client.post_text(body.clone()).await;
                assert!(!reply.is_stream());
                assert_eq!(String::from_utf8(reply.bytes().await).unwrap(), expected, "{length}");
            }
            let mut events = fixture.client().await.accepting("text/event-stream").post_text(body).await;
            let mut sent = Vec::new();
            while let Some(frame) = events.frame().await {
                sent.extend(frame.unwrap()); // of a long event, the id is a frame of its own
            }
            assert!(sent.ends_with(format!("data: {expected}\n\n").as_bytes()), "{length}");

            let modern = fixture.modern();
            let params: Value = serde_json::from_str(&text).unwrap();
            let answer = modern.post(&modern.call_with(1, "echo", params.clone())).await.json().await;
            assert!(answer["result"]["text"] == params["text"], "{length}");
            assert_eq!(answer["result"]["resultType"], "complete");
        }
    });
}

/// A-18, B-20, B-41: an unknown method gets a JSON-RPC error, never 404.
fn a_18_unknown_methods(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let reply = client.post(&request(1, "no/such/method")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json().await["error"]["code"], -32601);
    });
}

/// F-02, F-04, F-08: a cancelled request gets no answer on a stream, and -32800 as JSON. A cancel that matches no
/// running request is ignored.
fn f_02_f_08_cancelled_requests(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.json_client().await;
        let (json, sse) = (client.start(&request(1, "work")), client.start(&request("s", "work")));
        let (first, second) = (fixture.work().await, fixture.work().await);
        let (json_work, sse_work) =
            if first.cx.id() == &1.into() { (first, second) } else { (second, first) };
        sse_work.cx.notify("notifications/message", None::<&()>).await.unwrap();
        let mut stream = sse.head().await;
        assert!(stream.message().await.is_some());

        for nothing in
            [json!({}), json!({ "requestId": 99 }), json!({ "requestId": null }), json!({ "requestId": {} })]
        {
            let message = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": nothing });
            assert_eq!(client.post(&message).await.status, 202);
        }
        let stranger = fixture.client().await; // F-09: only inside its own session
        assert_eq!(stranger.post(&cancel(1)).await.status, 202);
        assert_eq!(json_work.cx.cancel_reason(), None);

        assert_eq!(client.post(&cancel(1)).await.status, 202);
        assert_eq!(client.post(&cancel("s")).await.status, 202);
        assert_eq!(json_work.cx.cancelled().await, CancelReason::Client(Some("enough".into())));
        assert_eq!(sse_work.cx.cancelled().await, CancelReason::Client(Some("enough".into())));
        assert_eq!(json.head().await.answer().await["error"]["code"], ErrorCode::REQUEST_CANCELLED.0);
        assert_eq!(stream.message().await, None);
        json_work.finish(json!({ "late": true }));
        sse_work.fail(RpcError::internal("late"));
        fixture.until(|fixture| fixture.endpoint.stats().exchanges_cancelled == 2).await;
        assert_eq!(client.post(&request(1, "echo")).await.status, 200);
    });
}

/// F-33: a handler that ignores its cancellation is dropped after the grace period.
fn f_33_a_handler_that_ignores_its_cancellation_is_dropped(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.cancel_grace = SOON);
    bed.block_on(async {
        let client = fixture.client().await;
        let _running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let begin = fixture.runtime.now();
        client.post(&cancel(1)).await;
        fixture.until(|_| work.is_dropped()).await;
        assert!(fixture.runtime.now() >= begin + SOON);
    });
}

/// D-12: a client that closes the connection of its call does not cancel the call.
fn d_12_a_client_that_leaves_does_not_cancel(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        work.cx.notify("notifications/message", None::<&()>).await.unwrap();
        drop(running.head().await);
        for _ in 0..1_000 {
            work.cx.notify("notifications/message", None::<&()>).await.unwrap(); // no reader, so it does not wait
        }
        assert_eq!(work.cx.cancel_reason(), None);
        assert_eq!(fixture.endpoint.stats().exchanges, 1);
        work.finish(json!({}));
        fixture.until(|fixture| fixture.endpoint.stats().exchanges == 0).await;
        assert_eq!(fixture.endpoint.stats().streams, 0);
        assert_eq!(client.post(&request(1, "echo")).await.status, 200);
    });
}

/// F-20 to F-22: a request to the client is sent on the stream of the call, and its reply is delivered once.
fn f_21_requests_to_the_client(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let params = json!({ "maxTokens": 1 });
        let client_side = async {
            let mut reply = running.head().await;
            for (expected, outcome) in [
                ("sampling/createMessage", json!({ "result": { "text": "hi" } })),
                ("roots/list", json!({ "error": { "code": -1, "message": "user said no" } })),
            ] {
                let asked = reply.message().await.unwrap();
                assert_eq!(asked["method"], expected);
                let mut message = json!({ "jsonrpc": "2.0", "id": asked["id"] });
                message.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
                for _ in 0..2 {
                    assert_eq!(client.post(&message).await.status, 202); // B-19: the second is dropped
                }
            }
            reply.answer().await
        };
        let server_side = async {
            let sampled = work.cx.request("sampling/createMessage", Some(&params), NEVER).await.unwrap();
            let refused = work.cx.request("roots/list", None::<&()>, NEVER).await.unwrap_err();
            assert_eq!(refused, RequestError::Client(RpcError::new(ErrorCode(-1), "user said no"))); // F-25
            work.finish(json!({ "sampled": sampled }));
        };
        let (answer, ()) = futures::join!(client_side, server_side);
        assert_eq!(answer["result"]["sampled"]["text"], "hi");
    });
}

/// F-23: a reply counts only if it comes from the session that was asked.
fn f_23_a_reply_from_another_session(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (client, other) = (fixture.client().await, fixture.client().await);
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let client_side = async {
            let mut reply = running.head().await;
            let id = reply.message().await.unwrap()["id"].clone();
            let message = |text: &str| json!({ "jsonrpc": "2.0", "id": id, "result": { "text": text } });
            assert_eq!(other.post(&message("foreign")).await.status, 202);
            assert_eq!(client.post(&message("own")).await.status, 202);
        };
        let (asked, ()) =
            futures::join!(work.cx.request("sampling/createMessage", None::<&()>, NEVER), client_side);
        assert_eq!(asked.unwrap().as_str(), r#"{"text":"own"}"#);
        work.finish(json!({}));
    });
}

/// F-24, F-06, C-23: if no reply comes in time, the wait fails, the client gets a cancel, and its late reply is
/// dropped.
fn f_24_a_reply_that_does_not_come(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let failed = work.cx.request("sampling/createMessage", None::<&()>, SOON).await;
        assert_eq!(failed, Err(RequestError::TimedOut));
        let mut reply = running.head().await;
        let asked = reply.message().await.unwrap();
        let told = reply.message().await.unwrap();
        assert_eq!(told["method"], "notifications/cancelled");
        assert_eq!(told["params"]["requestId"], asked["id"]);
        let late = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": {} });
        assert_eq!(client.post(&late).await.status, 202);
        // Dropping the wait also sends the client a cancel.
        let dropped = work.cx.request("roots/list", None::<&()>, NEVER);
        assert!(dropped.now_or_never().is_none());
        assert_eq!(reply.message().await.unwrap()["method"], "roots/list");
        assert_eq!(reply.message().await.unwrap()["method"], "notifications/cancelled");
        work.finish(json!({}));
        assert_eq!(reply.answer().await["id"], 1);
    });
}

/// F-24: the timeout counts from the call, even while the request waits for space.
fn f_24_a_request_that_cannot_be_sent(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.queue_events = 2);
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        work.cx.notify("notifications/x", None::<&()>).await.unwrap();
        let _unread = running.head().await;
        while work.cx.notify("notifications/x", None::<&()>).now_or_never().is_some() {}
        let failed = work.cx.request("roots/list", None::<&()>, SOON).await;
        assert_eq!(failed, Err(RequestError::TimedOut));
        work.finish(json!({}));
    });
}

/// C-13, C-06: a request that needs an undeclared capability is not sent.
fn c_13_undeclared_capabilities(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.json_client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let failed = work.cx.request("elicitation/create", None::<&()>, NEVER).await;
        assert_eq!(failed, Err(RequestError::Undeclared("elicitation")));
        work.finish(json!({}));
        let reply = running.head().await;
        assert!(!reply.is_stream());
        let mut early = fixture.stranger();
        early.initialize("2025-11-25").await;
        let running = early.start(&request(1, "work"));
        let work = fixture.work().await;
        let failed = work.cx.request("sampling/createMessage", None::<&()>, Duration::ZERO).await;
        assert_eq!(failed, Err(RequestError::NotInitialized));
        work.finish(json!({}));
        assert_eq!(running.head().await.status, StatusCode::OK);
    });
}

/// F-14: progress increases on the wire, even if reports wait for space. A report that was dropped may be sent again.
fn f_14_progress_that_waits(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.queue_events = 1);
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request_with(1, "work", json!({ "_meta": { "progressToken": "t" } })));
        let work = fixture.work().await;
        work.cx.progress(1.0, None, None).await.unwrap();
        let reply = running.head().await;
        assert!(work.cx.progress(2.0, None, None).now_or_never().is_none()); // dropped while it waits
        let reports = async {
            let [two, three] = [work.cx.progress(2.0, None, None), work.cx.progress(3.0, None, None)];
            let (two, three) = futures::join!(two, three);
            assert_eq!((two, three), (Ok(()), Ok(())));
            work.finish(json!({}));
        };
        let (messages, ()) = futures::join!(reply.messages(), reports);
        let progress: Vec<_> = messages.iter().filter_map(|m| m["params"]["progress"].as_f64()).collect();
        assert!(progress.is_sorted_by(|a, b| a < b) && progress.contains(&3.0), "{progress:?}");
    });
}

/// D-45: only finite numbers are sent. A `total` that is not finite is omitted; progress that is not finite is not
/// sent, and later progress is compared with what was sent.
fn d_45_numbers_that_are_not_finite(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request_with(1, "work", json!({ "_meta": { "progressToken": 1 } })));
        let work = fixture.work().await;
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for (n, odd) in (0..).zip(odd) {
            work.cx.progress(odd, Some(1.0), None).await.unwrap();
            work.cx.progress(f64::from(n), Some(odd), None).await.unwrap();
        }
        work.cx.progress(f64::MAX, Some(f64::MAX), Some("most")).await.unwrap();
        work.finish(json!({}));
        let messages = running.head().await.messages().await;
        let told: Vec<_> = messages.iter().filter(|message| message.get("method").is_some()).collect();
        let params: Vec<_> = told.iter().map(|message| message["params"].clone()).collect();
        let mut expected: Vec<_> =
            [0.0, 1.0, 2.0].map(|n| json!({ "progressToken": 1, "progress": n })).into();
        let most = json!({ "progressToken": 1, "progress": f64::MAX, "total": f64::MAX, "message": "most" });
        expected.push(most);
        assert_eq!(params, expected);
    });
}

/// E-20: the `Debug` output of a request contains neither its session id nor its credential.
fn e_20_secrets_are_not_printed(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let http = client.request(Method::POST).header("authorization", "Bearer hunter2");
        let (endpoint, http) = (fixture.endpoint.clone(), http.body(request(1, "work").to_string()).unwrap());
        fixture.runtime.spawn(Box::pin(async move {
            endpoint.handle(http).await;
        }));
        let work = fixture.work().await;
        let printed = format!("{:?} {:?}", work.cx, work.cx.session());
        assert!(printed.contains(&client.id().prefix()), "{printed}");
        assert!(!printed.contains(&client.id().to_string()) && !printed.contains("hunter2"), "{printed}");
        work.finish(json!({}));
    });
}

/// F-13, F-14: progress is sent only with a token, and only if it increases.
fn f_13_f_14_progress_needs_a_token_and_grows(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.json_client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        assert!(!work.cx.wants_progress());
        work.cx.progress(1.0, None, None).await.unwrap();
        work.finish(json!({}));
        assert!(!running.head().await.is_stream());

        let running = client.start(&request_with(2, "work", json!({ "_meta": { "progressToken": "t" } })));
        let work = fixture.work().await;
        for progress in [0.0, 1.0, 1.0, 0.5, 2.0] {
            work.cx.progress(progress, None, None).await.unwrap();
        }
        work.finish(json!({}));
        let messages = running.head().await.messages().await;
        let progress: Vec<_> = messages.iter().filter_map(|m| m["params"]["progress"].as_f64()).collect();
        assert_eq!(progress, [0.0, 1.0, 2.0]);
        assert_eq!(messages[0]["params"]["progressToken"], "t");
    });
}
