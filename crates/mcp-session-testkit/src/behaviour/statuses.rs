//! Methods, headers and status codes by requirement (B). The complete matrix is in [`http`](super::http).

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use mcp_session_core::{AuthError, Authenticate, RpcError, SessionState, Sessions, ShutdownPolicy};
use serde_json::{Value, json};

use super::fixture::{
    Client, Fixture, NEVER, Reply, cancel, initialize, notification, reply, request, request_with,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    b_04_b_05_b_06_the_origin_of_every_request,
    b_10_e_05_a_session_id_is_no_credential,
    b_11_values_are_case_sensitive,
    b_01_b_16_json_or_events,
    b_20_b_21_errors_of_a_handler_are_answers,
    b_42_a_handler_that_cannot_answer_now_is_503,
    b_22_last_event_id_on_a_post_is_ignored,
    b_23_b_25_b_27_a_session_knows_its_version,
    b_28_initialize_does_not_look_at_the_version_header,
    b_31_b_32_b_33_a_get_is_a_stream_or_405,
    b_35_b_36_b_37_b_38_b_39_delete_and_other_methods,
    b_41_404_means_that_there_is_no_such_session,
    b_42_f_38_overload_and_shutdown_are_503,
}

const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

/// A request with this method and these headers; an empty value removes a header.
async fn send(client: &Client, method: Method, body: &Value, headers: &[(&str, &str)]) -> Reply {
    let mut http = client.request(method).body(body.to_string()).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        match *value {
            "" => drop(http.headers_mut().remove(name)),
            value => drop(http.headers_mut().insert(name, value.parse().unwrap())),
        }
    }
    client.send(http).await
}

/// B-04, B-05: `Origin` is checked on every request, also for methods that are not offered. A request without one
/// does not come from a browser (B-06).
fn b_04_b_05_b_06_the_origin_of_every_request(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        for method in [Method::POST, Method::GET, Method::DELETE, Method::PUT, Method::HEAD, Method::OPTIONS]
        {
            for origin in ["https://evil.example.com", "null", "http://localhost.evil.com", "garbage"] {
                let refused = send(&client, method.clone(), &request(1, "work"), &[("origin", origin)]).await;
                assert_eq!(refused.status, StatusCode::FORBIDDEN, "{method} from {origin}");
            }
        }
        assert_eq!(fixture.endpoint.stats().exchanges_admitted, 1);
        for origin in ["http://LOCALHOST:1", "https://127.0.0.1", "http://[::1]:9", ""] {
            let served = send(&client, Method::POST, &request(1, "echo"), &[("origin", origin)]).await;
            assert_eq!(served.status, StatusCode::OK, "{origin}");
        }
    });
}

/// B-10, E-05: every request needs its credential. A session id does not replace it, and requests with only the id do
/// not affect the session.
fn b_10_e_05_a_session_id_is_no_credential(bed: &impl TestBed) {
    let check = |parts: &mut http::request::Parts| match parts.headers.get("authorization") {
        Some(value) if value == "Bearer good" => Ok(()),
        _ => Err(AuthError::Unauthorized(HeaderValue::from_static("Bearer"))),
    };
    let fixture = Fixture::new(bed, |config| {
        config.authenticate = Some(Arc::new(check) as Arc<dyn Authenticate>);
    });
    bed.block_on(async {
        let good = [("authorization", "Bearer good")];
        let stranger = fixture.stranger();
        let opened = send(&stranger, Method::POST, &initialize("2025-11-25", "client"), &good).await;
        let client = stranger.with_session(opened.session());
        for method in [Method::POST, Method::GET, Method::DELETE] {
            for headers in [&[("authorization", "")], &[("authorization", "Bearer bad")]] {
                let refused = send(&client, method.clone(), &request(1, "echo"), headers).await;
                assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{method}");
                assert_eq!(refused.header("www-authenticate"), "Bearer");
            }
        }
        assert_eq!(send(&client, Method::POST, &request(1, "echo"), &good).await.status, StatusCode::OK);
    });
}

/// B-11: header names are matched case-insensitively (`http` does that for every runtime), values are not.
fn b_11_values_are_case_sensitive(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let id = client.id().to_string();
        let name: HeaderName = "MCP-Session-ID".parse().unwrap();
        let shouted = id.to_uppercase();
        for (value, status) in [(id.as_str(), 200), (shouted.as_str(), if shouted == id { 200 } else { 404 })]
        {
            let reply = send(&client, Method::POST, &request(1, "echo"), &[(name.as_str(), value)]).await;
            assert_eq!(reply.status.as_u16(), status, "{value}");
        }
    });
}

