//! The laws of a store, as tests: of [`EventStore`], [`SessionStore`] and [`Peers`].
//!
//! [`suite`] makes a test of each law for a store; each law is also a public function. A law panics if the store breaks it, and only waits for states.
//!
//! | law | broken, for example, by |
//! |---|---|
//! | [`law_append_again_is_append_once`] | positions assigned by the store: a late packet duplicates an event |
//! | [`law_append_leaves_no_gap`] | a store that accepts every position |
//! | [`law_publish_again_is_publish_once`] | a store that does not keep the token |
//! | [`law_read_resumes_where_it_stopped`] | pages that overlap, or skip events |
//! | [`law_unknown_logs_are_errors`] | an empty page for a missing log: its reader would wait for ever |
//! | [`law_forgotten_events_are_errors`] | a gap that is skipped silently |
//! | [`law_logs_are_separate`] | logs looked up by stream number alone |
//! | [`law_purged_logs_stay_purged`] | a late append that brings a log back |
//! | [`law_a_log_has_one_end`] | an owner and a sealer that both append a last event |
//! | [`law_connection_numbers_grow`] | a counter for each node: a late message ends a newer connection |
//! | [`law_watch_wakes`] | a wake-up that is lost between a read and a watch |
//! | [`law_watch_reports_a_lost_owner`] | a reader that waits for a node that is gone |
//! | [`law_remove_is_final_and_has_one_winner`] | an update that writes the record back |
//! | [`law_member_numbers_are_unique`] | numbers taken from the count of members |
//! | [`law_records_have_an_age`] | a clock for each node, or none |
//! | [`law_one_node_listens`] | last writer wins |
//! | [`law_retire_ends_unused_sessions`] | a session that ends twice, or never |
//! | [`law_sweep_ends_unserved_sessions`] | sessions that never end, or whose hook runs twice |
//! | [`law_claim_is_conditional_and_park_releases`] | last writer wins |
//! | [`law_the_first_value_stays`] | last writer wins, or each node its own |
//! | [`law_messages_arrive`] | an inbox that starts with its first reader |
//! | [`law_futures_may_be_dropped`] | a dropped call that takes half of its effect |
//!
//! A store that carries announcements, which is optional, has [`announcements::suite`] too.
//!
//! [`EventStore`]: mcp_session_core::store::EventStore
//! [`SessionStore`]: mcp_session_core::store::SessionStore
//! [`Peers`]: mcp_session_core::store::Peers

#![allow(clippy::missing_panics_doc)] // a law panics if the store breaks it

pub mod announcements;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::join_all};
use mcp_session_core::{
    Principal, ProtocolVersion, Runtime, SessionId, TerminateReason,
    proto::Position,
    store::{
        Append, AppendError, Listener, LogId, NodeId, Page, PeerMessage, PeerRequest, PublishError,
        ReadError, Receipt, Record, Store, Update, Wakeup,
    },
};

use crate::{
    TestBed,
    suite::{Suite, scenarios},
};

/// Every law of a store, as tests `name::law`. `bed` makes a new [`TestBed`] for each, and `make` creates an
/// empty store for a runtime.
///
/// ```
/// use mcp_session_core::store::{MemoryStore, Store};
/// use mcp_session_testkit::{SimRuntime, store_contract};
///
/// let make = async |runtime| Store::new(MemoryStore::new(runtime));
/// store_contract::suite("memory", || SimRuntime::new(1), make).check(); // all as one test
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
    law_append_again_is_append_once,
    law_append_leaves_no_gap,
    law_publish_again_is_publish_once,
    law_read_resumes_where_it_stopped,
    law_unknown_logs_are_errors,
    law_forgotten_events_are_errors,
    law_logs_are_separate,
    law_purged_logs_stay_purged,
    law_a_log_has_one_end,
    law_connection_numbers_grow,
    law_watch_wakes,
    law_watch_reports_a_lost_owner,
    law_remove_is_final_and_has_one_winner,
    law_member_numbers_are_unique,
    law_records_have_an_age,
    law_one_node_listens,
    law_retire_ends_unused_sessions,
    law_sweep_ends_unserved_sessions,
    law_claim_is_conditional_and_park_releases,
    law_the_first_value_stays,
    law_messages_arrive,
    law_futures_may_be_dropped,
}

