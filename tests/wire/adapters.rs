//! The wire suite on every adapter, and on the example `custom_runtime`.

use std::{net::TcpListener, sync::Arc, thread};

use mcp_session_core::{Endpoint, Runtime, Serve};
use mcp_session_smol::SmolRuntime;
use mcp_session_testkit::{wire::ServeHarness, wire_suite};
use mcp_session_tokio::TokioRuntime;
use smol::channel::{self, Sender};

#[path = "../../examples/custom_runtime/runtime.rs"]
mod runtime;
#[path = "../../examples/custom_runtime/server.rs"]
mod server;

/// How many threads a server has: two are enough for a race.
const THREADS: usize = 2;

/// A runtime of its own for each test.
struct Tokio(tokio::runtime::Runtime);

impl Tokio {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(builder.worker_threads(THREADS).enable_all().build().expect("a runtime"))
    }
}

impl ServeHarness for Tokio {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(TokioRuntime::from(self.0.handle().clone()))
    }

    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        mcp_session_tokio::serve(listener, endpoint)
    }
}

/// An executor of its own for each test.
struct Smol {
    executor: Arc<smol::Executor<'static>>,
    /// The threads run for as long as this is there.
    _running: Sender<()>,
}

impl Smol {
    fn new() -> Self {
        let executor = Arc::new(smol::Executor::new());
        let (_running, ended) = channel::bounded(1);
        for _ in 0..THREADS {
            let (executor, ended) = (Arc::clone(&executor), ended.clone());
            thread::spawn(move || smol::block_on(executor.run(ended.recv())));
        }
        Self { executor, _running }
    }
}

impl ServeHarness for Smol {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(SmolRuntime::from(Arc::clone(&self.executor)))
    }

    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        mcp_session_smol::serve(listener.try_into().expect("a listener"), endpoint)
    }
}

/// The runtime of the example, a pool for each test.
struct Custom(runtime::PoolRuntime);

impl Custom {
    fn new() -> Self {
        Self(runtime::PoolRuntime::new().expect("threads"))
    }
}

impl ServeHarness for Custom {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.0.clone())
    }

    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        server::serve(listener, endpoint).expect("a listener")
    }
}

wire_suite!(on_custom, Custom::new());
wire_suite!(on_smol, Smol::new());
wire_suite!(on_tokio, Tokio::new());