/// B-01, B-16: a request is answered with 200 as JSON or as events, on the same endpoint as the GET stream.
fn b_01_b_16_json_or_events(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let json = client.post(&request(1, "echo")).await;
        assert_eq!((json.status, json.header("content-type")), (StatusCode::OK, "application/json"));
        let running = client.start(&request(2, "work"));
        let work = fixture.work().await;
        work.cx.notify("notifications/message", None::<&()>).await.unwrap();
        let events = running.head().await;
        assert_eq!((events.status, events.header("content-type")), (StatusCode::OK, "text/event-stream"));
        work.finish(json!({}));
        assert_eq!(events.answer().await["id"], 2);
        let get = client.get().await;
        assert_eq!((get.status, get.header("content-type")), (StatusCode::OK, "text/event-stream"));
    });
}

/// B-20, B-21: an error of a handler is an answer with 200. If the head was already sent, it is the last event.
fn b_20_b_21_errors_of_a_handler_are_answers(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.json_client().await;
        for sends_first in [false, true] {
            let running = client.start(&request("e", "work"));
            let work = fixture.work().await;
            if sends_first {
                work.cx.notify("notifications/message", None::<&()>).await.unwrap();
            }
            work.fail(RpcError::invalid_params("no such tool"));
            let reply = running.head().await;
            assert_eq!((reply.status, reply.is_stream()), (StatusCode::OK, sends_first));
            let answer = reply.answer().await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("e"), &json!(-32602)));
        }
    });
}

/// B-42: a handler that is at a limit of its own says so as the endpoint does at its limits. If the response has begun, the
/// error is in its body.
fn b_42_a_handler_that_cannot_answer_now_is_503(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.json_client().await;
        for (sends_first, status, retry_after) in [(false, 503, "1"), (true, 200, "")] {
            let running = client.start(&request("e", "work"));
            let work = fixture.work().await;
            if sends_first {
                work.cx.notify("notifications/message", None::<&()>).await.unwrap();
            }
            work.fail(RpcError::unavailable("all children run"));
            let reply = running.head().await;
            assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (status, retry_after));
            let answer = if sends_first { reply.answer().await } else { reply.json().await };
            let error = &answer["error"];
            assert_eq!((&error["code"], &error["data"]["retryable"]), (&json!(-32603), &json!(true)));
        }
    });
}

/// B-22: `Last-Event-ID` on a POST is ignored.
fn b_22_last_event_id_on_a_post_is_ignored(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        for id in ["0-0", "nonsense"] {
            let reply = send(&client, Method::POST, &request(1, "echo"), &[("last-event-id", id)]).await;
            assert_eq!((reply.status, reply.json().await["id"].clone()), (StatusCode::OK, json!(1)), "{id}");
        }
    });
}

/// B-23, B-25, B-27: a session keeps its version: without the header, even if its version requires the header from
/// clients, and with the header of its own version.
fn b_23_b_25_b_27_a_session_knows_its_version(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for version in VERSIONS {
            for header in ["", version] {
                let client = fixture.client_of(version).await;
                let headers = [("mcp-protocol-version", header)];
                let post = send(&client, Method::POST, &request(1, "echo"), &headers).await;
                let get = send(&client, Method::GET, &json!({}), &headers).await;
                assert_eq!(client.session().version().as_str(), version);
                let delete = send(&client, Method::DELETE, &json!({}), &headers).await;
                let statuses = [post, get, delete].map(|reply| reply.status.as_u16());
                assert_eq!(statuses, [200, 200, 204], "{version} with {header:?}");
            }
        }
    });
}

/// B-28: on `initialize` only the body decides; the header is ignored.
fn b_28_initialize_does_not_look_at_the_version_header(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for header in ["", "2025-03-26", "2025-11-25", "2026-07-28", "2099-01-01", "nonsense"] {
            let headers = [("mcp-protocol-version", header)];
            let opened =
                send(&fixture.stranger(), Method::POST, &initialize("2025-06-18", "c"), &headers).await;
            assert_eq!(opened.status, StatusCode::OK, "{header:?}");
            assert_eq!(opened.json().await["result"]["protocolVersion"], "2025-06-18", "{header:?}");
        }
    });
}

/// B-30 to B-33: a GET after `initialize` either opens a stream at once, at any time, or gets 405. There is no third
/// case.
fn b_31_b_32_b_33_a_get_is_a_stream_or_405(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let mut client = fixture.stranger();
        client.initialize("2025-11-25").await; // B-30: also before `initialized`
        for accept in ["application/json", "text/html", ""] {
            let refused = send(&client, Method::GET, &json!({}), &[("accept", accept)]).await;
            assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE, "{accept:?}");
        }
        for accept in ["text/event-stream", "*/*", "text/*;q=0.1", "application/json, text/event-stream"] {
            let mut stream = send(&client, Method::GET, &json!({}), &[("accept", accept)]).await;
            assert_eq!((stream.status, stream.is_stream()), (StatusCode::OK, true), "{accept}");
            stream.opened().await;
        }
    });
    let fixture = Fixture::new(bed, |config| config.standalone_streams = false);
    bed.block_on(async {
        let client = fixture.client().await;
        let refused = client.get().await;
        assert_eq!(
            (refused.status, refused.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, "POST, DELETE")
        );
    });
}