/// More events than any store keeps for one session.
const PLENTY: u64 = 100_000;

const A: NodeId = NodeId(0xA);
const B: NodeId = NodeId(0xB);

fn session(n: u128) -> SessionId {
    SessionId::from_bits(n)
}

fn log(stream: u64) -> LogId {
    LogId { session: session(1), stream }
}

fn record(id: SessionId) -> Record {
    let mut record = Record::new(id, ProtocolVersion::LATEST_WITH_HANDSHAKE);
    record.principal = Some(Principal::new("alice"));
    record.capabilities.roots = true;
    record.initialize = serde_json::json!({ "clientInfo": { "name": "c", "version": "1" } }).into();
    (record.home, record.members) = (Some(A), vec![Some(A)]);
    record
}

fn append(log: LogId, at: u64, events: impl IntoIterator<Item = &'static str>, ends: bool) -> Append {
    let mut append = Append::new(log, A, "call".into(), at);
    append.events = events.into_iter().map(Bytes::from).collect();
    append.ends = ends;
    append
}

/// Creates a store that holds session 1.
async fn opened(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) -> Store {
    let store = make(bed.runtime()).await;
    store.sessions.create(record(session(1))).await.unwrap();
    store
}

async fn read(store: &Store, log: LogId, after: impl Into<Position>) -> Vec<String> {
    let Page { events, .. } = store.events.read(log, after.into(), 1_000).await.unwrap();
    let text = |event: &Bytes| String::from_utf8(event.to_vec()).unwrap();
    events.iter().map(|(_, event)| text(event)).collect()
}

/// A repeated or overlapping append adds only the events that are new.
pub fn law_append_again_is_append_once(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let append = |at, events: &[&'static str], ends| {
            store.events.append(append(log(3), at, events.iter().copied(), ends))
        };
        assert_eq!(append(1, &[], false).await, Ok(())); // opens the log
        for _ in 0..3 {
            assert_eq!(append(1, &["a", "b"], false).await, Ok(()));
        }
        assert_eq!(append(2, &["b", "c"], false).await, Ok(()));
        assert_eq!(append(1, &["a"], false).await, Ok(())); // a late packet
        for _ in 0..3 {
            assert_eq!(append(4, &["d"], true).await, Ok(()));
        }
        assert_eq!(append(1, &["a", "b"], false).await, Ok(())); // a very late one
        assert_eq!(read(&store, log(3), 0).await, ["a", "b", "c", "d"]);
    });
}

/// An append that would leave a gap fails with the next position that the store expects.
pub fn law_append_leaves_no_gap(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        assert_eq!(
            store.events.append(append(log(3), 2, ["b"], false)).await,
            Err(AppendError::Behind { next: 1 })
        );
        assert_eq!(store.events.append(append(log(3), 1, ["a"], false)).await, Ok(()));
        assert_eq!(
            store.events.append(append(log(3), 3, ["c"], true)).await,
            Err(AppendError::Behind { next: 2 })
        );
        assert_eq!(store.events.append(append(log(3), 2, ["b"], false)).await, Ok(()));
        assert_eq!(read(&store, log(3), 0).await, ["a", "b"]);
    });
}

/// The same token from the same node is the same event. Every node may publish, and all nodes read the same order.
pub fn law_publish_again_is_publish_once(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let publish = |node, token, event: &'static str| {
            store.events.publish(session(1), node, token, Bytes::from(event))
        };
        let first = publish(A, 1, "a1").await.unwrap();
        assert_eq!(publish(A, 1, "a1").await, Ok(first));
        let second = publish(B, 1, "b1").await.unwrap();
        let third = publish(A, 2, "a2").await.unwrap();
        assert!(Position::START < first && first < second && second < third);
        for _ in 0..2 {
            assert!(publish(A, 1, "a1").await.unwrap() >= first);
            assert_eq!(publish(B, 1, "b1").await, Ok(second));
        }
        let shared = LogId::shared(session(1));
        assert_eq!(read(&store, shared, 0).await, ["a1", "b1", "a2"]);
        assert_eq!(read(&store, shared, first).await, ["b1", "a2"]);
        let all = join_all((2..50).map(|token| publish(B, token, "more"))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(read(&store, shared, third).await.len(), 48);
        // What a node has announced is published by several nodes, under an id that no node has.
        let all = join_all((0..5).map(|_| publish(NodeId(0xA1), 1, "announced"))).await;
        assert!(all.iter().all(|position| *position == all[0] && position.is_ok()), "{all:?}");
        assert_eq!(read(&store, shared, third).await.len(), 49);
    });
}

