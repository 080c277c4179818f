//! Requests that reach a session while it comes to a node, or leaves it (E-11).

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use mcp_session_core::{
    SecondStream, SessionEvent,
    store::{MemoryStore, SessionStore, Store},
};

use serde_json::json;

use super::{
    fixture::{Client, Fixture, NEVER, PATIENT, Reply, SOON, Started, request},
    stores::{Mood, Moody, Nodes, begin},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    e_11_a_session_deleted_while_a_node_adopts_it_is_unknown_there,
    e_11_a_get_that_waits_at_a_node_that_leaves_is_not_unknown,
    e_11_a_get_whose_session_left_and_came_back_is_not_unknown,
    e_11_a_session_deleted_elsewhere_while_it_parts_here_is_unknown_here,
}

/// Two nodes whose common store waits in these methods when told to. A session is idle at the second one after `idle`.
fn nodes(
    bed: &impl TestBed,
    of: &'static [&'static str],
    idle: Option<Duration>,
) -> ([Fixture; 2], Arc<Moody>) {
    let moody = Arc::new(Moody { store: MemoryStore::new(bed.runtime()), by: Mood::of(of) });
    let mut store = Store::new(moody.store.clone());
    store.sessions = Arc::clone(&moody) as _;
    store.peers = Arc::clone(&moody) as _;
    store.timeout = NEVER;
    let node = |idle: Option<Duration>| {
        Fixture::new(bed, |config| {
            config.session.second_stream = SecondStream::Replace;
            config.session.idle_timeout = idle.unwrap_or(config.session.idle_timeout);
            config.store = Some(store.clone());
        })
    };
    ([node(None), node(idle)], moody)
}

/// A client reads its GET stream at one node, and asks for it `elsewhere`, where the GET waits until the first node has been told.
async fn get_that_waits(client: &Client, elsewhere: &Client, moody: &Moody) -> (Reply, Started) {
    assert_eq!(elsewhere.post(&request(1, "echo")).await.status, StatusCode::OK);
    let mut get = client.get().await;
    get.opened().await;
    moody.by.set(true);
    (get, elsewhere.start_with(elsewhere.request(Method::GET).body(String::new()).expect("a GET")))
}

/// E-11: a session that is deleted while another node adopts it is unknown there too, although that node did not have the
/// session yet when it was told.
fn e_11_a_session_deleted_while_a_node_adopts_it_is_unknown_there(bed: &impl TestBed) {
    let ([a, b], moody) = nodes(bed, &["claim"], None);
    bed.block_on(async {
        let client = a.client().await;
        let record = async || moody.store.load(client.id()).await.unwrap();
        let first = record().await.expect("it is in the store").members[0].expect("its first node serves it");
        moody.store.park(first, vec![client.id()]).await.unwrap(); // now whoever adopts it claims it
        moody.by.set(true);
        let elsewhere = client.at(&b);
        let call = elsewhere.start(&request(1, "echo"));
        while record().await.is_some_and(|record| record.members.len() < 2) {
            b.elapse(SOON).await;
        }
        assert_eq!(client.delete().await.status, StatusCode::NO_CONTENT);
        b.elapse(SOON).await; // it is told
        moody.by.set(false);
        assert_eq!(call.head().await.status, StatusCode::NOT_FOUND);
        assert_eq!(elsewhere.post(&request(2, "echo")).await.status, StatusCode::NOT_FOUND);
    });
}

/// E-11: a GET that waits for another node, at a node that leaves meanwhile, gets 503: its session lives on. 404 would make
/// its client open a new one.
fn e_11_a_get_that_waits_at_a_node_that_leaves_is_not_unknown(bed: &impl TestBed) {
    let ([a, b], moody) = nodes(bed, &["send"], None);
    bed.block_on(async {
        let client = a.client_of("2025-06-18").await;
        let elsewhere = client.at(&b);
        let (_get, waiting) = get_that_waits(&client, &elsewhere, &moody).await;
        while moody.store.load(client.id()).await.unwrap().is_some_and(|record| record.listener.number < 2) {
            b.elapse(SOON).await;
        }
        let report = b.endpoint.shutdown(PATIENT).await;
        assert!(report.failures.is_empty(), "{report:?}");
        moody.by.set(false);
        assert_eq!(waiting.head().await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(client.post(&request(2, "echo")).await.status, StatusCode::OK);
    });
}

/// E-11: a GET waits for another node. Meanwhile its session is idle here and leaves, and comes back with another request: the
/// GET gets 503, since the session that it found has ended, and its client may come again.
fn e_11_a_get_whose_session_left_and_came_back_is_not_unknown(bed: &impl TestBed) {
    let ([a, b], moody) = nodes(bed, &["send"], Some(SOON * 10));
    bed.block_on(async {
        let client = a.client_of("2025-06-18").await;
        let elsewhere = client.at(&b);
        let events = b.endpoint.manager().events(8);
        let (_get, waiting) = get_that_waits(&client, &elsewhere, &moody).await;
        assert_eq!(events.recv().await, Some(SessionEvent::Adopted(client.id())));
        assert_eq!(events.recv().await, Some(SessionEvent::Parked(client.id())));
        assert_eq!(elsewhere.post(&request(2, "echo")).await.status, StatusCode::OK);
        moody.by.set(false);
        let status = waiting.head().await.status;
        // On a slow machine, the GET comes when the session has left already, and takes it up itself.
        let is_late = bed.name() != "sim" && status == StatusCode::OK;
        assert!(is_late || status == StatusCode::SERVICE_UNAVAILABLE, "{status}");
        assert_eq!(client.post(&request(3, "echo")).await.status, StatusCode::OK);
    });
}

/// E-11: a session is idle at a node, where its last stream is not read to its end yet. Meanwhile its client ends it at another
/// node: then it is unknown here too, and not on its way to another node.
fn e_11_a_session_deleted_elsewhere_while_it_parts_here_is_unknown_here(bed: &impl TestBed) {
    let mut nodes = Nodes::tuned(bed, |config| {
        config.session.idle_timeout = SOON * 25; // so long that the call reaches the session in time
        config.session.terminate.finish = NEVER;
    });
    bed.block_on(async {
        let client = nodes.a.client().await;
        let elsewhere = client.at(&nodes.b);
        let (unread, work) = begin(&mut nodes.b, &elsewhere, 1).await;
        work.finish(json!({}));
        nodes.b.until(|fixture| fixture.endpoint.manager().get(&client.id()).is_none()).await;
        loop {
            match client.delete().await.status {
                StatusCode::NO_CONTENT => break,
                // On a slow machine, it has ended as idle at every node, or the store was not asked in time.
                StatusCode::NOT_FOUND if bed.name() != "sim" => break,
                status => {
                    assert!(status == StatusCode::SERVICE_UNAVAILABLE && bed.name() != "sim", "{status}");
                }
            }
        }
        loop {
            let status = elsewhere.post(&request(2, "echo")).await.status;
            if status == StatusCode::NOT_FOUND {
                break;
            }
            assert!(status == StatusCode::SERVICE_UNAVAILABLE && bed.name() != "sim", "{status}");
        }
        drop(unread);
    });
}
