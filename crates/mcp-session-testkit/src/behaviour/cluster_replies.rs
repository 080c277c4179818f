//! Replies and cancels that reach another node than the one that needs them, while the store loses messages.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{
    FutureExt,
    future::{join, ready},
};
use http::StatusCode;
use mcp_session_core::{
    BoxFuture, CancelReason, TerminateReason,
    store::{MemoryStore, PeerMessage, PeerRequest, Store},
};
use serde_json::{Value, json};

use super::{
    fixture::{Client, Fixture, NEVER, PATIENT, Reply, SOON, Work, cancel},
    intercepted::{Intercept, Intercepted},
    stores::begin,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    f_23_a_reply_that_the_store_loses_is_sent_again,
    f_02_a_cancel_that_the_store_loses_is_sent_again,
    f_02_a_cancel_that_meets_an_unreachable_store_is_passed_on_later,
    f_02_a_cancel_that_comes_when_its_session_is_ending_still_cancels,
    f_23_a_reply_is_accepted_only_when_its_node_has_it,
    f_23_a_reply_to_a_node_that_is_gone_is_dropped,
}

/// A kind of message.
type Kind = fn(&PeerRequest) -> bool;

const POSTED: Kind = |request| matches!(request, PeerRequest::Posted { .. });
const TAKEN: Kind = |request| matches!(request, PeerRequest::Taken(_));

/// Loses messages that it has accepted.
#[derive(Debug, Default)]
struct Leak {
    /// The kinds of which the next one is lost.
    once: Mutex<Vec<Kind>>,
    /// All replies and cancels are lost.
    always: AtomicBool,
    /// How many more records cannot be loaded.
    unreachable: AtomicUsize,
}

impl Intercept for Leak {
    fn polled(&self, _: &'static str) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn loses(&self, message: &PeerMessage) -> bool {
        let mut once = self.once.lock().unwrap();
        let lost = once.iter().position(|kind| kind(&message.request)).map(|at| once.remove(at)).is_some();
        lost || (self.always.load(SeqCst) && POSTED(&message.request))
    }

    fn unreachable(&self) -> bool {
        self.unreachable.fetch_update(SeqCst, SeqCst, |more| more.checked_sub(1)).is_ok()
    }
}

/// Two nodes whose store loses messages when told to.
struct Leaky {
    a: Fixture,
    b: Fixture,
    shared: MemoryStore,
    peers: Arc<Intercepted<Leak>>,
}

impl Leaky {
    fn new(bed: &impl TestBed, patience: Duration) -> Self {
        let shared = MemoryStore::new(bed.runtime());
        let peers = Arc::new(Intercepted { store: shared.clone(), by: Leak::default() });
        let mut store = Store::new(shared.clone());
        (store.peers, store.sessions) = (Arc::clone(&peers) as _, Arc::clone(&peers) as _);
        store.patience = patience;
        let [a, b] = [(); 2].map(|()| {
            Fixture::new(bed, |config| {
                config.session.terminate.drain = NEVER;
                config.store = Some(store.clone());
            })
        });
        Self { a, b, shared, peers }
    }

    /// A call at the first node, and the same client at the second one, which serves it too.
    async fn call(&mut self) -> (Reply, Work, Client) {
        let client = self.a.client().await;
        let elsewhere = client.at(&self.b);
        assert_eq!(elsewhere.post(&super::fixture::request("echo", "echo")).await.status, StatusCode::OK);
        let (reply, work) = begin(&mut self.a, &client, 1).await;
        (reply, work, elsewhere)
    }
}

/// The client's reply to the next question on this stream.
async fn answer_to(reply: &mut Reply) -> Value {
    let asked = reply.message().await.expect("a question");
    json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "roots": [] } })
}

