//! smol.

use std::{net::TcpListener, sync::Arc, thread};

use mcp_session_core::{Endpoint, Runtime, Serve};
use mcp_session_smol::SmolRuntime;
use mcp_session_testkit::{TestBed, wire::ServeHarness};
use smol::{Executor, channel};

/// An executor on several threads, where races can show, with smol's own timers.
#[derive(Debug)]
pub struct SmolBed {
    executor: Arc<Executor<'static>>,
    /// The threads end when this is dropped.
    _stop: channel::Sender<()>,
}

impl SmolBed {
    /// Creates a new bed.
    #[allow(clippy::new_without_default, reason = "it starts threads")]
    pub fn new() -> Self {
        let executor = Arc::new(Executor::new());
        let (_stop, stopped) = channel::bounded(1);
        for _ in 0..4 {
            let (executor, stopped) = (executor.clone(), stopped.clone());
            thread::spawn(move || smol::block_on(executor.run(stopped.recv())));
        }
        Self { executor, _stop }
    }
}

impl TestBed for SmolBed {
    fn name(&self) -> &str {
        "smol"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(SmolRuntime::from(self.executor.clone()))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(future)
    }
}

impl ServeHarness for SmolBed {
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        let listener = smol::net::TcpListener::try_from(listener).expect("a listener");
        mcp_session_smol::serve(listener, endpoint)
    }
}
