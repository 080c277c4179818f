//! How sessions begin and end on the wire (C, E), and what happens to requests in flight (F).

use std::sync::atomic::Ordering::SeqCst;

use futures::future::join_all;
use http::{Method, StatusCode};
use mcp_session_core::{CancelReason, SessionId, Sessions, ShutdownPolicy, TerminateReason};
use serde_json::{Value, json};

use super::fixture::{
    Attached, Client, Fixture, SOON, cancel, initialize, notification, reply, request, request_with,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    c_01_e_09_initialize_comes_first,
    c_03_c_09_c_25_a_version_mismatch_is_no_error,
    e_01_e_16_e_21_the_id_is_told_once,
    e_11_e_12_e_13_f_28_a_dead_id_is_404_for_everything,
    the_data_of_a_session_ends_with_it,
    b_43_a_session_whose_data_cannot_be_made,
    e_17_nothing_of_a_session_is_left_to_the_next,
    f_04_f_05_f_06_races_of_cancels_are_harmless,
    f_12_f_18_progress_follows_its_request,
    f_22_requests_go_out_on_the_stream_of_their_call,
    f_29_f_30_f_31_f_34_f_36_what_a_terminated_session_leaves,
    c_16_f_41_there_is_no_message_for_a_shutdown,
}

/// One request of each kind that names a session.
async fn statuses(client: &Client) -> Vec<u16> {
    let messages = [
        request(1, "echo"),
        request(1, "ping"),
        notification("notifications/initialized"),
        notification("notifications/anything"),
        cancel(1),
        reply(0, json!({})),
    ];
    let posts = join_all(messages.iter().map(|message| client.post(message))).await;
    let mut resuming = client.request(Method::GET).body(String::new()).unwrap();
    resuming.headers_mut().insert("last-event-id", "0-0".parse().unwrap());
    let others = [client.get().await, client.send(resuming).await, client.delete().await];
    posts.into_iter().chain(others).map(|reply| reply.status.as_u16()).collect()
}

/// C-01, E-09: where every request needs a session, `initialize` comes first, and every other request without one gets
/// 400. Where sessions are optional, it is served by itself (E-26), and only GET and DELETE are refused (E-32).
fn c_01_e_09_initialize_comes_first(bed: &impl TestBed) {
    let served = [200, 200, 202, 202, 202, 202, 405, 405, 405];
    for (sessions, expected) in [(Sessions::Stateful, [400; 9]), (Sessions::Optional, served)] {
        let fixture = Fixture::new(bed, |config| config.sessions = sessions);
        bed.block_on(async {
            assert_eq!(statuses(&fixture.stranger()).await, expected);
            assert_eq!(fixture.endpoint.stats().sessions_created, 0);
            let client = fixture.client().await;
            assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::OK);
        });
    }
}

/// C-03, C-09, C-25: `initialize` succeeds for every requested version, with all required members in its result.
fn c_03_c_09_c_25_a_version_mismatch_is_no_error(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for version in ["", "1.0", "2024-11-05", "2025-11-25", "2026-07-28", "9999-99-99"] {
            let mut client = fixture.stranger();
            let opened = client.initialize(version).await;
            let result = &opened["result"];
            assert!(result["protocolVersion"].is_string() && result["capabilities"].is_object(), "{version}");
            assert!(result["serverInfo"]["name"].is_string() && result["serverInfo"]["version"].is_string());
            assert_eq!(client.post(&notification("notifications/initialized")).await.status, 202);
        }
    });
}

/// E-01, E-16, E-21: the id is sent once, with the result of `initialize`, and never changes.
fn e_01_e_16_e_21_the_id_is_told_once(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let opened = fixture.stranger().post(&initialize("2025-11-25", "client")).await;
        let client = fixture.stranger().with_session(opened.session());
        assert!(opened.session().is_some());
        let refused = fixture.stranger().post(&initialize("2025-11-25", "refused")).await;
        assert_eq!(refused.session(), None);
        for message in [notification("notifications/initialized"), request(1, "echo"), request(2, "ping")] {
            assert_eq!(client.post(&message).await.header("mcp-session-id"), "", "{message}");
        }
        assert_eq!(client.get().await.header("mcp-session-id"), "");
        assert_eq!(client.delete().await.header("mcp-session-id"), "");
    });
}