/// A reader that reads page by page gets every event once, in order, with its position, and then the end.
pub fn law_read_resumes_where_it_stopped(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    const EVENTS: [&str; 7] = ["0", "1", "2", "3", "4", "5", "6"];
    bed.block_on(async {
        let store = opened(bed, make).await;
        store.events.append(append(log(3), 1, EVENTS, true)).await.unwrap();
        for limit in 1..10 {
            let (mut after, mut seen) = (Position::START, Vec::new());
            let page = loop {
                let page = store.events.read(log(3), after, limit).await.unwrap();
                assert!(page.events.len() <= limit && page.request == Some("call".into()));
                for (position, event) in &page.events {
                    assert!(*position > after);
                    after = *position;
                    seen.push(event.clone());
                }
                if page.ended {
                    break page;
                }
                assert!(!page.events.is_empty(), "an empty page in the middle of a log");
            };
            assert_eq!(seen, EVENTS);
            let last = store.events.read(log(3), after, limit).await.unwrap();
            assert_eq!((last.events.len(), last.ended, page.ended), (0, true, true));
        }
    });
}

/// Reading an unknown log, position or session is an error.
pub fn law_unknown_logs_are_errors(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        store.events.append(append(log(3), 1, ["a", "b"], false)).await.unwrap();
        let unknown = [
            (log(4), Position::START),
            (LogId { session: session(2), stream: 3 }, Position::START),
            (log(3), Position { epoch: 9, seq: 1 }),
            (LogId::shared(session(1)), 1.into()),
            (LogId::shared(session(2)), Position::START),
        ];
        for (log, after) in unknown {
            assert_eq!(store.events.read(log, after, 10).await, Err(ReadError::Unknown), "{log:?} {after}");
        }
        for known in [0, 1, 2] {
            assert!(store.events.read(log(3), known.into(), 10).await.is_ok());
        }
        // Its owner may be about to write it again.
        let beyond = [3, 1_000];
        for after in beyond {
            assert_eq!(store.events.read(log(3), after.into(), 10).await, Err(ReadError::Behind), "{after}");
        }
        store.events.append(append(log(3), 3, [], true)).await.unwrap();
        for after in beyond.into_iter().chain([u64::MAX]) {
            assert_eq!(store.events.read(log(3), after.into(), 10).await, Err(ReadError::Unknown), "{after}");
        }
        assert!(store.events.read(LogId::shared(session(1)), Position::START, 10).await.is_ok());
    });
}

/// A store forgets eventually, the oldest events first. A read from a position before a forgotten event is an error.
pub fn law_forgotten_events_are_errors(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let (mut next, mut forgotten) = (1, false);
        while !forgotten {
            assert!(next < PLENTY, "the store never forgets: its memory is unbounded");
            store.events.append(append(log(3), next, ["x"; 100], false)).await.unwrap();
            next += 100;
            forgotten = store.events.read(log(3), Position::START, 1).await == Err(ReadError::Unknown);
        }
        let last = next - 1;
        assert!(store.events.read(log(3), last.into(), 1).await.unwrap().events.is_empty());
        // Finds the first position after which nothing is forgotten.
        let mut seq = last;
        while let Ok(page) = store.events.read(log(3), (seq - 1).into(), usize::MAX).await {
            seq -= 1;
            assert_eq!(page.events.len() as u64, last - seq);
            assert!(seq > 0, "nothing was forgotten");
        }
        for older in [0, 1, seq - 1] {
            assert_eq!(store.events.read(log(3), older.into(), 1).await, Err(ReadError::Unknown));
        }
    });
}

