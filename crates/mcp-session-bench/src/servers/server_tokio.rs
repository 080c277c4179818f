//! The two tools on `mcp-session-tokio`.

use std::io;

use mcp_session_bench::{ServerArgs, endpoint};
use mcp_session_tokio::{TokioRuntime, bind, serve, terminate_signal};

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = bind(ServerArgs::read().bind)?;
    let address = listener.local_addr()?;
    let server = serve(listener, endpoint(TokioRuntime::current())).with_graceful_shutdown(terminate_signal);
    ServerArgs::announce(address);
    eprintln!("{}", server.await?);
    Ok(())
}
