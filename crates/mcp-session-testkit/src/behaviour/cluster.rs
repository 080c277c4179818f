//! State that belongs to a session, not to one node: listeners, lifecycle, and where a session ends.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{
    FutureExt,
    future::{join, join_all},
};
use http::{Method, StatusCode};
use mcp_session_core::{
    BoxFuture, ReplayConfig, SecondStream, SessionEvent, SessionId, ShutdownPhase, TerminateReason,
    store::{LogId, MemoryStore, NodeId, SessionStore, Store, StoreLimits, Update},
};
use serde_json::{Value, json};

use super::{
    fixture::{Client, Fixture, NEVER, PATIENT, Reply, SOON, Started, notification, request},
    intercepted::{Intercept, Intercepted},
    stores::{Mood, Moody, Nodes, begin, numbers, send},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    c_10_initialized_at_one_node_counts_at_every_node,
    c_10_initialized_at_a_draining_node_counts_at_the_next,
    e_14_a_session_used_at_a_node_that_has_left_lives_on,
    d_17_what_is_said_before_initialized_is_not_dropped,
    d_21_one_node_listens_for_a_session,
    d_21_two_gets_at_another_node_repeat_nothing,
    d_21_a_node_that_is_overtaken_tells_the_listener_before_it,
    d_21_a_plain_get_goes_on_where_another_node_was,
    d_24_a_plain_get_begins_with_what_is_kept,
    d_23_a_listener_that_is_lost_holds_up_nobody,
    s_12_a_session_that_is_parked_has_not_ended,
    e_14_a_session_idle_at_every_node_ends_once,
    e_14_a_session_that_no_node_serves_ends_with_its_hook,
    e_10_max_age_counts_from_the_birth_at_every_node,
    e_15_a_session_that_is_refused_leaves_nothing,
    c_02_every_node_knows_its_client,
    s_1_an_old_handle_does_not_unregister_a_readopted_session,
    d_17_messages_of_a_readopting_node_are_delivered,
    d_30_a_stream_read_from_the_store_is_not_trimmed_away,
    s_7_a_delete_elsewhere_ends_bodies_properly,
    s_9_a_delete_elsewhere_is_no_failure_of_a_drain,
}

async fn note(client: &Client, n: u64) {
    client.session().notify("notifications/n", Some(&json!({ "n": n }))).await.unwrap();
}

/// The number in the next notification.
async fn next(reply: &mut Reply) -> Option<u64> {
    reply.message().await.map(|message| message["params"]["n"].as_u64().unwrap())
}

async fn echoes(client: &Client) {
    assert_eq!(client.post(&request("echo", "echo")).await.status, StatusCode::OK);
}

/// C-10, C-18: `initialize` reaches one node, `initialized` another, before or after the first call. The session
/// lives at both nodes while it is used, and a handler at each node may send requests to the client.
fn c_10_initialized_at_one_node_counts_at_every_node(bed: &impl TestBed) {
    let mut nodes = Nodes::tuned(bed, |config| config.session.initialize_timeout = SOON * 5);
    bed.block_on(async {
        let initialized = notification("notifications/initialized");
        let mut late = Vec::new();
        for call_first in [false, true] {
            let first = if call_first { request("echo", "echo") } else { initialized.clone() };
            let client = used_elsewhere(&nodes, &first, &mut late).await;
            let elsewhere = client.at(&nodes.b);
            if call_first {
                assert_eq!(client.post(&initialized).await.status, StatusCode::ACCEPTED);
            }
            for (fixture, client) in [(&mut nodes.a, &client), (&mut nodes.b, &elsewhere)] {
                let (mut reply, work) = begin(fixture, client, 1).await;
                let mut asked = Box::pin(work.cx.request("roots/list", None::<&()>, NEVER));
                assert!(asked.as_mut().now_or_never().is_none(), "C-06: the client is initialized");
                assert_eq!(reply.message().await.unwrap()["method"], "roots/list");
                drop(asked);
                work.finish(json!({}));
            }
            for _ in 0..10 {
                nodes.b.elapse(SOON).await;
                echoes(&elsewhere).await;
            }
            echoes(&client).await;
        }
        // This is not a half-open session: `initialized` has come, but only at the other node.
        let client = used_elsewhere(&nodes, &initialized, &mut late).await;
        nodes.a.elapse(SOON * 10).await;
        echoes(&client).await;
        assert!(late.is_empty() || bed.name() != "sim");
        assert!(nodes.a.ended().iter().chain(&nodes.b.ended()).all(|(id, _)| late.contains(id)));
    });
}