/// The same stream number in two sessions names two logs, and so do two numbers in one session.
pub fn law_logs_are_separate(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        store.sessions.create(record(session(2))).await.unwrap();
        let logs = [log(3), log(4), LogId { session: session(2), stream: 3 }];
        for (log, event) in logs.into_iter().zip(["a", "b", "c"]) {
            store.events.append(append(log, 1, [event], false)).await.unwrap();
        }
        store.events.publish(session(1), A, 1, "d".into()).await.unwrap();
        store.events.append(append(logs[0], 2, [], true)).await.unwrap();
        for (log, event) in logs.into_iter().zip(["a", "b", "c"]) {
            assert_eq!(read(&store, log, 0).await, [event]);
            let ended = store.events.read(log, 1.into(), 10).await.unwrap().ended;
            assert_eq!(ended, log == logs[0]);
        }
        store.events.purge(session(2)).await.unwrap();
        assert_eq!(read(&store, logs[0], 0).await, ["a"]);
        assert_eq!(read(&store, LogId::shared(session(1)), 0).await, ["d"]);
    });
}

/// Nothing of a purged session can be read, and nothing is added to it.
pub fn law_purged_logs_stay_purged(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        for (stream, ends) in [(3, false), (4, true)] {
            store.events.append(append(log(stream), 1, ["a"], ends)).await.unwrap();
        }
        store.events.publish(session(1), A, 1, "p".into()).await.unwrap();
        store.events.purge(session(1)).await.unwrap();
        for log in [log(3), log(4), log(5), LogId::shared(session(1))] {
            assert_eq!(store.events.read(log, Position::START, 1).await, Err(ReadError::Unknown), "{log:?}");
        }
        assert_eq!(store.events.append(append(log(3), 2, ["b"], true)).await, Err(AppendError::Gone));
        assert_eq!(store.events.append(append(log(5), 1, ["c"], true)).await, Err(AppendError::Gone));
        assert_eq!(store.events.publish(session(1), A, 2, "q".into()).await, Err(PublishError::Gone));
        store.events.purge(session(1)).await.unwrap(); // again
        assert_eq!(store.events.read(log(3), Position::START, 1).await, Err(ReadError::Unknown));
    });
}

/// Either the owner or a sealer ends a log, whichever is first. The other one learns of it, and no event follows.
pub fn law_a_log_has_one_end(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let error = || Some(Bytes::from("error"));
        store.events.append(append(log(3), 1, ["a", "answer"], true)).await.unwrap();
        assert_eq!(store.events.seal(log(3), error()).await, Ok(2.into()));
        assert_eq!(read(&store, log(3), 0).await, ["a", "answer"]);

        store.events.append(append(log(4), 1, ["a"], false)).await.unwrap();
        for _ in 0..2 {
            assert_eq!(store.events.seal(log(4), error()).await, Ok(2.into()));
        }
        for late in [append(log(4), 2, ["answer"], true), append(log(4), 3, [], true)] {
            assert_eq!(store.events.append(late).await, Err(AppendError::Sealed));
        }
        let page = store.events.read(log(4), Position::START, 10).await.unwrap();
        assert!(page.ended && page.events.len() == 2);

        store.events.append(append(log(5), 1, [], false)).await.unwrap();
        assert!(store.events.seal(log(5), None).await.is_ok()); // an empty log
        assert!(store.events.read(log(5), Position::START, 10).await.unwrap().ended);
        assert_eq!(store.events.seal(log(6), None).await, Err(ReadError::Unknown));
    });
}

/// Connections of a log get numbers that grow, whichever nodes open them, even before the log has an event. No two calls get
/// the same one, although they come at the same time.
pub fn law_connection_numbers_grow(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let mut last = 0; // the first connection of a call
        for n in 0..10 {
            let number = store.events.attach(log(3), [A, B][n % 2]).await.unwrap();
            assert!(number > last, "{number} after {last}");
            last = number;
            if n == 5 {
                store.events.append(append(log(3), 1, ["a"], true)).await.unwrap();
            }
        }
        let many = join_all((0..20).map(|n| store.events.attach(log(3), NodeId(n)))).await;
        let many: Vec<_> = many.into_iter().map(Result::unwrap).collect();
        assert!(many.iter().all(|number| *number > last), "{many:?} after {last}");
        assert_eq!(many.iter().collect::<BTreeSet<_>>().len(), 20, "{many:?}");
        let unknown = LogId { session: session(9), stream: 3 };
        assert_eq!(store.events.attach(unknown, A).await, Err(ReadError::Unknown));
    });
}

