//! Many `subscriptions/listen`, of many clients: each by itself, bounded, and beside sessions (G.6).

use futures::{FutureExt, future::join_all};
use serde_json::{Value, json};

use super::{
    super::fixture::{Fixture, META, Reply},
    begin,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_58_each_subscription_by_itself,
    g_59_a_bound_for_all,
    g_59_a_bound_for_each_principal,
    g_59_equal_events_wait_once,
    g_59_a_slow_reader_is_ended_in_band,
    g_59_listeners_take_no_place_of_calls,
    g_61_one_notify_reaches_both_eras,
    g_61_a_handler_notifies_everybody,
    s_11_a_listener_that_does_not_read_delays_nobody,
}

const TOOLS: &str = "notifications/tools/list_changed";

fn tools() -> Value {
    json!({ "toolsListChanged": true })
}

/// Everything that can be read now; and whether the stream has ended.
fn readable(reply: &mut Reply) -> (Vec<Value>, bool) {
    let mut messages = Vec::new();
    loop {
        match reply.message().now_or_never() {
            None => return (messages, false),
            Some(None) => return (messages, true),
            Some(Some(message)) => messages.push(message),
        }
    }
}

/// G-58: the same id, of the same client and of others: one event for each that matches. The end of one ends no other.
fn g_58_each_subscription_by_itself(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let clients = [Some("alice"), Some("bob"), None].map(|name| fixture.modern().known_as(name));
        let mut listeners = Vec::new();
        for client in &clients {
            for _ in 0..2 {
                listeners.push(client.listen(1, tools()).await.0);
            }
        }
        let (mut other, _) = clients[0].listen(1, json!({ "resourcesListChanged": true })).await;
        let told = fixture.endpoint.notify(TOOLS, None::<&()>).unwrap();
        assert_eq!((told.subscriptions, told.subscriptions_ended), (6, 0));
        for listener in &mut listeners {
            let message = listener.message().await.unwrap();
            assert_eq!(
                (&message["method"], &message["params"]["_meta"][format!("{META}subscriptionId")]),
                (&json!(TOOLS), &json!(1))
            );
            assert!(listener.is_silent(), "once");
        }
        assert!(other.is_silent());
        drop(listeners.swap_remove(1));
        fixture.until(|fixture| fixture.endpoint.stats().subscriptions == 6).await;
        assert_eq!(fixture.endpoint.notify(TOOLS, None::<&()>).unwrap().subscriptions, 5);
        for listener in &mut listeners {
            assert_eq!(listener.message().await.unwrap()["method"], TOOLS);
        }
    });
}

/// It is refused before the acknowledgement, in JSON: nothing of it is open.
async fn too_many(reply: Reply, id: u64) {
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
    let answer = reply.json().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32603)));
    assert_eq!(answer["error"]["data"], json!({ "reason": "overload", "retryable": true }));
}

/// G-59: [`Config::max_subscriptions`](mcp_session_core::Config::max_subscriptions).
fn g_59_a_bound_for_all(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.max_subscriptions = 3);
    bed.block_on(async {
        let client = fixture.modern();
        let mut open = Vec::new();
        for id in 0..3 {
            open.push(client.listen(id, tools()).await.0);
        }
        for id in 3..6 {
            too_many(client.post(&client.listening(id, tools())).await, id).await;
        }
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.subscriptions, stats.exchanges, stats.streams), (3, 3, 3));
        assert_eq!(stats.requests_refused, 3);
        drop(open.pop());
        fixture.until(|fixture| fixture.endpoint.stats().subscriptions == 2).await;
        open.push(client.listen(9, tools()).await.0);
        assert_eq!(fixture.endpoint.notify(TOOLS, None::<&()>).unwrap().subscriptions, 3);
    });
}

