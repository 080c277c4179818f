//! What an [`Observer`] hears, in virtual time.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::{BoxFuture, pending};
use http::Request;
use mcp_session_core::{
    Config, Endpoint, Observer, Refused, RequestContext, Router, Runtime, ShutdownPolicy, StoreCall,
    StoreOutcome,
    store::{MemoryStore, NodeId, PeerMessage, Peers, Store, Unavailable},
};
use mcp_session_testkit::{SimRuntime, TestClient};
use serde_json::{Value, json};

/// How often, with which status, and by which setting.
type Row = (u64, u16, Option<&'static str>);

#[derive(Default)]
struct Heard {
    /// By reason.
    refused: Mutex<BTreeMap<&'static str, Row>>,
    calls: Mutex<Vec<StoreCall>>,
    slow: Mutex<Vec<(String, Duration)>>,
    panics: Mutex<Vec<String>>,
}

impl Observer for Heard {
    fn refused(&self, refused: &Refused) {
        let mut all = self.refused.lock().expect("no test panics in here");
        let entry = all.entry(refused.reason).or_insert((0, refused.status.as_u16(), refused.setting));
        entry.0 += 1;
    }

    fn store_called(&self, call: &StoreCall) {
        self.calls.lock().expect("no test panics in here").push(*call);
    }

    fn slow_poll(&self, method: &str, took: Duration) {
        self.slow.lock().expect("no test panics in here").push((method.to_owned(), took));
    }

    fn panicked(&self, method: &str) {
        self.panics.lock().expect("no test panics in here").push(method.to_owned());
    }
}

/// A runtime on which a handler can block its thread: its clock is ahead by so many milliseconds.
#[derive(Debug, Clone)]
struct Ahead(SimRuntime, Arc<AtomicU64>);

impl Ahead {
    fn by(&self) -> Duration {
        Duration::from_millis(self.1.load(SeqCst))
    }
}

impl Runtime for Ahead {
    fn now(&self) -> Instant {
        self.0.now() + self.by()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.0.sleep_until(deadline - self.by())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.0.random()
    }
}

fn post() -> http::request::Builder {
    Request::post("/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
}

#[test]
fn s_15_refusals_are_heard_by_reason_as_often_as_they_are_counted() {
    let (runtime, heard) = (SimRuntime::new(1), Arc::new(Heard::default()));
    let mut config = Config::default();
    config.observer = Some(heard.clone());
    config.body_limit = 300;
    config.max_sessions = 1;
    let endpoint =
        Endpoint::with_config(runtime.clone(), Router::new("x", "1"), config).expect("it can work");
    runtime.block_on(async {
        let _client = TestClient::new(&endpoint).await;
        let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } } });
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        for (request, body) in [
            (post().header("host", "mcp.example.com"), ""),
            (post().header("host", "mcp.example.org"), ""),
            (post().header("origin", "https://mcp.example.com"), ""),
            (Request::put("/mcp"), ""),
            (post(), "nonsense"),
            (post(), &*"x".repeat(301)),
            (post().header("mcp-session-id", "nobody"), ping),
            (post(), &*initialize.to_string()),
        ] {
            let request = request.body(body.to_owned()).expect("a request");
            assert!(endpoint.handle(request).await.status().is_client_error() || body.contains("initialize"));
        }
    });
    let refused = heard.refused.lock().expect("no test panics in here");
    let expected = BTreeMap::from([
        ("forbidden_host", (2, 403, Some("Config::allowed_hosts"))),
        ("forbidden_origin", (1, 403, Some("Config::allowed_origins"))),
        ("method_not_allowed", (1, 405, None)),
        ("not_json", (1, 400, None)),
        ("body_too_large", (1, 413, Some("Config::body_limit"))),
        ("unknown_session", (1, 404, None)),
        ("too_many_sessions", (1, 503, Some("Config::max_sessions, Config::max_sessions_per_principal"))),
    ]);
    assert_eq!(*refused, expected);
    let sum: u64 = refused.values().map(|(count, ..)| count).sum();
    assert_eq!(sum, endpoint.stats().requests_refused);
}

#[test]
fn handlers_that_block_or_panic_are_heard_of_with_their_method() {
    let (sim, heard) = (SimRuntime::new(1), Arc::new(Heard::default()));
    let runtime = Ahead(sim.clone(), Arc::default());
    let clock = Arc::clone(&runtime.1);
    let router = Router::new("x", "1")
        .request("blocks", move |_: RequestContext| {
            let clock = Arc::clone(&clock);
            async move {
                clock.fetch_add(101, SeqCst);
                Ok(json!({}))
            }
        })
        .request("panics", |_: RequestContext| async {
            if true {
                std::panic::resume_unwind(Box::new("planted"));
            }
            Ok(json!({}))
        });
    let mut config = Config::default();
    config.observer = Some(heard.clone());
    let endpoint = Endpoint::with_config(runtime, router, config).expect("it can work");
    sim.block_on(async {
        let client = TestClient::new(&endpoint).await;
        client.request("blocks", json!({})).await.expect("a result");
        client.request("panics", json!({})).await.expect_err("a panic");
        client.request("unknown", json!({})).await.expect_err("no such method");
    });
    let slow = heard.slow.lock().expect("no test panics in here");
    assert_eq!(*slow, [("blocks".to_owned(), Duration::from_millis(101))]);
    assert_eq!(*heard.panics.lock().expect("no test panics in here"), ["panics"]);
    assert!(heard.refused.lock().expect("no test panics in here").is_empty());
}

