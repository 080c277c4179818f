//! The end of a session that several nodes serve: what its clients are owed, wherever they read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use event_listener::Event;
use futures::{
    FutureExt,
    future::{join, ready},
};
use http::StatusCode;
use mcp_session_core::{
    BoxFuture, CancelReason, SessionEvent, ShutdownPolicy, TerminateReason,
    store::{MemoryStore, Peers, SessionStore, Store},
};
use serde_json::json;

use super::{
    fixture::{Fixture, PATIENT, SOON, STRICT, initialize, planted, request},
    intercepted::{Intercept, Intercepted},
    stores::{Nodes, begin},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    s_5_who_reads_at_another_node_is_answered_when_the_session_ends,
    e_11_delete_at_a_draining_node_ends_the_session_or_is_refused,
    e_11_nobody_gets_a_session_that_ended_before_the_store_had_it,
    e_14_a_call_that_was_last_read_at_a_node_that_left_is_given_up,
    s_13_a_store_that_cannot_seal_is_asked_again_after_a_pause,
    e_14_a_call_that_is_read_on_a_connection_without_a_number_is_not_given_up,
}

/// How long a session may be idle: so long that a slow machine reaches it in time.
const IDLE: Duration = Duration::from_secs(1);

/// How long a client reads at another node: longer than a session may be idle, where time costs nothing.
fn reading(bed: &impl TestBed) -> Duration {
    if bed.name() == "sim" { IDLE * 4 } else { SOON }
}

/// E-14, D-12: the client of a call reads it at another node, for as long as it likes. Then that node leaves, or its connection breaks there,
/// and it does not come back: the node of the call gives the call up as if its client had left there.
fn e_14_a_call_that_was_last_read_at_a_node_that_left_is_given_up(bed: &impl TestBed) {
    for leaves in [true, false] {
        let mut nodes = Nodes::tuned(bed, |config| {
            config.session.idle_timeout = IDLE;
            config.session.replay.as_mut().expect("it is on").age = SOON;
        });
        bed.block_on(async {
            let client = nodes.a.client().await;
            let (begun, work) = begin(&mut nodes.a, &client, 1).await;
            let last = begun.last_event_id().expect("a priming event").to_owned();
            let mut resumed = client.at(&nodes.b).resume(&last).await;
            resumed.opened().await;
            drop(begun);
            nodes.a.elapse(reading(bed)).await;
            // A machine that is held up for longer than a session lives loses the client's signs of life.
            assert!(work.cx.cancel_reason().is_none() || bed.name() != "sim");
            if leaves {
                // Its client does not read on.
                nodes.b.endpoint.shutdown(ShutdownPolicy { finish: SOON, ..STRICT }).await;
            } else {
                drop(resumed);
            }
            work.cx.cancelled().await;
            work.fail(CancelReason::Orphaned.into());
            nodes.a.until(|fixture| fixture.endpoint.stats().sessions == 0).await;
            assert_eq!(nodes.a.endpoint.stats().exchanges_orphaned, 1);
        });
    }
}

/// S5: a call runs at one node, and its client reads it at another one. When the session ends, at whichever node, the
/// client gets one answer and the end of its stream, although the log that it reads from is removed.
fn s_5_who_reads_at_another_node_is_answered_when_the_session_ends(bed: &impl TestBed) {
    let mut nodes = Nodes::tuned(bed, |config| config.session.terminate.cancel = SOON);
    bed.block_on(async {
        for (n, here) in [true, false].into_iter().enumerate() {
            let client = nodes.a.client().await;
            let (begun, work) = begin(&mut nodes.a, &client, n).await;
            let last = begun.last_event_id().expect("a priming event").to_owned();
            drop(begun);
            let elsewhere = client.at(&nodes.b);
            let mut resumed = elsewhere.resume(&last).await;
            resumed.opened().await;
            let ending = if here { &client } else { &elsewhere };
            let ended = ending.session().terminate(TerminateReason::Evicted);
            let (read, _) = join(resumed.messages(), ended.into_future()).await;
            assert_eq!(read.len(), 1, "{read:?}");
            assert_eq!(
                (&read[0]["id"], &read[0]["error"]["code"]),
                (&n.into(), &(-32000).into()),
                "{read:?}"
            );
            assert_eq!(read[0]["error"]["data"]["reason"], "evicted");
            work.cx.cancelled().await;
        }
        for fixture in [&nodes.a, &nodes.b] {
            fixture.until(|fixture| fixture.endpoint.stats().sessions == 0).await;
            assert_eq!(fixture.endpoint.stats().streams_cut, 0);
        }
    });
}