/// C-10: `initialized` at a node that drains counts where the session goes on.
fn c_10_initialized_at_a_draining_node_counts_at_the_next(bed: &impl TestBed) {
    let mut nodes = Nodes::new(bed);
    bed.block_on(async {
        let mut client = nodes.a.stranger();
        client.initialize("2025-11-25").await;
        let (reply, work) = begin(&mut nodes.a, &client, 1).await;
        drop(reply);
        let shutdown = nodes.a.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        let initialized = notification("notifications/initialized");
        assert_eq!(client.post(&initialized).await.status, StatusCode::ACCEPTED);
        work.finish(json!({}));
        shutdown.await;
        let elsewhere = client.at(&nodes.b);
        let (mut reply, work) = begin(&mut nodes.b, &elsewhere, 2).await;
        let mut asked = Box::pin(work.cx.request("roots/list", None::<&()>, NEVER));
        assert!(asked.as_mut().now_or_never().is_none(), "C-06: the client is initialized");
        assert_eq!(reply.message().await.unwrap()["method"], "roots/list");
        drop(asked);
        work.finish(json!({}));
    });
}

/// E-14, C-10: a client that sends no `initialized` uses its session at a node, which leaves. The node that opened the
/// session does not take it for a half-open one.
fn e_14_a_session_used_at_a_node_that_has_left_lives_on(bed: &impl TestBed) {
    let nodes = Nodes::tuned(bed, |config| config.session.initialize_timeout = SOON * 5);
    bed.block_on(async {
        let client = used_elsewhere(&nodes, &request("echo", "echo"), &mut Vec::new()).await;
        let shutdown = nodes.b.endpoint.shutdown(PATIENT).await;
        assert!(shutdown.is_clean(), "{shutdown}");
        nodes.a.elapse(SOON * 10).await;
        echoes(&client).await;
    });
}

/// A session that is opened at one node and used at the other, before the time of a half-open one is over. Those for
/// which a slow machine needed longer are `late`.
async fn used_elsewhere(nodes: &Nodes, message: &Value, late: &mut Vec<SessionId>) -> Client {
    loop {
        let mut client = nodes.a.stranger();
        client.initialize("2025-11-25").await;
        match client.at(&nodes.b).post(message).await.status {
            StatusCode::OK | StatusCode::ACCEPTED => return client,
            status => assert_eq!(status, StatusCode::NOT_FOUND),
        }
        late.push(client.id());
    }
}

/// D-17, C-06: a message that a node sends before it knows of `initialized` reaches the client if another node has
/// received `initialized`, and no client before that.
fn d_17_what_is_said_before_initialized_is_not_dropped(bed: &impl TestBed) {
    let nodes = Nodes::new(bed);
    bed.block_on(async {
        let mut client = nodes.a.stranger();
        client.initialize("2025-11-25").await;
        let elsewhere = client.at(&nodes.b);
        note(&client, 0).await;
        let mut get = elsewhere.get().await;
        get.opened().await;
        nodes.b.elapse(SOON).await;
        assert!(get.is_silent(), "C-06");
        note(&elsewhere, 1).await;
        assert_eq!(
            client.post(&notification("notifications/initialized")).await.status,
            StatusCode::ACCEPTED
        );
        let both = [next(&mut get).await, next(&mut get).await];
        // On a slow machine, the second node may have stored its message first.
        assert!(
            both == [Some(0), Some(1)] || (bed.name() != "sim" && both == [Some(1), Some(0)]),
            "{both:?}"
        );
        note(&client, 2).await;
        assert_eq!(next(&mut get).await, Some(2));
    });
}

/// D-21, D-23: whichever node a client opens a GET at, its stream at another node ends cleanly, and each message goes
/// only to the newer stream.
fn d_21_one_node_listens_for_a_session(bed: &impl TestBed) {
    let nodes = Nodes::tuned(bed, |config| config.session.second_stream = SecondStream::Replace);
    bed.block_on(async {
        let client = nodes.a.client_of("2025-06-18").await;
        let elsewhere = client.at(&nodes.b);
        let mut older = client.get().await;
        older.opened().await;
        note(&client, 0).await;
        assert_eq!(next(&mut older).await, Some(0));
        for (n, client) in (1..).zip([&elsewhere, &client, &elsewhere, &elsewhere, &client]) {
            let mut newer = client.get().await;
            assert_eq!(newer.status, StatusCode::OK);
            newer.opened().await;
            note(client, n).await;
            assert_eq!(next(&mut newer).await, Some(n));
            assert_eq!(next(&mut older).await, None, "it is read elsewhere");
            older = newer;
        }
        // GETs that come at the same time: one of them has the stream in the end, and each message comes once.
        drop(older);
        let gets = [&client, &elsewhere, &client, &elsewhere].map(Client::get);
        let gets = join_all(gets).await;
        let mut open: Vec<Reply> = gets.into_iter().filter(|get| get.status == StatusCode::OK).collect();
        assert!(!open.is_empty());
        note(&elsewhere, 100).await;
        let streams = || nodes.a.endpoint.stats().streams + nodes.b.endpoint.stats().streams;
        let mut seen = Vec::new();
        while seen.is_empty() || streams() > 1 {
            nodes.a.elapse(SOON).await;
            for get in &mut open {
                while let Some(Some(n)) = next(get).now_or_never() {
                    seen.push(n);
                }
            }
        }
        assert_eq!((seen, streams()), (vec![100], 1));
    });
}

