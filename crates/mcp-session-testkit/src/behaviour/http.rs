//! Status codes, headers and bad input: every row of the status matrix.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, channel::mpsc};
use http::{HeaderValue, Method, StatusCode};
use mcp_session_core::{AuthError, Authenticate, Eras, Sessions, ShutdownPolicy};
use serde_json::{Value, json};

use super::fixture::{
    Client, Fixture, Reply, SOON, SlowBody, initialize, notification, request, request_with,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    b_7_status_matrix,
    absent_sessions_of_c_2,
    a_12_errors_echo_the_id,
    b_12_repeated_headers,
    b_26_b_29_version_header,
    g_40_requests_without_sessions_are_told_to_fall_back,
    e_32_empty_headers_count_as_absent,
    b_15_a_compressed_body_is_refused,
    a_19_bodies_are_bounded,
    bodies_that_never_end_get_a_deadline,
    a_19_all_bodies_together_are_bounded,
    b_05_b_07_host_and_origin,
    b_09_authentication,
    notifications_are_bounded_and_end_with_the_session,
    duration_max_means_never,
    b_17_notifications_get_202,
}

async fn status_of(client: &Client, message: &Value) -> u16 {
    client.post(message).await.status.as_u16()
}

async fn raw(client: &Client, body: &str) -> Reply {
    client.post_text(body).await
}

async fn with_headers(client: &Client, method: Method, headers: &[(&str, &str)]) -> Reply {
    let mut request = client.request(method).body(request(9, "echo").to_string()).unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        if value.is_empty() {
            request.headers_mut().remove(name);
        } else {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    client.send(request).await
}

/// B.7, row by row, where every request needs a session.
fn b_7_status_matrix(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| {
        config.body_limit = 10_000;
        config.sessions = Sessions::Stateful;
    });
    bed.block_on(async {
        let client = fixture.client().await;
        let dead = fixture.client().await;
        dead.delete().await;
        let stranger = fixture.stranger();
        let echo = request(1, "echo");

        // any: bad Origin, bad Host
        for method in [Method::POST, Method::GET, Method::DELETE] {
            for (name, value) in [("origin", "http://evil.example.com"), ("host", "evil.example.com")] {
                let reply = with_headers(&client, method.clone(), &[(name, value)]).await;
                assert_eq!(reply.status, 403, "{method} with {name}: {value}");
            }
        }
        // any except initialize: session header missing; session unknown, malformed or terminated
        for method in [Method::POST, Method::GET, Method::DELETE] {
            assert_eq!(with_headers(&stranger, method.clone(), &[]).await.status, 400, "{method}");
            assert_eq!(with_headers(&dead, method.clone(), &[]).await.status, 404, "{method}");
            for unknown in ["0123456789abcdef0123456789abcdef", "nonsense"] {
                let reply = with_headers(&stranger, method.clone(), &[("mcp-session-id", unknown)]).await;
                assert_eq!(reply.status, 404, "{method} {unknown}");
            }
            let reply =
                with_headers(&client, method.clone(), &[("mcp-protocol-version", "1999-01-01")]).await;
            assert_eq!(reply.status, 400, "{method} with an unsupported version");
        }
        // POST: accepted
        let reply = client.post(&echo).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/json"));
        assert_eq!(status_of(&client, &notification("notifications/anything")).await, 202);
        assert_eq!(status_of(&client, &json!({ "jsonrpc": "2.0", "id": 77, "result": {} })).await, 202);
        // POST: refused notification and response
        assert_eq!(status_of(&stranger, &notification("notifications/anything")).await, 400);
        assert_eq!(status_of(&dead, &json!({ "jsonrpc": "2.0", "id": 77, "result": {} })).await, 404);
        // POST: not JSON, not JSON-RPC, an array
        for (body, code) in [("{", -32700), ("", -32700), ("{}", -32600), ("7", -32600), ("[]", -32600)] {
            let reply = raw(&client, body).await;
            assert_eq!(reply.status, 400, "{body:?}");
            assert_eq!(reply.json().await["error"]["code"], code, "{body:?}");
        }
        // POST: Accept, Content-Type, Content-Encoding, size
        assert_eq!(with_headers(&client, Method::POST, &[("accept", "application/json")]).await.status, 200);
        assert_eq!(with_headers(&client, Method::POST, &[("accept", "text/html")]).await.status, 406);
        assert_eq!(with_headers(&client, Method::POST, &[("content-type", "text/plain")]).await.status, 415);
        assert_eq!(with_headers(&client, Method::POST, &[("content-encoding", "gzip")]).await.status, 415);
        assert_eq!(raw(&client, &" ".repeat(10_001)).await.status, 413);
        // POST: second initialize on a live session
        let reply = client.post(&initialize("2025-11-25", "client")).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json().await["error"]["code"], -32600);
        // GET: stream offered, Accept lacks SSE, an event that cannot be resumed
        assert_eq!(with_headers(&client, Method::GET, &[("accept", "application/json")]).await.status, 406);
        let stream = client.get().await;
        assert_eq!((stream.status.as_u16(), stream.is_stream()), (200, true));
        drop(stream);
        let resumed = client.resume("7-7").await;
        assert_eq!((resumed.status.as_u16(), resumed.is_stream()), (400, false));
        // other methods
        for method in [Method::PUT, Method::PATCH, Method::HEAD, Method::OPTIONS] {
            let reply = with_headers(&client, method.clone(), &[]).await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("allow")),
                (405, "GET, POST, DELETE"),
                "{method}"
            );
        }
        // DELETE: ok, no session id, already terminated
        assert_eq!(client.delete().await.status, 204);
        assert_eq!(stranger.delete().await.status, 400);
        assert_eq!(client.delete().await.status, 404);
    });

    // GET: no stream offered; DELETE: not allowed
    let fixture = Fixture::new(bed, |config| {
        config.standalone_streams = false;
        config.client_delete = false;
    });
    bed.block_on(async {
        let client = fixture.client().await;
        for reply in [client.get().await, client.delete().await] {
            assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "POST"));
        }
        assert_eq!(status_of(&client, &request(1, "echo")).await, 200); // and the session is still valid
    });
    // any: no or invalid token is `b_09_authentication`; draining and overloaded are `s_2_…` and `e_15_…`
}