/// B-35 to B-39: DELETE gets 204 without a body, then 404; without an id 400, or 405 where sessions are optional (E-32).
/// If clients may not delete, it gets 405 with `Allow`, as does every other method.
fn b_35_b_36_b_37_b_38_b_39_delete_and_other_methods(bed: &impl TestBed) {
    let modes =
        [(Sessions::Stateful, StatusCode::BAD_REQUEST), (Sessions::Optional, StatusCode::METHOD_NOT_ALLOWED)];
    for (sessions, without_an_id) in modes {
        let fixture = Fixture::new(bed, |config| config.sessions = sessions);
        bed.block_on(async {
            let client = fixture.client().await;
            assert_eq!(fixture.stranger().delete().await.status, without_an_id);
            let deleted = client.delete().await;
            assert_eq!(deleted.status, StatusCode::NO_CONTENT);
            assert!(deleted.bytes().await.is_empty());
            assert_eq!(client.delete().await.status, StatusCode::NOT_FOUND);
        });
    }
    for (streams, deletes, allow) in [
        (true, true, "GET, POST, DELETE"),
        (true, false, "GET, POST"),
        (false, true, "POST, DELETE"),
        (false, false, "POST"),
    ] {
        let fixture = Fixture::new(bed, |config| {
            config.standalone_streams = streams;
            config.client_delete = deletes;
        });
        bed.block_on(async {
            let client = fixture.client().await;
            for method in [Method::PUT, Method::PATCH, Method::HEAD, Method::OPTIONS, Method::TRACE] {
                let refused = send(&client, method, &json!({}), &[]).await;
                assert_eq!(
                    (refused.status, refused.header("allow")),
                    (StatusCode::METHOD_NOT_ALLOWED, allow)
                );
            }
            if !deletes {
                assert_eq!(client.delete().await.header("allow"), allow);
            }
            assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::OK);
        });
    }
}

/// B-41: only a missing session gets 404, not unknown methods, requests, replies or events.
fn b_41_404_means_that_there_is_no_such_session(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        for message in [
            request(1, "no/such/method"),
            request_with(2, "resources/read", json!({ "uri": "no://such" })),
            cancel("no such request"),
            reply("no such request", json!({})),
            notification("no/such/notification"),
            json!({ "jsonrpc": "2.0", "id": 1 }),
        ] {
            assert_ne!(client.post(&message).await.status, StatusCode::NOT_FOUND, "{message}");
        }
        for (name, value) in
            [("last-event-id", "999-999"), ("mcp-protocol-version", "1999-01-01"), ("accept", "x/y")]
        {
            let reply = send(&client, Method::GET, &json!({}), &[(name, value)]).await;
            assert_ne!(reply.status, StatusCode::NOT_FOUND, "{name}: {value}");
        }
        assert_eq!(client.delete().await.status, StatusCode::NO_CONTENT);
        assert_eq!(client.post(&request(1, "no/such/method")).await.status, StatusCode::NOT_FOUND);
    });
}

/// B-42, F-38: overload and shutdown get 503 with `Retry-After`, never a 4xx, which would mean something else to a
/// client.
fn b_42_f_38_overload_and_shutdown_are_503(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| {
        config.max_sessions = 1;
        config.session.max_exchanges = 1;
        config.retry_after = std::time::Duration::from_millis(2_500);
    });
    bed.block_on(async {
        let told = |reply: &Reply| (reply.status.as_u16(), reply.header("retry-after").to_owned());
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let full = fixture.stranger().post(&initialize("2025-11-25", "client")).await;
        let busy = client.post(&request(2, "echo")).await;
        assert_eq!([told(&full), told(&busy)], [(503, "2".into()), (503, "2".into())]);
        let policy = ShutdownPolicy { drain: NEVER, ..ShutdownPolicy::default() };
        let shutdown = fixture.endpoint.shutdown(policy);
        let session = client.session();
        fixture.until(|_| session.state() == SessionState::Draining).await;
        let late = fixture.stranger().post(&initialize("2025-11-25", "client")).await;
        let stopping = client.post(&request(2, "echo")).await;
        assert_eq!(
            [told(&late), told(&stopping), told(&client.get().await)],
            [(503, "2".into()), (503, "2".into()), (503, "2".into())]
        );
        assert_eq!(
            stopping.json().await["error"]["data"],
            json!({ "reason": "shutdown", "retryable": true })
        );
        work.finish(json!({}));
        assert_eq!(running.head().await.answer().await["id"], 1);
        assert!(shutdown.await.is_clean());
    });
}
