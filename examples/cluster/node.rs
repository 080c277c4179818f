//! [`Node`]: one of the servers, with one tool.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use mcp_session_core::{
    Config, Endpoint, RequestContext, Router, RpcError, Runtime, ShutdownPolicy, ShutdownReport,
    store::{MemoryStore, Store},
};
use mcp_session_examples::client::Error;
use mcp_session_redis::RedisStore;
use mcp_session_tokio::{TokioRuntime, bind, serve};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

/// The number of progress events of a call.
pub(crate) const STEPS: u64 = 10;

/// What all nodes use.
#[derive(Debug, Clone)]
pub(crate) enum Shared {
    /// The URL of a Redis: each node has connections of its own.
    Redis(String),
    /// A store in the memory of this process.
    Memory(Store),
}

impl Shared {
    pub(crate) fn memory() -> Self {
        Self::Memory(Store::new(MemoryStore::new(TokioRuntime::current())))
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    endpoint: Endpoint,
    task: JoinHandle<std::io::Result<ShutdownReport>>,
}

/// How a node ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) took: Duration,
    pub(crate) report: ShutdownReport,
}

impl Node {
    /// Serves on a free port. `running` counts the calls that it runs.
    pub(crate) async fn start(shared: &Shared, running: &Arc<AtomicU64>) -> Result<Self, Error> {
        let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::current());
        let mut config = Config::default();
        config.store = Some(match shared {
            Shared::Memory(store) => store.clone(),
            Shared::Redis(url) => {
                let redis = mcp_session_redis::Config::new(url)?;
                RedisStore::connect(redis, Arc::clone(&runtime)).await?.store()
            }
        });
        let counted = Arc::clone(running);
        let router = Router::new("cluster", "0.1.0")
            .capabilities(json!({ "tools": {} }))
            .request("tools/call", move |cx| work(cx, Arc::clone(&counted)));
        let endpoint = Endpoint::with_config(runtime, router, config)?;
        let listener = bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, endpoint.clone()).into_future());
        Ok(Self { address, endpoint, task })
    }

    /// Drains it, and waits for its end: what SIGTERM does to a process.
    pub(crate) async fn stop(self) -> Result<Ended, Error> {
        let begun = Instant::now();
        // The shutdown runs by itself; `serve` ends with it.
        drop(self.endpoint.shutdown(ShutdownPolicy::default()));
        let report = self.task.await??;
        Ok(Ended { took: begun.elapsed(), report })
    }
}

/// The only tool: ten steps, each of which takes some time.
async fn work(cx: RequestContext, running: Arc<AtomicU64>) -> Result<Value, RpcError> {
    let params: Value = cx.params()?;
    let pause = Duration::from_millis(params["arguments"]["pause_ms"].as_u64().unwrap_or(100));
    let _counted = Counted::new(running);
    for step in 1..=STEPS {
        sleep(pause).await;
        cx.progress(step as f64, Some(STEPS as f64), None).await?;
    }
    Ok(json!({ "content": [{ "type": "text", "text": "done" }] }))
}

/// Counts a call until it ends.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(running: Arc<AtomicU64>) -> Self {
        running.fetch_add(1, Relaxed);
        Self(running)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
