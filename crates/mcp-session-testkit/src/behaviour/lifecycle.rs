//! Sessions: how they begin, and how they end.

use std::time::Duration;

use futures::{
    FutureExt,
    future::{Either, LocalBoxFuture, select},
};
use http::StatusCode;
use mcp_session_core::{
    CancelReason, ProtocolVersion, SendError, SessionEvent, ShutdownPolicy, TerminateReason,
};
use serde_json::{Value, json};

use super::fixture::{
    Client, Fixture, Hook, NEVER, Reply, SOON, Work, cancel, initialize, notification, reply, request,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    c_07_c_08_versions_are_negotiated,
    c_02_initialize_params_are_checked,
    c_20_a_failed_initialize_leaves_nothing,
    c_17_c_19_repeated_initialization,
    c_14_ping_in_every_state,
    e_24_b_38_one_delete_wins,
    e_25_delete_does_not_wait_for_handlers,
    e_14_idle_sessions_expire,
    a_running_call_is_never_idle,
    an_open_stream_is_not_idle,
    c_10_half_open_sessions_expire,
    c_18_e_14_a_used_session_lives_without_initialized,
    e_14_d_12_an_unreachable_call_is_given_up,
    e_14_a_client_that_can_come_back_finds_its_call,
    e_15_sessions_are_capped,
    e_15_the_cap_counts_what_lingers,
    e_15_a_hook_that_hangs_gives_its_place_back,
    e_15_an_unused_session_makes_room,
    e_15_a_used_session_never_makes_room,
    s_12_one_reason_everywhere,
    dropping_the_endpoint_cuts_what_is_open,
}

/// C-07, C-08: a supported version is echoed; any other version gets the newest.
fn c_07_c_08_versions_are_negotiated(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for version in ["2025-03-26", "2025-06-18", "2025-11-25", "2024-11-05", "2026-07-28", "garbage"] {
            let mut client = fixture.stranger();
            let answer = client.initialize(version).await;
            let expected = ProtocolVersion::parse(version).unwrap_or(ProtocolVersion::LATEST_WITH_HANDSHAKE);
            assert_eq!(answer["result"]["protocolVersion"], expected.as_str());
            assert_eq!(answer["result"]["serverInfo"]["name"], "fixture"); // C-03
            assert!(answer["result"]["capabilities"].is_object());
            assert_eq!(client.session().version(), expected);
        }
    });
}

/// C-02: missing or mistyped params of `initialize` get -32602 and no session.
fn c_02_initialize_params_are_checked(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for member in ["protocolVersion", "capabilities", "clientInfo"] {
            for value in [None, Some(json!(7)), Some(json!([]))] {
                let mut message = initialize("2025-11-25", "client");
                let params = message["params"].as_object_mut().unwrap();
                match &value {
                    Some(value) => params.insert(member.to_owned(), value.clone()),
                    None => params.remove(member),
                };
                let reply = fixture.stranger().post(&message).await;
                assert_eq!(reply.session(), None);
                let answer = reply.json().await;
                assert_eq!(
                    (&answer["error"]["code"], &answer["id"]),
                    (&json!(-32602), &json!(0)),
                    "{member} {value:?}"
                );
            }
        }
        let bare = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize" });
        assert_eq!(fixture.stranger().post(&bare).await.json().await["error"]["code"], -32602);
        assert_eq!(fixture.endpoint.stats().sessions, 0);
    });
}

/// C-20: a failed `initialize` leaves nothing behind, and its answer has no session id.
fn c_20_a_failed_initialize_leaves_nothing(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for name in ["refused", "panics"] {
            let reply = fixture.stranger().post(&initialize("2025-11-25", name)).await;
            assert_eq!((reply.status, reply.session()), (StatusCode::OK, None), "{name}");
            assert_eq!(reply.json().await["error"]["code"], -32603, "{name}");
        }
        assert_eq!(fixture.endpoint.stats().sessions, 0);
        assert_eq!(fixture.endpoint.stats().sessions_created, 0);
        assert!(fixture.endpoint.manager().sessions().is_empty());
        assert!(fixture.ended().is_empty()); // the application has never seen it
    });
}

/// C-17, C-19: a second `initialize` is refused, a second `initialized` ignored.
fn c_17_c_19_repeated_initialization(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        assert_eq!(client.post(&initialize("2025-06-18", "client")).await.status, 400);
        assert_eq!(client.session().version(), ProtocolVersion::V2025_11_25);
        assert_eq!(client.post(&notification("notifications/initialized")).await.status, 202);
        assert_eq!(client.post(&request(1, "echo")).await.status, 200);
    });
}