/// E-11, E-12, E-13, F-28: every request with an ended, unknown or malformed id gets 404, and its client can open a
/// new session at once. Where sessions are optional, also with an `initialize` that still has the old id (E-28).
fn e_11_e_12_e_13_f_28_a_dead_id_is_404_for_everything(bed: &impl TestBed) {
    for sessions in [Sessions::Stateful, Sessions::Optional] {
        let fixture = Fixture::new(bed, |config| config.sessions = sessions);
        bed.block_on(a_dead_id_is_404_for_everything(&fixture, sessions));
    }
}

async fn a_dead_id_is_404_for_everything(fixture: &Fixture, sessions: Sessions) {
    let (deleted, evicted) = (fixture.client().await, fixture.client().await);
    deleted.delete().await;
    evicted.session().terminate(TerminateReason::Evicted).await;
    let unknown = fixture.stranger().with_session(Some(SessionId::from_bits(12)));
    for client in [&deleted, &evicted, &unknown] {
        assert_eq!(statuses(client).await, [404; 9]);
        let again = client.post(&initialize("2025-11-25", "client")).await;
        if sessions == Sessions::Stateful {
            assert_eq!((again.status, again.session()), (StatusCode::NOT_FOUND, None));
        } else {
            assert!(again.session().is_some_and(|id| id != client.id()));
        }
        assert_eq!(statuses(client).await, [404; 9]); // it is still as dead
    }
    for malformed in ["x", "0", "ffffffffffffffffffffffffffffffffff", "../../etc/passwd"] {
        let mut http = fixture.stranger().request(Method::POST).body(request(1, "echo").to_string()).unwrap();
        http.headers_mut().insert("mcp-session-id", malformed.parse().unwrap());
        assert_eq!(fixture.stranger().send(http).await.status, StatusCode::NOT_FOUND, "{malformed:?}");
    }
    assert_eq!(fixture.client().await.post(&request(1, "echo")).await.status, StatusCode::OK);
    let again = if sessions == Sessions::Optional { 3 } else { 0 };
    assert_eq!(fixture.endpoint.stats().sessions, 1 + again);
}

/// The data of a session is created once, kept between requests, and separate for each session. It is dropped after
/// the session has ended and its hook was called, even if handles of the session still exist.
fn the_data_of_a_session_ends_with_it(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let refused = fixture.stranger().post(&initialize("2025-11-25", "refused")).await;
        assert!(refused.json().await["error"].is_object());
        assert_eq!(fixture.attached(), 0); // C-20
        let (first, second) = (fixture.client().await, fixture.client().await);
        assert_eq!(fixture.attached(), 2);
        for n in 0..3_u8 {
            let running = first.start(&request(n, "work"));
            let work = fixture.work().await;
            let data =
                work.cx.data::<Attached>().expect("it was attached before anybody knew of the session");
            assert_eq!(data.used.fetch_add(1, SeqCst), usize::from(n));
            assert!(work.cx.data::<String>().is_none()); // of another type
            drop(data);
            work.finish(json!({}));
            assert_eq!(running.head().await.answer().await["id"], n);
        }
        assert_eq!(second.session().data::<Attached>().unwrap().used.load(SeqCst), 0);

        let session = first.session();
        first.delete().await;
        fixture.until(|fixture| fixture.attached() == 1).await;
        assert!(session.data::<Attached>().is_none());
        assert_eq!(fixture.found(), [session.id()]);

        let held = second.session().data::<Attached>().unwrap();
        fixture.endpoint.shutdown(ShutdownPolicy::default()).await;
        assert_eq!((fixture.attached(), fixture.found().len()), (1, 2)); // handles still have the data
        drop(held);
        assert_eq!(fixture.attached(), 0);
    });
}