/// What a node's farewell meets.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Slow,
    Away,
    Hangs,
    Panics,
}

#[derive(Debug)]
struct Moody(Arc<dyn Peers>, SimRuntime, Mood);

impl Peers for Moody {
    fn send(&self, to: NodeId, message: PeerMessage) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.0.send(to, message)
    }

    fn receive(&self, node: NodeId) -> BoxFuture<'_, Option<PeerMessage>> {
        self.0.receive(node)
    }

    fn announce(&self, from: NodeId, announcement: Bytes) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.0.announce(from, announcement)
    }

    fn announced(&self, node: NodeId) -> BoxFuture<'_, Option<Bytes>> {
        self.0.announced(node)
    }

    fn is_gone(&self, node: NodeId) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.0.is_gone(node)
    }

    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), Unavailable>> {
        match self.2 {
            Mood::Slow => Box::pin(async move {
                self.1.sleep_until(self.1.now() + Duration::from_millis(300)).await;
                self.0.leave(node).await
            }),
            Mood::Away => Box::pin(async { Err(Unavailable) }),
            Mood::Hangs => Box::pin(pending()),
            Mood::Panics => std::panic::resume_unwind(Box::new("planted")),
        }
    }
}

#[test]
fn s_13_calls_of_the_store_are_heard_of_with_their_time_and_outcome() {
    for (mood, outcome, took) in [
        (Mood::Slow, StoreOutcome::Answered, 300),
        (Mood::Away, StoreOutcome::Unavailable, 0),
        (Mood::Hangs, StoreOutcome::Dropped, 2_000), // `Store::timeout`
        (Mood::Panics, StoreOutcome::Panicked, 0),
    ] {
        let (runtime, heard) = (SimRuntime::new(1), Arc::new(Heard::default()));
        let mut store = Store::new(MemoryStore::new(Arc::new(runtime.clone())));
        store.peers = Arc::new(Moody(Arc::clone(&store.peers), runtime.clone(), mood));
        let mut config = Config::default();
        config.observer = Some(heard.clone());
        config.store = Some(store);
        let endpoint =
            Endpoint::with_config(runtime.clone(), Router::new("x", "1"), config).expect("it can work");
        runtime.block_on(async {
            let client = TestClient::new(&endpoint).await;
            client.request("unknown", Value::Null).await.expect_err("no such method");
            endpoint.shutdown(ShutdownPolicy::default()).await;
            runtime.sleep_until(runtime.now() + Duration::from_secs(60)).await;
        });
        let calls = heard.calls.lock().expect("no test panics in here");
        let of = |operation: &str| calls.iter().filter(|it| it.operation == operation).collect::<Vec<_>>();
        let created = of("create");
        assert_eq!((created.len(), created[0].outcome), (1, StoreOutcome::Answered), "{calls:?}");
        assert_eq!(of("park").len(), 1, "{calls:?}");
        let left = of("leave");
        assert!(!left.is_empty(), "{calls:?}");
        for call in left {
            assert_eq!((call.outcome, call.took), (outcome, Duration::from_millis(took)), "{mood:?}");
        }
        for wait in ["watch", "failover", "receive", "announced"] {
            assert!(of(wait).is_empty(), "{wait} waits: {calls:?}");
        }
    }
}

/// An observer is foreign code: if it panics, only it misses something.
#[test]
fn s_8_an_observer_that_panics_costs_nobody_else_anything() {
    struct Panics;

    impl Observer for Panics {
        fn refused(&self, _: &Refused) {
            std::panic::resume_unwind(Box::new("planted"));
        }

        fn store_called(&self, _: &StoreCall) {
            std::panic::resume_unwind(Box::new("planted"));
        }
    }

    let runtime = SimRuntime::new(1);
    let mut config = Config::default();
    config.observer = Some(Arc::new(Panics));
    config.store = Some(Store::new(MemoryStore::new(Arc::new(runtime.clone()))));
    let endpoint =
        Endpoint::with_config(runtime.clone(), Router::new("x", "1"), config).expect("it can work");
    runtime.block_on(async {
        let client = TestClient::new(&endpoint).await;
        let foreign = post().header("host", "mcp.example.com").body(String::new()).expect("a request");
        assert_eq!(endpoint.handle(foreign).await.status(), 403);
        client.request("unknown", Value::Null).await.expect_err("no such method");
        let report = endpoint.shutdown(ShutdownPolicy::default()).await;
        assert!(report.is_clean(), "{report}");
    });
    assert!(runtime.panics().is_empty(), "{:?}", runtime.panics());
}
