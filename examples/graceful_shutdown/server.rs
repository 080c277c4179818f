//! The server: one tool, and a shutdown on SIGTERM. The rest of the example only observes it.

use std::{net::SocketAddr, time::Duration};

use mcp_session_core::{Endpoint, RequestContext, Router, RpcError, ShutdownPolicy, ShutdownReport};
use mcp_session_examples::client::Error;
use mcp_session_tokio::{TokioRuntime, bind, serve, terminate_signal};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

/// The number of progress events per call: enough for a moving bar.
pub(crate) const STEPS: u64 = 10;

/// A running server, in its own task.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
    task: JoinHandle<std::io::Result<ShutdownReport>>,
}

impl Server {
    /// Serves on a free port until SIGTERM or Ctrl-C; a second signal escalates.
    pub(crate) async fn start(policy: ShutdownPolicy) -> Result<Self, Error> {
        let listener = bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let router = Router::new("graceful-shutdown", "0.1.0")
            .capabilities(json!({ "tools": {} }))
            .request("tools/call", work);
        let endpoint = Endpoint::new(TokioRuntime::current(), router);
        let serve =
            serve(listener, endpoint.clone()).with_graceful_shutdown(terminate_signal).with_policy(policy);
        Ok(Self { address, endpoint, task: tokio::spawn(serve.into_future()) })
    }

    /// Waits until the server has ended and returns its report.
    pub(crate) async fn ended(self) -> Result<ShutdownReport, Error> {
        Ok(self.task.await??)
    }
}

#[derive(Deserialize)]
struct Params {
    arguments: Arguments,
}

#[derive(Deserialize)]
struct Arguments {
    milliseconds: u64,
}

/// The only tool. It ignores [`RequestContext::cancelled`], so that a grace that is too short has a visible effect: the
/// session answers in its place.
async fn work(cx: RequestContext) -> Result<Value, RpcError> {
    let Params { arguments: Arguments { milliseconds } } = cx.params()?;
    let total = Some(STEPS as f64);
    cx.progress(1.0, total, None).await?;
    // The work starts with the shutdown, so that every call is running then, however slow the machine is.
    cx.draining().await;
    for step in 2..=STEPS {
        sleep(Duration::from_millis(milliseconds) / (STEPS as u32 - 1)).await;
        cx.progress(step as f64, total, None).await?;
    }
    Ok(json!({ "content": [{ "type": "text", "text": "done" }] }))
}