/// A reader that has read everything is woken by the next event, the end of the log, or the end of the session. A reader
/// with unread events is woken at once.
pub fn law_watch_wakes(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        store.events.append(append(log(3), 1, ["a"], false)).await.unwrap();
        assert_eq!(store.events.watch(log(3), Position::START).await, Wakeup::Grown);
        let shared = LogId::shared(session(1));
        // Spurious wake-ups are allowed.
        let grown = async |log: LogId, after: Position| loop {
            assert_eq!(store.events.watch(log, after).await, Wakeup::Grown);
            match store.events.read(log, after, 1).await {
                Ok(page) if page.events.is_empty() && !page.ended => {}
                read => return read.is_ok(),
            }
        };
        // Each watch starts before the change that wakes it.
        let (woken, appended) =
            futures::join!(grown(log(3), 1.into()), store.events.append(append(log(3), 2, ["b"], false)));
        assert!(woken && appended.is_ok());
        let (woken, published) = futures::join!(
            grown(shared, Position::START),
            store.events.publish(session(1), B, 1, "c".into())
        );
        assert!(woken && published.is_ok());
        let (woken, ended) =
            futures::join!(grown(log(3), 2.into()), store.events.append(append(log(3), 3, [], true)));
        assert!(woken && ended.is_ok());
        let (woken, removed, purged) = futures::join!(
            grown(shared, published.unwrap()),
            store.sessions.remove(session(1)),
            store.events.purge(session(1))
        );
        assert!(!woken && removed.is_ok() && purged.is_ok());
    });
}

/// A watch on an unfinished log reports that its owner has left; a watch on a finished log does not.
pub fn law_watch_reports_a_lost_owner(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        store.events.append(append(log(3), 1, ["a"], false)).await.unwrap();
        store.events.append(append(log(4), 1, ["a"], true)).await.unwrap();
        let told = async {
            while store.events.watch(log(3), 1.into()).await == Wakeup::Grown {
                assert!(store.events.read(log(3), 1.into(), 1).await.unwrap().events.is_empty());
            }
        };
        let (left, ()) = futures::join!(store.peers.leave(A), told);
        assert_eq!(left, Ok(()));
        assert_eq!(store.events.watch(log(4), 1.into()).await, Wakeup::Grown);
        assert_eq!(store.events.watch(log(3), Position::START).await, Wakeup::Grown); // unread events come first
        assert_eq!(store.events.seal(log(3), Some("error".into())).await, Ok(2.into()));
        assert_eq!(store.events.watch(log(3), 1.into()).await, Wakeup::Grown);
    });
}

/// A removed session is gone for all nodes. Exactly one caller learns which nodes served it.
pub fn law_remove_is_final_and_has_one_winner(
    bed: &impl TestBed,
    make: impl AsyncFn(Arc<dyn Runtime>) -> Store,
) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let id = session(1);
        // The record comes back unchanged, apart from its ages.
        let load = async || {
            let mut record = store.sessions.load(id).await.unwrap().expect("the session is there");
            (record.age, record.unused) = (Duration::ZERO, Duration::ZERO);
            record
        };
        assert_eq!(load().await, record(id));
        assert_eq!(store.sessions.update(id, Update::Initialized).await, Ok(true));
        for seq in [5, 3] {
            store.sessions.update(id, Update::Heard(seq.into())).await.unwrap();
        }
        let mut expected = record(id);
        (expected.initialized, expected.heard) = (true, 5.into());
        assert_eq!(load().await, expected);
        store.sessions.enlist(id, B).await.unwrap();
        store.events.append(append(log(3), 1, ["a"], false)).await.unwrap();

        let told = join_all((0..10).map(|_| store.sessions.remove(id))).await;
        let mut told: Vec<_> = told.into_iter().filter_map(Result::unwrap).collect();
        told.iter_mut().for_each(|nodes| nodes.sort_unstable());
        assert_eq!(told, [[A, B]], "exactly one caller gets the nodes, and gets all of them");
        store.events.purge(id).await.unwrap();

        assert_eq!(store.sessions.update(id, Update::Initialized).await, Ok(false));
        assert_eq!(store.sessions.enlist(id, B).await, Ok(None));
        assert_eq!(store.sessions.claim(id, B, Some(A)).await, Ok(false));
        store.sessions.touch(vec![id]).await.unwrap();
        store.sessions.park(A, vec![id]).await.unwrap();
        assert_eq!(store.events.append(append(log(3), 2, ["b"], true)).await, Err(AppendError::Gone));
        assert_eq!(store.events.publish(id, A, 1, "c".into()).await, Err(PublishError::Gone));
        assert_eq!(store.events.read(log(3), Position::START, 1).await, Err(ReadError::Unknown));
        assert_eq!(store.sessions.load(id).await, Ok(None), "the session came back");
        assert_eq!(store.sessions.remove(id).await, Ok(None));
    });
}

