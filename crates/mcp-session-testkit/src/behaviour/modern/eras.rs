//! Clients of both eras on one endpoint, and endpoints of one era (G.5).

use http::Method;
use mcp_session_core::{Eras, Sessions};
use serde_json::json;

use super::{
    super::fixture::{
        Fixture, META, MODERN, SOON, cancel, initialize, notification, reply, request, request_with,
    },
    refused,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_16_notifications_are_accepted_and_dropped,
    g_40_the_body_decides_the_era,
    g_41_both_eras_at_once,
    g_42_a_session_beside_an_envelope_is_ignored,
    g_42_the_idle_timer_of_that_session_runs_on,
    g_43_an_endpoint_of_the_new_era_only,
    g_44_get_and_delete_of_the_new_era,
    g_46_initialize_never_negotiates_it,
    g_48_a_method_that_is_not_there_in_both_eras,
    g_49_an_endpoint_of_the_old_era_only,
    every_mode_of_sessions_serves_it,
}

const VERSION: &str = "mcp-protocol-version";

/// G-16: 202, and nothing happens. A posted `notifications/cancelled` cancels nothing.
fn g_16_notifications_are_accepted_and_dropped(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let running = client.start(&client.call(7, "work"));
        let work = fixture.work().await;
        for message in [
            cancel(7),
            notification("notifications/initialized"),
            notification("panic"),
            json!({ "jsonrpc": "2.0", "method": "hang", "params": { "_meta": { format!("{META}protocolVersion"): MODERN } } }),
        ] {
            let reply = client.post_with(&message, &[(VERSION, Some(MODERN))]).await;
            assert_eq!(reply.status, 202, "{message}");
            assert!(reply.bytes().await.is_empty());
        }
        assert_eq!(fixture.hanging(), 0);
        assert_eq!(work.cx.cancel_reason(), None);
        work.finish(json!({ "a": 1 }));
        assert_eq!(running.head().await.answer().await["result"]["a"], 1);

        // A version that is not served is refused, as for a request (G-18).
        let reply = client.post_with(&cancel(7), &[(VERSION, Some("2099-01-01"))]).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json().await["error"]["code"], -32022);
    });
}

/// G-40: a version in the body makes a request modern, unless it is an older one; then `initialize`, then the header.
fn g_40_the_body_decides_the_era(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        // An envelope of a legacy version is legacy traffic: no `resultType`, no headers needed.
        let old = fixture.modern().saying("protocolVersion", "2025-11-25");
        let answer = fixture.stranger().post(&old.call(1, "echo")).await.answer().await;
        assert!(answer["result"].get("resultType").is_none(), "{answer}");
        // Unless its header says otherwise.
        let message = old.call(2, "echo");
        let reply = old.post_with(&message, &[(VERSION, Some(MODERN))]).await;
        assert_eq!((reply.status.as_u16(), &reply.json().await["error"]["code"]), (400, &json!(-32020)));

        // `initialize` is legacy, whatever its header says.
        let client = fixture.modern();
        let reply = client.post_with(&initialize("2025-11-25", "client"), &[(VERSION, Some(MODERN))]).await;
        assert_eq!(reply.status, 200);
        assert!(reply.session().is_some());

        // A key that only looks like an envelope is none.
        let text = json!({ "text": format!("{META}protocolVersion"), "deep": { "_meta": { format!("{META}protocolVersion"): MODERN } } });
        let answer = fixture.stranger().post(&request_with(3, "echo", text)).await.answer().await;
        assert!(answer["result"].get("resultType").is_none(), "{answer}");
    });
}

/// G-41, G-48: clients of both eras at the same time, with one handler.
fn g_41_both_eras_at_once(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (legacy, modern, stranger) = (fixture.client().await, fixture.modern(), fixture.stranger());
        let old = legacy.start(&request(1, "work"));
        let first = fixture.work().await;
        let new = modern.start(&modern.call(1, "work")); // the same id
        let second = fixture.work().await;
        let alone = stranger.start(&request(1, "work"));
        let third = fixture.work().await;
        fixture.until(|fixture| fixture.endpoint.stats().exchanges == 3).await;
        assert!(
            first.cx.session().is_some() && second.cx.session().is_none() && third.cx.session().is_none()
        );
        let versions = [&first, &second, &third].map(|work| work.cx.protocol_version().as_str());
        assert_eq!(versions, ["2025-11-25", MODERN, "2025-03-26"]);
        for (number, work) in [third, second, first].into_iter().enumerate() {
            work.finish(json!({ "number": number }));
        }
        let answers = [
            old.head().await.answer().await,
            new.head().await.answer().await,
            alone.head().await.answer().await,
        ];
        assert_eq!(answers.each_ref().map(|answer| &answer["result"]["number"]), [2, 1, 0]);
        assert_eq!(
            answers.each_ref().map(|answer| answer["result"].get("resultType").is_some()),
            [false, true, false]
        );
    });
}

