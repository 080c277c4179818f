//! [`ServeHarness`]: what an adapter must offer so that the wire suite can be run on it.

use std::{net::TcpListener, panic::resume_unwind, thread, time::Duration};

use futures::channel::oneshot;
use mcp_session_core::{Endpoint, Serve};
use tokio::{runtime, time};

use crate::{Contended, TestBed};

/// How long a scenario may take on the slowest machine: no server, however broken, makes a test run for ever.
const PATIENCE: Duration = Duration::from_secs(180);

/// An adapter under test: a bed for its runtime, and its `serve`.
///
/// The suite binds, sets everything else through [`Serve`]'s own methods, and runs the server as a task of the bed's
/// runtime. See [the module](crate::wire) for an example.
pub trait ServeHarness: TestBed + Sync {
    /// The adapter's server for this endpoint, at the path `/mcp` or at every path, as its users make it. Called in a
    /// task of the runtime. The listener is bound to a loopback address, listens, and is non-blocking.
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve;
}

/// The same adapter on a machine that is busy elsewhere.
impl<B: ServeHarness> ServeHarness for Contended<B> {
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        B::serve(listener, endpoint)
    }
}

/// Runs a scenario: the server inside the bed, the clients on a thread of their own, with a tokio runtime of their own.
///
/// # Panics
///
/// When the server does not do what the scenario says, after three minutes at the most.
pub fn run<H: ServeHarness>(harness: &H, scenario: impl AsyncFnOnce(&H) + Send) {
    thread::scope(|scope| {
        let (over, until_over) = oneshot::channel::<()>();
        let clients = scope.spawn(move || {
            let _over = over; // also if it panics
            let clients = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let all = async { time::timeout(PATIENCE, scenario(harness)).await };
            let name = harness.name();
            assert!(clients.block_on(all).is_ok(), "{name}: the scenario took more than {PATIENCE:?}");
        });
        let _ = harness.block_on(until_over);
        if let Err(panic) = clients.join() {
            resume_unwind(panic);
        }
    });
}