/// D-21: of two GETs that come to another node at the same time, the second one does not overtake the first, which waits
/// for what was read before.
fn d_21_two_gets_at_another_node_repeat_nothing(bed: &impl TestBed) {
    let shared = MemoryStore::new(bed.runtime());
    let peers = Arc::new(Moody { store: shared.clone(), by: Mood::of(&["send"]) });
    let mut store = Store::new(shared.clone());
    store.peers = Arc::clone(&peers) as _;
    store.timeout = NEVER;
    let [a, b] = [(); 2].map(|()| {
        Fixture::new(bed, |config| {
            config.session.second_stream = SecondStream::Replace;
            config.store = Some(store.clone());
        })
    });
    bed.block_on(async {
        let client = a.client_of("2025-06-18").await;
        let elsewhere = client.at(&b);
        echoes(&elsewhere).await;
        let mut get = client.get().await;
        get.opened().await;
        for n in 0..3 {
            note(&client, n).await;
            assert_eq!(next(&mut get).await, Some(n));
        }
        peers.by.set(true);
        let start =
            || elsewhere.start_with(elsewhere.request(Method::GET).body(String::new()).expect("a GET"));
        let mut gets = Vec::new();
        for number in [2, 3] {
            gets.push(start());
            while shared.load(client.id()).await.unwrap().expect("it is in the store").listener.number
                < number
            {
                b.elapse(SOON).await;
            }
        }
        b.elapse(SOON).await;
        assert_eq!(b.endpoint.stats().streams, 0, "both wait until the first node knows");
        peers.by.set(false);
        let mut gets = join_all(gets.into_iter().map(Started::head)).await;
        note(&client, 3).await;
        gets.retain(|get| get.status == StatusCode::OK);
        let mut seen = Vec::new();
        while !seen.contains(&3) {
            a.elapse(SOON).await;
            for get in &mut gets {
                while let Some(Some(n)) = next(get).now_or_never() {
                    seen.push(n);
                }
            }
        }
        assert_eq!(seen, [3]);
    });
}

/// Once, another node becomes the listener of a session after this node has, and before this node hears of either.
#[derive(Debug)]
struct Overtakes {
    store: MemoryStore,
    session: Mutex<Option<SessionId>>,
    updated: AtomicBool,
}

impl Intercept for Overtakes {
    fn called(&self, method: &str) {
        self.updated.fetch_or(method == "update", SeqCst);
    }

