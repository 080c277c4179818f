//! The two tools on `mcp-session-async-std`.

use std::io;

use async_std::{net::TcpListener, task};
use mcp_session_async_std::{AsyncStdRuntime, serve, terminate_signal};
use mcp_session_bench::{ServerArgs, endpoint};

fn main() -> io::Result<()> {
    let bind = ServerArgs::read().bind;
    task::block_on(async {
        let listener = TcpListener::bind(bind).await?;
        let address = listener.local_addr()?;
        let server = serve(listener, endpoint(AsyncStdRuntime)).with_shutdown(terminate_signal);
        ServerArgs::announce(address);
        eprintln!("{}", server.await?);
        Ok(())
    })
}
