//! Requests and notifications from the server to its clients.

use std::{collections::BTreeSet, time::Duration};

use futures::FutureExt;
use mcp_session_core::{
    ErrorCode, RequestError, RpcError, SendError, Session, SessionEvent, TerminateReason,
};
use serde_json::{Value, json};

use super::fixture::{
    Client, Fixture, NEVER, Reply, SOON, initialize, notification, reply, request, request_with,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    c_12_c_13_every_capability_is_checked_before_anything_is_sent,
    f_25_errors_of_the_client_reach_the_handler,
    f_19_f_27_notifications_of_the_client_reach_the_handler,
    f_01_f_20_ids_of_each_direction_are_its_own,
    c_14_c_23_the_server_may_ping,
    f_22_a_request_outside_of_a_call_goes_onto_the_get_stream,
    c_15_a_client_that_is_gone_keeps_no_session,
    c_06_nothing_is_announced_before_initialized,
    d_21_a_broadcast_waits_for_nobody,
    e_23_elicitation_complete_goes_to_its_own_session,
    f_35_the_life_of_sessions_is_told_once,
    s_15_refused_requests_are_counted,
}

/// Creates a client of this version with these capabilities and an initialized session.
async fn declaring(fixture: &Fixture, version: &str, capabilities: Value) -> Client {
    let mut message = initialize(version, "client");
    message["params"]["capabilities"] = capabilities;
    let mut client = fixture.stranger();
    client.initialize_with(&message).await;
    assert_eq!(client.post(&notification("notifications/initialized")).await.status, 202);
    client
}

/// Opens the GET stream of a client.
async fn listen(client: &Client) -> Reply {
    let mut stream = client.get().await;
    stream.opened().await; // B-33
    stream
}

/// C-12, C-13: a request that needs a capability that the client did not declare, in the negotiated version, is
/// refused locally, and nothing is sent. A declared one is sent, in the declared mode.
fn c_12_c_13_every_capability_is_checked_before_anything_is_sent(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let requests = [
            ("sampling/createMessage", json!({}), "sampling"),
            ("sampling/createMessage", json!({ "tools": [] }), "sampling.tools"),
            ("elicitation/create", json!({}), "elicitation"),
            ("elicitation/create", json!({ "mode": "form" }), "elicitation"),
            ("elicitation/create", json!({ "mode": "url" }), "elicitation.url"),
            ("roots/list", json!({}), "roots"),
        ];
        let everything =
            json!({ "sampling": { "tools": {} }, "elicitation": { "form": {}, "url": {} }, "roots": {} });
        for (version, capabilities, sent) in [
            ("2025-11-25", everything.clone(), [true, true, true, true, true, true]),
            ("2025-11-25", json!({}), [false; 6]),
            (
                "2025-11-25",
                json!({ "sampling": {}, "elicitation": {} }),
                [true, false, true, true, false, false],
            ),
            (
                "2025-11-25",
                json!({ "elicitation": { "url": {} }, "roots": null }),
                [false, false, false, false, true, false],
            ),
            ("2025-06-18", everything.clone(), [true, false, true, true, false, true]),
            ("2025-03-26", everything, [true, false, false, false, false, true]),
        ] {
            let client = declaring(&fixture, version, capabilities.clone()).await;
            let running = client.start(&request(1, "work"));
            let work = fixture.work().await;
            for ((method, params, capability), sent) in requests.iter().zip(sent) {
                let asked = work.cx.request(method, Some(params), Duration::ZERO).await;
                let what = format!("{version} {capabilities}: {method} {params}");
                match asked {
                    Err(RequestError::TimedOut) => assert!(sent, "{what}"), // sent, with a timeout of zero
                    Err(RequestError::Undeclared(missing)) => {
                        assert!(!sent && capability.starts_with(missing), "{what}: {missing}");
                    }
                    other => panic!("{what}: {other:?}"),
                }
            }
            work.finish(json!({}));
            let reply = running.head().await;
            let messages = if reply.is_stream() { reply.messages().await } else { vec![reply.json().await] };
            let asked = messages.iter().filter(|m| m.get("method").is_some() && m.get("id").is_some());
            assert_eq!(asked.count(), sent.iter().filter(|sent| **sent).count(), "{messages:?}");
        }
    });
}