/// G-42: a live, dead, foreign or malformed id is neither looked up nor echoed.
fn g_42_a_session_beside_an_envelope_is_ignored(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (live, dead) = (fixture.client().await, fixture.client().await);
        assert_eq!(dead.delete().await.status, 204);
        let client = fixture.modern();
        for id in [&live.id().to_string(), &dead.id().to_string(), "0123456789abcdef", "no id", ""] {
            let message = client.call(1, "work");
            let headers = [("mcp-session-id", Some(id)), ("last-event-id", Some("1-1"))];
            let (reply, ()) = futures::join!(client.post_with(&message, &headers), async {
                let work = fixture.work().await;
                assert!(work.cx.session().is_none());
                assert!(work.cx.data::<super::super::fixture::Attached>().is_none());
                work.finish(json!({ "a": 1 }));
            });
            assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (200, ""), "{id}");
            assert_eq!(reply.answer().await["result"]["a"], 1);
        }
        assert_eq!(fixture.endpoint.stats().sessions, 1);
    });
}

/// G-42: a session whose id comes beside envelopes only is idle, and expires.
fn g_42_the_idle_timer_of_that_session_runs_on(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.session.idle_timeout = SOON);
    bed.block_on(async {
        let mut client = fixture.modern();
        client.client = fixture.client().await;
        let message = client.call(1, "echo");
        while fixture.endpoint.stats().sessions > 0 {
            assert_eq!(client.post(&message).await.status, 200);
            fixture.elapse(SOON / 8).await;
        }
        assert_eq!(client.post(&message).await.status, 200);
    });
}

/// G-43, G-45: `Eras::Modern`: GET and DELETE are 405, nothing opens a session, and whatever is not modern is told which
/// versions are served.
fn g_43_an_endpoint_of_the_new_era_only(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.eras = Eras::Modern);
    bed.block_on(async {
        let client = fixture.modern();
        for method in [Method::GET, Method::DELETE] {
            for version in [None, Some(MODERN), Some("2025-11-25")] {
                let reply = client.post_to(method.clone(), &json!({}), &[(VERSION, version)]).await;
                assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "POST"));
            }
        }
        for version in ["2025-11-25", MODERN, "2099-01-01"] {
            let message = initialize(version, "client");
            let error =
                refused(&fixture, fixture.stranger().post(&message).await, 400, -32022, &message).await;
            assert_eq!(error["data"], json!({ "supported": [MODERN], "requested": version }));
        }
        let plain = request(1, "echo");
        for (version, code) in [
            (None, -32020),
            (Some(""), -32020),
            (Some("2025-11-25"), -32022),
            (Some("2099-01-01"), -32602),
            (Some(MODERN), -32602),
        ] {
            refused(&fixture, client.post_with(&plain, &[(VERSION, version)]).await, 400, code, &plain).await;
        }
        let old = client.saying("protocolVersion", "2025-11-25").call(1, "echo");
        refused(&fixture, client.post(&old).await, 400, -32022, &old).await;
        let headers = [(VERSION, Some(MODERN))];
        refused(&fixture, client.post_with(&old, &headers).await, 400, -32020, &old).await;

        let discover = client.post(&client.call(2, "server/discover")).await.answer().await;
        assert_eq!(discover["result"]["supportedVersions"], json!([MODERN]));
        assert_eq!(client.post(&client.call(3, "echo")).await.status, 200);
        let named = [("mcp-session-id", Some("0123456789abcdef"))];
        let reply = client.post_with(&client.call(4, "echo"), &named).await;
        assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (200, ""));
        assert_eq!(fixture.endpoint.stats().sessions_created, 0);
    });
}

