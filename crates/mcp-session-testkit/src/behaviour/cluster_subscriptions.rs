//! A broadcast at one node, and the sessions and `subscriptions/listen` streams of others (G-61).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use event_listener::Event;
use futures::{FutureExt, future::join};
use http::StatusCode;
use mcp_session_core::{
    BoxFuture,
    store::{MemoryStore, Store},
};
use serde_json::json;

use super::{
    fixture::{Fixture, META, NEVER, PATIENT, Reply, planted, request},
    intercepted::{Intercept, Intercepted},
    stores::Nodes,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_61_listeners_at_other_nodes_hear_a_broadcast,
    g_54_a_broadcast_of_another_node_is_filtered,
    g_61_a_session_hears_a_broadcast_once,
    s_13_a_node_that_has_left_hears_nothing,
    s_13_a_store_that_cannot_announce_delays_nobody,
}

const TOOLS: &str = "notifications/tools/list_changed";
const RESOURCES: &str = "notifications/resources/list_changed";
const UPDATED: &str = "notifications/resources/updated";

/// Waits until what `from` broadcasts arrives at `to`: a node that has just started may miss it.
async fn connected(from: &Fixture, to: &Fixture) {
    let uri = "probe:///";
    let (mut probe, _) = to.modern().listen("probe", json!({ "resourceSubscriptions": [uri] })).await;
    loop {
        from.endpoint.notify(UPDATED, Some(&json!({ "uri": uri }))).unwrap();
        from.elapse(Duration::from_millis(1)).await;
        if let Some(message) = probe.message().now_or_never() {
            return assert_eq!(message.unwrap()["params"]["uri"], uri);
        }
    }
}

/// The method of the next notification, which has the tag of this subscription (G-53).
async fn heard(listener: &mut Reply, id: &str) -> String {
    let message = listener.message().await.unwrap();
    assert_eq!(message["params"]["_meta"][format!("{META}subscriptionId")], id, "{message}");
    message["method"].as_str().unwrap().to_owned()
}

/// Each gets it once, with its own tag, if it asked for it. The result counts those of this node.
fn g_61_listeners_at_other_nodes_hear_a_broadcast(bed: &impl TestBed) {
    let nodes = Nodes::new(bed);
    bed.block_on(async {
        let filter = json!({ "toolsListChanged": true, "resourcesListChanged": true });
        for (here, there) in [(&nodes.a, &nodes.b), (&nodes.b, &nodes.a)] {
            connected(here, there).await;
            let (mut local, _) = here.modern().listen("local", filter.clone()).await;
            let (mut remote, _) = there.modern().known_as(Some("bob")).listen("remote", filter.clone()).await;
            let (mut other, _) =
                there.modern().listen("other", json!({ "resourcesListChanged": true })).await;
            for method in [TOOLS, RESOURCES] {
                let told = here.endpoint.notify(method, None::<&()>).unwrap();
                assert_eq!((told.subscriptions, told.subscriptions_ended), (1, 0));
                // In order, so a second one would come before the next.
                assert_eq!(heard(&mut local, "local").await, method);
                assert_eq!(heard(&mut remote, "remote").await, method);
            }
            assert_eq!(heard(&mut other, "other").await, RESOURCES, "only what it asked for");
            assert!(local.is_silent() && remote.is_silent() && other.is_silent());
        }
    });
}

/// G-54, G-58: by the URI of a resource. The params arrive as they were sent.
fn g_54_a_broadcast_of_another_node_is_filtered(bed: &impl TestBed) {
    let nodes = Nodes::new(bed);
    bed.block_on(async {
        connected(&nodes.a, &nodes.b).await;
        let (mut listener, _) =
            nodes.b.modern().listen("r", json!({ "resourceSubscriptions": ["file:///a"] })).await;
        for uri in ["file:///b", "file:///a/x", "file:///ab", "file:///a"] {
            let params = json!({ "uri": uri, "n": 18_446_744_073_709_551_615_u64, "_meta": { "k": "ä" } });
            nodes.a.endpoint.notify(UPDATED, Some(&params)).unwrap();
        }
        nodes.a.endpoint.notify(TOOLS, None::<&()>).unwrap();
        for uri in ["file:///a/x", "file:///a"] {
            let message = listener.message().await.unwrap();
            let params = &message["params"];
            assert_eq!((&message["method"], &params["uri"]), (&json!(UPDATED), &json!(uri)));
            assert_eq!((&params["n"], &params["_meta"]["k"]), (&json!(u64::MAX), &json!("ä")));
            assert_eq!(params["_meta"][format!("{META}subscriptionId")], "r");
        }
        assert!(listener.is_silent());
    });
}

