//! Requests without a session, of the legacy revisions: what they are answered, and in which form (E-26, E-29).

use http::{Method, StatusCode};
use mcp_session_core::{CancelReason, ProtocolVersion, RequestError, ResponseMode, SendError, Sessions};
use serde_json::{Value, json};

use super::fixture::{
    Client, Fixture, NEVER, Reply, SOON, Started, Work, cancel, initialize, notification, reply, request,
    request_with,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    e_26_e_27_a_request_without_a_session_is_answered,
    e_29_b_27_the_version_is_that_of_the_header,
    e_29_silence_becomes_a_stream_without_ids,
    b_45_without_a_session_answers_have_the_form_that_is_accepted,
    e_29_the_client_cannot_be_asked,
    e_26_c_14_ping_needs_no_session,
    e_27_e_30_what_concerns_a_session_is_accepted_and_dropped,
    a_21_a_24_batches_without_a_session,
}

/// The modes that serve requests without a session.
pub(super) const MODES: [Sessions; 2] = [Sessions::Optional, Sessions::Stateless];

const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

/// An endpoint that never times out.
pub(super) fn fixture(bed: &impl TestBed, sessions: Sessions) -> Fixture {
    Fixture::new(bed, |config| config.sessions = sessions)
}

/// Clients that are served without a session: one without an id, and where ids are ignored, one with an id.
pub(super) fn clients(fixture: &Fixture, sessions: Sessions) -> Vec<Client> {
    let mut clients = vec![fixture.stranger()];
    if sessions == Sessions::Stateless {
        clients
            .push(fixture.stranger().with_session(Some("0123456789abcdef0123456789abcdef".parse().unwrap())));
    }
    clients
}