/// C-14, C-18: `ping` is answered in every state, also while other requests run; requests before `initialized` are
/// answered too.
fn c_14_ping_in_every_state(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let mut client = fixture.stranger();
        client.initialize("2025-11-25").await;
        assert_eq!(
            client.post(&request(1, "ping")).await.json().await,
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} })
        );
        assert_eq!(client.post(&request(2, "echo")).await.status, 200);
        client.post(&notification("notifications/initialized")).await;
        let running = client.start(&request(3, "work"));
        let work = fixture.work().await;
        assert_eq!(client.post(&request(4, "ping")).await.json().await["result"], json!({}));
        work.finish(json!({}));
        running.head().await.answer().await;
    });
}

/// E-24, B-38: of several DELETEs exactly one succeeds. The others, and all later requests, get 404.
fn e_24_b_38_one_delete_wins(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let deletes = futures::future::join_all((0..5).map(|_| client.delete())).await;
        let mut statuses: Vec<u16> = deletes.iter().map(|reply| reply.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 404, 404, 404, 404]);
        for message in
            [request(1, "echo"), request(1, "ping"), notification("x"), initialize("2025-11-25", "c")]
        {
            assert_eq!(client.post(&message).await.status, 404);
        }
        // E-11: 404 comes first, whatever else is wrong with the request.
        assert_eq!(client.post(&request(1, "initialize")).await.status, 404);
        assert_eq!(client.get().await.status, 404);
        fixture.until(|fixture| fixture.ended() == [(client.id(), TerminateReason::ClientDelete)]).await;
    });
}

/// E-25, F-28 to F-33: DELETE does not wait for handlers. They are cancelled and their requests answered; the id is
/// invalid at once.
fn e_25_delete_does_not_wait_for_handlers(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.terminate.cancel = SOON);
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request("slow", "work"));
        let work = fixture.work().await;
        assert_eq!(client.delete().await.status, 204);
        assert_eq!(client.post(&request(2, "echo")).await.status, 404);
        assert!(work.cx.cancel_reason().is_some());
        let answer = running.head().await.answer().await;
        assert_eq!(answer["id"], "slow");
        assert_eq!(answer["error"]["code"], -32000);
        assert_eq!(answer["error"]["data"], json!({ "reason": "client_delete", "retryable": false }));
        fixture.until(|_| work.is_dropped()).await;
        fixture.until(|fixture| fixture.ended() == [(client.id(), TerminateReason::ClientDelete)]).await;
        assert!(fixture.endpoint.manager().get(&client.id()).is_none());
    });
}

/// E-14: a session without activity expires, and its client gets 404.
fn e_14_idle_sessions_expire(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.session.idle_timeout = SOON);
    bed.block_on(async {
        let begin = fixture.runtime.now();
        let client = fixture.client().await;
        fixture.until(|fixture| fixture.endpoint.stats().sessions == 0).await;
        assert!(fixture.runtime.now() >= begin + SOON);
        assert_eq!(client.post(&request(1, "echo")).await.status, 404);
        fixture.until(|fixture| fixture.ended() == [(client.id(), TerminateReason::Idle)]).await;
    });
}

/// A session with a running call never expires. The idle time counts from the end of the call.
fn a_running_call_is_never_idle(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.idle_timeout = SOON);
    bed.block_on(async {
        let running = loop {
            let (mut running, mut refused) = (fixture.json_client().await.start(&request(1, "work")), None);
            let begun = |fixture: &Fixture| fixture.endpoint.stats().exchanges == 1;
            fixture
                .until(|fixture| {
                    refused = running.head_now();
                    refused.is_some() || begun(fixture)
                })
                .await;
            match refused {
                None => break running,
                Some(reply) => assert_eq!(reply.status, 404), // a slow machine: expired before the call came
            }
        };
        let work = fixture.work().await;
        fixture.elapse(SOON * 3).await;
        assert_eq!(fixture.endpoint.stats().sessions, 1);
        let ended = fixture.runtime.now();
        work.finish(json!({ "ok": true }));
        assert_eq!(running.head().await.answer().await["result"]["ok"], true);
        fixture.until(|fixture| fixture.endpoint.stats().sessions == 0).await;
        assert!(fixture.runtime.now() >= ended + SOON);
    });
}

