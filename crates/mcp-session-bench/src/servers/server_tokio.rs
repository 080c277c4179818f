//! The two tools on `mcp-session-tokio`.

use std::io;

use mcp_session_bench::{ServerArgs, endpoint};
use mcp_session_tokio::{TokioRuntime, serve, terminate_signal};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind(ServerArgs::read().bind).await?;
    let address = listener.local_addr()?;
    let server = serve(listener, endpoint(TokioRuntime::current())).with_shutdown(terminate_signal);
    ServerArgs::announce(address);
    eprintln!("{}", server.await?);
    Ok(())
}
