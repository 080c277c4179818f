//! A Redis Cluster of several nodes: the laws through it, and a failover.

use std::sync::{Arc, LazyLock};

use mcp_session_core::{
    ProtocolVersion, Runtime, SessionId,
    store::{Record, SessionStore, Store, Update},
};
use mcp_session_redis::{Cluster, Config, RedisStore, Trouble};
use mcp_session_testkit::{
    TestBed,
    suite::{Scenario, Suite},
};
use mcp_session_tests::{RedisServer, TokioBed, free_port};

use crate::{config, reach::until};

pub(crate) fn suite() -> Suite {
    let all = [
        Scenario::new("after_a_failover_a_session_is_at_the_replica", |(): &()| {
            after_a_failover_a_session_is_at_the_replica();
        }),
        Scenario::new("a_node_without_the_keys_is_refused_with_what_to_do", |(): &()| {
            a_node_without_the_keys_is_refused_with_what_to_do();
        }),
    ];
    Suite::new("redis_cluster_nodes", all, || ())
}

/// The last slots of the three primaries.
const LAST: [u16; 3] = [5460, 10922, 16383];

/// A cluster of three primaries with a third of the slots each.
struct Nodes(Vec<RedisServer>);

impl Nodes {
    fn start() -> Self {
        let nodes: Vec<_> = LAST.iter().map(|_| RedisServer::start_cluster_node()).collect();
        let mut first = 0;
        for (node, last) in nodes.iter().zip(LAST) {
            node.run(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            first = last + 1;
        }
        for node in &nodes[1..] {
            node.meet(&nodes[0]);
        }
        for node in &nodes {
            node.until(&["CLUSTER", "INFO"], "cluster_state:ok");
            node.until(&["CLUSTER", "INFO"], "cluster_known_nodes:3");
        }
        Self(nodes)
    }

    /// The primary that has the keys with this prefix.
    fn primary(&self, prefix: &str) -> &RedisServer {
        let slot = self.0[0].run(&["CLUSTER", "KEYSLOT", prefix]);
        let slot: u16 = redis::from_redis_value(slot).expect("a number");
        &self.0[LAST.iter().position(|last| slot <= *last).expect("it has an owner")]
    }

    /// The way to the keys with this prefix, by the nodes that do not have them.
    fn way(&self, prefix: &str) -> Cluster {
        let port = self.primary(prefix).port;
        let others = self.0.iter().filter(|node| node.port != port).map(RedisServer::url);
        Cluster::new(prefix, others).expect("URLs")
    }
}

fn tagged() -> Config {
    let mut config = config("redis://by-cluster");
    config.prefix = format!("{{{}}}:", config.prefix.trim_end_matches(':'));
    config
}

/// A store that is empty, at the node of a cluster that has its prefix.
pub(crate) async fn through_a_cluster(runtime: Arc<dyn Runtime>) -> Store {
    static NODES: LazyLock<Nodes> = LazyLock::new(Nodes::start);
    let config = tagged();
    let way = NODES.way(&config.prefix);
    RedisStore::connect_with(config, runtime, way).await.expect("a Redis").store()
}

fn after_a_failover_a_session_is_at_the_replica() {
    let nodes = Nodes::start();
    let config = tagged();
    let primary = nodes.primary(&config.prefix);
    let replica = RedisServer::start_cluster_node();
    replica.meet(primary);
    let id: String = redis::from_redis_value(primary.run(&["CLUSTER", "MYID"])).expect("an id");
    let bed = TokioBed::threads();
    let runtime = bed.runtime();
    bed.block_on(async {
        // Once it has heard of it.
        until(&*runtime, async || replica.try_run(&["CLUSTER", "REPLICATE", &id]).is_ok()).await;
        primary.until(&["INFO", "replication"], "state=online");
        let way = nodes.way(&config.prefix);
        let store =
            RedisStore::connect_with(config.clone(), Arc::clone(&runtime), way).await.expect("a Redis");
        let session = SessionId::from_bits(1);
        let record = Record::new(session, ProtocolVersion::LATEST_WITH_HANDSHAKE);
        store.create(record).await.expect("it is kept");

        // Refused until the replica knows where its primary is.
        until(&*runtime, async || replica.try_run(&["CLUSTER", "FAILOVER"]).is_ok()).await;
        replica.until(&["INFO", "replication"], "role:master");
        until(&*runtime, async || store.update(session, Update::Initialized).await == Ok(true)).await;
        assert!(store.load(session).await.expect("an answer").expect("the session").initialized);

        // The old primary ends; the store does not need it any more.
        primary.kill();
        until(&*runtime, async || store.update(session, Update::Initialized).await == Ok(true)).await;
        assert!(store.load(session).await.expect("an answer").is_some());
    });
}

fn a_node_without_the_keys_is_refused_with_what_to_do() {
    let nodes = Nodes::start();
    let bed = TokioBed::threads();
    let runtime = bed.runtime();
    bed.block_on(async {
        let config = tagged();
        let port = nodes.primary(&config.prefix).port;
        let other = nodes.0.iter().find(|node| node.port != port).expect("another one");
        let mut direct = Config::new(&other.url()).expect("a URL");
        direct.prefix.clone_from(&config.prefix);
        let store = RedisStore::start(direct, Arc::clone(&runtime)).expect("it starts");
        until(&*runtime, async || store.trouble() == Some(Trouble::Moved)).await;
        assert!(Trouble::Moved.to_string().contains("connect through `Cluster`"));

        let away = format!("redis://127.0.0.1:{}", free_port());
        let way = Cluster::new(&config.prefix, [away, other.url()]).expect("URLs");
        let store =
            RedisStore::connect_with(config, Arc::clone(&runtime), way).await.expect("by the other node");
        assert_eq!(store.trouble(), None);
    });
}