/// A request with these headers.
pub(super) fn with(
    client: &Client,
    method: Method,
    message: &Value,
    headers: &[(&'static str, &str)],
) -> http::Request<String> {
    let mut http = client.request(method).body(message.to_string()).unwrap();
    for (name, value) in headers {
        http.headers_mut().insert(*name, value.parse().unwrap());
    }
    http
}

pub(super) async fn send(
    client: &Client,
    method: Method,
    message: &Value,
    headers: &[(&'static str, &str)],
) -> Reply {
    client.send(with(client, method, message, headers)).await
}

/// A call with a progress token, of this version, and its handler.
async fn begin(fixture: &mut Fixture, client: &Client, version: &'static str) -> (Started, Work) {
    let message = request_with("call", "work", json!({ "_meta": { "progressToken": 1 } }));
    let started =
        client.start_with(with(client, Method::POST, &message, &[("mcp-protocol-version", version)]));
    (started, fixture.work().await)
}

/// C-21, E-26, E-27, E-29: a request without a session is answered at once or later, as JSON or on a stream, which has
/// neither ids nor a priming event nor `retry`. No session is opened, and no id is sent.
fn e_26_e_27_a_request_without_a_session_is_answered(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            for client in clients(&fixture, sessions) {
                for version in VERSIONS {
                    is_answered(&mut fixture, &client, version).await;
                }
            }
            let stats = fixture.endpoint.stats();
            assert_eq!((stats.exchanges, stats.streams, stats.sessions_created), (0, 0, 0));
            assert_eq!(stats.exchanges_admitted, stats.exchanges_answered);
        });
    }
}

async fn is_answered(fixture: &mut Fixture, client: &Client, version: &'static str) {
    let headers = [("mcp-protocol-version", version)];
    let echo = request_with(1, "echo", json!({ "a": [1, 2] }));
    let at_once = send(client, Method::POST, &echo, &headers).await;
    assert_eq!((at_once.status, at_once.is_stream(), at_once.session()), (StatusCode::OK, false, None));
    assert_eq!(at_once.json().await, json!({ "jsonrpc": "2.0", "id": 1, "result": { "a": [1, 2] } }));
    let unknown = send(client, Method::POST, &request("x", "no/such/method"), &headers).await;
    assert_eq!(unknown.status, StatusCode::OK); // B-41
    let unknown = unknown.json().await;
    assert_eq!((&unknown["id"], &unknown["error"]["code"]), (&json!("x"), &json!(-32601)));

    // Later, with nothing before it: nobody could use a priming event.
    let (running, work) = begin(fixture, client, version).await;
    assert!(work.cx.session().is_none() && work.cx.session_id().is_none());
    assert_eq!(work.cx.protocol_version().as_str(), version);
    assert!(!work.cx.close_stream(SOON), "nobody could come back");
    work.finish(json!({}));
    let later = running.head().await;
    assert_eq!((later.is_stream(), later.session()), (false, None), "{version}");
    assert_eq!(later.json().await, reply("call", json!({})));

    // On a stream. An event that the client claims to have seen is ignored (B-22).
    let message = request_with("call", "work", json!({ "_meta": { "progressToken": 1 } }));
    let headers = [("mcp-protocol-version", version), ("last-event-id", "7-7")];
    let running = client.start_with(with(client, Method::POST, &message, &headers));
    let work = fixture.work().await;
    work.cx.progress(0.5, None, None).await.unwrap();
    work.cx.notify("notifications/message", Some(&json!({ "data": "hi" }))).await.unwrap();
    assert!(!work.cx.close_stream(SOON), "nobody could come back");
    let mut stream = running.head().await;
    assert_eq!((stream.is_stream(), stream.session()), (true, None));
    let cx = work.cx.clone();
    work.finish(json!({ "ok": 1 }));
    let mut bytes = Vec::new();
    while let Some(event) = stream.event().await {
        bytes.extend_from_slice(&event.expect("the stream is not cut"));
    }
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 3 * 2, "three events, and nothing beside them: {text}");
    for (event, part) in
        lines.chunks(2).zip(["notifications/progress", "notifications/message", r#"{"ok":1}"#])
    {
        assert_eq!(event[0], "event: message");
        assert!(event[1].starts_with("data: {") && event[1].contains(part), "{text}");
    }
    // F-15: nothing follows the answer.
    assert_eq!(cx.notify("late", None::<&()>).await, Err(SendError::Closed));
    assert_eq!(cx.cancelled().await, CancelReason::Answered);
}

/// E-29, B-26, B-27: without a session, the version is that of the header; without a header it is 2025-03-26. A version
/// that is not supported is refused.
fn e_29_b_27_the_version_is_that_of_the_header(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            for client in clients(&fixture, sessions) {
                let running = client.start(&request(1, "work"));
                let work = fixture.work().await;
                assert_eq!(work.cx.protocol_version(), ProtocolVersion::V2025_03_26);
                work.finish(json!({}));
                assert_eq!(running.head().await.answer().await["id"], 1);
                for version in VERSIONS {
                    let (running, work) = begin(&mut fixture, &client, version).await;
                    assert_eq!(work.cx.protocol_version().as_str(), version);
                    work.finish(json!({}));
                    assert_eq!(running.head().await.answer().await["id"], "call");
                }
                let before = fixture.endpoint.stats().exchanges_admitted;
                for version in ["2024-11-05", "x", "2025-11-26"] {
                    for message in [request(9, "work"), request(9, "ping"), notification("hang")] {
                        let refused =
                            send(&client, Method::POST, &message, &[("mcp-protocol-version", version)]).await;
                        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{version} {message}");
                        let error = refused.json().await;
                        assert_eq!((&error["id"], &error["error"]["code"]), (&message["id"], &json!(-32600)));
                        assert_eq!(error["error"]["data"]["requested"], version);
                    }
                }
                assert_eq!(fixture.endpoint.stats().exchanges_admitted, before);
            }
        });
    }
}

/// E-29: after one heartbeat interval of silence the response becomes a stream, of comments.
fn e_29_silence_becomes_a_stream_without_ids(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            config.session.heartbeat = SOON;
        });
        bed.block_on(async {
            let client = fixture.stranger();
            let (running, work) = begin(&mut fixture, &client, "2025-11-25").await;
            let mut stream = running.head().await;
            assert!(stream.is_stream());
            for _ in 0..3 {
                assert_eq!(stream.event().await.unwrap().unwrap(), ":\n\n");
            }
            work.finish(json!({}));
            assert_eq!(stream.message().await.unwrap(), reply("call", json!({})));
            assert_eq!((stream.last_event_id(), stream.retry()), (None, None));
            assert_eq!(stream.message().await, None);
        });
    }
}