/// C.2, the column of absent sessions, where every request needs one: 400 without an id, 404 with an unknown one, and
/// `initialize` opens a session.
fn absent_sessions_of_c_2(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.sessions = Sessions::Stateful);
    bed.block_on(async {
        let stranger = fixture.stranger();
        let unknown = stranger.with_session(Some("0123456789abcdef0123456789abcdef".parse().unwrap()));
        for message in [
            notification("notifications/initialized"),
            request(1, "ping"),
            request(1, "echo"),
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
            notification("notifications/cancelled"),
            notification("notifications/roots/list_changed"),
        ] {
            assert_eq!(status_of(&stranger, &message).await, 400, "{message}");
            assert_eq!(status_of(&unknown, &message).await, 404, "{message}");
        }
        assert_eq!(status_of(&unknown, &initialize("2025-11-25", "client")).await, 404);
        assert_eq!(status_of(&stranger, &initialize("2025-11-25", "client")).await, 200);
        assert_eq!(unknown.get().await.status, 404);
        assert_eq!(unknown.delete().await.status, 404);
    });
}

/// A-12: an error echoes the id if it could be read; otherwise the id is null.
fn a_12_errors_echo_the_id(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.sessions = Sessions::Stateful);
    bed.block_on(async {
        let client = fixture.client().await;
        let stranger = fixture.stranger();
        for id in [json!("x"), json!(7)] {
            let error = stranger.post(&request(id.clone(), "echo")).await.json().await;
            assert!(error["id"] == id && error["error"].is_object(), "{error}");
        }
        let reply = with_headers(&client, Method::POST, &[("mcp-protocol-version", "1.0")]).await;
        assert_eq!(reply.json().await["id"], 9);
        let reply = raw(&client, r#"{"id":"bad","method":"echo"}"#).await;
        assert_eq!(reply.json().await["id"], "bad");
        for body in [
            "{",
            r#"{"jsonrpc":"2.0","id":null,"method":"echo"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"x"}"#,
        ] {
            let error = raw(&client, body).await.json().await;
            assert!(error["id"].is_null() && error["error"]["message"].is_string(), "{error}");
        }
    });
}