    fn polled(&self, method: &'static str) -> BoxFuture<'_, ()> {
        async move {
            let after = method == "load" && self.updated.load(SeqCst);
            let session = if after { self.session.lock().unwrap().take() } else { None };
            if let Some(session) = session {
                let number = self.store.load(session).await.unwrap().unwrap().listener.number + 1;
                let listens = Update::Listens(NodeId(number), number);
                assert!(self.store.update(session, listens).await.unwrap());
            }
        }
        .boxed()
    }
}

/// D-21: a node becomes the listener, and another one overtakes it before it knows. The listener before both hears of it, although
/// the other one knows only of the first.
fn d_21_a_node_that_is_overtaken_tells_the_listener_before_it(bed: &impl TestBed) {
    let shared = MemoryStore::new(bed.runtime());
    let by = Overtakes { store: shared.clone(), session: Mutex::default(), updated: AtomicBool::new(false) };
    let sessions = Arc::new(Intercepted { store: shared.clone(), by });
    let a = Fixture::new(bed, |config| config.store = Some(Store::new(shared.clone())));
    let b = Fixture::new(bed, |config| {
        config.session.second_stream = SecondStream::Replace;
        let mut store = Store::new(shared.clone());
        store.sessions = Arc::clone(&sessions) as _;
        config.store = Some(store);
    });
    bed.block_on(async {
        let client = a.client_of("2025-06-18").await;
        let elsewhere = client.at(&b);
        echoes(&elsewhere).await;
        let mut get = client.get().await;
        get.opened().await;
        note(&client, 0).await;
        assert_eq!(next(&mut get).await, Some(0));
        sessions.by.updated.store(false, SeqCst);
        *sessions.by.session.lock().unwrap() = Some(client.id());
        let _newer = elsewhere.start_with(elsewhere.request(Method::GET).body(String::new()).expect("a GET"));
        assert_eq!(next(&mut get).await, None, "it is read elsewhere");
    });
}

/// D-21, D-24: an event that was read at one node is not repeated by a plain GET at another. One that was queued
/// there but not read is sent.
fn d_21_a_plain_get_goes_on_where_another_node_was(bed: &impl TestBed) {
    let nodes = Nodes::new(bed);
    bed.block_on(async {
        let client = nodes.a.client_of("2025-06-18").await;
        let elsewhere = client.at(&nodes.b);
        let mut get = client.get().await;
        get.opened().await;
        for n in 0..2 {
            note(&client, n).await;
            assert_eq!(next(&mut get).await, Some(n));
        }
        for n in 2..5 {
            note(&client, n).await;
        }
        nodes.a.elapse(SOON).await;
        drop(get); // three events wait, and were not read
        let mut get = elsewhere.get().await;
        for n in 2..5 {
            assert_eq!(next(&mut get).await, Some(n));
        }
        for (n, client) in (5..8).zip([&client, &elsewhere, &elsewhere]) {
            drop(get);
            note(client, n).await;
            get = client.get().await;
            assert_eq!(next(&mut get).await, Some(n));
        }
        // Nor after the node where they were read has gone.
        drop(get);
        let shutdown = nodes.b.endpoint.shutdown(PATIENT).await;
        assert!(shutdown.is_clean(), "{shutdown}");
        note(&client, 8).await;
        let mut get = client.get().await;
        assert_eq!(next(&mut get).await, Some(8));
    });
}

/// D-24: standalone messages without a listener are kept within bounds. A plain GET begins with the kept ones, and
/// continues.
fn d_24_a_plain_get_begins_with_what_is_kept(bed: &impl TestBed) {
    let mut limits = StoreLimits::default();
    limits.events = 4;
    let store = Store::new(MemoryStore::with_limits(bed.runtime(), limits));
    let [a, b] = [(); 2].map(|()| Fixture::new(bed, |config| config.store = Some(store.clone())));
    bed.block_on(async {
        let client = a.client().await;
        for n in 0..10 {
            note(&client, n).await;
        }
        // The store holds the last messages before a client listens: a reader that falls behind is cut.
        while store.events.oldest(LogId::shared(client.id())).await.unwrap() < 6.into() {
            a.elapse(SOON).await;
        }
        let mut get = client.at(&b).get().await;
        assert_eq!(get.status, StatusCode::OK);
        let mut last = 0;
        while last != 9 {
            let n = next(&mut get).await.expect("it is not cut");
            assert!(n >= last, "{n} after {last}");
            last = n;
        }
        note(&client, 10).await;
        assert_eq!(next(&mut get).await, Some(10));
    });
}

/// D-23, S13: a listener whose node is lost delays a new one for at most the timeout of a store call.
fn d_23_a_listener_that_is_lost_holds_up_nobody(bed: &impl TestBed) {
    let shared = MemoryStore::new(bed.runtime());
    let mut store = Store::new(shared.clone());
    store.timeout = SOON;
    let [a, b] = [(); 2].map(|()| Fixture::new(bed, |config| config.store = Some(store.clone())));
    bed.block_on(async {
        let client = a.client().await;
        let mut get = client.get().await;
        get.opened().await;
        note(&client, 0).await;
        assert_eq!(next(&mut get).await, Some(0));
        let node = shared.load(client.id()).await.unwrap().unwrap().listener.node.unwrap();
        shared.lose(node); // it no longer receives messages
        let elsewhere = client.at(&b);
        let mut again = elsewhere.get().await;
        assert_eq!(again.status, StatusCode::OK);
        note(&elsewhere, 1).await;
        // It is unknown how far the lost node had come, so reading starts from the beginning. Nothing is missing.
        assert_eq!([next(&mut again).await, next(&mut again).await], [Some(0), Some(1)]);
    });
}

/// S12, S13: a node that parks a live session emits a separate event and calls no hook. When the session ends, the
/// hook is called once.
fn s_12_a_session_that_is_parked_has_not_ended(bed: &impl TestBed) {
    let nodes = Nodes::new(bed);
    bed.block_on(async {
        let c = Fixture::new(bed, |config| config.store = Some(Store::new(nodes.shared.clone())));
        let client = nodes.a.client().await;
        let id = client.id();
        let [at_a, at_b, at_c] = [&nodes.a, &nodes.b, &c].map(|fixture| fixture.endpoint.manager().events(8));
        for fixture in [&nodes.b, &c] {
            echoes(&client.at(fixture)).await;
        }
        let report = nodes.a.endpoint.shutdown(PATIENT).await;
        assert!(report.is_clean() && report.sessions == 1, "{report}");
        assert_eq!(at_a.recv().await, Some(SessionEvent::Parked(id)));
        assert_eq!(nodes.a.endpoint.stats().sessions_terminated, 0);
        echoes(&client.at(&nodes.b)).await;
        assert_eq!(client.at(&c).delete().await.status, StatusCode::NO_CONTENT);
        let told = SessionEvent::Terminated(id, TerminateReason::ClientDelete);
        for events in [at_b, at_c] {
            assert_eq!(events.recv().await, Some(SessionEvent::Adopted(id)));
            assert_eq!(events.recv().await, Some(told));
        }
        c.until(|c| c.ended() == [(id, TerminateReason::ClientDelete)]).await;
        assert_eq!((nodes.a.ended(), nodes.b.ended()), (vec![], vec![]));
        assert_eq!(nodes.b.endpoint.stats().sessions_terminated, 1);
    });
}

/// E-14, S12: a session that is idle at every node ends everywhere, and one node calls the hook.
fn e_14_a_session_idle_at_every_node_ends_once(bed: &impl TestBed) {
    let nodes = Nodes::tuned(bed, |config| config.session.idle_timeout = SOON);
    bed.block_on(async {
        let mut ids = HashSet::new();
        for both in [true, false] {
            let client = nodes.a.client().await;
            if both {
                client.at(&nodes.b).post(&request(1, "echo")).await; // if it is in time
            }
            ids.insert(client.id());
            let ended = || nodes.a.ended().into_iter().chain(nodes.b.ended());
            nodes.a.until(|_| ended().count() == ids.len()).await;
            assert!(ended().all(|(id, reason)| ids.contains(&id) && reason == TerminateReason::Idle));
            for fixture in [&nodes.a, &nodes.b] {
                assert_eq!(client.at(fixture).post(&request(1, "echo")).await.status, StatusCode::NOT_FOUND);
            }
        }
        assert_eq!(nodes.shared.size().0, 0);
    });
}

/// E-14, S12: a session that no node serves any more, because the last one parked it or was lost, also ends if its
/// client does not return. A remaining node calls its hook, once.
fn e_14_a_session_that_no_node_serves_ends_with_its_hook(bed: &impl TestBed) {
    for lost in [false, true] {
        let shared = MemoryStore::new(bed.runtime());
        let mut store = Store::new(shared.clone());
        store.touch_interval = SOON;
        let [a, b] = [(); 2].map(|()| {
            Fixture::new(bed, |config| {
                config.store = Some(store.clone());
                config.session.idle_timeout = SOON * 2;
            })
        });
        bed.block_on(async {
            let told = [&a, &b].map(|fixture| fixture.endpoint.manager().events(8));
            let client = a.client().await;
            if lost {
                if let Some(record) = shared.load(client.id()).await.unwrap() {
                    record.nodes().into_iter().for_each(|node| shared.lose(node));
                }
            } else {
                let report = a.endpoint.shutdown(PATIENT).await;
                assert!(report.is_clean(), "{report}");
            }
            let here = a.ended().len(); // on a busy machine it was idle before that
            let all = || a.ended().into_iter().chain(b.ended()).collect::<Vec<_>>();
            b.until(|_| !all().is_empty()).await;
            assert_eq!(all(), [(client.id(), TerminateReason::Idle)]);
            assert!(lost || b.ended().len() == 1 - here);
            assert_eq!(client.at(&b).post(&request(1, "echo")).await.status, StatusCode::NOT_FOUND);
            b.elapse(SOON * 4).await; // nothing follows
            assert_eq!(all().len(), 1);
            assert_eq!((shared.size().0, b.endpoint.stats().sessions), (0, 0));
            let ends = told.iter().flat_map(|events| std::iter::from_fn(|| events.try_recv()));
            let end = SessionEvent::Terminated(client.id(), TerminateReason::Idle);
            assert_eq!(ends.filter(|event| *event == end).count(), 1);
        });
    }
}

/// E-10: a session has the same age at every node, and ends at all of them at its maximum age, also at a node that
/// has just adopted it.
fn e_10_max_age_counts_from_the_birth_at_every_node(bed: &impl TestBed) {
    const AGE: Duration = SOON.saturating_mul(10);
    let nodes = Nodes::tuned(bed, |config| config.session.max_age = Some(AGE));
    bed.block_on(async {
        let born = nodes.a.runtime.now();
        let client = nodes.a.client().await;
        nodes.a.endpoint.shutdown(PATIENT).await; // only the other node is left to notice
        nodes.b.elapse(AGE / 2).await;
        let elsewhere = client.at(&nodes.b);
        let taken_up = nodes.b.runtime.now();
        let answer = elsewhere.post(&request(1, "echo")).await;
        if taken_up.duration_since(born) < AGE {
            assert!(matches!(answer.status, StatusCode::OK | StatusCode::NOT_FOUND), "{}", answer.status);
        }
        nodes.b.until(|fixture| fixture.ended() == [(client.id(), TerminateReason::MaxAge)]).await;
        let ended = nodes.b.runtime.now();
        assert!(ended.duration_since(born) >= AGE);
        // A limit that counted from the adoption would not have passed.
        assert!(bed.name() != "sim" || ended < taken_up + AGE);
        assert_eq!(elsewhere.post(&request(2, "echo")).await.status, StatusCode::NOT_FOUND);
        assert_eq!(nodes.shared.size().0, 0);

        // Too old when it is adopted.
        let client = nodes.b.client().await;
        let c = Fixture::new(bed, |config| {
            config.store = Some(Store::new(nodes.shared.clone()));
            config.session.max_age = Some(SOON);
        });
        nodes.b.elapse(SOON * 2).await;
        assert_eq!(client.at(&c).post(&request(1, "echo")).await.status, StatusCode::NOT_FOUND);
        c.until(|c| c.endpoint.stats().sessions == 0).await;
    });
}

/// E-15, E-17: a node that is full refuses a session and leaves no trace of it in the record. However many requests
/// need it at once, it is adopted once.
fn e_15_a_session_that_is_refused_leaves_nothing(bed: &impl TestBed) {
    let nodes = Nodes::new(bed);
    bed.block_on(async {
        let full = Fixture::new(bed, |config| {
            config.store = Some(Store::new(nodes.shared.clone()));
            config.max_sessions = 1;
        });
        let (taken, client) = (full.client().await, nodes.a.client().await);
        let members =
            async |client: &Client| nodes.shared.load(client.id()).await.unwrap().unwrap().members.len();
        for _ in 0..20 {
            let refused = client.at(&full).post(&request(1, "echo")).await;
            assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(client.at(&full).get().await.status, StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(members(&client).await, 1);
        assert_eq!(full.endpoint.stats().sessions, 1);
        assert_eq!(taken.delete().await.status, StatusCode::NO_CONTENT);
        while client.at(&full).post(&request(1, "echo")).await.status != StatusCode::OK {
            full.elapse(SOON).await; // not all of the other one has ended yet
        }
        assert_eq!((members(&client).await, full.endpoint.stats().sessions), (2, 1));
        let c = Fixture::new(bed, |config| config.store = Some(Store::new(nodes.shared.clone())));
        let all = join_all((0..20).map(|n| {
            let there = client.at(&c);
            async move { there.post(&request(n, "echo")).await.status }
        }));
        assert!(all.await.iter().all(|status| *status == StatusCode::OK));
        assert_eq!((members(&client).await, c.endpoint.stats().sessions), (3, 1));
        // While it drains, it adopts no session.
        let drains = nodes.b.endpoint.shutdown(PATIENT);
        nodes.b.until(|b| b.endpoint.stats().phase >= ShutdownPhase::Draining).await;
        for _ in 0..5 {
            let refused = client.at(&nodes.b).post(&request(1, "echo")).await;
            assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        }
        drains.await;
        assert_eq!(members(&client).await, 3);
        // A request that is dropped half-way leaves nothing half-done.
        for _ in 0..5 {
            let other = nodes.a.client().await;
            let c = Fixture::new(bed, |config| config.store = Some(Store::new(nodes.shared.clone())));
            let there = other.at(&c);
            let _ = there.post(&request(1, "echo")).now_or_never();
            echoes(&there).await;
            assert_eq!((members(&other).await, c.endpoint.stats().sessions), (2, 1));
        }
    });
}

/// C-02, C-12: a handler can look up its client at every node: name, capabilities and all other params of
/// `initialize`.
fn c_02_every_node_knows_its_client(bed: &impl TestBed) {
    let mut nodes = Nodes::new(bed);
    bed.block_on(async {
        let mut client = nodes.a.stranger();
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "roots": { "listChanged": true }, "experimental": { "x": 1 } },
            "clientInfo": { "name": "someone", "title": "Some \u{fc} One", "version": "7" },
            "_meta": { "more": [1, 2] },
        });
        client.initialize_with(&super::fixture::request_with(0, "initialize", params.clone())).await;
        client.post(&notification("notifications/initialized")).await;
        for fixture in [&mut nodes.a, &mut nodes.b] {
            let client = client.at(fixture);
            let (_reply, work) = begin(fixture, &client, 1).await;
            let parsed = |json: &mcp_session_core::Json| json.parse::<Value>().unwrap();
            assert_eq!(parsed(work.cx.client_info()), params["clientInfo"]);
            assert_eq!(parsed(work.cx.client_capabilities()), params["capabilities"]);
            let session = client.session();
            assert_eq!(parsed(session.client_info()), params["clientInfo"]);
            assert_eq!(parsed(session.client_capabilities()), params["capabilities"]);
            assert_eq!(parsed(session.initialize_params()), params);
            assert!(session.capabilities().roots);
            work.finish(json!({}));
        }
    });
}