/// F-23: the store accepts a client's reply for another node and loses it, or loses the word of that node that it has it.
/// The reply is accepted once that node has it, and its handler gets it.
fn f_23_a_reply_that_the_store_loses_is_sent_again(bed: &impl TestBed) {
    for lost in [vec![POSTED], vec![TAKEN], vec![POSTED, TAKEN]] {
        let mut nodes = Leaky::new(bed, NEVER);
        bed.block_on(async {
            let (mut reply, work, elsewhere) = nodes.call().await;
            *nodes.peers.by.once.lock().unwrap() = lost;
            let handler = work.cx.request("roots/list", None::<&()>, NEVER);
            let client_side = async {
                let answer = answer_to(&mut reply).await;
                assert_eq!(elsewhere.post(&answer).await.status, StatusCode::ACCEPTED);
            };
            assert_eq!(join(handler, client_side).await.0.unwrap().as_str(), r#"{"roots":[]}"#);
            assert!(nodes.peers.by.once.lock().unwrap().is_empty());
        });
    }
}

/// F-02: the store accepts a cancel for another node and loses it. It is accepted at once, and reaches that node.
fn f_02_a_cancel_that_the_store_loses_is_sent_again(bed: &impl TestBed) {
    let mut nodes = Leaky::new(bed, NEVER);
    bed.block_on(async {
        let (_reply, work, elsewhere) = nodes.call().await;
        nodes.peers.by.once.lock().unwrap().push(POSTED);
        assert_eq!(elsewhere.post(&cancel(1)).await.status, StatusCode::ACCEPTED);
        assert_eq!(work.cx.cancelled().await, CancelReason::Client(Some("enough".into())));
    });
}

/// F-02: the store cannot be reached when a cancel for another node arrives. It is accepted at once, and passed on when the
/// store is back.
fn f_02_a_cancel_that_meets_an_unreachable_store_is_passed_on_later(bed: &impl TestBed) {
    let mut nodes = Leaky::new(bed, NEVER);
    bed.block_on(async {
        let (_reply, work, elsewhere) = nodes.call().await;
        nodes.peers.by.unreachable.store(2, SeqCst);
        assert_eq!(elsewhere.post(&cancel(1)).await.status, StatusCode::ACCEPTED);
        assert_eq!(work.cx.cancelled().await, CancelReason::Client(Some("enough".into())));
        assert_eq!(nodes.peers.by.unreachable.load(SeqCst), 0);
    });
}

/// F-02: a cancel was accepted at another node, and comes to the node of its call when the session is ending there: it still
/// cancels the call, which could run on for as long as the session drains.
fn f_02_a_cancel_that_comes_when_its_session_is_ending_still_cancels(bed: &impl TestBed) {
    let mut nodes = Leaky::new(bed, NEVER);
    bed.block_on(async {
        let (reply, work, elsewhere) = nodes.call().await;
        nodes.peers.by.once.lock().unwrap().push(POSTED);
        nodes.peers.by.always.store(true, SeqCst);
        assert_eq!(elsewhere.post(&cancel(1)).await.status, StatusCode::ACCEPTED);
        // It is on its way.
        nodes.b.until(|_| nodes.peers.by.once.lock().unwrap().is_empty()).await;
        let ended = elsewhere.at(&nodes.a).session().terminate(TerminateReason::Evicted);
        assert!(work.cx.cancel_reason().is_none(), "it may drain");
        nodes.peers.by.always.store(false, SeqCst);
        assert_eq!(work.cx.cancelled().await, CancelReason::Client(Some("enough".into())));
        work.fail(CancelReason::Client(None).into());
        let (read, reason) = join(reply.messages(), ended.into_future()).await;
        assert_eq!((read, reason), (vec![], TerminateReason::Evicted));
    });
}

/// F-23, B-42: a reply whose node does not say that it has it is answered 503 with `Retry-After`, not 202, and the client may
/// send it again. A shutdown does not wait for that.
fn f_23_a_reply_is_accepted_only_when_its_node_has_it(bed: &impl TestBed) {
    let mut nodes = Leaky::new(bed, SOON * 4);
    bed.block_on(async {
        let (mut reply, work, elsewhere) = nodes.call().await;
        let mut asked = Box::pin(work.cx.request("roots/list", None::<&()>, NEVER));
        assert!(asked.as_mut().now_or_never().is_none());
        let answer = answer_to(&mut reply).await;
        nodes.peers.by.always.store(true, SeqCst);
        let refused = elsewhere.post(&answer).await;
        assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        assert!(asked.as_mut().now_or_never().is_none());

        let mut posting = Box::pin(elsewhere.post(&answer));
        assert!(posting.as_mut().now_or_never().is_none());
        let report = nodes.b.endpoint.shutdown(PATIENT).await;
        assert!(report.is_clean(), "{report}");
        let refused = posting.await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        nodes.peers.by.always.store(false, SeqCst);
        let c = Fixture::new(bed, |config| config.store = Some(Store::new(nodes.shared.clone())));
        assert_eq!(elsewhere.at(&c).post(&answer).await.status, StatusCode::ACCEPTED);
        assert_eq!(asked.await.unwrap().as_str(), r#"{"roots":[]}"#);
    });
}

/// B-19: a reply to a question of a node that is gone is dropped, as any reply that nobody waits for.
fn f_23_a_reply_to_a_node_that_is_gone_is_dropped(bed: &impl TestBed) {
    let mut nodes = Leaky::new(bed, NEVER);
    bed.block_on(async {
        let (mut reply, work, elsewhere) = nodes.call().await;
        let mut asked = Box::pin(work.cx.request("roots/list", None::<&()>, NEVER));
        assert!(asked.as_mut().now_or_never().is_none());
        let answer = answer_to(&mut reply).await;
        let record = mcp_session_core::store::SessionStore::load(&nodes.shared, elsewhere.id()).await;
        nodes.shared.lose(record.unwrap().unwrap().members[0].unwrap());
        assert_eq!(elsewhere.post(&answer).await.status, StatusCode::ACCEPTED);
        let unknown = json!({ "jsonrpc": "2.0", "id": 7_u64 << 40, "result": {} });
        assert_eq!(elsewhere.post(&unknown).await.status, StatusCode::ACCEPTED);
    });
}