/// G-44, B-02: 405, even with the id of a live session, which lives on.
fn g_44_get_and_delete_of_the_new_era(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let mut client = fixture.modern();
        for session in [None, Some(fixture.client().await)] {
            client.client = session.unwrap_or_else(|| fixture.stranger());
            for method in [Method::GET, Method::DELETE] {
                for version in [MODERN, "2027-01-01"] {
                    let reply = client.post_to(method.clone(), &json!({}), &[(VERSION, Some(version))]).await;
                    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "POST"), "{method}");
                }
            }
        }
        assert_eq!(client.client.get().await.status, 200);
        assert_eq!(client.client.delete().await.status, 204);
    });
}

/// C-11, G-46: a client that asks `initialize` for 2026-07-28 gets the newest version with a handshake.
fn g_46_initialize_never_negotiates_it(bed: &impl TestBed) {
    for eras in [Eras::Both, Eras::Legacy] {
        let fixture = Fixture::new(bed, |config| config.eras = eras);
        bed.block_on(async {
            for version in [MODERN, "2099-01-01"] {
                let mut client = fixture.stranger();
                let answer = client.initialize(version).await;
                assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
                assert!(answer["result"].get("resultType").is_none());
                assert_eq!(client.post(&request(1, "echo")).await.status, 200);
            }
        });
    }
}

/// G-48, A-18, A-33: the same error of a handler: 404 in this era, 200 in the other; and old codes only in the old one.
fn g_48_a_method_that_is_not_there_in_both_eras(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (legacy, modern) = (fixture.client().await, fixture.modern());
        assert_eq!(legacy.post(&request(1, "no/such")).await.status, 200);
        assert_eq!(modern.post(&modern.call(1, "no/such")).await.status, 404);
        let old = legacy.post(&request_with(2, "fail", json!({ "code": -32002 }))).await.answer().await;
        let new = modern.post(&modern.call_with(2, "fail", json!({ "code": -32002 }))).await.answer().await;
        assert_eq!((&old["error"]["code"], &new["error"]["code"]), (&json!(-32002), &json!(-32602)));
    });
}

/// G-49: `Eras::Legacy`: a modern request is refused in a way that makes its client use `initialize`, without a code of
/// 2026-07-28.
fn g_49_an_endpoint_of_the_old_era_only(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.eras = Eras::Legacy);
    bed.block_on(async {
        let client = fixture.modern();
        for method in ["echo", "server/discover", "subscriptions/listen", "no/such"] {
            let message = client.call(1, method);
            for changes in
                [&[][..], &[("mcp-method", None)], &[(VERSION, None)], &[(VERSION, Some("2099-01-01"))]]
            {
                let reply = client.post_with(&message, changes).await;
                let error = refused(&fixture, reply, 400, -32600, &message).await;
                let served = ["2025-03-26", "2025-06-18", "2025-11-25"];
                assert_eq!(error["data"]["supported"], json!(served), "{error}");
            }
        }
        let mut legacy = fixture.stranger();
        assert_eq!(legacy.initialize("2025-11-25").await["result"]["protocolVersion"], "2025-11-25");
        let headers = [(VERSION, Some(MODERN))];
        assert_eq!(client.post_with(&notification("notifications/x"), &headers).await.status, 400);
    });
}

/// E-26, E-27: whether clients of the old era have sessions changes nothing for those of the new one.
fn every_mode_of_sessions_serves_it(bed: &impl TestBed) {
    for sessions in [Sessions::Optional, Sessions::Stateful, Sessions::Stateless] {
        for eras in [Eras::Both, Eras::Modern] {
            let mut fixture = Fixture::new(bed, |config| (config.sessions, config.eras) = (sessions, eras));
            bed.block_on(async {
                let client = fixture.modern();
                let ready = client.post(&client.call(1, "echo")).await.answer().await;
                assert_eq!(ready["result"]["resultType"], "complete");
                let running = client.start(&client.call(2, "work"));
                fixture.work().await.finish(json!({ "a": 1 }));
                assert_eq!(running.head().await.answer().await["result"]["a"], 1);
                let (stream, honoured) = client.listen(3, json!({ "toolsListChanged": true })).await;
                assert_eq!(honoured, json!({ "toolsListChanged": true }));
                drop(stream);
                // A reply to nobody, and one that no client of this revision sends.
                let posted = client.post_with(&reply(1, json!({})), &[(VERSION, Some(MODERN))]).await;
                assert_eq!(posted.status, 400);
                fixture.until(|fixture| fixture.endpoint.stats().exchanges == 0).await;
            });
        }
    }
}
