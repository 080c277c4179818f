//! What can go wrong with a Redis, and that it is right again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use mcp_session_core::{
    ProtocolVersion, Runtime, SessionId,
    proto::Position,
    store::{
        Append, AppendError, EventStore, LogId, NodeId, PeerMessage, PeerRequest, Peers, PublishError,
        ReadError, Record, SessionStore, Unavailable, Update, Wakeup,
    },
};
use mcp_session_redis::{Config, ConnectError, RedisStore, Trouble};
use mcp_session_testkit::{
    TestBed, Watchdog,
    suite::{Scenario, Suite},
};
use mcp_session_tests::{Link, RedisServer, TokioBed, free_port};

use crate::{config, connect};

const A: NodeId = NodeId(0xA);
const B: NodeId = NodeId(0xB);

/// A lease that does not pass in a test.
const LONG: Duration = Duration::from_secs(600);

type Bed = Watchdog<TokioBed>;

macro_rules! faults {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn suite() -> Suite {
            let all = [$(Scenario::new(stringify!($name), $name as fn(&Bed))),+];
            Suite::new("redis_faults", all, || Watchdog::new(TokioBed::threads()))
        }
    };
}

faults! {
    evicting_servers_are_refused,
    replicas_are_refused,
    a_wrong_password_is_refused,
    a_foreign_type_is_named,
    a_prefix_of_another_service_is_refused,
    records_of_newer_nodes_are_kept_or_refused,
    a_full_redis_is_named_and_goes_on,
    scripts_that_are_forgotten_are_loaded,
    a_cut_link_heals,
    lost_data_is_put_back,
    a_restart_without_data_loses_no_session_that_is_served,
    what_was_published_lately_is_put_back_and_no_position_is_given_twice,
    a_primary_that_was_behind_gets_the_last_changes,
    a_removed_session_stays_removed_after_lost_data,
    a_redis_that_is_away_at_the_start_is_waited_for,
    two_nodes_wake_each_other,
    a_node_that_dies_is_noticed,
    messages_arrive_after_a_cut,
    no_connection_and_no_task_is_left,
}

fn log(stream: u64) -> LogId {
    LogId { session: id(), stream }
}

fn id() -> SessionId {
    SessionId::from_bits(1)
}

fn record(node: NodeId) -> Record {
    let mut record = Record::new(id(), ProtocolVersion::LATEST_WITH_HANDSHAKE);
    (record.home, record.members) = (Some(node), vec![Some(node)]);
    record
}