/// G-59: [`Config::max_subscriptions_per_principal`](mcp_session_core::Config::max_subscriptions_per_principal): one caller
/// takes no place of another.
fn g_59_a_bound_for_each_principal(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| {
        (config.max_subscriptions, config.max_subscriptions_per_principal) = (6, 2);
    });
    bed.block_on(async {
        let [alice, bob, nobody] =
            [Some("alice"), Some("bob"), None].map(|name| fixture.modern().known_as(name));
        let mut open = Vec::new();
        for client in [&alice, &bob] {
            for id in 0..2 {
                open.push(client.listen(id, tools()).await.0);
            }
            too_many(client.post(&client.listening(7, tools())).await, 7).await;
        }
        for id in 0..2 {
            open.push(nobody.listen(id, tools()).await.0);
        }
        too_many(nobody.post(&nobody.listening(8, tools())).await, 8).await; // the bound for all
        drop(open.remove(0));
        fixture.until(|fixture| fixture.endpoint.stats().subscriptions == 5).await;
        too_many(bob.post(&bob.listening(9, tools())).await, 9).await;
        open.push(alice.listen(1, tools()).await.0);
    });
}

/// G-59: a client that does not read gets an event once, however often it happened meanwhile.
fn g_59_equal_events_wait_once(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.session.queue_events = 4);
    bed.block_on(async {
        let filter = json!({ "toolsListChanged": true, "resourcesListChanged": true });
        let (mut listener, _) = fixture.modern().listen(1, filter).await;
        for _ in 0..1000 {
            for method in [TOOLS, "notifications/resources/list_changed"] {
                let told = fixture.endpoint.notify(method, None::<&()>).unwrap();
                assert_eq!((told.subscriptions, told.subscriptions_ended), (1, 0));
            }
        }
        let (messages, ended) = readable(&mut listener);
        assert_eq!((messages.len(), ended), (2, false));
        // Once it was read, it may come again.
        fixture.endpoint.notify(TOOLS, None::<&()>).unwrap();
        assert_eq!(readable(&mut listener).0.len(), 1);
    });
}

/// G-55, G-59: with different events, its queue is full one day: it gets what is queued, its result, and the end. Then it may
/// subscribe again, and nobody else notices.
fn g_59_a_slow_reader_is_ended_in_band(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.session.queue_events = 4);
    bed.block_on(async {
        let client = fixture.modern();
        let filter = json!({ "resourceSubscriptions": ["file:///"] });
        let (mut slow, _) = client.listen("slow", filter.clone()).await;
        let (mut quick, _) = client.listen("quick", filter.clone()).await;
        let mut sent = 0;
        loop {
            let params = json!({ "uri": format!("file:///{sent}") });
            let told = fixture.endpoint.notify("notifications/resources/updated", Some(&params)).unwrap();
            assert_eq!(quick.message().await.unwrap()["params"]["uri"], params["uri"]);
            if told.subscriptions_ended == 1 {
                break;
            }
            assert_eq!(told.subscriptions, 2);
            sent += 1;
        }
        let told = fixture
            .endpoint
            .notify("notifications/resources/updated", Some(&json!({ "uri": "file:///x" })))
            .unwrap();
        assert_eq!((told.subscriptions, told.subscriptions_ended), (1, 0));
        let (messages, ended) = readable(&mut slow);
        assert!(ended);
        let (result, updates) = messages.split_last().unwrap();
        for (number, update) in updates.iter().enumerate() {
            assert_eq!(update["params"]["uri"], format!("file:///{number}"));
        }
        assert_eq!(updates.len(), sent);
        assert_eq!((&result["id"], &result["result"]["resultType"]), (&json!("slow"), &json!("complete")));
        fixture.until(|fixture| fixture.endpoint.stats().subscriptions == 1).await;
        assert_eq!(fixture.endpoint.stats().streams_cut, 0);
        let _again = client.listen("slow", filter).await;
    });
}

/// Each has its own bound.
fn g_59_listeners_take_no_place_of_calls(bed: &impl TestBed) {
    let mut fixture =
        Fixture::new(bed, |config| (config.max_stateless_requests, config.max_subscriptions) = (1, 2));
    bed.block_on(async {
        let client = fixture.modern();
        let _open = [client.listen(1, tools()).await, client.listen(2, tools()).await];
        assert!(client.post(&client.call(3, "echo")).await.answer().await["result"].is_object());
        let (running, work) = begin(&mut fixture, &client, &client.call(4, "work")).await;
        too_many(client.post(&client.call(5, "echo")).await, 5).await;
        too_many(client.post(&client.listening(6, tools())).await, 6).await;
        work.finish(json!({}));
        running.head().await.answer().await;
    });
}

