//! What an append finds in a log: the short way of its script and the long one.

use bytes::Bytes;
use mcp_session_core::{
    ProtocolVersion, SessionId,
    proto::{Position, RequestId},
    store::{Append, AppendError, EventStore, LogId, NodeId, ReadError, Record, SessionStore},
};
use mcp_session_redis::{Config, RedisStore};
use mcp_session_testkit::{
    TestBed, Watchdog,
    suite::{Scenario, Suite},
};
use mcp_session_tests::{RedisServer, TokioBed};

use crate::{config, connect};

const OWNER: NodeId = NodeId(0xA);

type Bed = Watchdog<TokioBed>;

pub(crate) fn suite() -> Suite {
    let all = [
        Scenario::new(
            "an_append_that_comes_late_finds_a_trimmed_log",
            an_append_that_comes_late_finds_a_trimmed_log as fn(&Bed),
        ),
        Scenario::new("appends_to_a_log_fit_or_are_refused", appends_to_a_log_fit_or_are_refused as fn(&Bed)),
        Scenario::new(
            "the_table_of_a_session_expires_with_its_record",
            the_table_of_a_session_expires_with_its_record as fn(&Bed),
        ),
    ];
    Suite::new("redis_appends", all, || Watchdog::new(TokioBed::threads()))
}

fn log() -> LogId {
    LogId { session: SessionId::from_bits(1), stream: 3 }
}

fn append(at: u64, events: &[&'static str]) -> Append {
    let mut append = Append::new(log(), OWNER, RequestId::from("call"), at);
    append.events = events.iter().copied().map(Bytes::from).collect();
    append
}

/// A store with the session.
async fn with_session(config: Config, bed: &Bed) -> RedisStore {
    let store = connect(config, bed.runtime()).await;
    let mut record = Record::new(log().session, ProtocolVersion::LATEST_WITH_HANDSHAKE);
    (record.home, record.members) = (Some(OWNER), vec![Some(OWNER)]);
    store.create(record).await.expect("it is new");
    store
}

async fn read_after(store: &RedisStore, after: u64) -> Result<Vec<Bytes>, ReadError> {
    let page = store.read(log(), Position::from(after), 1_000).await?;
    Ok(page.events.into_iter().map(|(_, event)| event).collect())
}

/// Once as many events are gone as would make the number of those that are kept look like the position before the append.
fn an_append_that_comes_late_finds_a_trimmed_log(bed: &Bed) {
    let server = RedisServer::start(&[]);
    bed.block_on(async {
        let mut config = config(&server.url());
        config.events = 4;
        let store = with_session(config, bed).await;
        for (at, event) in (1..).zip(["1", "2", "3", "4", "5", "6"]) {
            store.append(append(at, &[event])).await.expect("it is the next");
        }
        // Four events are kept, and the position is the fifth.
        store.append(append(5, &["late"])).await.expect("it is there");
        store.append(append(5, &["late", "late", "7"])).await.expect("its end is new");
        assert_eq!(read_after(&store, 3).await.expect("they are kept"), ["4", "5", "6", "7"]);
        assert_eq!(read_after(&store, 2).await, Err(ReadError::Unknown));
        assert_eq!(store.append(append(9, &["9"])).await, Err(AppendError::Behind { next: 8 }));
    });
}

fn appends_to_a_log_fit_or_are_refused(bed: &Bed) {
    let server = RedisServer::start(&[]);
    bed.block_on(async {
        let store = with_session(config(&server.url()), bed).await;
        assert_eq!(store.append(append(2, &["2"])).await, Err(AppendError::Behind { next: 1 }));
        store.append(append(1, &["1", "2"])).await.expect("it is the first");
        store.append(append(2, &["late", "3"])).await.expect("its end is new");
        let mut end = append(4, &["4"]);
        end.ends = true;
        store.append(end.clone()).await.expect("it is the end");
        store.append(end).await.expect("the same end again");
        // The end is an entry too: their number is the position before this one.
        assert_eq!(store.append(append(6, &["6"])).await, Err(AppendError::Behind { next: 5 }));
        assert_eq!(read_after(&store, 0).await.expect("they are kept"), ["1", "2", "3", "4"]);
    });
}

/// An append sets the life of the table when it begins a log; after that, whatever keeps the record keeps it.
fn the_table_of_a_session_expires_with_its_record(bed: &Bed) {
    let server = RedisServer::start(&[]);
    bed.block_on(async {
        let config = config(&server.url());
        let record = format!("{}{{{}}}", config.prefix, log().session);
        let store = with_session(config, bed).await;
        store.append(append(1, &["1"])).await.expect("it is the first");
        store.append(append(2, &["2"])).await.expect("it is the next");
        let life = |key: &str| match server.run(&["PTTL", key]) {
            redis::Value::Int(life) => life,
            other => panic!("{other:?}"),
        };
        let table = format!("{record}:x");
        assert!(life(&table) >= life(&record) && life(&record) > 0, "a table goes with its record");
        for key in [&record, &table] {
            server.run(&["PEXPIRE", key, "60000"]);
        }
        store.touch(vec![log().session]).await.expect("it is kept");
        store.append(append(3, &["3"])).await.expect("it is the next");
        assert!(life(&record) > 60_000 && life(&table) > 60_000, "both are kept");
    });
}