/// F-25: every error from a client reaches the handler unchanged.
fn f_25_errors_of_the_client_reach_the_handler(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let client_side = async {
            let mut stream = running.head().await;
            for code in [-1, -32601, -32602, -32603, 7] {
                let id = stream.message().await.unwrap()["id"].clone();
                let error = json!({ "code": code, "message": "no", "data": { "n": code } });
                let answer = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                assert_eq!(client.post(&answer).await.status, 202);
            }
            stream.answer().await
        };
        let server_side = async {
            for code in [-1, -32601, -32602, -32603, 7] {
                let asked = work.cx.request("sampling/createMessage", None::<&()>, NEVER).await;
                let error = RpcError::new(ErrorCode(code), "no").with_data(json!({ "n": code }));
                assert_eq!(asked, Err(RequestError::Client(error)));
            }
            work.finish(json!({}));
        };
        futures::join!(client_side, server_side);
    });
}

/// F-19, F-27: notifications from the client about a request of the server, or about its roots, are accepted and
/// reach the handler.
fn f_19_f_27_notifications_of_the_client_reach_the_handler(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        for method in ["notifications/roots/list_changed", "notifications/progress"] {
            let message =
                json!({ "jsonrpc": "2.0", "method": method, "params": { "progressToken": "unknown" } });
            assert_eq!(client.post(&message).await.status, 202);
            let told = fixture.notification().await;
            assert_eq!(
                (&*told.method, told.params.unwrap().as_str()),
                (method, r#"{"progressToken":"unknown"}"#)
            );
        }
    });
}

/// F-01, F-20: the ids of the two directions are independent.
fn f_01_f_20_ids_of_each_direction_are_its_own(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(0, "work"));
        let work = fixture.work().await;
        let client_side = async {
            let mut stream = running.head().await;
            let mut ids = BTreeSet::new();
            for _ in 0..3 {
                let asked = stream.message().await.unwrap();
                let id = asked["id"].as_u64().expect("never null");
                assert!(ids.insert(id), "{ids:?}");
                // A cancel names requests of the client: not the server's own request with that number, nor id 0,
                // which is answered below.
                if id != 0 {
                    assert_eq!(client.post(&super::fixture::cancel(id)).await.status, 202);
                }
                assert_eq!(client.post(&reply(id, json!({}))).await.status, 202);
            }
            stream.answer().await
        };
        let server_side = async {
            for _ in 0..3 {
                assert!(work.cx.request("roots/list", None::<&()>, NEVER).await.is_ok());
            }
            work.finish(json!({}));
        };
        let (answer, ()) = futures::join!(client_side, server_side);
        assert_eq!(answer["id"], 0);
    });
}

/// C-14, C-23, D-24: the server may ping outside a call of the client. It needs a GET stream.
fn c_14_c_23_the_server_may_ping(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let session = client.session();
        let closed = Err(RequestError::Send(SendError::Closed));
        assert_eq!(session.ping(NEVER).await, closed); // at once
        let mut get = listen(&client).await;
        let answers = async {
            let asked = get.message().await.unwrap();
            assert_eq!(asked["method"], "ping");
            assert_eq!(client.post(&reply(asked["id"].clone(), json!({}))).await.status, 202);
            get
        };
        let (pong, mut get) = futures::join!(session.ping(NEVER), answers);
        assert_eq!(pong, Ok(()));
        // F-24: without an answer, and dropped.
        assert_eq!(session.ping(SOON).await, Err(RequestError::TimedOut));
        assert!(session.ping(NEVER).now_or_never().is_none());
        for _ in 0..2 {
            let asked = get.message().await.unwrap();
            let told = get.message().await.unwrap();
            assert_eq!(
                (&asked["method"], &told["method"]),
                (&json!("ping"), &json!("notifications/cancelled"))
            );
            assert_eq!(told["params"]["requestId"], asked["id"]);
        }
        let ended = futures::join!(session.ping(NEVER), async { client.delete().await.status }).0;
        assert_eq!(ended, Err(RequestError::Terminated(TerminateReason::ClientDelete))); // F-32
    });
}

