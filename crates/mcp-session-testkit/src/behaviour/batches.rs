//! Batches: arrays of messages, only in revision 2025-03-26 (A.2).

use std::time::Duration;

use http::StatusCode;
use mcp_session_core::{CancelReason, RequestError, ResponseMode, SessionState, Sessions, ShutdownPolicy};
use serde_json::{Value, json};

use super::fixture::{self, Fixture, NEVER, SOON, cancel, initialize, notification, request, request_with};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    a_21_a_24_each_request_has_its_own_answer,
    b_45_a_batch_in_the_form_that_is_accepted,
    a_24_a_25_progress_of_many_on_one_stream,
    a_23_notifications_or_replies_alone_get_202,
    a_26_json_answers_are_an_array,
    a_22_a_28_a_29_batches_that_are_refused,
    a_27_initialize_has_to_come_alone,
    a_29_an_invalid_message_gets_its_own_error,
    a_31_other_versions_have_no_batches,
    a_21_all_of_a_batch_or_nothing,
    a_21_a_cancelled_request_of_a_batch,
    s_5_a_batch_in_a_shutdown,
    d_12_a_client_that_leaves_its_batch,
}

/// The revision with batches.
const VERSION: &str = "2025-03-26";

/// Returns the answers among these messages, sorted by id.
fn answers(messages: &[Value]) -> Vec<Value> {
    let answers = messages.iter().filter(|message| message.get("method").is_none());
    let mut answers: Vec<_> = answers.cloned().collect();
    answers.sort_by_key(|answer| answer["id"].to_string());
    answers
}

fn reply(id: impl Into<Value>) -> Value {
    fixture::reply(id, json!({}))
}

/// every request of a batch gets its own answer, notifications get none, and the stream ends after the
/// last answer.
fn a_21_a_24_each_request_has_its_own_answer(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        let batch = json!([
            request_with(1, "echo", json!({ "a": 1 })),
            notification("notifications/roots/list_changed"),
            request(2, "work"),
            request("1", "no/such/method"),
            request(3, "ping"),
        ]);
        let mut response = client.start(&batch).head().await; // does not wait for the slowest
        assert!(response.is_stream());
        assert_eq!(fixture.notification().await.method, "notifications/roots/list_changed");
        let mut early = Vec::new();
        for _ in 0..3 {
            early.push(response.message().await.unwrap());
        }
        let [missing, echo, ping] = &answers(&early)[..] else { panic!("{early:?}") };
        assert_eq!((&missing["id"], &missing["error"]["code"]), (&json!("1"), &json!(-32601)));
        assert_eq!((&echo["id"], &echo["result"]), (&json!(1), &json!({ "a": 1 })));
        assert_eq!((&ping["id"], &ping["result"]), (&json!(3), &json!({})));
        assert!(response.is_silent());
        fixture.work().await.finish(json!({ "slow": true }));
        let last = response.messages().await;
        assert_eq!(last, [json!({ "jsonrpc": "2.0", "id": 2, "result": { "slow": true } })]);
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.exchanges, stats.exchanges_answered), (0, 1 + 3)); // `initialize` was the other
    });
}

/// B-45: if a client accepts only one form, its batch is answered in that form.
fn b_45_a_batch_in_the_form_that_is_accepted(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        let json = client.accepting("application/json");
        let mut running = json.start(&json!([request(1, "work"), request(2, "echo"), request(3, "ping"), 7]));
        let work = fixture.work().await;
        work.cx.notify("notifications/message", None::<&()>).await.unwrap();
        assert!(running.head_now().is_none());
        work.finish(json!({}));
        let all = running.head().await.json().await;
        let all = all.as_array().unwrap();
        assert_eq!(answers(all)[..3], [reply(1), reply(2), reply(3)]);
        assert_eq!((all.len(), all.iter().filter(|answer| answer["id"].is_null()).count()), (4, 1));

        let sse = client.accepting("text/event-stream");
        for batch in
            [json!([request(1, "ping")]), json!([request(1, "echo")]), json!([request(1, "ping"), 7])]
        {
            let response = sse.post(&batch).await;
            assert!(response.is_stream(), "{batch}");
            assert!(response.messages().await.contains(&reply(1)), "{batch}");
        }
    });
}