/// A node at which a session is soon idle, another one at which it never is, and a client of the second.
async fn with_a_restless_node(bed: &impl TestBed) -> (Fixture, Nodes, Client) {
    let nodes = Nodes::new(bed);
    let restless = Fixture::new(bed, |config| {
        config.store = Some(Store::new(nodes.shared.clone()));
        config.session.idle_timeout = SOON * 10;
    });
    let client = nodes.b.client().await;
    (restless, nodes, client)
}

/// S1, S5, S9: a handle that the application kept of a parked session does not affect the session that its client
/// came back to: a shutdown finds that one, and its call gets its answer.
fn s_1_an_old_handle_does_not_unregister_a_readopted_session(bed: &impl TestBed) {
    bed.block_on(async {
        let (mut a, nodes, elsewhere) = with_a_restless_node(bed).await;
        let client = elsewhere.at(&a);
        let events = a.endpoint.manager().events(8);
        let (reply, work) = begin(&mut a, &client, 1).await;
        let old = work.cx.session().cloned().unwrap();
        work.finish(json!({}));
        reply.messages().await;
        assert_eq!(events.recv().await, Some(SessionEvent::Adopted(client.id())));
        assert_eq!(events.recv().await, Some(SessionEvent::Parked(client.id())));
        let (mut reply, work) = begin(&mut a, &client, 2).await;
        for _ in 0..3 {
            assert!(old.notify("notifications/n", None::<&()>).await.is_err());
            assert_eq!(old.terminate(TerminateReason::Evicted).await, TerminateReason::Idle);
        }
        assert!(a.endpoint.manager().get(&client.id()).is_some());
        assert_eq!(a.endpoint.stats().sessions, 1);
        let shutdown = a.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        drop(old);
        work.finish(json!({ "ok": true }));
        let mut messages = Vec::new();
        while let Some(message) = reply.message().await {
            messages.push(message);
        }
        if messages.is_empty() {
            // It was sent away before the answer came.
            messages = client.at(&nodes.b).resume(reply.last_event_id().unwrap()).await.messages().await;
        }
        assert_eq!(messages.last().unwrap()["result"]["ok"], true);
        let report = shutdown.await;
        assert!(report.is_clean() && report.sessions == 1 && report.exchanges.answered == 1, "{report}");
    });
}