/// F-22, C-06, C-13, D-24: a request that belongs to no call goes onto the GET stream, to a client that is initialized and
/// has declared what it needs. Its reply reaches the one that waits.
fn f_22_a_request_outside_of_a_call_goes_onto_the_get_stream(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let none = None::<&()>;
        let mut message = initialize("2025-11-25", "client");
        message["params"]["capabilities"] = json!({ "roots": {} });
        let mut client = fixture.stranger();
        client.initialize_with(&message).await;
        let session = client.session();
        let mut get = listen(&client).await;
        assert_eq!(session.request("roots/list", none, NEVER).await, Err(RequestError::NotInitialized));
        assert_eq!(client.post(&notification("notifications/initialized")).await.status, 202);
        let undeclared = session.request("elicitation/create", Some(&json!({})), NEVER).await;
        assert_eq!(undeclared, Err(RequestError::Undeclared("elicitation")));
        assert!(session.request("roots/list", Some(&[1]), NEVER).await.is_err(), "no object");
        let answers = async {
            let asked = get.message().await.unwrap();
            assert_eq!((&asked["method"], asked.get("params")), (&json!("roots/list"), None));
            let roots = json!({ "roots": [] });
            assert_eq!(client.post(&reply(asked["id"].clone(), roots)).await.status, 202);
        };
        let (reply, ()) = futures::join!(session.request("roots/list", none, NEVER), answers);
        assert_eq!(reply.unwrap().as_str(), r#"{"roots":[]}"#);
        drop(get);
        let other = fixture.client().await; // without a GET stream
        let closed = Err(RequestError::Send(SendError::Closed));
        assert_eq!(other.session().request("acme/x", none, NEVER).await, closed);
    });
}

/// C-15: a client with an open GET stream that is silent and does not answer pings loses the stream, and then its
/// session. A client that answers keeps both.
fn c_15_a_client_that_is_gone_keeps_no_session(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| {
        config.session.ping_interval = SOON;
        config.session.idle_timeout = SOON;
    });
    bed.block_on(async {
        loop {
            let gone = fixture.client().await;
            let mut proxy = gone.get().await; // keeps reading for a client that is gone
            let messages = if proxy.status == 200 { heard(&mut proxy).await } else { Vec::new() };
            if messages == ["ping", "notifications/cancelled"] {
                fixture.until(|fixture| fixture.ended().contains(&(gone.id(), TerminateReason::Idle))).await;
                break;
            }
            // The session was idle, or its stream unread, for longer than a session lives. In virtual time none is.
            assert!(bed.name() != "sim" && messages.len() < 2, "{messages:?}");
        }
        let unanswered = fixture.endpoint.stats().pings_unanswered;
        assert!(unanswered == 1 || (unanswered > 1 && bed.name() != "sim"), "{unanswered}");
    });
    let interval = SOON * 5;
    let fixture = Fixture::new(bed, |config| config.session.ping_interval = interval);
    bed.block_on(async {
        let mut heard = fixture.runtime.now(); // a ping follows after `interval`, and its answer is due after another
        let there = fixture.client().await;
        let mut stream = listen(&there).await;
        for answered in 0..3 {
            assert_eq!(stream.message().await.unwrap()["method"], "ping");
            let answers = fixture.runtime.now();
            assert_eq!(there.post(&reply(answered, json!({}))).await.status, 202);
            let stats = fixture.endpoint.stats();
            if fixture.runtime.now() - heard > interval * 2 {
                return; // the machine was too slow for any client to answer in time
            }
            assert_eq!((stats.streams, stats.pings_unanswered), (1, 0));
            heard = answers;
        }
    });
}

/// The methods of the messages of a stream, up to its clean end.
async fn heard(stream: &mut Reply) -> Vec<Value> {
    let mut methods = Vec::new();
    while let Some(mut message) = stream.message().await {
        methods.push(message["method"].take());
    }
    methods
}

/// C-06: nothing is announced before `notifications/initialized`, but afterwards it is.
fn c_06_nothing_is_announced_before_initialized(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let mut client = fixture.stranger();
        client.initialize("2025-11-25").await;
        let mut get = listen(&client).await;
        let session = client.session();
        session.notify("notifications/tools/list_changed", None::<&()>).await.unwrap();
        let told =
            fixture.endpoint.manager().broadcast("notifications/tools/list_changed", None::<&()>).unwrap();
        assert_eq!((told.taken, told.unheard), (0, 1));
        assert!(get.is_silent());
        client.post(&notification("notifications/initialized")).await;
        session.notify("notifications/after", None::<&()>).await.unwrap();
        assert_eq!(get.message().await.unwrap()["method"], "notifications/after");
    });
}

