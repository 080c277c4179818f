//! [`ServeHarness`]: what an adapter must offer so that the wire suite can be run on it.

use std::{net::TcpListener, sync::Arc, time::Duration};

use mcp_session_core::{Endpoint, Runtime, Serve};
use tokio::time;

/// How long a scenario may take on the slowest machine: no server, however broken, makes a test run for ever.
const PATIENCE: Duration = Duration::from_secs(180);

/// An adapter under test: a runtime that runs, and the adapter's `serve`.
///
/// The suite binds, sets everything else through [`Serve`]'s own methods, and runs the server as a task of
/// [`runtime`](ServeHarness::runtime). See [the module](crate::wire) for an example.
///
/// # The laws
///
/// 1. `runtime` returns the same runtime every time. Its tasks run and its timers fire while the harness lives,
///    on threads of its own: the scenario's thread is busy with the clients.
/// 2. `serve` serves the endpoint at the path `/mcp`, or at every path.
pub trait ServeHarness {
    /// The runtime under test, which also the endpoint is made for.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// The adapter's server on this listener, as its users make it. Called in a task of the runtime. The listener is
    /// bound to a loopback address, listens, and is non-blocking.
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve;
}

/// Runs a scenario, its clients on a tokio runtime of this thread.
///
/// # Panics
///
/// When the server does not do what the scenario says, after three minutes at the most, and inside a tokio runtime.
pub fn run<H: ServeHarness>(harness: &H, scenario: impl AsyncFnOnce(&H)) {
    let clients = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let all = async { time::timeout(PATIENCE, scenario(harness)).await };
    assert!(clients.block_on(all).is_ok(), "the scenario took more than {PATIENCE:?}");
}