/// B-45: if a client accepts only one form, it gets its answers in that form, without a session too.
fn b_45_without_a_session_answers_have_the_form_that_is_accepted(bed: &impl TestBed) {
    for (sessions, mode) in MODES.into_iter().flat_map(|sessions| {
        [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json].map(|mode| (sessions, mode))
    }) {
        let mut fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            config.session.response_mode = mode;
            config.session.heartbeat = SOON;
        });
        bed.block_on(async {
            let json = fixture.stranger().accepting("application/json");
            for method in ["echo", "ping", "no/such/method"] {
                let answer = json.post(&request(1, method)).await;
                assert_eq!((answer.status.as_u16(), answer.is_stream()), (200, false), "{mode:?} {method}");
                assert_eq!(answer.json().await["id"], 1);
            }
            let mut running =
                json.start(&request_with(2, "work", json!({ "_meta": { "progressToken": 1 } })));
            let work = fixture.work().await;
            work.cx.progress(1.0, None, None).await.unwrap();
            work.cx.notify("notifications/message", None::<&()>).await.unwrap();
            fixture.elapse(SOON * 2).await;
            assert!(running.head_now().is_none(), "{mode:?}: it waits for the answer");
            work.finish(json!({ "a": 1 }));
            assert_eq!(running.head().await.json().await, reply(2, json!({ "a": 1 })));

            let events = fixture.stranger().accepting("text/event-stream");
            for method in ["echo", "ping", "no/such/method"] {
                let answer = events.post(&request(1, method)).await;
                assert!(answer.is_stream(), "{mode:?} {method}");
                assert_eq!(answer.answer().await["id"], 1);
            }
            let mut stream = events.start(&request(2, "work")).head().await; // at once
            assert!(stream.is_stream(), "{mode:?}");
            let work = fixture.work().await;
            work.cx.notify("notifications/message", None::<&()>).await.unwrap();
            assert_eq!(stream.message().await.unwrap()["method"], "notifications/message");
            work.finish(json!({}));
            assert_eq!(stream.message().await.unwrap()["id"], 2);
            assert_eq!(stream.message().await, None);
            assert_eq!((stream.last_event_id(), stream.retry()), (None, None));

            let answer = fixture.stranger().post(&request(1, "echo")).await;
            assert_eq!(answer.is_stream(), mode == ResponseMode::Sse, "{mode:?}");
            let refused = fixture.stranger().accepting("text/html").post(&request(1, "work")).await;
            assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
            assert_eq!(fixture.endpoint.stats().exchanges, 0);
        });
    }
}

/// E-29: nothing is known of the client, and it cannot be asked. The handler gets an error that says why, and nothing is
/// sent.
fn e_29_the_client_cannot_be_asked(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let client = fixture.stranger();
            let running = client.start(&request(1, "work"));
            let work = fixture.work().await;
            for method in ["sampling/createMessage", "roots/list", "elicitation/create", "ping"] {
                let failed = work.cx.request(method, None::<&()>, NEVER).await;
                assert_eq!(failed, Err(RequestError::NoSession), "{method}");
            }
            let why = RequestError::NoSession.to_string();
            assert!(why.contains("session"), "{why}");
            assert_eq!(work.cx.client_capabilities().as_str(), "{}");
            // A reply that nobody waits for.
            let late = reply(0, json!({ "roots": [] }));
            assert_eq!(client.post(&late).await.status, StatusCode::ACCEPTED);
            work.finish(json!({}));
            assert_eq!(running.head().await.json().await, reply(1, json!({}))); // so nothing was sent before it
        });
    }
}

/// E-26, C-14: `ping` is answered without a session.
fn e_26_c_14_ping_needs_no_session(bed: &impl TestBed) {
    for sessions in MODES {
        let fixture = fixture(bed, sessions);
        bed.block_on(async {
            for client in clients(&fixture, sessions) {
                let pong = client.post(&request("p", "ping")).await;
                assert_eq!((pong.status, pong.session()), (StatusCode::OK, None));
                assert_eq!(pong.json().await, reply("p", json!({})));
                let events = client.accepting("text/event-stream").post(&request(2, "ping")).await;
                assert!(events.is_stream());
                assert_eq!(events.answer().await, reply(2, json!({})));
            }
            assert_eq!(fixture.endpoint.stats().exchanges_admitted, 0);
        });
    }
}

/// E-27, E-30, B-19: a notification or a reply without a session gets 202 without a body, and reaches nobody. So does a
/// cancellation: it cannot say whose request it means.
fn e_27_e_30_what_concerns_a_session_is_accepted_and_dropped(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            for client in clients(&fixture, sessions) {
                let running = client.start(&request(1, "work"));
                let work = fixture.work().await;
                for message in [
                    notification("notifications/initialized"),
                    notification("notifications/roots/list_changed"),
                    notification("hang"),
                    notification("panic"),
                    cancel(1),
                    reply(1, json!({})),
                    json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -1, "message": "no" } }),
                ] {
                    let mut accepted = client.post(&message).await;
                    assert_eq!(
                        (accepted.status, accepted.session()),
                        (StatusCode::ACCEPTED, None),
                        "{message}"
                    );
                    assert!(accepted.event().await.is_none(), "{message}");
                }
                assert_eq!((work.cx.cancel_reason(), fixture.hanging()), (None, 0));
                work.finish(json!({}));
                assert_eq!(running.head().await.answer().await["id"], 1);
            }
            assert_eq!(fixture.endpoint.stats().exchanges_cancelled, 0);
        });
    }
}