/// Within a session, no number is given twice: neither to two nodes nor to the same node again.
pub fn law_member_numbers_are_unique(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let id = session(1);
        let given = join_all((0..50).map(|n| store.sessions.enlist(id, NodeId(n % 10)))).await;
        let mut numbers: BTreeSet<u32> = given.into_iter().map(|number| number.unwrap().unwrap()).collect();
        store.sessions.park(NodeId(3), vec![id]).await.unwrap();
        numbers.extend(store.sessions.enlist(id, NodeId(3)).await.unwrap());
        assert_eq!((numbers.len(), numbers.contains(&0)), (51, false)); // 0 is the first node's
        let record = store.sessions.load(id).await.unwrap().unwrap();
        for number in numbers {
            assert!(record.members.len() > number as usize);
        }
        let parked = record.members.iter().filter(|member| member.is_none()).count();
        assert_eq!((parked, record.members.last()), (5, Some(&Some(NodeId(3)))));
    });
}

/// A record says how old its session is and for how long it was not used, by the clock of the store.
pub fn law_records_have_an_age(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    const AGE: Duration = Duration::from_millis(40);
    bed.block_on(async {
        let store = opened(bed, make).await;
        let (id, runtime) = (session(1), bed.runtime());
        let load = async || store.sessions.load(id).await.unwrap().unwrap();
        let slept = runtime.sleep_until(runtime.now() + AGE);
        slept.await;
        store.sessions.update(id, Update::Used(AGE * 100)).await.unwrap(); // longer than the session exists
        let record = load().await;
        assert!(record.age >= AGE && record.unused >= AGE, "{record:?}");
        let again = load().await;
        assert!(
            again.age >= record.age && again.unused >= record.unused,
            "a load does not count as a use: {again:?}"
        );
        store.sessions.enlist(id, B).await.unwrap();
        let taken_up = load().await;
        assert!(taken_up.age >= AGE && taken_up.unused + AGE <= taken_up.age, "{taken_up:?}");
        runtime.sleep_until(runtime.now() + AGE).await;
        assert!(load().await.unused >= AGE);
        store.sessions.update(id, Update::Used(Duration::ZERO)).await.unwrap();
        let used = load().await;
        assert!(used.age >= AGE * 2 && used.unused + AGE * 2 <= used.age, "{used:?}");
    });
}

/// One node listens: the one with the highest number. Neither that number nor the settled one decreases.
pub fn law_one_node_listens(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let id = session(1);
        let update = |update| store.sessions.update(id, update);
        let load = async || store.sessions.load(id).await.unwrap().unwrap();
        assert_eq!(load().await.listener, Listener::default());
        let both = join_all([A, B].map(|node| update(Update::Listens(node, 1)))).await;
        assert_eq!(both, [Ok(true), Ok(true)]);
        let first = load().await.listener;
        assert!(first.number == 1 && first.node.is_some_and(|node| [A, B].contains(&node)));
        for node in [B, A] {
            update(Update::Listens(node, 3)).await.unwrap();
        }
        update(Update::Listens(A, 2)).await.unwrap(); // a late packet
        for (number, position) in [(2, 7), (1, 9), (2, 4)] {
            update(Update::Settled(number, position.into())).await.unwrap();
        }
        let record = load().await;
        assert_eq!((record.listener.number, record.listener.node, record.listener.settled), (3, Some(B), 2));
        assert_eq!(record.heard, 9.into());
    });
}