/// D-04: progress and requests to the client that belong to a batch are sent on its stream.
fn a_24_a_25_progress_of_many_on_one_stream(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        let with_token = |id: i64| request_with(id, "work", json!({ "_meta": { "progressToken": id } }));
        let response = client.start(&json!([with_token(1), with_token(2)])).head().await;
        let works = [fixture.work().await, fixture.work().await];
        for step in 1..=3 {
            for work in &works {
                work.cx.progress(f64::from(step), None, None).await.unwrap();
            }
        }
        let [first, second] = works;
        second.finish(json!({}));
        let mut response = response;
        let asked = async { first.cx.request("roots/list", None::<&()>, NEVER).await };
        let answering = async {
            let mut seen = Vec::new();
            loop {
                let message = response.message().await.unwrap();
                if message["method"] == "roots/list" {
                    assert_eq!(client.post(&json!([reply(message["id"].clone())])).await.status, 202);
                    return seen;
                }
                seen.push(message);
            }
        };
        let (asked, mut seen) = futures::join!(asked, answering);
        assert_eq!(asked.unwrap().as_str(), "{}");
        first.finish(json!({}));
        seen.extend(response.messages().await);
        for id in [1, 2] {
            let progress = seen.iter().filter(|message| message["params"]["progressToken"] == id);
            let progress: Vec<_> = progress.map(|message| message["params"]["progress"].as_f64()).collect();
            assert_eq!(progress, [Some(1.0), Some(2.0), Some(3.0)], "F-14");
        }
        assert_eq!(answers(&seen), [reply(1), reply(2)]);
        assert!(seen.iter().all(Value::is_object)); // the server never sends batches
    });
}

/// a batch of only notifications or only replies gets 202 without a body, and all of them are processed.
fn a_23_notifications_or_replies_alone_get_202(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let mut client = fixture.stranger();
        client.initialize(VERSION).await;
        let batch = json!([notification("notifications/initialized"), notification("a"), notification("b")]);
        let mut accepted = client.post(&batch).await;
        assert_eq!(accepted.status, StatusCode::ACCEPTED);
        assert!(accepted.event().await.is_none());
        assert_eq!(
            (fixture.notification().await.method, fixture.notification().await.method),
            ("a".into(), "b".into())
        );

        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let client_side = async {
            let mut stream = running.head().await;
            let ids = [stream.message().await.unwrap(), stream.message().await.unwrap()];
            // Both replies at once, one that nobody asked for, and one sent twice (B-19).
            let replies =
                json!([reply(ids[0]["id"].clone()), reply(99), reply(ids[1]["id"].clone()), reply(99)]);
            let mut accepted = client.post(&replies).await;
            assert_eq!(accepted.status, StatusCode::ACCEPTED);
            assert!(accepted.event().await.is_none());
        };
        let ask = || work.cx.request("roots/list", None::<&()>, NEVER);
        let (one, two, ()) = futures::join!(ask(), ask(), client_side);
        assert!(one.is_ok() && two.is_ok());
        work.finish(json!({}));
    });
}

/// in JSON mode, the answers of a batch are one array, even if there is only one.
fn a_26_json_answers_are_an_array(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.response_mode = ResponseMode::Json);
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        let one = client.post(&json!([request(1, "echo")])).await;
        assert_eq!((one.status, one.json().await), (StatusCode::OK, json!([reply(1)])));
        let mut running = client.start(&json!([request(1, "work"), request(2, "echo"), request(3, "work")]));
        let (first, second) = (fixture.work().await, fixture.work().await);
        first.finish(json!({}));
        fixture.until(|fixture| fixture.endpoint.stats().exchanges == 1).await;
        assert!(running.head_now().is_none()); // the array waits for all answers
        let failed = second.cx.request("roots/list", None::<&()>, NEVER).await;
        assert!(matches!(failed, Err(RequestError::Send(_)))); // D-14
        second.finish(json!({}));
        let array = running.head().await.json().await;
        assert_eq!(answers(array.as_array().unwrap()), [reply(1), reply(2), reply(3)]);
    });
    // A batch without anything to wait for gets an array in every mode.
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        assert_eq!(client.post(&json!([request(1, "ping")])).await.json().await, json!([reply(1)]));
    });
}

