//! The two tools on `mcp-session-async-std`.

use std::io;

use async_std::task;
use mcp_session_async_std::{AsyncStdRuntime, serve, terminate_signal};
use mcp_session_bench::{ServerArgs, endpoint};

fn main() -> io::Result<()> {
    let bind = ServerArgs::read().bind;
    task::block_on(async {
        let listener = mcp_session_async_std::bind(bind)?;
        let address = listener.local_addr()?;
        let server = serve(listener, endpoint(AsyncStdRuntime)).with_graceful_shutdown(terminate_signal);
        ServerArgs::announce(address);
        eprintln!("{}", server.await?);
        Ok(())
    })
}