/// The last node that retires an unused session ends it, and only one call does. A session that another node serves, or that
/// was used since, stays.
pub fn law_retire_ends_unused_sessions(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    const IDLE: Duration = Duration::from_millis(40);
    const NEVER: Duration = Duration::from_secs(600);
    bed.block_on(async {
        let store = opened(bed, make).await;
        let (id, runtime) = (session(1), bed.runtime());
        store.sessions.enlist(id, B).await.unwrap();
        assert_eq!(store.sessions.retire(id, A, Duration::ZERO).await, Ok(false)); // B serves it
        assert_eq!(store.sessions.load(id).await.unwrap().unwrap().nodes(), [B]);
        assert_eq!(store.sessions.retire(id, B, NEVER).await, Ok(false)); // it was used since
        assert_eq!(store.sessions.load(id).await.unwrap().unwrap().nodes(), []);
        for node in [A, B] {
            store.sessions.enlist(id, node).await.unwrap();
        }
        runtime.sleep_until(runtime.now() + IDLE).await;
        store.sessions.load(id).await.unwrap(); // a load does not count as a use
        let ended = join_all([A, B, B].map(|node| store.sessions.retire(id, node, IDLE))).await;
        assert_eq!(ended.into_iter().filter(|ended| *ended == Ok(true)).count(), 1);
        assert_eq!(store.sessions.load(id).await, Ok(None));
        assert_eq!(store.sessions.retire(id, A, IDLE).await, Ok(false));
    });
}

/// A session that no running node serves and that is unused is swept, once. A node that has left serves no session.
pub fn law_sweep_ends_unserved_sessions(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    const IDLE: Duration = Duration::from_millis(40);
    const NEVER: Duration = Duration::from_secs(600);
    bed.block_on(async {
        let store = opened(bed, make).await;
        let (id, runtime) = (session(1), bed.runtime());
        let sweep = async |idle| -> Vec<SessionId> {
            store.sessions.sweep(idle).await.unwrap().into_iter().map(|record| record.id).collect()
        };
        store.sessions.enlist(id, B).await.unwrap();
        runtime.sleep_until(runtime.now() + IDLE).await;
        assert_eq!(sweep(IDLE).await, [], "two nodes serve it");
        store.sessions.park(A, vec![id]).await.unwrap();
        assert_eq!(sweep(IDLE).await, [], "one node serves it");
        store.peers.leave(B).await.unwrap();
        assert_eq!(sweep(NEVER).await, [], "it was used");
        assert!(store.sessions.load(id).await.unwrap().is_some());
        runtime.sleep_until(runtime.now() + IDLE * 2).await;
        let swept = join_all([(); 3].map(|()| sweep(IDLE))).await;
        assert_eq!(swept.concat(), [id], "exactly one caller gets it");
        assert_eq!(store.sessions.load(id).await, Ok(None));
        assert_eq!(sweep(IDLE).await, []);
    });
}

/// A claim succeeds only if it names the current home. A node that parks gives up only its own sessions.
pub fn law_claim_is_conditional_and_park_releases(
    bed: &impl TestBed,
    make: impl AsyncFn(Arc<dyn Runtime>) -> Store,
) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let id = session(1);
        let home = async || store.sessions.load(id).await.unwrap().unwrap().home;
        assert_eq!(store.sessions.claim(id, B, None).await, Ok(false));
        assert_eq!(home().await, Some(A));
        assert_eq!(store.sessions.claim(id, B, Some(A)).await, Ok(true));
        assert_eq!(store.sessions.claim(id, B, Some(A)).await, Ok(true)); // it already is
        assert_eq!(home().await, Some(B));
        store.sessions.park(A, vec![id, session(9)]).await.unwrap();
        assert_eq!(home().await, Some(B));
        assert_eq!(store.sessions.load(id).await.unwrap().unwrap().members, [None]);
        for _ in 0..2 {
            store.sessions.park(B, vec![id]).await.unwrap();
        }
        assert_eq!(home().await, None);
        let claims = join_all((0..10).map(|node| store.sessions.claim(id, NodeId(node), None))).await;
        assert_eq!(claims.into_iter().filter(|claimed| *claimed == Ok(true)).count(), 1);
    });
}

/// Of several values under one name, the first one stays, and everybody gets it.
pub fn law_the_first_value_stays(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = make(bed.runtime()).await;
        let agree = |name, value: [u8; 3]| store.sessions.agree(name, Bytes::copy_from_slice(&value));
        let all = join_all((0..10).map(|n| agree("one", [n, 0, 255]))).await;
        let first = all[0].clone().unwrap();
        assert!(all.iter().all(|agreed| agreed.as_ref() == Ok(&first)), "{all:?}");
        assert!(first[0] < 10 && first[1..] == [0, 255], "{first:?}");
        assert_eq!(agree("two", [77; 3]).await.unwrap()[..], [77; 3]);
        assert_eq!(agree("one", [77; 3]).await, Ok(first));
    });
}

