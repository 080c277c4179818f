//! Session ids where a client needs none: sent, ignored, unknown, and of `initialize` (E-26 to E-28, E-31, E-32).

use http::{Method, StatusCode};
use mcp_session_core::{CancelReason, Principal, Sessions};
use serde_json::json;

use super::{
    fixture::{cancel, initialize, notification, reply, request},
    stateless::{MODES, clients, fixture, send, with},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    e_27_e_32_get_and_delete_need_a_session,
    e_26_a_request_with_an_id_follows_its_session,
    e_27_initialize_without_sessions,
    e_28_initialize_with_an_id_of_another_server,
    e_31_the_principal_is_that_of_each_request,
}

/// E-27, E-32: without a session there is no stream to open and nothing to delete: 405, with the methods that there are.
fn e_27_e_32_get_and_delete_need_a_session(bed: &impl TestBed) {
    for sessions in MODES {
        let fixture = fixture(bed, sessions);
        bed.block_on(async {
            for client in clients(&fixture, sessions) {
                for method in [Method::GET, Method::DELETE] {
                    for headers in
                        [&[][..], &[("last-event-id", "0-0")], &[("mcp-protocol-version", "2025-11-25")]]
                    {
                        let refused = send(&client, method.clone(), &json!({}), headers).await;
                        assert_eq!(
                            (refused.status.as_u16(), refused.header("allow"), refused.session()),
                            (405, "POST", None),
                            "{sessions:?} {method} {headers:?}"
                        );
                        assert_eq!(refused.json().await["error"]["code"], -32600);
                    }
                }
                let allow = if sessions == Sessions::Stateless { "POST" } else { "GET, POST, DELETE" };
                let refused = client.send(with(&client, Method::PUT, &json!({}), &[])).await;
                assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, allow));
            }
        });
    }
}

/// E-26: where sessions are optional, a request with an id has all rules of its session, and one without an id has none.
fn e_26_a_request_with_an_id_follows_its_session(bed: &impl TestBed) {
    let mut fixture = fixture(bed, Sessions::Optional);
    bed.block_on(async {
        let (client, stranger) = (fixture.json_client().await, fixture.stranger());
        let dead = fixture.client().await;
        assert_eq!(dead.delete().await.status, StatusCode::NO_CONTENT);
        for id in ["0123456789abcdef0123456789abcdef", "nonsense", dead.id().to_string().as_str()] {
            for message in
                [request(1, "work"), request(1, "ping"), notification("hang"), json!([request(1, "work")])]
            {
                let refused = send(&stranger, Method::POST, &message, &[("mcp-session-id", id)]).await;
                assert_eq!(refused.status, StatusCode::NOT_FOUND, "{id} {message}");
            }
            for method in [Method::GET, Method::DELETE] {
                let refused = send(&stranger, method.clone(), &json!({}), &[("mcp-session-id", id)]).await;
                assert_eq!(refused.status, StatusCode::NOT_FOUND, "{id} {method}");
            }
        }
        let mut stream = client.get().await;
        stream.opened().await;
        let running = client.start(&request(1, "work"));
        let inside = fixture.work().await;
        assert_eq!(inside.cx.session_id(), Some(client.id()));
        assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::BAD_REQUEST); // A-07
        // The same id without a session is another request, which the end of the session does not touch.
        let other = stranger.start(&request(1, "work"));
        let outside = fixture.work().await;
        assert!(outside.cx.session().is_none());
        assert_eq!(client.post(&cancel(1)).await.status, StatusCode::ACCEPTED);
        assert_eq!(inside.cx.cancelled().await, CancelReason::Client(Some("enough".into())));
        assert_eq!(client.delete().await.status, StatusCode::NO_CONTENT);
        assert_eq!((stream.message().await, outside.cx.cancel_reason()), (None, None));
        assert!(!outside.cx.is_draining());
        outside.finish(json!({ "out": "side" }));
        assert_eq!(other.head().await.json().await, reply(1, json!({ "out": "side" })));
        inside.finish(json!({}));
        assert_eq!(running.head().await.answer().await["error"]["code"], -32800);
        // Nothing that has no session keeps one alive or counts as one.
        assert_eq!((fixture.endpoint.stats().sessions, fixture.endpoint.stats().exchanges), (0, 0));
    });
}