/// B-43, C-20: if the handler panics while it creates session data, `initialize` fails and leaves nothing behind.
fn b_43_a_session_whose_data_cannot_be_made(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        fixture.attach_nothing();
        let failed = fixture.stranger().post(&initialize("2025-11-25", "client")).await;
        assert_eq!((failed.status, failed.session()), (StatusCode::INTERNAL_SERVER_ERROR, None));
        let error = failed.json().await;
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(0), &json!(-32603)));
        fixture.until(|fixture| fixture.endpoint.stats().sessions == 1).await;
        assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::OK);
        assert_eq!(fixture.attached(), 1);
    });
}

/// E-17: request ids, progress tokens and the server's own ids start anew in every session, and end with it.
fn e_17_nothing_of_a_session_is_left_to_the_next(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.terminate.cancel = SOON);
    bed.block_on(async {
        let mut asked = Vec::new();
        for _ in 0..3 {
            let client = fixture.client().await;
            let running = client.start(&request_with(1, "work", json!({ "_meta": { "progressToken": 1 } })));
            let work = fixture.work().await;
            work.cx.progress(1.0, None, None).await.unwrap();
            let mut stream = running.head().await;
            assert_eq!(
                stream.message().await.unwrap()["params"],
                json!({ "progressToken": 1, "progress": 1.0 })
            );
            let waits = work.cx.request("roots/list", None::<&()>, super::fixture::NEVER);
            let ends = async {
                asked.push(stream.message().await.unwrap()["id"].clone());
                assert_eq!(client.delete().await.status, 204);
            };
            let (failed, ()) = futures::join!(waits, ends);
            assert!(failed.is_err()); // F-32
            fixture.until(|fixture| fixture.endpoint.manager().sessions().is_empty()).await;
            fixture.until(|_| work.is_dropped()).await;
        }
        assert_eq!(asked, [json!(0), json!(0), json!(0)]);
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.sessions, stats.exchanges, stats.streams), (0, 0, 0));
    });
}

/// F-04, F-05, F-06: a late cancel or a late answer is harmless.
fn f_04_f_05_f_06_races_of_cancels_are_harmless(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.json_client().await;
        let running = client.start(&request(1, "work"));
        fixture.work().await.finish(json!({ "n": 1 }));
        assert_eq!(running.head().await.answer().await["result"]["n"], 1);
        assert_eq!(client.post(&cancel(1)).await.status, 202); // after its completion
        let running = client.start(&request(1, "work")); // the same id again, but not the cancelled request
        let work = fixture.work().await;
        assert_eq!(work.cx.cancel_reason(), None);
        for _ in 0..2 {
            assert_eq!(client.post(&cancel(1)).await.status, 202);
        }
        assert_eq!(work.cx.cancelled().await, CancelReason::Client(Some("enough".into())));
        work.finish(json!({ "n": 2 })); // after its cancellation
        let answer = running.head().await.answer().await;
        assert_eq!(answer["error"]["code"], -32800);
        assert_eq!(client.post(&request(1, "echo")).await.status, 200);
    });
}

/// F-12, F-18: a token keeps its type and value, and progress refers to the request it came with, even if several
/// requests use the same token.
fn f_12_f_18_progress_follows_its_request(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (one, two) = (fixture.client().await, fixture.client().await);
        for token in [json!(1), json!("1"), json!(9_007_199_254_740_993_u64), json!("é")] {
            let message = request_with(1, "work", json!({ "_meta": { "progressToken": token } }));
            let mut streams = Vec::new();
            for (client, progress) in [(&one, 1.0), (&two, 2.0)] {
                let running = client.start(&message);
                let work = fixture.work().await;
                work.cx.progress(progress, None, None).await.unwrap();
                streams.push((running.head().await, work, progress));
            }
            for (stream, work, progress) in streams {
                work.finish(json!({}));
                let messages = stream.messages().await;
                assert_eq!(messages[0]["params"], json!({ "progressToken": token, "progress": progress }));
                assert_eq!((messages.len(), &messages[1]["id"]), (2, &json!(1)));
            }
        }
        for illegal in [json!(null), json!(1.5), json!({}), json!([1]), json!(true)] {
            let running =
                one.start(&request_with(1, "work", json!({ "_meta": { "progressToken": illegal } })));
            let work = fixture.work().await;
            assert!(!work.cx.wants_progress(), "{illegal}");
            work.finish(json!({}));
            running.head().await.answer().await;
        }
    });
}