/// An accepted message arrives at its node unchanged, in order with other messages of its sender, even if nobody was
/// receiving yet. A node that has left is gone.
pub fn law_messages_arrive(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let message = |stream| PeerMessage::new(session(1), PeerRequest::TakenOver { stream, number: 5 });
        let posted =
            |receipt| PeerRequest::Posted { message: r#"{ "id": 18446744073709551617 }"#.into(), receipt };
        store.peers.send(B, message(1)).await.unwrap();
        store.peers.send(A, message(7)).await.unwrap();
        store.peers.send(B, message(2)).await.unwrap();
        let mut heard = vec![store.peers.receive(B).await.unwrap()];
        let (last, sent) = futures::join!(
            async {
                // A message may arrive twice.
                while heard.last() != Some(&message(3)) {
                    heard.push(store.peers.receive(B).await.unwrap());
                }
            },
            store.peers.send(B, message(3))
        );
        assert_eq!((last, sent), ((), Ok(())));
        heard.dedup();
        assert_eq!(heard, [message(1), message(2), message(3)]);
        assert_eq!(store.peers.receive(A).await, Some(message(7)));
        for request in [
            posted(None),
            posted(Some(Receipt::new(B, u64::MAX))),
            PeerRequest::Taken(3),
            PeerRequest::Listens(3),
            PeerRequest::Initialized,
            PeerRequest::Terminated(TerminateReason::ClientDelete),
        ] {
            let message = PeerMessage::new(session(1), request);
            store.peers.send(A, message.clone()).await.unwrap();
            assert_eq!(store.peers.receive(A).await, Some(message));
        }
        assert_eq!(store.peers.is_gone(B).await, Ok(false));
        let (left, told) = futures::join!(store.peers.leave(B), store.peers.receive(B));
        assert_eq!((left, told), (Ok(()), None));
        assert_eq!((store.peers.is_gone(A).await, store.peers.is_gone(B).await), (Ok(false), Ok(true)));
        assert_eq!(store.peers.send(B, message(4)).await, Ok(())); // discarded: that node never runs again
        assert_eq!(store.peers.receive(B).await, None);
    });
}

/// Every call can be dropped at any time and repeated: it takes effect once, or not at all.
pub fn law_futures_may_be_dropped(bed: &impl TestBed, make: impl AsyncFn(Arc<dyn Runtime>) -> Store) {
    bed.block_on(async {
        let store = opened(bed, make).await;
        let id = session(1);
        for _ in 0..3 {
            drop(store.events.append(append(log(3), 1, ["a"], false)));
            let _ = store.events.append(append(log(3), 1, ["a"], false)).now_or_never();
            drop(store.events.publish(id, A, 1, "p".into()));
            let _ = store.events.publish(id, A, 1, "p".into()).now_or_never();
            let _ = store.events.watch(log(3), 1.into()).now_or_never();
            let _ = store.sessions.load(id).now_or_never();
            let _ = store.sessions.update(id, Update::Initialized).now_or_never();
            let _ = store.sessions.claim(id, B, Some(A)).now_or_never();
            drop(store.sessions.remove(id));
            drop(store.peers.receive(B));
            let _ = store.peers.receive(A).now_or_never();
        }
        store.events.append(append(log(3), 1, ["a", "b"], false)).await.unwrap();
        store.events.publish(id, A, 1, "p".into()).await.unwrap();
        assert_eq!(read(&store, log(3), 0).await, ["a", "b"]);
        assert_eq!(read(&store, LogId::shared(id), 0).await, ["p"]);
        let message = PeerMessage::new(id, PeerRequest::TakenOver { stream: 1, number: 1 });
        store.peers.send(A, message.clone()).await.unwrap();
        assert_eq!(store.peers.receive(A).await, Some(message));
        for _ in 0..3 {
            let _ = store.events.seal(log(3), Some("error".into())).now_or_never();
        }
        assert_eq!(store.events.seal(log(3), Some("error".into())).await, Ok(3.into()));
        assert_eq!(read(&store, log(3), 0).await, ["a", "b", "error"]);
    });
}
