//! On smol, with an executor on one thread per core: smol's global executor has only one thread.

use std::{future::pending, io, net::TcpListener, sync::Arc, thread};

use mcp_session_core::ShutdownReport;
use mcp_session_smol::{SmolRuntime, serve_app, terminate_signal};
use smol::{Async, Executor};

use crate::{args::Args, telemetry::Telemetry};

pub(super) fn run(
    listener: TcpListener,
    args: &Args,
    telemetry: Option<&Telemetry>,
) -> io::Result<ShutdownReport> {
    let executor = Arc::new(Executor::new());
    for _ in 1..thread::available_parallelism()?.get() {
        // The thread ends with the process, which does not wait for a handler that blocks it.
        let executor = Arc::clone(&executor);
        thread::spawn(move || smol::block_on(executor.run(pending::<()>())));
    }
    smol::block_on(executor.run(async {
        let address = listener.local_addr()?;
        let listener = smol::net::TcpListener::from(Async::new(listener)?);
        let node = super::Node::new(SmolRuntime::from(Arc::clone(&executor)), args, address, telemetry)?;
        let server = serve_app(listener, node.endpoint.clone(), super::routes(node));
        super::serve(server.with_graceful_shutdown(terminate_signal), address, args).await
    }))
}