/// G-61, D-17: GET streams of sessions, and listeners: each once.
fn g_61_one_notify_reaches_both_eras(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.session.replay = None);
    bed.block_on(async {
        let (listening, deaf) = (fixture.client().await, fixture.client().await);
        let mut get = listening.get().await;
        get.opened().await;
        let (mut listener, _) = fixture.modern().listen(1, tools()).await;
        let (mut other, _) = fixture.modern().listen(1, json!({ "resourcesListChanged": true })).await;
        for by_manager in [false, true] {
            let told = if by_manager {
                fixture.endpoint.manager().broadcast(TOOLS, None::<&()>).unwrap()
            } else {
                fixture.endpoint.notify(TOOLS, None::<&()>).unwrap()
            };
            assert_eq!((told.taken, told.unheard, told.full), (1, 1, 0));
            assert_eq!((told.subscriptions, told.subscriptions_ended), (1, 0));
            let legacy = get.message().await.unwrap();
            assert_eq!(legacy["method"], TOOLS);
            assert!(legacy["params"]["_meta"].get(format!("{META}subscriptionId")).is_none(), "{legacy}");
            assert_eq!(listener.message().await.unwrap()["method"], TOOLS);
        }
        assert!(other.is_silent() && get.is_silent() && listener.is_silent());
        drop(deaf);
    });
}

/// G-61: from a call of either era.
fn g_61_a_handler_notifies_everybody(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (client, legacy) = (fixture.modern(), fixture.json_client().await);
        let (mut listener, _) = client.listen("l", tools()).await;
        let mut get = legacy.get().await;
        get.opened().await;
        let modern = client.start(&client.call(1, "work"));
        let first = fixture.work().await;
        let old = legacy.start(&json!({ "jsonrpc": "2.0", "id": 1, "method": "work" }));
        let second = fixture.work().await;
        for work in [first, second] {
            let told = work.cx.sessions().unwrap().broadcast(TOOLS, None::<&()>).unwrap();
            assert_eq!((told.taken, told.subscriptions), (1, 1));
            assert_eq!(listener.message().await.unwrap()["method"], TOOLS);
            assert_eq!(get.message().await.unwrap()["method"], TOOLS);
            work.finish(json!({}));
        }
        for reply in join_all([modern.head(), old.head()]).await {
            assert!(!reply.is_stream(), "G-29: nothing of it on the stream of a request");
            assert!(reply.answer().await["result"].is_object());
        }
    });
}

/// S11: `notify` never waits, and other clients get their events.
fn s_11_a_listener_that_does_not_read_delays_nobody(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.session.queue_events = 2);
    bed.block_on(async {
        let client = fixture.modern();
        let filter = json!({ "resourceSubscriptions": ["file:///"] });
        let mut unread = Vec::new();
        for id in 0..10 {
            unread.push(client.post(&client.listening(id, filter.clone())).await);
        }
        let (mut quick, _) = client.listen("quick", filter).await;
        for number in 0..100 {
            let params = json!({ "uri": format!("file:///{number}") });
            fixture.endpoint.notify("notifications/resources/updated", Some(&params)).unwrap();
            assert_eq!(quick.message().await.unwrap()["params"]["uri"], params["uri"]);
        }
        // Each of them has its acknowledgement first and its result last, whenever it reads.
        for (id, reply) in unread.into_iter().enumerate() {
            let messages = reply.messages().await;
            assert_eq!(messages[0]["method"], "notifications/subscriptions/acknowledged");
            assert_eq!(messages.last().unwrap()["id"], id);
        }
        fixture.until(|fixture| fixture.endpoint.stats().subscriptions == 1).await;
    });
}
