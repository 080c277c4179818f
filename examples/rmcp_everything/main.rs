//! Run with `cargo run --example rmcp_everything --features rmcp -- --bind 127.0.0.1:8000`, stop with Ctrl-C.
//!
//! What the official conformance suite wants of a server, written with rmcp's macros and types, and served by mcp-session
//! on tokio or smol. `cargo xtask conformance --server rmcp` drives it. Clients of every revision use the same URL.

mod ask;
mod prompts;
mod resources;
mod schemas;
mod server;
mod tools;

use std::{
    future::pending,
    io,
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    thread,
};

use clap::{Parser, ValueEnum};
use mcp_session_core::{Endpoint, Serve, ShutdownReport};
use mcp_session_rmcp::RmcpHandler;

use crate::server::Everything;

/// Serves what the conformance suite wants, with rmcp's macros.
#[derive(Debug, Parser)]
#[command(name = "rmcp_everything")] // not the package's name
struct Args {
    /// Address and port; port 0 picks a free one. The first line on stdout is the URL
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    bind: SocketAddr,
    /// The executor; off tokio, a thread in the background gives rmcp the context that it needs
    #[arg(long, value_enum, default_value_t = Executor::Tokio)]
    runtime: Executor,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Executor {
    Tokio,
    Smol,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let served = mcp_session_hyper::bind(args.bind).and_then(|listener| match args.runtime {
        Executor::Tokio => on_tokio(listener),
        Executor::Smol => on_smol(listener),
    });
    match served {
        Ok(report) => {
            println!("{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One value serves all: its tools have no state of a session.
fn handler() -> io::Result<RmcpHandler<Everything>> {
    Ok(RmcpHandler::shared(Arc::new(Everything::new()?)))
}

fn on_tokio(listener: TcpListener) -> io::Result<ShutdownReport> {
    use mcp_session_tokio::{TokioRuntime, serve, terminate_signal};
    tokio::runtime::Runtime::new()?.block_on(async {
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let endpoint = Endpoint::new(TokioRuntime::current(), handler()?);
        until_stopped(serve(listener, endpoint).with_graceful_shutdown(terminate_signal), address).await
    })
}

fn on_smol(listener: TcpListener) -> io::Result<ShutdownReport> {
    use mcp_session_smol::{SmolRuntime, serve, terminate_signal};
    let executor = Arc::new(smol::Executor::new());
    for _ in 1..thread::available_parallelism()?.get() {
        let executor = Arc::clone(&executor);
        thread::spawn(move || smol::block_on(executor.run(pending::<()>())));
    }
    smol::block_on(executor.run(async {
        let address = listener.local_addr()?;
        let listener = smol::net::TcpListener::from(smol::Async::new(listener)?);
        let endpoint = Endpoint::new(SmolRuntime::from(Arc::clone(&executor)), handler()?);
        until_stopped(serve(listener, endpoint).with_graceful_shutdown(terminate_signal), address).await
    }))
}

async fn until_stopped(server: Serve, address: SocketAddr) -> io::Result<ShutdownReport> {
    println!("http://{address}/mcp"); // a signal is heard from here on
    server.await
}
