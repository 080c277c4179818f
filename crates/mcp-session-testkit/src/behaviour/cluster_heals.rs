//! A store that has lost events that it had acknowledged, as after a failover: whoever can, writes them again.

use std::sync::Arc;

use futures::FutureExt;
use http::StatusCode;
use mcp_session_core::{
    proto::EventId,
    store::{EventStore, LogId, MemoryStore, SessionStore, Store},
};
use serde_json::json;

use super::{
    fixture::{Client, Fixture, NEVER, Reply, SOON, Work, request},
    stores::{Mood, Moody, Nodes, begin, numbers, send},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    s_13_a_reader_waits_for_what_its_store_has_lost,
    s_13_an_answer_that_the_store_has_lost_is_written_again,
    s_13_the_end_of_a_lost_node_is_written_again,
    d_37_a_position_that_nobody_writes_is_unknown,
}

/// Two nodes whose appends hang when told to, and a call at the first of them.
struct Held {
    a: Fixture,
    b: Fixture,
    shared: MemoryStore,
    events: Arc<Moody>,
}

impl Held {
    fn new(bed: &impl TestBed) -> Self {
        let shared = MemoryStore::new(bed.runtime());
        let events = Arc::new(Moody { store: shared.clone(), by: Mood::of(&["append"]) });
        let mut store = Store::new(shared.clone());
        store.events = Arc::clone(&events) as _;
        store.timeout = NEVER;
        let [a, b] = [(); 2].map(|()| Fixture::new(bed, |config| config.store = Some(store.clone())));
        Self { a, b, shared, events }
    }

    /// A client that has read four events of its call, and its name for the log of the call.
    async fn call(&mut self) -> (Client, Reply, Work, LogId) {
        let client = self.a.client().await;
        let (mut reply, work) = begin(&mut self.a, &client, 1).await;
        send(&work, 0..4).await;
        for n in 0..4 {
            assert_eq!(reply.message().await.unwrap()["params"]["n"], n);
        }
        let log = log_of(&client, &reply);
        (client, reply, work, log)
    }
}

fn log_of(client: &Client, reply: &Reply) -> LogId {
    let id = EventId::parse(reply.last_event_id().unwrap()).unwrap();
    LogId { session: client.id(), stream: id.stream }
}

/// S13, D-37: a client has events that the store has lost. It comes back to another node, which waits until the first one has
/// written them again: nothing is missing, and nothing comes twice. A reader that was there before goes on.
fn s_13_a_reader_waits_for_what_its_store_has_lost(bed: &impl TestBed) {
    let mut nodes = Held::new(bed);
    bed.block_on(async {
        let (client, reply, work, log) = nodes.call().await;
        let last = reply.last_event_id().unwrap().to_owned();
        drop(reply);
        let elsewhere = client.at(&nodes.b);
        let mut before = elsewhere.resume(&last).await;
        before.opened().await;
        nodes.events.by.set(true);
        nodes.shared.lose_events(log, 1.into());
        send(&work, [4]).await;
        nodes.a.elapse(SOON).await;
        assert!(before.is_silent());
        nodes.events.by.set(false);
        assert_eq!(before.message().await.expect("it is not cut")["params"]["n"], 4);

        nodes.events.by.set(true);
        nodes.shared.lose_events(log, 2.into());
        let last = before.last_event_id().unwrap().to_owned();
        let mut resuming = Box::pin(elsewhere.resume(&last));
        assert!(resuming.as_mut().now_or_never().is_none(), "the store is behind");
        nodes.events.by.set(false);
        let mut resumed = resuming.await;
        assert_eq!(resumed.status, StatusCode::OK);
        send(&work, [5]).await;
        assert_eq!(resumed.message().await.unwrap()["params"]["n"], 5);
        work.finish(json!({ "ok": true }));
        assert_eq!(resumed.answer().await["result"]["ok"], true);
        let whole = elsewhere.resume(&format!("{}-0", log.stream)).await.messages().await;
        assert_eq!((numbers(&whole), whole.len()), ((0..6).collect(), 7));
    });
}

/// S13, S5: the store loses the end of a call that is over, read or not. Its node writes it again.
fn s_13_an_answer_that_the_store_has_lost_is_written_again(bed: &impl TestBed) {
    for reads in [true, false] {
        let mut nodes = Held::new(bed);
        bed.block_on(async {
            let (client, reply, work, log) = nodes.call().await;
            let last = reply.last_event_id().unwrap().to_owned();
            let mut reply = Some(reply).filter(|_| reads);
            work.finish(json!({ "ok": true }));
            if let Some(reply) = reply.take() {
                assert_eq!(reply.answer().await["result"]["ok"], true);
            }
            nodes.a.until(|a| a.endpoint.stats().exchanges == 0).await;
            nodes.shared.lose_events(log, 2.into());
            let rest = client.at(&nodes.b).resume(&last).await;
            assert_eq!(rest.status, StatusCode::OK);
            let rest = rest.messages().await;
            assert_eq!((rest.len(), &rest[0]["result"]["ok"]), (1, &json!(true)));
        });
    }
}

/// S13, S5: the store loses the end that another node has written for a call whose node is gone. That node writes it again.
fn s_13_the_end_of_a_lost_node_is_written_again(bed: &impl TestBed) {
    let mut nodes = Nodes::new(bed);
    bed.block_on(async {
        let client = nodes.a.client().await;
        let (mut reply, work) = begin(&mut nodes.a, &client, 1).await;
        send(&work, 0..2).await;
        assert_eq!(reply.message().await.unwrap()["params"]["n"], 0);
        let (last, log) = (reply.last_event_id().unwrap().to_owned(), log_of(&client, &reply));
        let node = nodes.shared.load(client.id()).await.unwrap().unwrap().members[0].unwrap();
        nodes.shared.lose(node);
        let elsewhere = client.at(&nodes.b);
        let sealed = elsewhere.resume(&last).await.messages().await;
        assert_eq!((sealed.len(), &sealed[1]["error"]["code"]), (2, &json!(-32000)));
        nodes.shared.lose_events(log, 2.into());
        // Nobody reads it, and it gets its end.
        let page = loop {
            let page = EventStore::read(&nodes.shared, log, 2.into(), 10).await.unwrap();
            if page.ended {
                break page;
            }
            nodes.b.elapse(SOON).await;
        };
        assert_eq!(page.events.len(), 1, "{page:?}");
        assert_eq!(elsewhere.resume(&last).await.messages().await, sealed);
    });
}

/// D-37: a client names a position that its log has not reached. It is refused, at the node of the log at once, and elsewhere
/// when the time for one call of the store is over.
fn d_37_a_position_that_nobody_writes_is_unknown(bed: &impl TestBed) {
    let shared = MemoryStore::new(bed.runtime());
    let mut store = Store::new(shared);
    store.timeout = SOON;
    let [mut a, b] = [(); 2].map(|()| Fixture::new(bed, |config| config.store = Some(store.clone())));
    bed.block_on(async {
        let client = a.client().await;
        let (reply, work) = begin(&mut a, &client, 1).await;
        let beyond = format!("{}-7", log_of(&client, &reply).stream);
        let elsewhere = client.at(&b);
        assert_eq!(elsewhere.post(&request("echo", "echo")).await.status, StatusCode::OK);
        for client in [&client, &elsewhere] {
            assert_eq!(client.resume(&beyond).await.status, StatusCode::BAD_REQUEST);
        }
        work.finish(json!({}));
        assert_eq!(reply.messages().await.len(), 1);
    });
}