/// D-17, D-21, G-61: a session that two nodes serve gets each broadcast once, from the shared log; so does one that only the
/// other node serves.
fn g_61_a_session_hears_a_broadcast_once(bed: &impl TestBed) {
    let nodes = Nodes::new(bed);
    bed.block_on(async {
        connected(&nodes.a, &nodes.b).await;
        let shared = nodes.a.client().await;
        let mut get = shared.at(&nodes.b).get().await;
        get.opened().await;
        let elsewhere = nodes.b.client().await;
        let mut there = elsewhere.get().await;
        there.opened().await;
        let (mut listener, _) = nodes.b.modern().listen("l", json!({ "toolsListChanged": true })).await;
        const MANY: usize = 20;
        for _ in 0..MANY {
            nodes.a.endpoint.notify(TOOLS, None::<&()>).unwrap();
            assert_eq!(heard(&mut listener, "l").await, TOOLS); // it has arrived at that node
        }
        for stream in [&mut get, &mut there] {
            for _ in 0..MANY {
                assert_eq!(stream.message().await.unwrap()["method"], TOOLS);
            }
        }
        // Both nodes have said all that they had to say about it before this.
        let both = [shared.session(), shared.at(&nodes.b).session(), elsewhere.session()];
        for session in &both {
            session.notify("notifications/y", None::<&()>).await.unwrap();
        }
        for (stream, times) in [(&mut get, 2), (&mut there, 1)] {
            for _ in 0..times {
                assert_eq!(stream.message().await.unwrap()["method"], "notifications/y");
            }
            assert!(stream.is_silent());
        }
    });
}

/// S13: after a shutdown, and after an endpoint was dropped. Other nodes go on, also those that come later.
fn s_13_a_node_that_has_left_hears_nothing(bed: &impl TestBed) {
    let nodes = Nodes::new(bed);
    bed.block_on(async {
        let another = || {
            let store = Store::new(nodes.shared.clone());
            Fixture::new(bed, |config| config.store = Some(store.clone()))
        };
        connected(&nodes.a, &nodes.b).await;
        let filter = json!({ "toolsListChanged": true });
        let (mut local, _) = nodes.a.modern().listen("local", filter.clone()).await;
        let (gone, _) = nodes.b.modern().listen("gone", filter.clone()).await;
        let (report, messages) =
            join(nodes.b.endpoint.shutdown(PATIENT).into_future(), gone.messages()).await;
        assert!(report.is_clean(), "{report}");
        assert_eq!((messages.len(), &messages[0]["id"]), (1, &json!("gone")), "its result (G-55)");
        assert_eq!(nodes.a.endpoint.notify(TOOLS, None::<&()>).unwrap().subscriptions, 1);
        assert_eq!(heard(&mut local, "local").await, TOOLS);

        let dropped = another();
        connected(&nodes.a, &dropped).await;
        drop(dropped);
        let later = another();
        connected(&nodes.a, &later).await;
        connected(&later, &nodes.a).await;
        let (mut listener, _) = later.modern().listen("later", filter).await;
        nodes.a.endpoint.notify(TOOLS, None::<&()>).unwrap();
        assert_eq!(heard(&mut listener, "later").await, TOOLS);
        assert_eq!(heard(&mut local, "local").await, TOOLS);
    });
}

/// A store that hangs or panics in `announce`, when told to.
#[derive(Debug)]
struct Mute {
    panics: bool,
    unwell: AtomicBool,
    /// Whether it was asked to announce since it was set.
    tried: AtomicBool,
    cured: Event,
}

impl Mute {
    fn set(&self, unwell: bool) {
        self.unwell.store(unwell, SeqCst);
        self.tried.store(false, SeqCst);
        self.cured.notify(usize::MAX);
    }
}

impl Intercept for Mute {
    fn called(&self, method: &str) {
        if method == "announce" {
            self.tried.store(true, SeqCst);
            if self.panics && self.unwell.load(SeqCst) {
                planted("the store panics");
            }
        }
    }

    fn polled(&self, method: &'static str) -> BoxFuture<'_, ()> {
        async move {
            loop {
                let cured = self.cured.listen();
                if method != "announce" || !self.unwell.load(SeqCst) {
                    return;
                }
                cured.await;
            }
        }
        .boxed()
    }
}

/// S13: the broadcast, its subscribers, sessions and a shutdown do not wait for it. Once it is well again, other nodes hear
/// what is broadcast.
fn s_13_a_store_that_cannot_announce_delays_nobody(bed: &impl TestBed) {
    for panics in [false, true] {
        let shared = MemoryStore::new(bed.runtime());
        let by =
            Mute { panics, unwell: AtomicBool::default(), tried: AtomicBool::default(), cured: Event::new() };
        let mute = Arc::new(Intercepted { store: shared.clone(), by });
        let mut store = Store::new(shared);
        store.peers = Arc::clone(&mute) as _;
        store.timeout = NEVER;
        let fixture = || Fixture::new(bed, |config| config.store = Some(store.clone()));
        let (a, b) = (fixture(), fixture());
        bed.block_on(async {
            let (mut local, _) = a.modern().listen("local", json!({ "toolsListChanged": true })).await;
            connected(&a, &b).await;
            let client = a.client().await;
            for last in [false, true] {
                mute.by.set(true);
                for _ in 0..2_000 {
                    assert_eq!(a.endpoint.notify(TOOLS, None::<&()>).unwrap().subscriptions, 1);
                }
                a.until(|_| mute.by.tried.load(SeqCst)).await;
                assert_eq!(heard(&mut local, "local").await, TOOLS);
                assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::OK);
                assert_eq!(client.at(&b).post(&request(2, "echo")).await.status, StatusCode::OK);
                if !last {
                    mute.by.set(false);
                    connected(&a, &b).await;
                }
            }
            let (report, messages) = join(a.endpoint.shutdown(PATIENT).into_future(), local.messages()).await;
            assert!(report.is_clean() && report.took < NEVER, "{report}");
            assert_eq!(messages.last().unwrap()["id"], "local");
        });
    }
}
