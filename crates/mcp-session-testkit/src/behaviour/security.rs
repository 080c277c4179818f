//! Who is served, and that nobody gets a byte of somebody else's session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use http::{HeaderMap, Method, StatusCode};
use mcp_session_core::{BoxFuture, Principal, Runtime, SessionId};
use serde_json::json;

use super::world::{Client, NEVER, Reply, SOON, World, cancel, initialize, notification, request};
use crate::TestBed;

/// All there is of a response.
async fn whole(reply: Reply) -> (StatusCode, HeaderMap, Vec<u8>) {
    (reply.status, reply.headers.clone(), reply.bytes().await)
}

/// One of everything that a client can send with a session id.
async fn everything(client: &Client) -> Vec<(StatusCode, HeaderMap, Vec<u8>)> {
    let mut replies = Vec::new();
    for message in [
        request(1, "echo"),
        request("x", "ping"),
        request(3, "no/such/method"),
        notification("notifications/initialized"),
        notification("anything"),
        cancel(1),
        json!({ "jsonrpc": "2.0", "id": 0, "result": {} }),
        json!([request(1, "echo")]),
        json!([]),
        initialize("2025-11-25", "client"),
        request(4, "initialize"),             // without params
        json!({ "jsonrpc": "2.0", "id": 9 }), // no message: the same for everybody
    ] {
        replies.push(whole(client.post(&message).await).await);
    }
    for (name, value) in [("mcp-protocol-version", "1999-01-01"), ("last-event-id", "0-0"), ("accept", "x/y")]
    {
        for method in [Method::GET, Method::DELETE, Method::POST] {
            let mut http = client.request(method).body(request(1, "echo").to_string()).unwrap();
            http.headers_mut().insert(name, value.parse().unwrap());
            replies.push(whole(client.send(http).await).await);
        }
    }
    replies.push(whole(client.get().await).await);
    replies.push(whole(client.delete().await).await);
    replies
}

/// E-06, E-07: the session of another principal is as unknown as an id that was never issued: byte for byte, on every
/// method, also for nobody in particular. It does not notice, and its owner goes on.
pub fn e_07_a_foreign_principal_finds_nothing(bed: &impl TestBed) {
    let mut world = World::new(bed, |_| {});
    bed.block_on(async {
        let alice = world.stranger().known_as(Some("alice"));
        for version in ["2025-03-26", "2025-11-25"] {
            let mut alice = alice.clone();
            alice.initialize(version).await;
            assert_eq!(alice.post(&notification("notifications/initialized")).await.status, 202);
            let mut get = alice.get().await;
            assert!(get.event().await.is_some());
            let running = alice.start(&request(1, "work"));
            let work = world.work().await;
            let stats = world.endpoint.stats();
            for foreign in [Some("bob"), Some("alice "), Some(""), None] {
                let foreign = alice.known_as(foreign);
                let unknown = foreign.with_session(Some(SessionId::from_bits(7)));
                assert_eq!(everything(&foreign).await, everything(&unknown).await);
                assert_eq!(foreign.post(&request(1, "echo")).await.status, StatusCode::NOT_FOUND);
            }
            assert_eq!((work.cx.cancel_reason(), get.is_silent()), (None, true));
            let now = world.endpoint.stats();
            assert_eq!((now.sessions, now.exchanges_admitted), (stats.sessions, stats.exchanges_admitted));
            assert_eq!(work.cx.principal().map(Principal::as_str), Some("alice")); // E-19
            work.finish(json!({}));
            assert_eq!(running.head().await.answer().await["id"], 1);
            assert_eq!(alice.delete().await.status, StatusCode::NO_CONTENT);
        }
        // A session of nobody in particular is not somebody's.
        let nobody = world.client().await;
        assert_eq!(nobody.session().principal(), None);
        let somebody = nobody.known_as(Some("alice"));
        let unknown = somebody.with_session(Some(SessionId::from_bits(7)));
        assert_eq!(everything(&somebody).await, everything(&unknown).await);
        assert_eq!(nobody.post(&request(1, "echo")).await.status, StatusCode::OK);
    });
}