/// D-17: a node that parks a session and adopts it again delivers its new messages, and does not repeat old ones.
fn d_17_messages_of_a_readopting_node_are_delivered(bed: &impl TestBed) {
    bed.block_on(async {
        let (mut a, _nodes, elsewhere) = with_a_restless_node(bed).await;
        let client = elsewhere.at(&a);
        let events = a.endpoint.manager().events(8);
        for times in 0..2_u64 {
            let (reply, work) = begin(&mut a, &client, times).await;
            for n in times * 3..times * 3 + 3 {
                work.cx.session().unwrap().notify("notifications/n", Some(&json!({ "n": n }))).await.unwrap();
            }
            work.finish(json!({}));
            reply.messages().await;
            assert_eq!(events.recv().await, Some(SessionEvent::Adopted(client.id())));
            assert_eq!(events.recv().await, Some(SessionEvent::Parked(client.id())));
        }
        let mut get = elsewhere.get().await;
        for n in 0..6 {
            assert_eq!(next(&mut get).await, Some(n));
        }
    });
}

/// D-30, D-37: a store keeps more events than a node. A call that is resumed from the store, also by its own node, is
/// read to its end, whatever the node drops meanwhile.
fn d_30_a_stream_read_from_the_store_is_not_trimmed_away(bed: &impl TestBed) {
    let mut nodes = Nodes::tuned(bed, |config| {
        let mut replay = ReplayConfig::default();
        replay.events = 8;
        config.session.replay = Some(replay);
    });
    bed.block_on(async {
        let client = nodes.a.client().await;
        for runs in [false, true] {
            let id = u64::from(runs);
            let (mut reply, work) = begin(&mut nodes.a, &client, id).await;
            let first = reply.last_event_id().unwrap().to_owned();
            send(&work, 0..6).await;
            let mut work = Some(work);
            if !runs {
                work.take().unwrap().finish(json!({ "ok": true }));
            }
            for n in 0..6 {
                assert_eq!(next(&mut reply).await, Some(n));
            }
            drop(reply);
            // The node drops the first of its events, but not all.
            let (mut other, others) = begin(&mut nodes.a, &client, "other").await;
            send(&others, 100..105).await;
            for n in 100..105 {
                assert_eq!(next(&mut other).await, Some(n));
            }
            let mut again = client.resume(&first).await;
            assert_eq!(again.status, StatusCode::OK, "the store has it");
            assert_eq!(next(&mut again).await, Some(0));
            send(&others, 105..130).await; // and now all of them
            for n in 105..130 {
                assert_eq!(next(&mut other).await, Some(n));
            }
            if let Some(work) = work {
                send(&work, 6..8).await;
                work.finish(json!({ "ok": true }));
            }
            let rest = again.messages().await;
            let expected = if runs { 1..8 } else { 1..6 };
            assert_eq!(numbers(&rest), expected.collect::<Vec<_>>());
            assert_eq!(rest.last().unwrap()["result"]["ok"], true);
            others.finish(json!({}));
            other.messages().await;
        }
        assert_eq!(nodes.a.endpoint.stats().streams_cut, 0);
    });
}