/// F-22: a request from the server is sent on the stream of the call it belongs to, never on the GET stream.
fn f_22_requests_go_out_on_the_stream_of_their_call(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let mut get = client.get().await;
        assert!(get.event().await.is_some());
        let other = client.start(&request(1, "work"));
        let other_work = fixture.work().await;
        other_work.cx.notify("notifications/message", None::<&()>).await.unwrap();
        let mut other = other.head().await;
        assert!(other.message().await.is_some());
        let running = client.start(&request(2, "work"));
        let work = fixture.work().await;
        let client_side = async {
            let mut stream = running.head().await;
            let asked = stream.message().await.unwrap();
            assert_eq!(asked["method"], "sampling/createMessage");
            client.post(&reply(asked["id"].clone(), json!({}))).await;
        };
        let (asked, ()) = futures::join!(
            work.cx.request("sampling/createMessage", None::<&()>, super::fixture::NEVER),
            client_side
        );
        assert!(asked.is_ok() && get.is_silent() && other.is_silent());
        other_work.finish(json!({}));
        work.finish(json!({}));
    });
}

/// F-29, F-30, F-31, F-34, F-36: a terminated session answers each running request once, as events or as JSON, and
/// ends every stream cleanly and without `retry`. Nothing follows. Afterwards everything gets 404.
fn f_29_f_30_f_31_f_34_f_36_what_a_terminated_session_leaves(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.terminate.cancel = SOON);
    bed.block_on(async {
        let client = fixture.json_client().await;
        let mut get = client.get().await;
        assert!(get.event().await.is_some());
        let (events, json) = (client.start(&request(1, "work")), client.start(&request(2, "work")));
        let works = [fixture.work().await, fixture.work().await];
        let first = works.iter().find(|work| work.cx.id() == &1.into()).unwrap();
        first.cx.notify("notifications/message", None::<&()>).await.unwrap();
        let mut events = events.head().await;
        assert_eq!(client.delete().await.status, StatusCode::NO_CONTENT); // does not wait for handlers (E-25)
        let mut text = Vec::new();
        while let Some(event) = events.event().await {
            text.push(String::from_utf8(event.expect("not cut").to_vec()).unwrap());
        }
        assert_eq!(text.len(), 2, "{text:?}");
        assert!(text[1].contains(r#""id":1,"error""#) && text.iter().all(|event| !event.contains("retry:")));
        let json = json.head().await;
        assert_eq!((json.status, json.is_stream()), (StatusCode::OK, false));
        let json: Value = json.json().await;
        assert_eq!((&json["id"], &json["error"]["data"]["reason"]), (&json!(2), &json!("client_delete")));
        assert!(get.event().await.is_none());
        assert_eq!(statuses(&client).await, [404; 9]);
        for work in works {
            let cx = work.cx.clone();
            assert!(cx.notify("notifications/late", None::<&()>).await.is_err()); // F-33
        }
    });
}

/// C-16, F-41: no message announces a shutdown: open streams just end, and new requests get 503 or 404.
fn c_16_f_41_there_is_no_message_for_a_shutdown(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let mut get = client.get().await;
        get.opened().await;
        let shutdown = fixture.endpoint.shutdown(ShutdownPolicy::default());
        assert!(get.event().await.is_none());
        assert!(shutdown.await.is_clean());
        assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::NOT_FOUND);
    });
}