/// A-21 to A-31: batches of 2025-03-26, which is the version of a request without a header. Other versions have none.
fn a_21_a_24_batches_without_a_session(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            config.batch_limit = 6;
        });
        bed.block_on(async {
            for client in clients(&fixture, sessions) {
                are_served(&mut fixture, &client).await;
            }
            assert_eq!(fixture.hanging(), 0);
        });
    }
}

async fn are_served(fixture: &mut Fixture, client: &Client) {
    let work = request_with(2, "work", json!({ "_meta": { "progressToken": 1 } }));
    let batch = json!([
        request(1, "echo"),
        work,
        notification("hang"),
        request("1", "no/such/method"),
        request(3, "ping"),
        7
    ]);
    for versioned in [false, true] {
        let headers = [("mcp-protocol-version", "2025-03-26")];
        let headers = if versioned { &headers[..] } else { &[] };
        let running = client.start_with(with(client, Method::POST, &batch, headers));
        let work = fixture.work().await;
        assert!(work.cx.session().is_none());
        assert_eq!(work.cx.protocol_version(), ProtocolVersion::V2025_03_26);
        work.cx.progress(1.0, None, None).await.unwrap();
        let mut stream = running.head().await;
        assert_eq!((stream.is_stream(), stream.session()), (true, None));
        let mut messages = Vec::new();
        for _ in 0..5 {
            messages.push(stream.message().await.unwrap());
        }
        work.finish(json!({ "slow": true }));
        messages.push(stream.message().await.unwrap());
        assert_eq!((stream.message().await, stream.last_event_id(), stream.retry()), (None, None, None));
        let of = |id: Value| messages.iter().filter(|message| message["id"] == id).collect::<Vec<_>>();
        assert_eq!(of(json!(1)), [&reply(1, json!({}))]);
        assert_eq!(of(json!(2)), [&reply(2, json!({ "slow": true }))]);
        assert_eq!(of(json!(3)), [&reply(3, json!({}))]);
        assert_eq!((of(json!("1")).len(), &of(json!("1"))[0]["error"]["code"]), (1, &json!(-32601)));
        let rest = of(Value::Null); // the progress, and the error of the invalid message
        assert_eq!(rest.iter().filter(|message| message["error"]["code"] == -32600).count(), 1, "{rest:?}");
        assert_eq!(rest.len(), 2, "{rest:?}");
    }
    let array =
        client.accepting("application/json").post(&json!([request(1, "echo"), request(2, "ping")])).await;
    let mut array = array.json().await;
    array.as_array_mut().unwrap().sort_by_key(|answer| answer["id"].as_u64());
    assert_eq!(array, json!([reply(1, json!({})), reply(2, json!({}))]));
    for batch in [json!([notification("hang"), cancel(1)]), json!([reply(1, json!({})), reply(2, json!({}))])]
    {
        let mut accepted = client.post(&batch).await;
        assert_eq!(accepted.status, StatusCode::ACCEPTED, "{batch}");
        assert!(accepted.event().await.is_none());
    }
    // None of its messages is valid: it is refused once (S15), with an error for each.
    let before = fixture.endpoint.stats().requests_refused;
    let refused = client.post(&json!([7, 7])).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.json().await.as_array().map(Vec::len), Some(2));
    assert_eq!(fixture.endpoint.stats().requests_refused, before + 1);
    // Nothing of a batch that is refused is dispatched.
    let before = fixture.endpoint.stats();
    let call = |id: i64| request(id, "work");
    for batch in [
        json!([]),
        json!([7]),
        json!([call(1), reply(2, json!({}))]),
        json!([call(1), call(1)]),
        json!([call(1), initialize("2025-03-26", "client")]),
        json!([call(1), call(2), call(3), call(4), call(5), call(6), call(7)]),
    ] {
        let refused = client.post(&batch).await;
        assert_eq!((refused.status, refused.session()), (StatusCode::BAD_REQUEST, None), "{batch}");
    }
    for version in ["2025-06-18", "2025-11-25"] {
        for batch in [json!([]), json!([call(1)]), json!([notification("hang")])] {
            let refused = send(client, Method::POST, &batch, &[("mcp-protocol-version", version)]).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{version} {batch}");
            assert_eq!(refused.json().await["error"]["code"], -32600);
        }
    }
    let after = fixture.endpoint.stats();
    assert_eq!((after.exchanges, after.exchanges_admitted), (0, before.exchanges_admitted));
}