/// E-11, E-25, S7: a DELETE at one node ends the client's streams at other nodes cleanly, not with a cut.
fn s_7_a_delete_elsewhere_ends_bodies_properly(bed: &impl TestBed) {
    let mut nodes = Nodes::tuned(bed, |config| config.session.terminate.cancel = SOON);
    bed.block_on(async {
        let c = Fixture::new(bed, |config| {
            config.store = Some(Store::new(nodes.shared.clone()));
            config.session.terminate.cancel = SOON;
        });
        for n in 0..20 {
            let client = nodes.a.client().await;
            let mut get = client.get().await;
            get.opened().await;
            let (begun, _work) = begin(&mut nodes.a, &client, n).await;
            let last = begun.last_event_id().unwrap().to_owned();
            drop(begun);
            let mut resumed = client.at(&nodes.b).resume(&last).await;
            resumed.opened().await;
            let (deleted, ended, read) = futures::join!(
                async { client.at(&c).delete().await.status },
                get.messages(), // panics at a cut
                resumed.messages()
            );
            assert_eq!((deleted, ended.len()), (StatusCode::NO_CONTENT, 0));
            assert_eq!((read.len(), &read[0]["id"]), (1, &n.into()), "{read:?}"); // S5
        }
        for fixture in [&nodes.a, &nodes.b, &c] {
            fixture.until(|fixture| fixture.endpoint.stats().sessions == 0).await;
            assert_eq!(fixture.endpoint.stats().streams_cut, 0);
        }
    });
}

