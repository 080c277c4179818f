//! The tools for trying out the session layer: one that answers at once, one that takes a while, one that never ends,
//! one that counts the running calls of these two, one that notifies clients outside a request, one that blocks its thread,
//! and one that panics.

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use futures::future::{Either, select};
use mcp_session_core::{RequestContext, RpcError, Runtime};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use smol::future::yield_now; // for every runtime

type Arguments = Map<String, Value>;

/// The shared state of the tools.
#[derive(Debug)]
pub(crate) struct Tools {
    runtime: Arc<dyn Runtime>,
    /// How many `slow` and `hang` calls are running.
    active: AtomicUsize,
}

#[derive(Deserialize)]
struct Echo {
    message: String,
}

#[derive(Deserialize)]
#[serde(default)]
struct Slow {
    steps: u32,
    interval_ms: u32,
}

impl Default for Slow {
    fn default() -> Self {
        Self { steps: 5, interval_ms: 200 }
    }
}

#[derive(Deserialize)]
struct Block {
    ms: u32,
}

/// The longest that [`block`] blocks its thread: a client must not take a server of a few threads for itself.
const LONGEST_BLOCK: u32 = 10_000;

/// Counts a running call until it is dropped, whether the call was answered or dropped.
struct Running<'a>(&'a AtomicUsize);

/// The tools' definitions for `tools/list`.
pub(crate) fn definitions() -> [Value; 7] {
    let tool = |name: &str, description: &str, properties: Value, required: &[&str]| {
        let schema = json!({ "type": "object", "properties": properties, "required": required });
        json!({ "name": name, "description": description, "inputSchema": schema })
    };
    let count = json!({ "type": "integer", "minimum": 0 });
    [
        tool(
            "echo",
            "Answers with the message, at once",
            json!({ "message": { "type": "string" } }),
            &["message"],
        ),
        tool(
            "slow",
            "Takes `steps` times `interval_ms`, with a progress notification per step, and then answers",
            json!({ "steps": count, "interval_ms": count }),
            &[],
        ),
        tool("hang", "Never answers, and ignores cancellation", json!({}), &[]),
        tool("active", "Returns the number of running slow and hang calls", json!({}), &[]),
        tool(
            "announce",
            "Sends notifications/tools/list_changed on the GET stream, or without a session to every client",
            json!({}),
            &[],
        ),
        tool(
            "block",
            "Blocks the thread that it runs on for `ms`, at most ten seconds, as a handler must not",
            json!({ "ms": count }),
            &["ms"],
        ),
        tool("panic", "Panics: only this call fails", json!({}), &[]),
    ]
}

/// Returns the message.
pub(crate) fn echo(arguments: Arguments) -> Result<String, RpcError> {
    read(arguments).map(|Echo { message }| message)
}

/// Blocks the thread, which a handler must not do.
pub(crate) fn block(arguments: Arguments) -> Result<String, RpcError> {
    let Block { ms } = read(arguments)?;
    let ms = ms.min(LONGEST_BLOCK);
    thread::sleep(Duration::from_millis(ms.into()));
    Ok(format!("blocked for {ms} ms"))
}

/// Panics.
pub(crate) fn panic() -> String {
    panic!("the tool `panic` was called")
}

/// Sends a notification that belongs to no request. The list of tools has not really changed.
pub(crate) async fn announce(cx: &RequestContext) -> Result<String, RpcError> {
    const CHANGED: &str = "notifications/tools/list_changed";
    if let Some(session) = cx.session() {
        session.notify(CHANGED, None::<&()>).await?;
    } else if let Some(everybody) = cx.sessions() {
        everybody.broadcast(CHANGED, None::<&()>)?;
    }
    Ok("announced".to_owned())
}

impl Tools {
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, active: AtomicUsize::new(0) }
    }

    /// Runs for `steps` times `interval_ms`; stops when the request is cancelled.
    pub(crate) async fn slow(&self, cx: &RequestContext, arguments: Arguments) -> Result<String, RpcError> {
        let Slow { steps, interval_ms } = read(arguments)?;
        let _running = self.running();
        let work = pin!(async {
            for step in 1..=steps {
                let interval = Duration::from_millis(interval_ms.into());
                yield_now().await; // so that steps with an interval of 0 can be cancelled, too
                self.runtime.sleep_until(self.runtime.now() + interval).await;
                cx.progress(step.into(), Some(steps.into()), None).await?;
            }
            Ok(format!("{steps} steps done"))
        });
        match select(work, pin!(cx.cancelled())).await {
            Either::Left((done, _)) => done,
            Either::Right((reason, _)) => Err(reason.into()),
        }
    }

    /// Never returns: the worst kind of handler.
    pub(crate) async fn hang(&self) -> String {
        let _running = self.running();
        pending().await
    }

    pub(crate) fn active(&self) -> String {
        self.active.load(Relaxed).to_string()
    }

    fn running(&self) -> Running<'_> {
        self.active.fetch_add(1, Relaxed);
        Running(&self.active)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn read<T: DeserializeOwned>(arguments: Arguments) -> Result<T, RpcError> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| RpcError::invalid_params(format!("the tool's arguments: {error}")))
}
