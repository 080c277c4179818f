//! The laws of announcements, for a store that implements [`Peers::announce`] and [`Peers::announced`].
//!
//! Both are optional, so these laws are a suite of their own. A store that leaves the defaults breaks the first law.
//!
//! | law | broken, for example, by |
//! |---|---|
//! | [`law_announcements_reach_the_other_nodes`] | one queue for all nodes: each announcement reaches one of them |
//! | [`law_a_node_gets_none_of_its_own_announcements`] | a channel that gives each message back to its sender |
//! | [`law_announcing_waits_for_nobody`] | a bounded queue that waits for space |
//! | [`law_a_node_that_has_left_gets_no_announcements`] | a node that waits for ever after it has left |

use std::{cell::Cell, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::join_all};
use mcp_session_core::{
    Runtime,
    store::{NodeId, Peers, Store},
};

use super::{A, B};
use crate::{
    TestBed,
    suite::{Suite, scenarios},
};

/// Every law of announcements, as tests `name::law`. `bed` makes a new [`TestBed`] for each, and `make` creates an empty
/// store for a runtime.
///
/// ```
/// use mcp_session_core::store::{MemoryStore, Store};
/// use mcp_session_testkit::{SimRuntime, store_contract::announcements};
///
/// let make = async |runtime| Store::new(MemoryStore::new(runtime));
/// announcements::suite("memory", || SimRuntime::new(1), make).check(); // all as one test
/// ```
pub fn suite<B: TestBed + 'static, M: AsyncFn(Arc<dyn Runtime>) -> Store + Clone + Send + 'static>(
    name: impl Into<String>,
    bed: impl Fn() -> B + Clone + Send + 'static,
    make: M,
) -> Suite {
    Suite::new(name, scenarios(), move || (bed(), make.clone()))
}

scenarios! {
    Store;
    law_announcements_reach_the_other_nodes,
    law_a_node_gets_none_of_its_own_announcements,
    law_announcing_waits_for_nobody,
    law_a_node_that_has_left_gets_no_announcements,
}

const C: NodeId = NodeId(0xC);

/// After this time, an announcement that is repeated all the time has not just been missed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two repetitions.
const PAUSE: Duration = Duration::from_millis(10);

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The announcements to a node, up to this one.
async fn until(peers: &dyn Peers, node: NodeId, last: &str) -> Vec<Bytes> {
    let mut heard = Vec::new();
    while heard.last().is_none_or(|heard| heard != last) {
        heard.push(peers.announced(node).await.expect("it has not left"));
    }
    heard
}

/// Repeats an announcement until it has arrived at these nodes: they may miss what was announced before they waited.
/// Then sends `last` and fetches it, so that nothing is underway.
async fn connect(runtime: &dyn Runtime, peers: &dyn Peers, from: NodeId, to: &[NodeId], last: &str) {
    const PROBE: &str = "\"probe\"";
    let deadline = runtime.now() + PATIENCE;
    let connected = Cell::new(false);
    let arrive = async {
        join_all(to.iter().map(|node| until(peers, *node, PROBE))).await;
        connected.set(true);
    };
    let repeat = async {
        while !connected.get() {
            assert!(runtime.now() < deadline, "announcements do not arrive");
            assert_eq!(peers.announce(from, text(PROBE)).await, Ok(()));
            runtime.sleep_until(runtime.now() + PAUSE).await;
        }
    };
    futures::join!(arrive, repeat);
    let fetched = join_all(to.iter().map(|node| until(peers, *node, last)));
    let (_, sent) = futures::join!(fetched, peers.announce(from, text(last)));
    assert_eq!(sent, Ok(()));
}

/// An announcement arrives unchanged at every other node that waits for it, once, and in order with those of its sender.
pub fn law_announcements_reach_the_other_nodes(
    bed: &impl TestBed,
    make: impl AsyncFn(Arc<dyn Runtime>) -> Store,
) {
    bed.block_on(async {
        let (runtime, Store { peers, .. }) = (bed.runtime(), make(bed.runtime()).await);
        let _ = peers.announced(B).now_or_never(); // may be dropped
        connect(&*runtime, &*peers, A, &[B, C], "0").await;
        let _ = peers.announced(B).now_or_never();
        let sent: Vec<Bytes> =
            (1..20).map(|n| format!(r#"{{ "n": {n}, "text": "ä" }}"#).into()).chain([text("1")]).collect();
        let announce = async {
            for announcement in &sent {
                assert_eq!(peers.announce(A, announcement.clone()).await, Ok(()));
            }
        };
        let (at_b, at_c, ()) = futures::join!(until(&*peers, B, "1"), until(&*peers, C, "1"), announce);
        assert_eq!((&at_b, &at_c), (&sent, &sent));
    });
}

/// A node gets what others announce, and not what it announces itself.
pub fn law_a_node_gets_none_of_its_own_announcements(
    bed: &impl TestBed,
    make: impl AsyncFn(Arc<dyn Runtime>) -> Store,
) {
    bed.block_on(async {
        let (runtime, Store { peers, .. }) = (bed.runtime(), make(bed.runtime()).await);
        connect(&*runtime, &*peers, A, &[B], "0").await;
        connect(&*runtime, &*peers, B, &[A], "0").await;
        let announce = async {
            for (from, announcement) in [(A, "1"), (B, "2"), (A, "3"), (B, "4")] {
                assert_eq!(peers.announce(from, text(announcement)).await, Ok(()));
            }
        };
        let (at_a, at_b, ()) = futures::join!(until(&*peers, A, "4"), until(&*peers, B, "3"), announce);
        assert_eq!((at_a, at_b), (vec![text("2"), text("4")], vec![text("1"), text("3")]));
    });
}

/// Announcing succeeds while a node does not fetch its announcements. That node misses some, and then goes on.
pub fn law_announcing_waits_for_nobody(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let (runtime, Store { peers, .. }) = (bed.runtime(), make(bed.runtime()).await);
        connect(&*runtime, &*peers, A, &[B, C], "0").await;
        for n in 0..2_000 {
            assert_eq!(peers.announce(A, format!("{{ \"n\": {n} }}").into()).await, Ok(()));
        }
        connect(&*runtime, &*peers, A, &[B, C], "1").await;
    });
}

/// A node that has left is told so, and gets nothing more. The others go on.
pub fn law_a_node_that_has_left_gets_no_announcements(
    bed: &impl TestBed,
    make: impl AsyncFn(Arc<dyn Runtime>) -> Store,
) {
    bed.block_on(async {
        let (runtime, Store { peers, .. }) = (bed.runtime(), make(bed.runtime()).await);
        connect(&*runtime, &*peers, A, &[B, C], "0").await;
        let (left, told) = futures::join!(peers.leave(B), peers.announced(B));
        assert_eq!((left, told), (Ok(()), None));
        assert_eq!(peers.announce(A, text("1")).await, Ok(()));
        assert_eq!(peers.announced(B).await, None);
        assert_eq!(until(&*peers, C, "1").await, [text("1")]);
    });
}