/// A GET stream keeps its session alive if its heartbeats are read, and not otherwise.
fn an_open_stream_is_not_idle(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| {
        config.session.idle_timeout = SOON * 2;
        config.session.heartbeat = SOON;
        config.session.terminate.finish = SOON;
    });
    bed.block_on(async {
        let mut attempts = 0..100;
        let (client, _stream) = loop {
            assert!(attempts.next().is_some(), "a session whose stream is read expires");
            let client = fixture.client().await;
            let mut stream = client.get().await;
            if beats(&mut stream, 6).await {
                break (client, stream);
            }
            // A client that is delayed this long counts as one that does not read. In virtual time none is.
            assert_ne!(bed.name(), "sim");
        };
        // From here on the stream is not read.
        fixture.until(|fixture| fixture.endpoint.stats().sessions == 0).await;
        fixture.until(|fixture| fixture.ended().contains(&(client.id(), TerminateReason::Idle))).await;
        assert_eq!(fixture.endpoint.stats().streams, 0);
        assert!(fixture.endpoint.stats().streams_cut == 1 || bed.name() != "sim");
    });
}

/// Waits for this many heartbeats and reads them. Returns `false` if the stream ends first.
async fn beats(stream: &mut Reply, beats: usize) -> bool {
    for beat in 0..=beats {
        match stream.event().await {
            Some(Ok(_)) if beat == 0 && stream.status == StatusCode::OK => {} // it opens the stream
            Some(Ok(event)) if stream.status == StatusCode::OK => assert_eq!(event, ":\n\n"),
            _ => return false,
        }
    }
    true
}

/// C-10: a half-open session expires: without `initialized`, or with a handler that hangs in `initialize`.
fn c_10_half_open_sessions_expire(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| {
        config.session.initialize_timeout = SOON;
        config.session.terminate.cancel = SOON;
    });
    bed.block_on(async {
        let mut client = fixture.stranger();
        client.initialize("2025-11-25").await;
        fixture.until(|fixture| fixture.endpoint.stats().sessions == 0).await;
        assert_eq!(client.post(&notification("notifications/initialized")).await.status, 404);
        fixture.until(|fixture| fixture.ended() == [(client.id(), TerminateReason::InitializeTimeout)]).await;

        let reply = fixture.stranger().post(&initialize("2025-11-25", "hangs")).await;
        assert_eq!((reply.status, reply.session()), (StatusCode::OK, None));
        assert_eq!(reply.json().await["error"]["data"]["reason"], "initialize_timeout");
        assert_eq!(fixture.endpoint.stats().sessions, 0);
    });
}

/// C-18, E-14: a session that its client uses stays alive even if `initialized` never comes. Requests, any other
/// message, and a stream that is read all count as use.
fn c_18_e_14_a_used_session_lives_without_initialized(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| {
        config.session.initialize_timeout = SOON;
        config.session.heartbeat = SOON / 4;
    });
    bed.block_on(async {
        let messages = [
            request(1, "echo"),
            request(1, "ping"),
            notification("notifications/x"),
            reply(77, json!({})),
            cancel(5),
        ];
        for message in messages {
            // A client that was delayed for too long counts as silent.
            let client = loop {
                let mut client = fixture.stranger();
                client.initialize("2025-06-18").await;
                match client.post(&message).await.status.as_u16() {
                    200 | 202 => break client,
                    status => assert!(status == 404 && bed.name() != "sim", "{message}: {status}"),
                }
            };
            fixture.elapse(3 * SOON).await;
            assert_eq!(client.post(&request(2, "echo")).await.status, 200, "{message}");
        }
        let mut stream = loop {
            let mut client = fixture.stranger();
            client.initialize("2025-06-18").await;
            let stream = client.get().await;
            if stream.status == StatusCode::OK {
                break stream;
            }
            assert_ne!(bed.name(), "sim");
        };
        assert!(beats(&mut stream, 20).await);
    });
}

/// E-14, D-12: a call continues when its client loses the connection, but not for ever if no event id could resume
/// it. The call gets the reason and is given up within its grace period, and its session expires as idle.
fn e_14_d_12_an_unreachable_call_is_given_up(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.idle_timeout = SOON);
    bed.block_on(async {
        let (client, work) = loop {
            let client = fixture.json_client().await;
            if let Some((vanishing, work)) = begin(&mut fixture, &client, request(1, "work")).await {
                drop(vanishing);
                break (client, work);
            }
            assert_ne!(bed.name(), "sim"); // the test was delayed for longer than a session lives
        };
        assert_eq!(work.cx.cancelled().await, CancelReason::Orphaned);
        fixture.until(|fixture| fixture.endpoint.manager().get(&client.id()).is_none()).await;
        work.fail(CancelReason::Orphaned.into()); // it obeys the cancellation
        fixture.until(|fixture| fixture.ended().contains(&(client.id(), TerminateReason::Idle))).await;
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.sessions, stats.exchanges, stats.exchanges_orphaned), (0, 0, 1));
        assert_eq!(stats.exchanges_cancelled, 1);
    });
    // The same in a session that is in use, and with a handler that does not obey.
    let mut fixture = Fixture::new(bed, |config| {
        config.session.idle_timeout = SOON;
        config.session.cancel_grace = SOON;
    });
    bed.block_on(async {
        let client = fixture.json_client().await;
        let (first, second) = (request(1, "work"), request(2, "work"));
        let Some((stays, other)) = begin(&mut fixture, &client, first).await else {
            return assert_ne!(bed.name(), "sim");
        };
        let (vanishing, work) = begin(&mut fixture, &client, second).await.expect("a call runs in it");
        drop(vanishing);
        fixture.until(|_| work.is_dropped()).await;
        assert_eq!((other.cx.cancel_reason(), fixture.endpoint.stats().exchanges_orphaned), (None, 1));
        other.finish(json!({}));
        assert_eq!(stays.await.answer().await["id"], 1);
    });
}

