//! [`ServeHarness`]: what an adapter must provide to run the wire suite.

use std::{io, net::TcpListener, panic::resume_unwind, thread, time::Duration};

use futures::{FutureExt, channel::oneshot, future::BoxFuture};
use mcp_session_core::{Endpoint, Serve};
use tokio::{net::TcpStream, runtime, time};

use super::dial::{ClientStream, connect_over};
use crate::{Contended, TestBed};

/// The time limit of a scenario on the slowest machine: however broken the server is, no test runs for ever.
const PATIENCE: Duration = Duration::from_secs(180);

/// An adapter under test: a bed with its runtime, and its `serve`.
///
/// The suite binds the listener, configures the server through [`Serve`]'s own methods, and runs it as a task of the
/// bed's runtime. See [the module](crate::wire) for an example.
pub trait ServeHarness: TestBed + Sync {
    /// Creates the adapter's server for this endpoint, at the path `/mcp` or at every path, as its users do. Called
    /// in a task of the runtime. The listener is bound to a loopback address, already listens, and is non-blocking.
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve;

    /// Opens what a client speaks HTTP on, over its connected socket: for a server with TLS, the client's half of it. Called
    /// on the clients' tokio runtime. By default the socket itself.
    fn over(socket: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ClientStream>>> {
        async { Ok(Box::new(socket) as Box<dyn ClientStream>) }.boxed()
    }
}

/// The same adapter, as if on a busy machine.
impl<B: ServeHarness> ServeHarness for Contended<B> {
    fn serve(listener: TcpListener, endpoint: Endpoint) -> Serve {
        B::serve(listener, endpoint)
    }

    fn over(socket: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ClientStream>>> {
        B::over(socket)
    }
}

/// Runs a scenario: the server in the bed, the clients on a separate thread with their own tokio runtime.
///
/// # Panics
///
/// If the server does not behave as the scenario requires; after three minutes at most.
pub fn run<H: ServeHarness>(harness: &H, scenario: impl AsyncFnOnce(&H) + Send) {
    thread::scope(|scope| {
        let (over, until_over) = oneshot::channel::<()>();
        let clients = scope.spawn(move || {
            let _over = over; // also on a panic
            connect_over(H::over);
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