/// S9, E-25: a client that was sent away from a draining node and deletes its session elsewhere has cancelled its
/// call. The drain waits for no client and has not failed.
fn s_9_a_delete_elsewhere_is_no_failure_of_a_drain(bed: &impl TestBed) {
    let mut nodes = Nodes::tuned(bed, |config| {
        config.session.cancel_grace = SOON;
        config.session.terminate.cancel = SOON;
    });
    bed.block_on(async {
        let client = nodes.a.client().await;
        let (running, work) = begin(&mut nodes.a, &client, 1).await;
        let (answered, done) = begin(&mut nodes.a, &client, 2).await;
        let shutdown = nodes.a.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        assert_eq!(join(running.messages(), answered.messages()).await, (vec![], vec![])); // sent away
        done.finish(json!({}));
        assert_eq!(client.at(&nodes.b).delete().await.status, StatusCode::NO_CONTENT);
        work.cx.cancelled().await;
        let report = shutdown.await;
        assert!(report.is_clean() && report.took < NEVER, "{report}");
        assert_eq!((report.exchanges.total, report.exchanges.forced), (2, 0), "{report}");
        assert!(report.exchanges.cancelled >= 1, "{report}");
        nodes.b.until(|fixture| fixture.ended() == [(client.id(), TerminateReason::ClientDelete)]).await;
        assert_eq!(nodes.a.ended(), []);
    });
}
