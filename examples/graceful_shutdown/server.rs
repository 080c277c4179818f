//! The server: one tool, and a shutdown on SIGTERM. The rest of the example is there to watch it.

use std::{net::SocketAddr, time::Duration};

use mcp_session_core::{Endpoint, RequestContext, Router, RpcError, ShutdownPolicy, ShutdownReport};
use mcp_session_tokio::{TokioRuntime, bind, serve, terminate_signal};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use crate::client::Error;

/// The progress events of a call: often enough for a bar that moves.
pub(crate) const STEPS: u64 = 10;

/// A server at work, in a task of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
    task: JoinHandle<std::io::Result<ShutdownReport>>,
}

impl Server {
    /// Serves on a free port, until SIGTERM; Ctrl-C does as well, and a second signal escalates.
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

    /// Waits for the end of the server and gives its report.
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

/// The one tool. It does not listen to [`RequestContext::cancelled`], so that a grace that is too short shows: the
/// session answers in its place.
async fn work(cx: RequestContext) -> Result<Value, RpcError> {
    let Params { arguments: Arguments { milliseconds } } = cx.params()?;
    let total = Some(STEPS as f64);
    cx.progress(1.0, total, None).await?;
    // Its time counts from the shutdown, so that every call is at work when it begins, however slow the machine.
    cx.draining().await;
    for step in 2..=STEPS {
        sleep(Duration::from_millis(milliseconds) / (STEPS as u32 - 1)).await;
        cx.progress(step as f64, total, None).await?;
    }
    Ok(json!({ "content": [{ "type": "text", "text": "done" }] }))
}