/// B-12: a repeated protocol header is refused; no value is picked.
fn b_12_repeated_headers(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        for name in ["mcp-session-id", "mcp-protocol-version", "last-event-id", "mcp-method", "mcp-name"] {
            let mut request = client.request(Method::POST).body(request(1, "echo").to_string()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_static("2025-11-25"));
            request.headers_mut().append(name, HeaderValue::from_static("2025-11-25"));
            assert_eq!(client.send(request).await.status, 400, "{name}");
        }
    });
}

/// B-26, B-29: the version header must name a supported version, and does not change the version of the session.
fn b_26_b_29_version_header(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        for (version, status) in [
            ("2025-03-26", 200),
            ("2025-06-18", 200),
            ("2025-11-25", 200),
            ("", 200),
            ("2024-11-05", 400),
            ("x", 400),
        ] {
            let reply = with_headers(&client, Method::POST, &[("mcp-protocol-version", version)]).await;
            assert_eq!(reply.status.as_u16(), status, "{version:?}");
        }
        assert_eq!(client.session().version().as_str(), "2025-11-25");
        // B-28: on `initialize` the body decides; the header is ignored.
        let mut request =
            fixture.stranger().request(Method::POST).body(initialize("2025-06-18", "c").to_string()).unwrap();
        request.headers_mut().insert("mcp-protocol-version", HeaderValue::from_static("1999-01-01"));
        let reply = fixture.stranger().send(request).await;
        assert_eq!(reply.json().await["result"]["protocolVersion"], "2025-06-18");
    });
}

/// G-40, G-49: if only the revisions with sessions are served, a request of a later one gets a 400 that lists the
/// supported versions, and no code that only such revisions may use, so that its client falls back to `initialize`.
fn g_40_requests_without_sessions_are_told_to_fall_back(bed: &impl TestBed) {
    for sessions in [Sessions::Optional, Sessions::Stateful] {
        let fixture = Fixture::new(bed, |config| (config.eras, config.sessions) = (Eras::Legacy, sessions));
        bed.block_on(are_told_to_fall_back(&fixture));
    }
}

async fn are_told_to_fall_back(fixture: &Fixture) {
    let envelope = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {} } });
    let modern = request_with(3, "server/discover", envelope);
    for client in [fixture.stranger(), fixture.client().await] {
        let reply = client.post(&modern).await;
        assert_eq!(reply.status, 400);
        let body = reply.json().await;
        assert_eq!((&body["id"], &body["error"]["code"]), (&json!(3), &json!(-32600)));
        assert_eq!(body["error"]["data"]["supported"], json!(["2025-03-26", "2025-06-18", "2025-11-25"]));
    }
    let reply =
        with_headers(&fixture.stranger(), Method::POST, &[("mcp-protocol-version", "2026-07-28")]).await;
    assert_eq!(reply.json().await["error"]["data"]["requested"], "2026-07-28");
}

/// E-32: an empty session id or `Last-Event-ID` counts as absent: some clients and proxies send it. Without a session,
/// there is no stream and nothing to delete.
fn e_32_empty_headers_count_as_absent(bed: &impl TestBed) {
    // The statuses of POST, GET and DELETE.
    for (sessions, statuses) in [(Sessions::Stateful, [400; 3]), (Sessions::Optional, [200, 405, 405])] {
        let fixture = Fixture::new(bed, |config| config.sessions = sessions);
        bed.block_on(empty_headers_count_as_absent(&fixture, statuses));
    }
}

