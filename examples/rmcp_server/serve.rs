//! The same tools, served by mcp-session or by rmcp: this file is the whole difference.

use std::net::SocketAddr;

use mcp_session_core::Endpoint;
use mcp_session_examples::client::Error;
use mcp_session_rmcp::RmcpHandler;
use mcp_session_tokio::{TokioRuntime, bind, serve, terminate_signal};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::net::TcpListener;

use crate::counter::Counter;

/// Through the bridge. A second signal stops the running calls sooner.
pub(crate) async fn ours(address: SocketAddr) -> Result<(), Error> {
    let listener = bind(address).map_err(|error| cannot_bind(address, &error))?;
    let endpoint = Endpoint::new(TokioRuntime::current(), RmcpHandler::new(|_scope| Counter::new()));
    let bound = listener.local_addr()?;
    let serve = serve(listener, endpoint).with_graceful_shutdown(terminate_signal);
    println!("http://{bound}/mcp"); // a signal is heard from here on
    println!("{}", serve.await?);
    Ok(())
}

/// On rmcp's own service. With `cancel` it is set up like the server in its documentation: a signal cancels its token.
pub(crate) async fn rmcp(address: SocketAddr, cancel: bool) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await.map_err(|error| cannot_bind(address, &error))?;
    let config = StreamableHttpServerConfig::default();
    let stop = config.cancellation_token.clone();
    let service: StreamableHttpService<Counter, LocalSessionManager> =
        StreamableHttpService::new(|| Ok(Counter::new()), Default::default(), config);
    let app = axum::Router::new().nest_service("/mcp", service);
    let signal = terminate_signal();
    println!("http://{}/mcp", listener.local_addr()?);
    let stopped = async move {
        signal.await;
        if cancel {
            stop.cancel();
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(stopped).await?;
    println!("stopped; rmcp has no report");
    Ok(())
}

fn cannot_bind(address: SocketAddr, error: &std::io::Error) -> Error {
    format!("cannot listen on {address}: {error}").into()
}