/// E-11, S13: DELETE arrives at a node that drains. While a call of the session runs there, it ends the session at every
/// node. Once the session is parked, only another node can end it: 503.
fn e_11_delete_at_a_draining_node_ends_the_session_or_is_refused(bed: &impl TestBed) {
    let mut nodes = Nodes::tuned(bed, |config| {
        config.session.terminate.cancel = SOON;
        config.session.cancel_grace = SOON;
    });
    bed.block_on(async {
        let (running, parked) = (nodes.a.client().await, nodes.a.client().await);
        let events = nodes.a.endpoint.manager().events(8);
        let (reply, work) = begin(&mut nodes.a, &running, 1).await;
        let shutdown = nodes.a.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        assert_eq!(events.recv().await, Some(SessionEvent::Parked(parked.id())));
        assert_eq!(parked.delete().await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(parked.at(&nodes.b).delete().await.status, StatusCode::NO_CONTENT);

        assert_eq!(running.delete().await.status, StatusCode::NO_CONTENT);
        assert_eq!(running.at(&nodes.b).post(&request(2, "echo")).await.status, StatusCode::NOT_FOUND);
        work.cx.cancelled().await;
        drop((reply, work));
        let report = shutdown.await;
        assert_eq!((report.exchanges.total, report.exchanges.forced), (1, 0), "{report}");
        nodes.a.until(|a| a.ended() == [(running.id(), TerminateReason::ClientDelete)]).await;
        nodes.b.until(|b| b.ended() == [(parked.id(), TerminateReason::ClientDelete)]).await;
    });
}

/// A store that creates no record as long as it waits.
#[derive(Debug, Default)]
struct Waits {
    waits: AtomicBool,
    changed: Event,
}

impl Intercept for Waits {
    fn polled(&self, method: &'static str) -> BoxFuture<'_, ()> {
        async move {
            loop {
                let changed = self.changed.listen();
                if method != "create" || !self.waits.load(SeqCst) {
                    return;
                }
                changed.await;
            }
        }
        .boxed()
    }
}

/// E-11, S13: a node closes while the record of a new session is on its way to the store. The session has ended, so its
/// client gets 503 and no id, and no node adopts it.
fn e_11_nobody_gets_a_session_that_ended_before_the_store_had_it(bed: &impl TestBed) {
    let shared = MemoryStore::new(bed.runtime());
    let by = Waits { waits: true.into(), ..Waits::default() };
    let slow = Arc::new(Intercepted { store: shared.clone(), by });
    let mut store = Store::new(shared.clone());
    store.sessions = Arc::clone(&slow) as _;
    store.timeout = Duration::from_secs(600);
    let fixture = Fixture::new(bed, |config| config.store = Some(store));
    bed.block_on(async {
        let events = fixture.endpoint.manager().events(8);
        let opening = fixture.stranger().start(&initialize("2025-11-25", "client"));
        let created = events.recv().await;
        let Some(SessionEvent::Created(id)) = created else { panic!("{created:?}") };
        fixture.endpoint.shutdown(ShutdownPolicy { finish: SOON, ..PATIENT }).await;
        fixture.until(|fixture| fixture.ended() == [(id, TerminateReason::Shutdown)]).await;
        slow.by.waits.store(false, SeqCst);
        slow.by.changed.notify(usize::MAX);
        let refused = opening.head().await;
        assert_eq!((refused.status, refused.session()), (StatusCode::SERVICE_UNAVAILABLE, None));
        assert_eq!(shared.size().0, 0);
    });
}

/// A store that cannot do one thing, and says so at once.
#[derive(Debug, Default)]
struct Fails {
    method: &'static str,
    fails: AtomicBool,
    tried: AtomicUsize,
}

/// More tries than anybody makes who pauses between them.
const TOO_MANY: usize = 1_000;

impl Intercept for Fails {
    fn called(&self, method: &str) {
        if method == self.method && self.fails.load(SeqCst) && self.tried.fetch_add(1, SeqCst) < TOO_MANY {
            planted("the store cannot do it"); // which counts as a failure
        }
    }

    fn polled(&self, _: &'static str) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

/// S13, S5: the node of a call is gone, and the store cannot write, such as one that is full. The node where its client reads tries
/// again, with pauses, and the client gets one error.
fn s_13_a_store_that_cannot_seal_is_asked_again_after_a_pause(bed: &impl TestBed) {
    let by = Fails { method: "seal", fails: true.into(), ..Fails::default() };
    let full = Arc::new(Intercepted { store: MemoryStore::new(bed.runtime()), by });
    let mut store = Store::new(full.store.clone());
    store.events = Arc::clone(&full) as _;
    let node = || Fixture::new(bed, |config| config.store = Some(store.clone()));
    let (mut a, b) = (node(), node());
    bed.block_on(async {
        let client = a.client().await;
        let (begun, _work) = begin(&mut a, &client, 1).await;
        let last = begun.last_event_id().expect("a priming event").to_owned();
        let record = full.store.load(client.id()).await.unwrap().expect("the session is in the store");
        let mut resumed = client.at(&b).resume(&last).await;
        resumed.opened().await;
        full.store.leave(record.members[0].expect("its first node serves it")).await.unwrap();
        b.until(|_| full.by.tried.load(SeqCst) > 0).await;
        b.elapse(SOON).await;
        assert!(full.by.tried.load(SeqCst) < TOO_MANY, "it must pause between two tries");
        full.by.fails.store(false, SeqCst);
        let read = resumed.messages().await;
        assert_eq!((read.len(), &read[0]["id"]), (1, &1.into()), "{read:?}");
        assert_eq!(read[0]["error"]["code"], -32000, "{read:?}");
    });
}

/// E-14: the client of a call reads it at another node, and the store has given no number to that connection. The node of the call
/// does not take the client for gone.
fn e_14_a_call_that_is_read_on_a_connection_without_a_number_is_not_given_up(bed: &impl TestBed) {
    let by = Fails { method: "attach", fails: true.into(), ..Fails::default() };
    let failing = Arc::new(Intercepted { store: MemoryStore::new(bed.runtime()), by });
    let mut store = Store::new(failing.store.clone());
    store.events = Arc::clone(&failing) as _;
    let node = || {
        Fixture::new(bed, |config| {
            config.store = Some(store.clone());
            config.session.idle_timeout = IDLE;
            config.session.replay.as_mut().expect("it is on").age = SOON;
        })
    };
    let (mut a, b) = (node(), node());
    bed.block_on(async {
        let client = a.client().await;
        let (begun, work) = begin(&mut a, &client, 1).await;
        let last = begun.last_event_id().expect("a priming event").to_owned();
        let mut resumed = client.at(&b).resume(&last).await;
        resumed.opened().await;
        drop(begun);
        assert!(failing.by.tried.load(SeqCst) > 0);
        a.elapse(reading(bed)).await;
        // A machine that is held up for longer than a session lives loses the client's signs of life.
        assert!(work.cx.cancel_reason().is_none() || bed.name() != "sim");
        work.finish(json!({}));
        assert!(!resumed.messages().await.is_empty());
    });
}