async fn empty_headers_count_as_absent(fixture: &Fixture, statuses: [u16; 3]) {
    for empty in ["", " "] {
        let empty_id = |method, body: Value| {
            let mut request = fixture.stranger().request(method).body(body.to_string()).unwrap();
            request.headers_mut().insert("mcp-session-id", HeaderValue::from_static(empty));
            request
        };
        let stranger = fixture.stranger();
        let opened = stranger.send(empty_id(Method::POST, initialize("2025-11-25", "client"))).await;
        assert_eq!(opened.status, StatusCode::OK, "C-17: no id is no second `initialize`");
        let client = stranger.with_session(opened.session());
        for (method, status) in [Method::POST, Method::GET, Method::DELETE].into_iter().zip(statuses) {
            let empty = stranger.send(empty_id(method.clone(), request(1, "echo"))).await;
            let absent = with_headers(&stranger, method.clone(), &[]).await;
            assert_eq!((empty.status, absent.status.as_u16()), (absent.status, status), "{method}"); // E-09
            let allow = if status == 405 { "POST" } else { "" };
            assert_eq!((empty.header("allow"), absent.header("allow")), (allow, allow), "{method}");
        }
        client.post(&notification("notifications/initialized")).await;
        client.session().notify("notifications/x", None::<&()>).await.unwrap();
        let mut stream = client.resume(empty).await;
        assert_eq!((stream.status, stream.is_stream()), (StatusCode::OK, true)); // the standalone stream
        assert_eq!(stream.message().await.unwrap()["method"], "notifications/x");
    }
}

/// B-15: a compressed body is refused, with a hint that it may be sent uncompressed.
fn b_15_a_compressed_body_is_refused(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        for encoding in ["gzip", "br", "zstd", "deflate, gzip", "identity, gzip", "x"] {
            let refused = with_headers(&client, Method::POST, &[("content-encoding", encoding)]).await;
            assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{encoding}");
            assert_eq!(refused.header("accept-encoding"), "identity", "{encoding}");
            assert_eq!(refused.json().await["error"]["code"], -32600, "{encoding}");
        }
        for encoding in ["identity", "IDENTITY"] {
            let plain = with_headers(&client, Method::POST, &[("content-encoding", encoding)]).await;
            assert_eq!(plain.status, StatusCode::OK, "{encoding}");
        }
        let refused = with_headers(&client, Method::POST, &[("content-type", "text/plain")]).await;
        assert_eq!((refused.status.as_u16(), refused.header("accept-encoding")), (415, ""));
    });
}

/// A-19: bodies are bounded, with and without `Content-Length`.
fn a_19_bodies_are_bounded(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.body_limit = 1_000);
    bed.block_on(async {
        let client = fixture.client().await;
        let fits = format!("{:<1000}", request(1, "echo").to_string());
        assert_eq!(raw(&client, &fits).await.status, 200);
        assert_eq!(raw(&client, &format!("{fits} ")).await.status, 413);
        let (sender, receiver) = mpsc::unbounded();
        for _ in 0..11 {
            sender.unbounded_send(vec![b' '; 100].into()).unwrap();
        }
        let reply = client.send(client.request(Method::POST).body(SlowBody(receiver)).unwrap()).await;
        assert_eq!(reply.status, 413); // although the body continues
        drop(sender);
    });
}

/// A body that arrives too slowly or never ends gets 408, and no other request waits for it.
fn bodies_that_never_end_get_a_deadline(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.body_timeout = SOON);
    bed.block_on(async {
        let client = fixture.client().await;
        let begin = fixture.runtime.now();
        let (sender, receiver) = mpsc::unbounded();
        sender.unbounded_send("{".into()).unwrap();
        let dripping = client.send(client.request(Method::POST).body(SlowBody(receiver)).unwrap()).await;
        assert_eq!(dripping.status, StatusCode::REQUEST_TIMEOUT);
        assert!(fixture.runtime.now() >= begin + SOON);
        assert_eq!(status_of(&client, &request(1, "echo")).await, 200);
        // A body that arrives in pieces, in time, is complete.
        let (sender, receiver) = mpsc::unbounded();
        let body = request_with(2, "echo", json!({ "a": "b" })).to_string();
        for piece in body.as_bytes().chunks(3) {
            sender.unbounded_send(piece.to_vec().into()).unwrap();
        }
        drop(sender);
        let reply = client.send(client.request(Method::POST).body(SlowBody(receiver)).unwrap()).await;
        assert_eq!(reply.json().await["result"], json!({ "a": "b" }));
    });
}