/// an empty batch, replies mixed with other messages, a repeated id and a batch that is too
/// large are each refused with one error, and none of their messages is dispatched.
fn a_22_a_28_a_29_batches_that_are_refused(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.batch_limit = 3);
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        let echo = |id: i64| request(id, "work");
        for batch in [
            json!([]),
            json!([echo(1), reply(9)]),
            json!([notification("x"), reply(9)]),
            json!([echo(1), notification("x"), echo(1)]),
            json!([echo(1), echo(2), echo(3), echo(4)]),
            json!([7, 7, 7, 7]),
        ] {
            let refused = client.post(&batch).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{batch}");
            let error = refused.json().await;
            assert_eq!((&error["error"]["code"], &error["id"]), (&json!(-32600), &Value::Null), "{batch}");
        }
        // Truncated text is not JSON, and text with too deep nesting is refused before it is parsed.
        let broken = client.post_text(format!("[{},", echo(1))).await;
        assert_eq!(broken.json().await["error"]["code"], -32700);
        let deep = format!("[{}{}]", "[".repeat(200), "]".repeat(200));
        assert_eq!(client.post_text(deep).await.json().await["error"]["code"], -32600);
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.exchanges, stats.exchanges_admitted), (0, 1));
    });
}

/// `initialize` in a batch is refused, with and without a session: no session is opened, and no id is sent.
fn a_27_initialize_has_to_come_alone(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        for client in [client, fixture.stranger()] {
            for batch in [
                json!([initialize(VERSION, "client")]),
                json!([request(1, "work"), initialize(VERSION, "client")]),
            ] {
                let refused = client.post(&batch).await;
                assert_eq!((refused.status, refused.session()), (StatusCode::BAD_REQUEST, None));
                assert_eq!(refused.json().await["error"]["code"], -32600);
            }
        }
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.sessions, stats.exchanges_admitted), (1, 1));
    });
}

/// an invalid message gets an error without an id, and valid messages of the batch run. Only a batch without
/// valid messages is refused as a whole.
fn a_29_an_invalid_message_gets_its_own_error(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        let invalid =
            [json!(7), json!([request(8, "echo")]), json!({ "jsonrpc": "2.0", "id": 1, "method": 5 })];
        let mut batch: Vec<_> = invalid.to_vec();
        batch.insert(1, request(1, "echo"));
        let messages = client.post(&json!(batch)).await.messages().await;
        let found = answers(&messages);
        assert_eq!((found.len(), &found[0]), (4, &reply(1)), "{found:?}");
        for error in &found[1..] {
            assert_eq!((&error["id"], &error["error"]["code"]), (&Value::Null, &json!(-32600)));
        }
        // With a notification: it is processed, and the error is sent.
        let told = client.post(&json!([notification("x"), 7])).await;
        assert_eq!(told.status, StatusCode::OK);
        assert_eq!(told.json().await[0]["error"]["code"], -32600);
        assert_eq!(fixture.endpoint.stats().requests_refused, 0);
        let refused = client.post(&json!(invalid)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.json().await.as_array().map(Vec::len), Some(3));
        assert_eq!(fixture.endpoint.stats().requests_refused, 1, "S15: it is counted as one");
    });
}

/// A-31, E-11: in a session of a later version, every batch is refused, and without a session where one is needed. An
/// ended session gets 404.
fn a_31_other_versions_have_no_batches(bed: &impl TestBed) {
    for sessions in [Sessions::Optional, Sessions::Stateful] {
        other_versions_have_no_batches(
            &Fixture::new(bed, |config| config.sessions = sessions),
            bed,
            sessions,
        );
    }
}

fn other_versions_have_no_batches(fixture: &Fixture, bed: &impl TestBed, sessions: Sessions) {
    bed.block_on(async {
        for version in ["2025-06-18", "2025-11-25", "garbage"] {
            let client = fixture.client_of(version).await;
            for batch in [json!([]), json!([request(1, "work")]), json!([notification("x"), reply(1)])] {
                let refused = client.post(&batch).await;
                assert_eq!(refused.status, StatusCode::BAD_REQUEST);
                let body = refused.json().await;
                assert_eq!(body["error"]["code"], -32600);
                assert!(body["error"]["message"].as_str().unwrap().contains("batches"), "{body}");
            }
            // The session's version decides, not the header (B-29).
            let mut http =
                client.request(http::Method::POST).body(json!([request(1, "echo")]).to_string()).unwrap();
            http.headers_mut().insert("mcp-protocol-version", http::HeaderValue::from_static(VERSION));
            assert_eq!(client.send(http).await.status, StatusCode::BAD_REQUEST);
            client.delete().await;
            assert_eq!(client.post(&json!([request(1, "work")])).await.status, StatusCode::NOT_FOUND);
        }
        if sessions == Sessions::Stateful {
            let refused = fixture.stranger().post(&json!([request(1, "work")])).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        }
        assert_eq!(fixture.endpoint.stats().exchanges_admitted, 3);
    });
}