/// D-17, D-21, S11: a broadcast reaches every session once, on its GET stream, and waits for none of them.
fn d_21_a_broadcast_waits_for_nobody(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| {
        config.session.queue_events = 2;
        config.session.replay = None; // with replay, unheard messages are kept
        config.session.terminate.finish = SOON;
    });
    bed.block_on(async {
        let clients = [fixture.client().await, fixture.client().await, fixture.client().await];
        let [mut first, mut second] = [listen(&clients[0]).await, listen(&clients[1]).await];
        let deaf = fixture.client().await;
        let running = clients[0].start(&request_with(1, "work", json!({ "_meta": { "progressToken": 1 } })));
        let work = fixture.work().await;
        work.cx.progress(1.0, None, None).await.unwrap();
        let stalled = fixture.client().await;
        let _unread = listen(&stalled).await;
        while stalled.session().try_notify("notifications/x", None::<&()>) != Err(SendError::Full) {}

        let manager = fixture.endpoint.manager();
        let told = manager.broadcast("notifications/tools/list_changed", None::<&()>).unwrap();
        assert_eq!((told.taken, told.full, told.unheard), (2, 1, 2));
        for stream in [&mut first, &mut second] {
            assert_eq!(stream.message().await.unwrap()["method"], "notifications/tools/list_changed");
            assert!(stream.is_silent());
        }
        work.finish(json!({}));
        let of_the_call = running.head().await.messages().await; // not on the stream of a call
        assert!(of_the_call.iter().all(|message| message["method"] != "notifications/tools/list_changed"));
        assert_eq!(manager.broadcast("notifications/x", Some(&json!([1]))), Err(SendError::Invalid));
        deaf.delete().await;
        let params = json!({ "uri": "a://b" });
        let told = manager.broadcast("notifications/resources/updated", Some(&params)).unwrap();
        assert_eq!((told.taken, told.full, told.unheard), (2, 1, 1));
        assert_eq!(first.message().await.unwrap()["params"], params);
    });
}

/// E-23: a notification about an elicitation goes only to the session of that elicitation, once.
fn e_23_elicitation_complete_goes_to_its_own_session(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (client, other) = (fixture.client().await, fixture.client().await);
        let (mut own, mut others) = (listen(&client).await, listen(&other).await);
        let params = json!({ "elicitationId": "e1" });
        client.session().notify("notifications/elicitation/complete", Some(&params)).await.unwrap();
        assert_eq!(own.message().await.unwrap()["params"], params);
        assert!(own.is_silent() && others.is_silent());
    });
}

/// F-35, S12: the lifecycle events of sessions: created, initialized, and terminated with the reason, each once and
/// in order. A slow subscriber misses events and delays nobody. The channel ends with the endpoint.
fn f_35_the_life_of_sessions_is_told_once(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let manager = fixture.endpoint.manager();
        let (events, late, small) = (manager.events(64), manager.events(64), manager.events(0));
        drop(late);
        let _refused = fixture.stranger().post(&initialize("2025-11-25", "refused")).await;
        let (deleted, evicted) = (fixture.client().await, fixture.client().await);
        deleted.post(&notification("notifications/initialized")).await; // C-19: no second event
        futures::join!(deleted.delete(), deleted.delete());
        let session: Session = evicted.session();
        session.terminate(TerminateReason::Evicted).await;
        let [one, two] = [deleted.id(), evicted.id()];
        let mut heard = Vec::new();
        for _ in 0..6 {
            heard.push(events.recv().await.unwrap());
        }
        assert_eq!(
            heard,
            [
                SessionEvent::Created(one),
                SessionEvent::Initialized(one),
                SessionEvent::Created(two),
                SessionEvent::Initialized(two),
                SessionEvent::Terminated(one, TerminateReason::ClientDelete),
                SessionEvent::Terminated(two, TerminateReason::Evicted),
            ]
        );
        assert_eq!((events.try_recv(), std::iter::from_fn(|| small.try_recv()).count()), (None, 1));
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.sessions, stats.sessions_created, stats.sessions_terminated), (0, 2, 2));
    });
}

/// S15: refused requests are counted, and only as refused.
fn s_15_refused_requests_are_counted(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let before = fixture.endpoint.stats();
        assert_eq!(before.requests_refused, 0);
        fixture.stranger().get().await;
        client.post_text("{").await;
        client.post(&request(1, "no/such/method")).await; // answered, not refused
        let after = fixture.endpoint.stats();
        assert_eq!(after.requests_refused, 2);
        assert_eq!(after.exchanges_admitted, before.exchanges_admitted + 1);
    });
}
