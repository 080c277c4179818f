//! Run with `cargo run --example systemd -- --bind 127.0.0.1:8000`, stop with Ctrl-C; or as a unit, with `mcp-server.socket` and `mcp-server.service`
//! of this folder, or by hand with `systemd-socket-activate -l 127.0.0.1:8000 target/debug/examples/systemd`.
//!
//! systemd opens the socket and keeps it: a client that connects while the server is replaced waits in the backlog and is
//! not refused. The server says when it is ready, that it stops, and, as long as calls are running, that it needs more time
//! than `TimeoutStopSec`. Outside of systemd it listens on `--bind`, and says nothing.

mod manager;

use std::{error::Error, net, process, time::Duration};

use listenfd::ListenFd;
use mcp_session_core::{Endpoint, RequestContext, Router, ShutdownPolicy, ShutdownReport};
use mcp_session_tokio::{TokioRuntime, bind, serve};
use tokio::net::TcpListener;

use manager::Manager;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Slow {
    /// How many fifths of a second it takes.
    steps: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    // First of all, while there are no other threads: it takes what systemd said out of the environment.
    let passed = ListenFd::from_env().take_tcp_listener(0)?;
    let report = tokio::runtime::Runtime::new()?.block_on(run(passed))?;
    println!("{report}");
    process::exit(i32::from(!report.is_clean())) // at once, even if a handler blocks its thread
}

/// Serves on the socket that was passed, or on one of its own, until SIGTERM or Ctrl-C.
async fn run(passed: Option<net::TcpListener>) -> Result<ShutdownReport, Box<dyn Error>> {
    let listener = match passed {
        Some(passed) => {
            passed.set_nonblocking(true)?;
            TcpListener::from_std(passed)?
        }
        None => {
            let at = std::env::args().skip_while(|arg| arg != "--bind").nth(1);
            bind(at.as_deref().unwrap_or("127.0.0.1:8000"))?
        }
    };
    let address = listener.local_addr()?;
    let router = Router::new("systemd", "0.1.0").tool(
        "slow",
        "Takes a while, and reports progress",
        async |cx: RequestContext, Slow { steps }: Slow| {
            for step in 1..=steps {
                tokio::time::sleep(Duration::from_millis(200)).await;
                cx.progress(step.into(), Some(steps.into()), None).await?;
            }
            Ok("done".to_owned())
        },
    );
    let endpoint = Endpoint::new(TokioRuntime::current(), router);
    let manager = Manager::of(&endpoint);
    // With systemd's extensions, calls may take longer than TimeoutStopSec; this is the bound.
    let policy = ShutdownPolicy { drain: Duration::from_secs(60), ..ShutdownPolicy::default() };
    let server = serve(listener, endpoint).with_policy(policy);
    let server = server.with_graceful_shutdown(move || manager.terminate_signal());
    println!("http://{address}/mcp");
    Manager::ready(); // last before serving: signals are handled, and the socket listens
    Ok(server.await?)
}