/// a batch that exceeds the session's limits, or repeats an id in flight, is refused as a whole.
fn a_21_all_of_a_batch_or_nothing(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.max_exchanges = 3);
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let duplicate = client.post(&json!([request(2, "work"), request(1, "work")])).await;
        assert_eq!(duplicate.status, StatusCode::BAD_REQUEST);
        let many = client.post(&json!([request(2, "work"), request(3, "work"), request(4, "work")])).await;
        assert_eq!((many.status.as_u16(), many.header("retry-after")), (503, "1"));
        let hanging = client.post(&json!([notification("hang"), notification("hang")])).await;
        assert_eq!(hanging.status, StatusCode::ACCEPTED);
        let many =
            client.post(&json!([notification("hang"), notification("hang"), request(2, "work")])).await;
        assert_eq!(many.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((fixture.hanging(), fixture.endpoint.stats().exchanges), (2, 1));
        work.finish(json!({}));
        assert_eq!(running.head().await.answer().await["id"], 1);
        assert_eq!(
            client.post(&json!([request(1, "echo"), request(2, "echo")])).await.status,
            StatusCode::OK
        );
    });
}

/// F-02, A-24: a cancelled request of a batch gets no answer; the others get theirs.
fn a_21_a_cancelled_request_of_a_batch(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        let response = client.start(&json!([request(1, "work"), request(2, "work")])).head().await;
        let (first, second) = (fixture.work().await, fixture.work().await);
        assert_eq!(client.post(&json!([cancel(1), cancel(99)])).await.status, StatusCode::ACCEPTED);
        assert_eq!(first.cx.cancelled().await, CancelReason::Client(Some("enough".into())));
        assert_eq!(second.cx.cancel_reason(), None);
        first.finish(json!({ "late": true }));
        second.finish(json!({}));
        assert_eq!(response.messages().await, [reply(2)]);
    });
}

/// S5: in a shutdown, each running request of a batch is answered once, on the batch's stream. A new batch with a
/// request is told to retry; one with only replies is accepted (F-37).
fn s_5_a_batch_in_a_shutdown(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        let batch = json!([request(1, "work"), request(2, "work"), request(3, "echo")]);
        let mut response = client.start(&batch).head().await;
        let (works, other) = ([fixture.work().await, fixture.work().await], fixture.client_of(VERSION).await);
        let policy = ShutdownPolicy { lame_duck: Duration::ZERO, drain: NEVER, cancel: SOON, finish: NEVER };
        let shutdown = fixture.endpoint.shutdown(policy);
        // Sessions are notified one after another.
        let sessions = [client.session(), other.session()];
        fixture.until(|_| sessions.iter().all(|session| session.state() == SessionState::Draining)).await;
        let refused = other.post(&json!([notification("x"), request(1, "work")])).await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
        assert_eq!(client.post(&json!([reply(77)])).await.status, StatusCode::ACCEPTED);
        let [first, hangs] = works;
        first.finish(json!({}));
        let mut messages = vec![response.message().await.unwrap(), response.message().await.unwrap()];
        shutdown.escalate();
        messages.extend(response.messages().await);
        let found = answers(&messages);
        assert_eq!((found.len(), &found[0], &found[2]), (3, &reply(1), &reply(3)), "{found:?}");
        assert_eq!((&found[1]["id"], &found[1]["error"]["data"]["reason"]), (&json!(2), &json!("shutdown")));
        let report = shutdown.await;
        assert_eq!((report.exchanges.answered, report.exchanges.synthesized), (2, 1), "{report}");
        assert_eq!(report.exchanges.forced, 0, "{report}");
        fixture.until(|_| hangs.is_dropped()).await;
    });
}

/// D-12: a client that leaves its batch cancels none of its requests.
fn d_12_a_client_that_leaves_its_batch(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client_of(VERSION).await;
        drop(client.start(&json!([request(1, "work"), request(2, "work")])).head().await);
        let works = [fixture.work().await, fixture.work().await];
        assert!(works.iter().all(|work| work.cx.cancel_reason().is_none()));
        assert_eq!(fixture.endpoint.stats().exchanges, 2);
        works.into_iter().for_each(|work| work.finish(json!({})));
        fixture.until(|fixture| fixture.endpoint.stats().exchanges == 0).await;
        assert_eq!(fixture.endpoint.stats().streams, 0);
    });
}
