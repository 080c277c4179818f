//! The laws of a runtime and the behaviour suite, on async-std.

use std::sync::Arc;

use mcp_session_async_std::AsyncStdRuntime;
use mcp_session_core::Runtime;
use mcp_session_testkit::{TestBed, behaviour_suite, runtime_contract};

/// Its executor is the one of the process.
struct AsyncStdBed;

impl TestBed for AsyncStdBed {
    fn name(&self) -> &str {
        "async-std"
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(AsyncStdRuntime)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        ::async_std::task::block_on(future)
    }
}

runtime_contract!(async_std_laws, AsyncStdBed);
behaviour_suite!(async_std, AsyncStdBed);