/// The total size of all incoming bodies is bounded. Small bodies are served regardless.
fn a_19_all_bodies_together_are_bounded(bed: &impl TestBed) {
    const SMALL: usize = 64 * 1024; // does not count
    const TOTAL: usize = 2 * SMALL;
    let fixture = Fixture::new(bed, |config| (config.body_limit, config.bodies_in_flight) = (TOTAL, TOTAL));
    bed.block_on(async {
        let client = fixture.client().await;
        let post = |pieces: &[usize]| {
            let (sender, receiver) = mpsc::unbounded();
            for length in pieces {
                sender.unbounded_send(vec![b' '; *length].into()).unwrap();
            }
            let (client, http) =
                (client.clone(), client.request(Method::POST).body(SlowBody(receiver)).unwrap());
            (sender, Box::pin(async move { client.send(http).await }))
        };
        let (first, mut large) = post(&[SMALL, SMALL]);
        let (second, mut other) = post(&[SMALL, SMALL - 1]);
        assert!(large.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
        for (pieces, status) in [(&[SMALL, 2][..], 503), (&[SMALL, 1], 400), (&[SMALL], 400)] {
            let (sender, reply) = post(pieces);
            // A refused request does not wait for the end of its body. The others consist of spaces only, which is
            // not JSON.
            let _open = (status == 503).then_some(sender);
            let reply = reply.await;
            assert_eq!(reply.status.as_u16(), status, "{pieces:?}");
            assert_eq!(reply.header("retry-after"), if status == 503 { "1" } else { "" });
        }
        assert_eq!(status_of(&client, &request(1, "echo")).await, 200);
        // A body that was read or abandoned makes room.
        drop((first, second));
        assert_eq!((large.await.status.as_u16(), other.await.status.as_u16()), (400, 400));
        for _ in 0..5 {
            let (_open, mut given_up) = post(&[SMALL, SMALL]);
            assert!(given_up.as_mut().now_or_never().is_none());
        }
        let (sender, reply) = post(&[SMALL, SMALL]);
        drop(sender);
        assert_eq!(reply.await.status, 400);
    });
}

/// B-05, B-07: only loopback names are allowed unless others are listed. Checked before the body is read.
fn b_05_b_07_host_and_origin(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| {
        config.allowed_hosts.allow("mcp.example.com").unwrap();
        config.allowed_origins.allow("https://app.example.com").unwrap();
    });
    bed.block_on(async {
        let client = fixture.client().await;
        for (headers, status) in [
            (vec![("host", "127.0.0.1:8000"), ("origin", "http://127.0.0.1:8000")], 200),
            (vec![("host", "mcp.example.com:443"), ("origin", "https://app.example.com")], 200),
            (vec![("host", "evil.example.com")], 403),
            (vec![("origin", "http://app.example.com")], 403),
            (vec![("origin", "null")], 403),
            (vec![("host", "localhost.evil.com")], 403),
        ] {
            let reply = with_headers(&client, Method::POST, &headers).await;
            assert_eq!(reply.status.as_u16(), status, "{headers:?}");
        }
        let (_open, receiver) = mpsc::unbounded();
        let mut request = client.request(Method::POST).body(SlowBody(receiver)).unwrap();
        request.headers_mut().insert("host", HeaderValue::from_static("evil.example.com"));
        assert_eq!(client.send(request).await.status, 403);
    });
}

