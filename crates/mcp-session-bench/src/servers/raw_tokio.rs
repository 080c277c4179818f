//! hyper on tokio with canned answers: the floor for `mcp-session-tokio` and rmcp.

use std::{io, sync::Arc};

use futures::FutureExt;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use mcp_session_bench::{Canned, ServerArgs};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> io::Result<()> {
    let args = ServerArgs::read();
    let listener = TcpListener::bind(args.bind).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let canned = Canned::new(|time| tokio::time::sleep(time).boxed()).parsing(args.parse);
    let canned = Arc::new(canned);
    let connections = GracefulShutdown::new();
    ServerArgs::announce(listener.local_addr()?);
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = terminate.recv() => break,
        };
        socket.set_nodelay(true)?;
        let canned = Arc::clone(&canned);
        let service = service_fn(move |request| {
            let canned = Arc::clone(&canned);
            async move { canned.respond(request).await }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        tokio::spawn(connections.watch(connection));
    }
    canned.stop();
    connections.shutdown().await;
    Ok(())
}
