//! smol.

use std::{sync::Arc, thread};

use mcp_session_core::Runtime;
use mcp_session_smol::SmolRuntime;
use mcp_session_testkit::TestBed;
use smol::{Executor, channel};

/// An executor on several threads, where races would show, and smol's own timers.
pub(crate) struct SmolBed {
    executor: Arc<Executor<'static>>,
    /// The threads end when it is dropped.
    _stop: channel::Sender<()>,
}

impl SmolBed {
    pub(crate) fn new() -> Self {
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
