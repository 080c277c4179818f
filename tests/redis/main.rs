//! The store on Redis: the laws of a store against real servers on every runtime, and what can go wrong.
//!
//! The tests start their own `redis-server` on free ports. Without one they are skipped with a message, unless
//! `MCP_SESSION_REDIS=required` is set.

mod appends;
mod beds;
mod cluster;
mod faults;
mod process;
mod reach;

use std::{
    process::ExitCode,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mcp_session_core::{Runtime, store::Store};
use mcp_session_redis::{Config, RedisStore};
use mcp_session_testkit::{
    TestBed,
    store_contract::{self, announcements},
    suite::{self, Suite},
};
use mcp_session_tests::{PoolBed, RedisServer, SmolBed, TokioBed, end_redis_servers, has_redis_server};

fn main() -> ExitCode {
    if !has_redis_server() {
        assert!(
            std::env::var_os("MCP_SESSION_REDIS").is_none(),
            "no redis-server: install it, such as with apt-get"
        );
        println!("skipped: no redis-server in the path");
        return ExitCode::SUCCESS;
    }
    let mut suites =
        vec![appends::suite(), faults::suite(), process::suite(), reach::suite(), cluster::suite()];
    suites.extend(laws("redis_tokio", TokioBed::threads, plain));
    suites.extend(laws("redis_smol", SmolBed::new, plain));
    suites.extend(laws("redis_custom", PoolBed::new, plain));
    #[cfg(feature = "async-std")]
    suites.extend(laws("redis_async_std", || beds::AsyncStdBed, plain));
    suites.extend(laws("redis_cluster_mode", TokioBed::threads, in_cluster_mode));
    suites.extend(laws("redis_cluster", SmolBed::new, cluster::through_a_cluster));
    suites.extend(laws("redis_least_permissions", SmolBed::new, with_least_permissions));
    let code = suite::run(suites);
    end_redis_servers();
    code
}

/// The laws of a store and of announcements on this runtime.
fn laws<B: TestBed + 'static>(
    name: &str,
    bed: impl Fn() -> B + Clone + Send + 'static,
    make: impl AsyncFn(Arc<dyn Runtime>) -> Store + Clone + Send + 'static,
) -> [Suite; 2] {
    [
        store_contract::suite(name, bed.clone(), make.clone()),
        announcements::suite(format!("{name}_announcements"), bed, make),
    ]
}

async fn plain(runtime: Arc<dyn Runtime>) -> Store {
    static SERVER: LazyLock<RedisServer> = LazyLock::new(|| RedisServer::start(&[]));
    store(&SERVER.url(), runtime).await
}

/// A cluster of one node, which has all slots: a script with keys of two slots fails.
async fn in_cluster_mode(runtime: Arc<dyn Runtime>) -> Store {
    static SERVER: LazyLock<RedisServer> = LazyLock::new(|| {
        let server = RedisServer::start(&["--cluster-enabled", "yes"]);
        server.run(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        server.until(&["CLUSTER", "INFO"], "cluster_state:ok");
        server
    });
    store(&SERVER.url(), runtime).await
}

/// A user that may do what the docs of the crate list, and no more.
async fn with_least_permissions(runtime: Arc<dyn Runtime>) -> Store {
    static SERVER: LazyLock<RedisServer> = LazyLock::new(|| {
        let server = RedisServer::start(&[]);
        let docs = include_str!("../../crates/mcp-session-redis/src/lib.rs");
        let listed = docs.split("A user with these permissions is enough: `").nth(1).expect("the list");
        let listed = listed.split("`.").next().expect("its end").replace("//!", "");
        let listed: Vec<&str> = listed.split_whitespace().collect();
        server.run(&[&["ACL", "SETUSER", "node", "on", ">secret"], &listed[..]].concat());
        server
    });
    store(&SERVER.url().replace("redis://", "redis://node:secret@"), runtime).await
}

/// A store that is empty: each has a prefix of its own.
async fn store(url: &str, runtime: Arc<dyn Runtime>) -> Store {
    connect(config(url), runtime).await.store()
}

async fn connect(config: Config, runtime: Arc<dyn Runtime>) -> RedisStore {
    RedisStore::connect(config, runtime).await.expect("a Redis")
}

/// A configuration with a prefix of its own. Its deadline is long: the machine that runs the tests is busy.
fn config(url: &str) -> Config {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut config = Config::new(url).expect("a URL");
    config.prefix = format!("mcp:{}:", NEXT.fetch_add(1, Relaxed));
    config.timeout = Duration::from_secs(20);
    config.events = 100; // a law reads a full log once for each of its events
    config
}