/// B-09, B-10: the credential of every request is checked before anything of the protocol.
fn b_09_authentication(bed: &impl TestBed) {
    let check = |parts: &mut http::request::Parts| match parts
        .headers
        .get("authorization")
        .map(HeaderValue::as_bytes)
    {
        Some(b"Bearer good") => Ok(()),
        Some(b"Bearer weak") => Err(AuthError::Forbidden),
        Some(b"garbage") => Err(AuthError::Malformed),
        _ => Err(AuthError::Unauthorized(HeaderValue::from_static("Bearer"))),
    };
    // Admitted, then refused because it has no session where it needs one; otherwise served.
    for (sessions, admitted) in [(Sessions::Stateful, 400), (Sessions::Optional, 200)] {
        let fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            config.authenticate = Some(Arc::new(check) as Arc<dyn Authenticate>);
        });
        bed.block_on(credentials_are_checked(&fixture, admitted));
    }
}

async fn credentials_are_checked(fixture: &Fixture, admitted: u16) {
    let stranger = fixture.stranger();
    for method in [Method::POST, Method::GET, Method::DELETE] {
        for (credential, status) in [("", 401), ("Bearer bad", 401), ("Bearer weak", 403), ("garbage", 400)] {
            // Everything else is wrong with the request: the credential is checked first (B-44).
            let headers = [("authorization", credential), ("accept", "x/y"), ("content-type", "x/y")];
            let reply = with_headers(&stranger, method.clone(), &headers).await;
            assert_eq!(reply.status.as_u16(), status, "{method} {credential:?}");
            assert_eq!(reply.header("www-authenticate"), if status == 401 { "Bearer" } else { "" });
        }
    }
    let reply = with_headers(&stranger, Method::POST, &[("authorization", "Bearer good")]).await;
    assert_eq!(reply.status, admitted);
}

/// Notifications with slow handlers are bounded like requests, and end with their session.
fn notifications_are_bounded_and_end_with_the_session(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.session.max_exchanges = 3);
    bed.block_on(async {
        let client = fixture.client().await;
        for status in [202, 202, 202, 503, 503] {
            assert_eq!(status_of(&client, &notification("hang")).await, status);
        }
        assert_eq!(status_of(&client, &request(1, "echo")).await, 200);
        assert_eq!(fixture.hanging(), 3);
        client.delete().await;
        fixture.until(|fixture| fixture.hanging() == 0).await;
    });
}

/// Limits of `Duration::MAX` mean never and cause no failure.
fn duration_max_means_never(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| {
        config.body_timeout = Duration::MAX;
        config.session.idle_timeout = Duration::MAX;
        config.session.heartbeat = Duration::MAX;
        config.session.terminate.cancel = Duration::MAX;
    });
    bed.block_on(async {
        let client = fixture.client().await;
        let (sender, receiver) = mpsc::unbounded();
        let reply = client.send(client.request(Method::POST).body(SlowBody(receiver)).unwrap());
        let arrives = async {
            fixture.elapse(SOON).await;
            sender.unbounded_send(request(1, "echo").to_string().into()).unwrap();
            drop(sender);
        };
        let (reply, ()) = futures::join!(reply, arrives);
        assert_eq!(reply.status, 200);
        let never = Duration::MAX;
        let policy = ShutdownPolicy { lame_duck: Duration::ZERO, drain: never, cancel: never, finish: never };
        assert!(fixture.endpoint.shutdown(policy).await.is_clean());
    });
}

/// B-17: a notification gets 202 with an empty body and reaches the handler.
fn b_17_notifications_get_202(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let mut reply = client.post(&notification("notifications/roots/list_changed")).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED);
        assert!(reply.event().await.is_none());
        assert_eq!(fixture.notification().await.method, "notifications/roots/list_changed");
        // A handler that panics in a notification affects nothing else.
        assert_eq!(client.post(&notification("panic")).await.status, StatusCode::ACCEPTED);
        assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::OK);
    });
}
