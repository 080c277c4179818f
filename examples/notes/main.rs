//! Run with `cargo run --example notes -- --bind 127.0.0.1:8000`, stop with Ctrl-C.
mod notes;
#[cfg(test)]
mod tests;

use mcp_session_core::Endpoint;
use mcp_session_tokio::{TokioRuntime, bind, serve, terminate_signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let at = std::env::args().skip_while(|arg| arg != "--bind").nth(1);
    let listener = bind(at.as_deref().unwrap_or("127.0.0.1:8000"))?;
    println!("http://{}/mcp", listener.local_addr()?);
    let endpoint = Endpoint::new(TokioRuntime::current(), notes::router());
    let report = serve(listener, endpoint).with_graceful_shutdown(terminate_signal).await?;
    println!("{report}");
    Ok(())
}
