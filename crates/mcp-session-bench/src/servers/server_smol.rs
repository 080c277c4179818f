//! The two tools on `mcp-session-smol`, on one thread per core.

use std::{io, sync::Arc, thread};

use mcp_session_bench::{ServerArgs, endpoint};
use mcp_session_smol::{SmolRuntime, serve, terminate_signal};
use smol::Executor;

fn main() -> io::Result<()> {
    let bind = ServerArgs::read().bind;
    let executor = Arc::new(Executor::new());
    let runtime = SmolRuntime::from(Arc::clone(&executor));
    let serving = async {
        let listener = mcp_session_smol::bind(bind)?;
        let address = listener.local_addr()?;
        let server = serve(listener, endpoint(runtime)).with_graceful_shutdown(terminate_signal);
        ServerArgs::announce(address);
        eprintln!("{}", server.await?);
        Ok(())
    };
    let threads = thread::available_parallelism()?.get();
    let (end, ending) = smol::channel::bounded::<()>(1);
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| smol::block_on(executor.run(ending.recv())));
        }
        let served = smol::block_on(executor.run(serving));
        drop(end);
        served
    })
}