/// E-27: without sessions, `initialize` is answered with the version that is negotiated, no id is sent, an id that comes
/// is ignored, and nothing is kept.
fn e_27_initialize_without_sessions(bed: &impl TestBed) {
    let fixture = fixture(bed, Sessions::Stateless);
    bed.block_on(async {
        for client in clients(&fixture, Sessions::Stateless) {
            for (version, negotiated) in [
                ("2025-03-26", "2025-03-26"),
                ("2025-06-18", "2025-06-18"),
                ("2025-11-25", "2025-11-25"),
                ("2026-07-28", "2025-11-25"), // it has no `initialize`
                ("2024-11-05", "2025-11-25"),
            ] {
                let opened = client.post(&initialize(version, "client")).await;
                assert_eq!((opened.status, opened.header("mcp-session-id")), (StatusCode::OK, ""));
                let answer = opened.json().await;
                assert_eq!(answer["result"]["protocolVersion"], negotiated);
                assert_eq!(answer["result"]["serverInfo"]["name"], "fixture");
                assert_eq!(
                    client.post(&notification("notifications/initialized")).await.status,
                    StatusCode::ACCEPTED
                );
            }
            let events =
                client.accepting("text/event-stream").post(&initialize("2025-06-18", "client")).await;
            assert!(events.is_stream() && events.session().is_none());
            assert_eq!(events.answer().await["result"]["protocolVersion"], "2025-06-18");
            // B-28: the header is ignored.
            let initialize = initialize("2025-06-18", "client");
            let headers = [("mcp-protocol-version", "1999-01-01"), ("last-event-id", "0-0")];
            let opened = send(&client, Method::POST, &initialize, &headers).await;
            assert_eq!(opened.json().await["result"]["protocolVersion"], "2025-06-18");
        }
        // What the handler says of it.
        let stranger = fixture.stranger();
        for name in ["refused", "panics"] {
            let failed = stranger.post(&initialize("2025-11-25", name)).await;
            assert_eq!((failed.status, failed.session()), (StatusCode::OK, None), "{name}");
            assert_eq!(failed.json().await["error"]["code"], -32603, "{name}");
        }
        let refused = stranger.post(&initialize("2025-11-25", "lacks a scope")).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(refused.header("www-authenticate").contains(r#"scope="sessions""#));
        let wrong = stranger.post(&request(4, "initialize")).await;
        assert_eq!(
            (wrong.status, &wrong.json().await["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!(-32602))
        );
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.sessions, stats.sessions_created, stats.exchanges), (0, 0, 0));
        assert!(fixture.endpoint.manager().sessions().is_empty() && fixture.ended().is_empty());
        assert_eq!(fixture.attached(), 0);
    });
}

/// E-28, C-17: `initialize` with an id that this server did not give, such as one of a platform in front of it, is
/// served, with an id of the server's own if it has sessions. A live id is refused. Where every request needs a session,
/// an unknown id is refused too.
fn e_28_initialize_with_an_id_of_another_server(bed: &impl TestBed) {
    for sessions in [Sessions::Optional, Sessions::Stateless, Sessions::Stateful] {
        let fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let hello = initialize("2025-11-25", "client");
            let mut seen = Vec::new();
            for id in
                ["0123456789abcdef0123456789abcdef", "nonsense", "7ac2a1a0-7f2c-4f1e-9f0e-0d8c6f0d2b11", "~"]
            {
                for _ in 0..2 {
                    let opened = send(&stranger, Method::POST, &hello, &[("mcp-session-id", id)]).await;
                    let status = if sessions == Sessions::Stateful { 404 } else { 200 };
                    assert_eq!(opened.status.as_u16(), status, "{sessions:?} {id}");
                    assert_ne!(opened.header("mcp-session-id"), id, "it is never echoed");
                    assert_eq!(
                        opened.session().is_some(),
                        sessions == Sessions::Optional,
                        "{sessions:?} {id}"
                    );
                    seen.extend(opened.session());
                }
            }
            assert_eq!(fixture.endpoint.stats().sessions, seen.len() as u64);
            for session in seen {
                let client = stranger.with_session(Some(session));
                assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::OK);
                assert_eq!(client.post(&hello).await.status, StatusCode::BAD_REQUEST);
                assert_eq!(client.delete().await.status, StatusCode::NO_CONTENT);
                let again = client.post(&hello).await; // its own dead id is as unknown
                assert!(again.session().is_some_and(|id| id != session));
            }
        });
    }
}

/// E-31: the principal is that of each request.
fn e_31_the_principal_is_that_of_each_request(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let mut running = Vec::new();
            for name in [Some("alice"), Some("bob"), None, Some("alice")] {
                let started = fixture.stranger().known_as(name).start(&request(1, "work"));
                let work = fixture.work().await;
                assert_eq!(work.cx.principal().map(Principal::as_str), name);
                assert_eq!(work.cx.extensions().get::<Principal>().map(Principal::as_str), name);
                assert!(work.cx.session().is_none() && work.cx.data::<u8>().is_none());
                running.push((name, started, work));
            }
            for (name, started, work) in running.into_iter().rev() {
                work.finish(json!({ "for": name }));
                assert_eq!(started.head().await.json().await, reply(1, json!({ "for": name })));
            }
        });
    }
}