fn append(at: u64, events: &[&'static str]) -> Append {
    let mut append = Append::new(log(3), A, "call".into(), at);
    append.events = events.iter().copied().map(Bytes::from).collect();
    append
}

async fn read(store: &RedisStore) -> Vec<Bytes> {
    let page = store.read(log(3), Position::START, 1_000).await.expect("the log is there");
    page.events.into_iter().map(|(_, event)| event).collect()
}

async fn published(store: &RedisStore, after: u64) -> Result<Vec<Bytes>, ReadError> {
    let page = store.read(LogId::shared(id()), after.into(), 1_000).await?;
    Ok(page.events.into_iter().map(|(_, event)| event).collect())
}

async fn refused(config: Config, bed: &Bed) -> Trouble {
    match RedisStore::connect(config, bed.runtime()).await {
        Err(ConnectError::Trouble(trouble)) => trouble,
        other => panic!("it is refused: {other:?}"),
    }
}

/// Tries again until it succeeds; the watchdog ends a test that waits in vain.
async fn eventually<T, E>(runtime: &dyn Runtime, call: impl AsyncFn() -> Result<T, E>) -> T {
    loop {
        if let Ok(done) = call().await {
            return done;
        }
        runtime.sleep_until(runtime.now() + Duration::from_millis(10)).await;
    }
}

/// Waits until this holds.
async fn until(runtime: &dyn Runtime, holds: impl Fn() -> bool) {
    eventually(runtime, async || holds().then_some(()).ok_or(())).await;
}

fn evicting_servers_are_refused(bed: &Bed) {
    bed.block_on(async {
        let server = RedisServer::start(&["--maxmemory-policy", "allkeys-lru"]);
        let trouble = refused(config(&server.url()), bed).await;
        assert_eq!(trouble, Trouble::Evicts { policy: "allkeys-lru".into() });
        server.run(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        connect(config(&server.url()), bed.runtime()).await;
    });
}

fn replicas_are_refused(bed: &Bed) {
    bed.block_on(async {
        let server = RedisServer::start(&[]);
        let store = connect(config(&server.url()), bed.runtime()).await;
        assert_eq!(store.create(record(A)).await, Ok(()));
        server.run(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
        assert_eq!(refused(config(&server.url()), bed).await, Trouble::Replica);
        // The store that was connected before finds out with its next write, and comes back after a promotion.
        assert_eq!(store.update(id(), Update::Initialized).await, Err(Unavailable));
        until(&*bed.runtime(), || {
            store.trouble() == Some(Trouble::Replica) && store.unreachable_for().is_some()
        })
        .await;
        server.run(&["REPLICAOF", "NO", "ONE"]);
        assert!(eventually(&*bed.runtime(), async || store.update(id(), Update::Initialized).await).await);
        assert_eq!(store.unreachable_for(), None);
    });
}

fn a_wrong_password_is_refused(bed: &Bed) {
    bed.block_on(async {
        let server = RedisServer::start(&[]);
        let url = server.url().replace("redis://", "redis://nobody:hunter2@");
        let trouble = refused(config(&url), bed).await;
        assert!(matches!(trouble, Trouble::Refused(_)), "{trouble:?}");
        assert!(!trouble.to_string().contains("hunter2"));
    });
}

fn a_prefix_of_another_service_is_refused(bed: &Bed) {
    bed.block_on(async {
        let server = RedisServer::start(&[]);
        let without = config(&server.url());
        let named = |name: &str| {
            let mut config = without.clone();
            config.service = Some(name.to_owned());
            config
        };
        connect(without.clone(), bed.runtime()).await;
        connect(named("orders"), bed.runtime()).await;
        connect(named("orders"), bed.runtime()).await;
        let foreign = Trouble::Foreign { service: "orders".into() };
        for other in [named("bills"), without.clone()] {
            assert_eq!(refused(other, bed).await, foreign);
        }
        assert!(foreign.to_string().contains("choose another prefix"));
        server.run(&["DEL", &format!("{}service", without.prefix)]);
        connect(named("bills"), bed.runtime()).await;
    });
}

fn a_foreign_type_is_named(bed: &Bed) {
    bed.block_on(async {
        let server = RedisServer::start(&[]);
        let config = config(&server.url());
        let key = format!("{}{{{}}}", config.prefix, id());
        let store = connect(config, bed.runtime()).await;
        server.run(&["LPUSH", &key, "theirs"]);
        assert_eq!(store.load(id()).await, Err(Unavailable));
        assert_eq!(store.trouble(), Some(Trouble::ForeignKey));
        assert_eq!(store.append(append(1, &["a"])).await, Err(AppendError::Unavailable));
        server.run(&["DEL", &key]);
        store.create(record(A)).await.unwrap();
        // The same for a log.
        server.run(&["LPUSH", &format!("{key}:s:3"), "theirs"]);
        assert_eq!(store.append(append(1, &["a"])).await, Err(AppendError::Unavailable));
        assert_eq!(store.trouble(), Some(Trouble::ForeignKey));
        assert_eq!(store.unreachable_for(), None); // the others go on
    });
}

fn records_of_newer_nodes_are_kept_or_refused(bed: &Bed) {
    bed.block_on(async {
        let server = RedisServer::start(&[]);
        let config = config(&server.url());
        let key = format!("{}{{{}}}", config.prefix, id());
        let store = connect(config, bed.runtime()).await;
        let newer =
            format!(r#"1 1 {{"id":"{}","tenant":[1,{{"a":[]}}],"v":1,"version":"2025-11-25"}}"#, id());
        server.run(&["SET", &key, &newer, "PX", "600000"]);
        assert_eq!(store.update(id(), Update::Initialized).await, Ok(true));
        let kept: String = redis::from_redis_value(server.run(&["GET", &key])).unwrap();
        assert!(
            kept.contains(r#""tenant":[1,{"a":[]}]"#) && kept.contains(r#""initialized":true"#),
            "{kept}"
        );
        server.run(&["SET", &key, &newer.replace(r#""v":1"#, r#""v":2"#)]);
        assert_eq!(store.load(id()).await, Err(Unavailable));
        assert_eq!(store.update(id(), Update::Initialized).await, Err(Unavailable));
        assert_eq!(store.trouble(), Some(Trouble::Unreadable));
    });
}

fn a_full_redis_is_named_and_goes_on(bed: &Bed) {
    bed.block_on(async {
        let server = RedisServer::start(&[]);
        let store = connect(config(&server.url()), bed.runtime()).await;
        store.create(record(A)).await.unwrap();
        store.append(append(1, &["a"])).await.unwrap();
        server.run(&["CONFIG", "SET", "maxmemory", "1"]);
        assert_eq!(store.append(append(2, &["b"])).await, Err(AppendError::Unavailable));
        assert_eq!(store.trouble(), Some(Trouble::Full));
        assert_eq!(read(&store).await, ["a"]); // what is there can be read
        server.run(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_eq!(store.append(append(2, &["b"])).await, Ok(()));
        assert_eq!(read(&store).await, ["a", "b"]);
    });
}

fn scripts_that_are_forgotten_are_loaded(bed: &Bed) {
    bed.block_on(async {
        let server = RedisServer::start(&[]);
        let store = connect(config(&server.url()), bed.runtime()).await;
        store.create(record(A)).await.unwrap();
        server.run(&["SCRIPT", "FLUSH"]);
        assert_eq!(store.append(append(1, &["a"])).await, Ok(()));
        server.run(&["SCRIPT", "FLUSH"]);
        assert_eq!(store.touch(vec![id()]).await, Ok(())); // in a pipeline
        assert_eq!(read(&store).await, ["a"]);
    });
}

/// A store behind a proxy, with a deadline that passes soon.
async fn behind(proxy: &Link, prefix: &str, lease: Duration, runtime: Arc<dyn Runtime>) -> RedisStore {
    let mut config = config(&format!("redis://127.0.0.1:{}", proxy.port));
    config.prefix = prefix.to_owned();
    config.timeout = Duration::from_millis(500);
    config.lease = lease;
    let start = || RedisStore::start(config.clone(), Arc::clone(&runtime));
    let store = start().expect("a configuration");
    until(&*runtime, || store.unreachable_for().is_none()).await;
    store
}

fn a_cut_link_heals(bed: &Bed) {
    bed.block_on(async {
        let (server, runtime) = (RedisServer::start(&[]), bed.runtime());
        let proxy = Link::start(server.port);
        let store = behind(&proxy, "cut:", LONG, bed.runtime()).await;
        store.create(record(A)).await.unwrap();
        store.append(append(1, &["a"])).await.unwrap();
        let mut failover = store.failover();
        assert_eq!((&mut failover).now_or_never(), None);
        proxy.cut();
        assert_eq!(store.append(append(2, &["b"])).await, Err(AppendError::Unavailable));
        until(&*runtime, || store.unreachable_for().is_some()).await;
        assert!(store.trouble().is_some());
        proxy.heal();
        eventually(&*runtime, async || store.append(append(2, &["b"])).await).await;
        // Perhaps Redis has lost it, and its owner is about to write it again.
        assert_eq!(store.read(log(3), 3.into(), 1).await, Err(ReadError::Behind));
        assert_eq!(store.append(append(1, &["a", "b", "c"])).await, Ok(()));
        failover.await; // owners are told to look what is missing
        assert_eq!(store.failover().now_or_never(), None);
        assert_eq!(read(&store).await, ["a", "b", "c"]);
        assert_eq!(store.unreachable_for(), None);
    });
}

fn lost_data_is_put_back(bed: &Bed) {
    bed.block_on(async {
        let server = RedisServer::start(&[]);
        let store = connect(config(&server.url()), bed.runtime()).await;
        store.create(record(A)).await.unwrap();
        store.append(append(1, &["a", "b"])).await.unwrap();
        server.run(&["FLUSHALL"]);
        // Its owner serves the session, so it is not gone: the log begins anew.
        assert_eq!(store.append(append(3, &["c"])).await, Err(AppendError::Behind { next: 1 }));
        assert_eq!(store.append(append(1, &["a", "b", "c"])).await, Ok(()));
        assert_eq!(read(&store).await, ["a", "b", "c"]);
        assert_eq!(store.load(id()).await.unwrap().unwrap().members, [Some(A)]);
        // The standalone log goes on where it was, with the events of the last seconds.
        assert_eq!(store.publish(id(), A, 1, "one".into()).await, Ok(1.into()));
        server.run(&["FLUSHALL"]);
        assert_eq!(store.publish(id(), A, 2, "two".into()).await, Ok(2.into()));
        assert_eq!(published(&store, 0).await, Ok(vec!["one".into(), "two".into()]));
    });
}

fn a_restart_without_data_loses_no_session_that_is_served(bed: &Bed) {
    bed.block_on(async {
        let (server, runtime) = (RedisServer::start(&[]), bed.runtime());
        let config = config(&server.url());
        let [a, b] = [connect(config.clone(), bed.runtime()).await, connect(config, bed.runtime()).await];
        a.create(record(A)).await.unwrap();
        assert_eq!(b.enlist(id(), B).await, Ok(Some(1)));
        a.append(append(1, &["a"])).await.unwrap();
        server.kill();
        let server = server.start_again();
        let members = async || match b.load(id()).await {
            Ok(Some(record)) if record.members.len() == 2 => Ok(record.members),
            other => Err(other),
        };
        assert_eq!(eventually(&*runtime, members).await, [Some(A), Some(B)]);
        eventually(&*runtime, async || match a.append(append(1, &["a"])).await {
            Ok(()) => Ok(()),
            other => Err(other),
        })
        .await;
        assert_eq!(read(&b).await, ["a"]);
        // Numbers are not given twice.
        let number = eventually(&*runtime, async || b.enlist(id(), NodeId(0xC)).await).await;
        assert_eq!(number, Some(2));
        drop(server);
    });
}

fn what_was_published_lately_is_put_back_and_no_position_is_given_twice(bed: &Bed) {
    bed.block_on(async {
        let (server, runtime) = (RedisServer::start(&[]), bed.runtime());
        let proxies = [Link::start(server.port), Link::start(server.port)];
        let start = |proxy, lease| behind(proxy, "published:", lease, bed.runtime());
        let [a, b, c, waits] = [
            start(&proxies[0], Duration::from_millis(300)).await,
            start(&proxies[1], Duration::from_millis(300)).await,
            start(&proxies[1], LONG).await,
            start(&proxies[1], LONG).await,
        ];
        a.create(record(A)).await.unwrap();
        b.enlist(id(), B).await.unwrap();
        c.enlist(id(), NodeId(0xC)).await.unwrap();
        let announced = NodeId(0xFF);
        assert_eq!(a.publish(id(), A, 1, "a1".into()).await, Ok(1.into()));
        assert_eq!(b.publish(id(), announced, 1, "b1".into()).await, Ok(2.into()));
        assert_eq!(a.publish(id(), A, 2, "a2".into()).await, Ok(3.into()));
        assert_eq!(published(&c, 2).await, Ok(vec!["a2".into()]));
        proxies.iter().for_each(Link::cut);
        for store in [&a, &b, &c, &waits] {
            until(&*runtime, || store.unreachable_for().is_some()).await;
        }
        server.kill();
        let server = server.start_again();
        proxies[1].heal();
        // Who has only read knows how far the log had come.
        let read = async |after, all: &[&'static str]| {
            let read = published(&c, after).await;
            (read.as_deref() == Ok(&all.iter().copied().map(Bytes::from).collect::<Vec<_>>()))
                .then_some(())
                .ok_or(())
        };
        eventually(&*runtime, async || read(3, &[]).await).await;
        // Nothing is published before the others had time to put back what they know.
        until(&*runtime, || waits.unreachable_for().is_none()).await;
        assert_eq!(waits.publish(id(), NodeId(0xD), 1, "d".into()).await, Err(PublishError::Unavailable));
        proxies[0].heal();
        eventually(&*runtime, async || read(0, &["a1", "b1", "a2"]).await).await;
        // What was announced stays announced.
        let again = eventually(&*runtime, async || a.publish(id(), announced, 1, "b1".into()).await).await;
        assert_eq!(again, 2.into());
        assert_eq!(eventually(&*runtime, async || b.publish(id(), B, 1, "b2".into()).await).await, 4.into());
        assert_eq!(published(&c, 3).await, Ok(vec!["b2".into()]));
        drop(server);
    });
}

fn a_primary_that_was_behind_gets_the_last_changes(bed: &Bed) {
    bed.block_on(async {
        let (server, runtime) = (RedisServer::start(&[]), bed.runtime());
        let proxy = Link::start(server.port);
        let store = behind(&proxy, "behind:", LONG, bed.runtime()).await;
        store.create(record(A)).await.unwrap();
        let key = format!("behind:{{{}}}", id());
        let before: String = redis::from_redis_value(server.run(&["GET", &key])).unwrap();
        assert_eq!(store.update(id(), Update::Initialized).await, Ok(true));
        proxy.cut();
        until(&*runtime, || store.unreachable_for().is_some()).await;
        server.run(&["SET", &key, &before, "PX", "600000"]);
        proxy.heal();
        let record = eventually(&*runtime, async || store.load(id()).await).await.expect("it is there");
        assert!(record.initialized && record.members == [Some(A)], "{record:?}");
        // A session that was removed meanwhile stays removed.
        assert_eq!(store.remove(id()).await, Ok(Some(vec![A])));
        proxy.cut();
        until(&*runtime, || store.unreachable_for().is_some()).await;
        server.run(&["SET", &key, &before, "PX", "600000"]);
        proxy.heal();
        assert_eq!(eventually(&*runtime, async || store.load(id()).await).await, None);
    });
}

fn a_removed_session_stays_removed_after_lost_data(bed: &Bed) {
    bed.block_on(async {
        let (server, runtime) = (RedisServer::start(&[]), bed.runtime());
        let proxy = Link::start(server.port);
        let store = behind(&proxy, "removed:", Duration::from_secs(1), bed.runtime()).await;
        store.create(record(A)).await.unwrap();
        assert_eq!(store.remove(id()).await, Ok(Some(vec![A])));
        proxy.cut();
        until(&*runtime, || store.unreachable_for().is_some()).await;
        server.run(&["FLUSHALL"]);
        proxy.heal();
        assert_eq!(eventually(&*runtime, async || store.load(id()).await).await, None);
        assert_eq!(store.create(record(A)).await, Ok(())); // a late packet
        assert_eq!(store.load(id()).await, Ok(None));
        assert_eq!(store.append(append(1, &["a"])).await, Err(AppendError::Gone));
        // Who knows nothing of a session learns first that all data was lost, and only later that nobody has it.
        let stranger = SessionId::from_bits(2);
        assert_eq!(eventually(&*runtime, async || store.load(stranger).await).await, None);
    });
}

fn a_redis_that_is_away_at_the_start_is_waited_for(bed: &Bed) {
    bed.block_on(async {
        let (server, runtime) = (RedisServer::start(&[]), bed.runtime());
        server.kill();
        let mut config = config(&server.url());
        config.timeout = Duration::from_millis(200);
        let trouble = refused(config.clone(), bed).await;
        assert!(matches!(trouble, Trouble::Unreachable { .. }), "{trouble:?}");
        let store = RedisStore::start(config, bed.runtime()).unwrap();
        assert_eq!(store.create(record(A)).await, Err(Unavailable));
        assert_eq!(store.receive(A).now_or_never(), None);
        assert!(store.unreachable_for().is_some());
        let server = server.start_again();
        eventually(&*runtime, async || store.create(record(A)).await).await;
        let message = PeerMessage::new(id(), PeerRequest::TakenOver { stream: 1, number: 1 });
        eventually(&*runtime, async || store.send(A, message.clone()).await).await;
        assert_eq!(store.receive(A).await, Some(message));
        drop(server);
    });
}

/// Two stores, as in two processes. The lease is so long that only notices wake in the time of a test.
fn two_nodes_wake_each_other(bed: &Bed) {
    bed.block_on(async {
        let server = RedisServer::start(&[]);
        let mut config = config(&server.url());
        config.lease = Duration::from_secs(3_600);
        let [a, b] = [connect(config.clone(), bed.runtime()).await, connect(config, bed.runtime()).await];
        a.create(record(A)).await.unwrap();
        b.enlist(id(), B).await.unwrap();
        a.append(append(1, &["a"])).await.unwrap();
        for at in 1..50 {
            let watch = async {
                loop {
                    assert_eq!(b.watch(log(3), at.into()).await, Wakeup::Grown);
                    let page = b.read(log(3), at.into(), 1).await.unwrap();
                    if !page.events.is_empty() {
                        break;
                    }
                }
            };
            let (appended, ()) = futures::join!(a.append(append(at + 1, &["more"])), watch);
            assert_eq!(appended, Ok(()));
        }
        // The standalone log, which both write.
        for (token, (from, to, node)) in [(&a, &b, A), (&b, &a, B)].into_iter().enumerate() {
            let after = Position::from(token as u64);
            let (published, woken) =
                futures::join!(from.publish(id(), node, 1, "p".into()), to.watch(LogId::shared(id()), after));
            assert_eq!((published, woken), (Ok(Position::from(token as u64 + 1)), Wakeup::Grown));
        }
        // A node that leaves is noticed at the next look, so by a new watch.
        a.leave(A).await.unwrap();
        assert_eq!(b.watch(log(3), 50.into()).await, Wakeup::OwnerGone);
        assert_eq!(b.seal(log(3), Some("error".into())).await, Ok(51.into()));
        assert_eq!(a.append(append(51, &["late"])).await, Err(AppendError::Sealed));
    });
}

fn a_node_that_dies_is_noticed(bed: &Bed) {
    bed.block_on(async {
        let (server, runtime) = (RedisServer::start(&[]), bed.runtime());
        let mut config = config(&server.url());
        config.lease = Duration::from_millis(1_500);
        let [a, b] = [connect(config.clone(), bed.runtime()).await, connect(config, bed.runtime()).await];
        a.create(record(A)).await.unwrap();
        b.enlist(id(), B).await.unwrap();
        a.append(append(1, &["a"])).await.unwrap();
        drop(a); // without a word: its tasks end, and with them its signs of life
        let start = runtime.now();
        while b.watch(log(3), 1.into()).await == Wakeup::Grown {}
        assert!(runtime.now() - start >= Duration::from_millis(700), "it is gone only after half a lease");
        b.seal(log(3), Some("error".into())).await.unwrap();
        assert_eq!(read(&b).await, ["a", "error"]);
    });
}

fn messages_arrive_after_a_cut(bed: &Bed) {
    bed.block_on(async {
        let (server, runtime) = (RedisServer::start(&[]), bed.runtime());
        let proxy = Link::start(server.port);
        let a = behind(&proxy, "inbox:", LONG, bed.runtime()).await;
        let mut direct = config(&server.url());
        direct.prefix = "inbox:".to_owned();
        let b = connect(direct, bed.runtime()).await;
        let message = |stream| PeerMessage::new(id(), PeerRequest::TakenOver { stream, number: 1 });
        b.send(A, message(1)).await.unwrap();
        assert_eq!(a.receive(A).await, Some(message(1)));
        proxy.cut();
        until(&*runtime, || a.unreachable_for().is_some()).await;
        for stream in 2..10 {
            b.send(A, message(stream)).await.unwrap();
        }
        proxy.heal();
        let mut heard = Vec::new();
        while heard.last() != Some(&message(9)) {
            heard.push(a.receive(A).await.unwrap());
        }
        // They may arrive twice; in order.
        heard.retain(|heard| *heard != message(1));
        heard.dedup();
        assert_eq!(heard, (2..10).map(message).collect::<Vec<_>>());
    });
}

fn no_connection_and_no_task_is_left(bed: &Bed) {
    bed.block_on(async {
        let (server, runtime) = (RedisServer::start(&[]), bed.runtime());
        let proxy = Link::start(server.port);
        let store = behind(&proxy, "left:", LONG, bed.runtime()).await;
        store.create(record(A)).await.unwrap();
        let message = PeerMessage::new(id(), PeerRequest::Initialized);
        store.send(A, message.clone()).await.unwrap();
        assert_eq!(store.receive(A).await, Some(message));
        assert_eq!(proxy.accepted(), 2, "one for commands, one for the blocking read");
        let clients = || {
            let list: String = redis::from_redis_value(server.run(&["CLIENT", "LIST"])).unwrap();
            list.lines().count() - 1 // without this one
        };
        assert_eq!(clients(), 2);
        drop(store);
        until(&*runtime, || clients() == 0).await;
    });
}