/// E-07: a foreign principal does not keep a session from expiring.
pub fn e_07_a_foreign_principal_keeps_no_session_alive(bed: &impl TestBed) {
    let world = World::new(bed, |config| config.session.idle_timeout = SOON);
    bed.block_on(async {
        let mut alice = world.stranger().known_as(Some("alice"));
        alice.initialize("2025-11-25").await;
        alice.post(&notification("notifications/initialized")).await;
        let bob = alice.known_as(Some("bob"));
        while world.endpoint.stats().sessions == 1 {
            assert_eq!(bob.post(&request(1, "ping")).await.status, StatusCode::NOT_FOUND);
            world.elapse(SOON / 8).await;
        }
    });
}

/// E-15: one principal has so many sessions and no more; others are not concerned.
pub fn e_15_sessions_of_one_principal_are_capped(bed: &impl TestBed) {
    let world = World::new(bed, |config| config.max_sessions_per_principal = 2);
    bed.block_on(async {
        let open = |name: &'static str| {
            let client = world.stranger().known_as(Some(name));
            async move { client.post(&initialize("2025-11-25", "client")).await }
        };
        let first = open("alice").await;
        assert_eq!(open("alice").await.status, 200);
        let refused = open("alice").await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
        assert_eq!((open("bob").await.status.as_u16(), world.endpoint.stats().sessions), (200, 3));
        let alice = world.stranger().known_as(Some("alice")).with_session(first.session());
        assert_eq!(alice.delete().await.status, 204);
        while open("alice").await.status != 200 {
            world.elapse(SOON / 8).await; // its place is free as soon as nothing of it is left
        }
    });
}

/// A runtime that does not run the first task it is given: the one that keeps an endpoint's deadlines.
#[derive(Debug)]
struct Neglectful(Arc<dyn Runtime>, AtomicBool);

impl Runtime for Neglectful {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.0.sleep_until(deadline)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        if self.1.swap(true, Relaxed) {
            self.0.spawn(task);
        }
    }
}

/// E-15: at the cap, what has expired goes first, also when nobody has got round to it yet.
pub fn e_15_what_has_expired_makes_room(bed: &impl TestBed) {
    let runtime = Arc::new(Neglectful(bed.runtime(), AtomicBool::new(false)));
    let world = World::on(runtime, |config| {
        config.max_sessions = 2;
        config.session.idle_timeout = SOON;
        config.session.initialize_timeout = NEVER;
    });
    bed.block_on(async {
        let (first, second) = (world.client().await, world.client().await);
        let refused = world.stranger().post(&initialize("2025-11-25", "client")).await;
        assert_eq!(refused.status, 503); // neither has expired
        world.elapse(SOON).await;
        assert_eq!(world.endpoint.stats().sessions, 2);
        let third = world.client().await;
        assert_eq!(world.endpoint.stats().sessions, 1);
        for gone in [first, second] {
            assert_eq!(gone.post(&request(1, "ping")).await.status, 404);
        }
        assert_eq!(third.post(&request(1, "ping")).await.status, 200);
    });
}

/// E-02 to E-04: ids are 128 bits of visible ASCII, every one different, in no order.
pub fn e_02_e_03_e_04_session_ids(bed: &impl TestBed) {
    const SESSIONS: usize = 128;
    let world = World::new(bed, |_| {});
    bed.block_on(async {
        let mut ids: Vec<u128> = Vec::new();
        for _ in 0..SESSIONS {
            let opened = world.stranger().post(&initialize("2025-11-25", "client")).await;
            let id = opened.header("mcp-session-id");
            assert!(id.len() == 32 && id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{id}");
            ids.push(u128::from_str_radix(id, 16).unwrap());
        }
        // Every bit is set in some and clear in others: with honest bits, it would fail once in 2^120 runs.
        let (all, any) = ids.iter().fold((u128::MAX, 0), |(all, any), id| (all & id, any | id));
        assert_eq!((all, any), (0, u128::MAX), "a bit that never changes");
        assert!(!ids.is_sorted());
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), SESSIONS);
    });
}