/// Begins a call of the kind under test. Returns `None` if its session has expired.
async fn begin(
    fixture: &mut Fixture,
    client: &Client,
    message: Value,
) -> Option<(LocalBoxFuture<'static, Reply>, Work)> {
    let client = client.clone();
    let mut post = async move { client.post(&message).await }.boxed_local();
    let begun = select(&mut post, Box::pin(fixture.work())).await;
    let work = match begun {
        Either::Left((reply, _)) => {
            assert_eq!(reply.status, StatusCode::NOT_FOUND);
            return None;
        }
        Either::Right((work, _)) => work,
    };
    Some((post, work))
}

/// E-14: a call waits for a client that has an event id, as long as the events it needs are kept.
fn e_14_a_client_that_can_come_back_finds_its_call(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.idle_timeout = SOON);
    bed.block_on(async {
        let (client, mut running, work) = loop {
            let client = fixture.client().await;
            if let Some((post, work)) = begin(&mut fixture, &client, request(1, "work")).await {
                let mut running = post.await;
                running.opened().await;
                break (client, running, work);
            }
            assert_ne!(bed.name(), "sim");
        };
        let id = running.last_event_id().expect("it is primed").to_owned();
        drop(running);
        fixture.elapse(10 * SOON).await;
        assert_eq!(work.cx.cancel_reason(), None);
        running = client.resume(&id).await;
        work.finish(json!({ "late": true }));
        assert_eq!(running.answer().await["result"]["late"], true);
    });
}

/// E-15: beyond the cap, `initialize` gets 503 and `Retry-After`. A place that becomes free can be used.
fn e_15_sessions_are_capped(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.max_sessions = 2);
    bed.block_on(async {
        let (first, _second) = (fixture.client().await, fixture.client().await);
        let reply = fixture.stranger().post(&initialize("2025-11-25", "client")).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
        assert_eq!(reply.json().await["error"]["data"]["reason"], "overload");
        assert_eq!(first.post(&request(1, "echo")).await.status, 200);
        first.delete().await;
        // Its place is free once nothing of the session is left.
        while fixture.stranger().post(&initialize("2025-11-25", "client")).await.status != StatusCode::OK {
            fixture.elapse(Duration::from_millis(1)).await;
        }
        assert_eq!(fixture.endpoint.stats().sessions, 2);
    });
}

/// E-15: deleted sessions that have not ended yet count too, so a client cannot pile them up.
fn e_15_the_cap_counts_what_lingers(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.max_sessions = 3);
    bed.block_on(async {
        let mut lingering = Vec::new();
        for _ in 0..3 {
            let client = fixture.client().await;
            lingering.push((client.get().await, client.start(&request(1, "work")), fixture.work().await));
            assert_eq!(client.delete().await.status, 204);
        }
        assert_eq!(fixture.endpoint.stats().sessions, 0);
        assert_eq!(fixture.stranger().post(&initialize("2025-11-25", "client")).await.status, 503);
    });
}

/// S8, E-15: a hook that never ends does not occupy the place of its session for ever.
fn e_15_a_hook_that_hangs_gives_its_place_back(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| {
        config.max_sessions = 1;
        config.hook_timeout = SOON;
    });
    bed.block_on(async {
        for _ in 0..3 {
            let mut client = fixture.stranger();
            while {
                let reply = client.post(&initialize("2025-11-25", "client")).await;
                client = client.with_session(reply.session());
                reply.status != StatusCode::OK
            } {
                fixture.elapse(Duration::from_millis(1)).await;
            }
            fixture.plant(client.id(), Hook::Hangs);
            assert_eq!(client.delete().await.status, 204);
        }
        // In a shutdown, it is reported as a failure.
        let report = fixture.endpoint.shutdown(ShutdownPolicy::default()).await;
        assert!(report.failures.iter().all(|f| f.reason == "the `terminated` hook did not end in time"));
    });
}

/// E-15: unused sessions keep no other client out. At the cap, the oldest unused session is ended; at the cap of a
/// principal, the oldest unused one of that principal.
fn e_15_an_unused_session_makes_room(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| {
        config.max_sessions = 4;
        config.max_sessions_per_principal = 2;
    });
    bed.block_on(async {
        let events = fixture.endpoint.manager().events(64);
        let used = fixture.client().await;
        let open = |name: Option<&'static str>| {
            let mut client = fixture.stranger().known_as(name);
            async move {
                client.initialize("2025-11-25").await;
                client
            }
        };
        let flood = [open(None).await, open(Some("alice")).await, open(Some("alice")).await];
        // Alice is at her cap: her own oldest session ends, although another one is older.
        let fourth = open(Some("alice")).await;
        assert!(fixture.endpoint.manager().get(&flood[0].id()).is_some());
        assert!(fixture.endpoint.manager().get(&flood[1].id()).is_none());
        // For any other principal, it is the oldest of all.
        let newcomer = open(Some("bob")).await;
        assert_eq!(flood[0].post(&request(1, "ping")).await.status, 404);
        for client in [&used, &flood[2], &fourth, &newcomer] {
            assert_eq!(client.post(&request(1, "ping")).await.status, 200);
        }
        fixture.until(|fixture| fixture.ended().len() == 2).await;
        let told = std::iter::from_fn(|| events.try_recv());
        let gone: Vec<_> = told.filter(|event| matches!(event, SessionEvent::Terminated(..))).collect();
        let evicted = |client: &Client| SessionEvent::Terminated(client.id(), TerminateReason::Evicted);
        assert_eq!(gone, [evicted(&flood[1]), evicted(&flood[0])]);
        assert_eq!((fixture.endpoint.stats().sessions_evicted, fixture.endpoint.stats().sessions), (2, 4));
    });
}

/// E-15: a session that its client has used is never ended to make room, with or without `initialized`.
fn e_15_a_used_session_never_makes_room(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.max_sessions = 2);
    bed.block_on(async {
        let first = fixture.client().await;
        let mut second = fixture.stranger();
        second.initialize("2025-06-18").await;
        assert_eq!(second.post(&request(1, "echo")).await.status, 200);
        assert_eq!(fixture.stranger().post(&initialize("2025-11-25", "client")).await.status, 503);
        for client in [first, second] {
            assert_eq!(client.post(&request(2, "echo")).await.status, 200);
        }
    });
}

/// S12: the hook, the events and the error's data all get the same reason.
fn s_12_one_reason_everywhere(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.terminate.cancel = SOON);
    bed.block_on(async {
        let events = fixture.endpoint.manager().events(16);
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let _hangs = fixture.work().await;
        let session = client.session();
        let reason = session.terminate(TerminateReason::Evicted);
        let second = session.terminate(TerminateReason::Error); // too late: the first reason stands
        let answer = running.head().await.answer().await;
        assert_eq!(answer["error"]["data"], json!({ "reason": "evicted", "retryable": true }));
        assert_eq!((reason.await, second.await), (TerminateReason::Evicted, TerminateReason::Evicted));
        assert_eq!(session.notify("x", None::<&()>).await, Err(SendError::Closed));
        fixture.until(|fixture| fixture.ended() == [(client.id(), TerminateReason::Evicted)]).await;
        let id = client.id();
        let heard: Vec<_> = std::iter::from_fn(|| events.try_recv()).collect();
        let told = SessionEvent::Terminated(id, TerminateReason::Evicted);
        assert_eq!(heard, [SessionEvent::Created(id), SessionEvent::Initialized(id), told]);
        assert_eq!(fixture.endpoint.stats().sessions_terminated, 1);
    });
}

/// Dropping an endpoint without a shutdown leaves no client waiting: its streams are cut, its calls answered.
fn dropping_the_endpoint_cuts_what_is_open(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.idle_timeout = NEVER);
    bed.block_on(async {
        let client = fixture.json_client().await;
        let mut stream = client.get().await;
        stream.opened().await;
        let work = {
            let mut running = client.start(&request(1, "work"));
            let work = fixture.work().await;
            assert!(running.head_now().is_none());
            work
        };
        let Fixture { endpoint, runtime, .. } = fixture;
        drop((client, endpoint));
        // The POST above still holds the endpoint until it is answered.
        work.finish(json!({}));
        assert!(stream.event().await.unwrap().is_err());
        drop(runtime);
    });
}
