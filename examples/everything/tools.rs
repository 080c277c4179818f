//! The tools for trying out the session layer: one that answers at once, one that takes its time, one that never
//! ends, one that counts the last two, and one that uses the GET stream.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use futures::future::{Either, select};
use mcp_session_core::{RequestContext, RpcError, Runtime};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

type Arguments = Map<String, Value>;

/// What the tools share.
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

/// A call that runs. However it ends, answered or dropped, it does not count any more.
struct Running<'a>(&'a AtomicUsize);

/// What `tools/list` says about them.
pub(crate) fn definitions() -> [Value; 5] {
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
        tool("active", "Tells how many calls of slow and hang are running", json!({}), &[]),
        tool("announce", "Sends notifications/tools/list_changed on the GET stream", json!({}), &[]),
    ]
}

/// Says what it hears.
pub(crate) fn echo(arguments: Arguments) -> Result<String, RpcError> {
    read(arguments).map(|Echo { message }| message)
}

/// Sends what belongs to no request. Nothing has changed in fact.
pub(crate) async fn announce(cx: &RequestContext) -> Result<String, RpcError> {
    cx.session().notify("notifications/tools/list_changed", None::<&()>).await?;
    Ok("announced".to_owned())
}

impl Tools {
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, active: AtomicUsize::new(0) }
    }

    /// Takes its time, and stops when it is told to.
    pub(crate) async fn slow(&self, cx: &RequestContext, arguments: Arguments) -> Result<String, RpcError> {
        let Slow { steps, interval_ms } = read(arguments)?;
        let _running = self.running();
        let work = pin!(async {
            for step in 1..=steps {
                let interval = Duration::from_millis(interval_ms.into());
                yield_now().await;
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

    /// The worst that a handler can be.
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

/// Lets others run. Without it, steps of no time would be one long step that cannot be told to stop.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn read<T: DeserializeOwned>(arguments: Arguments) -> Result<T, RpcError> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| RpcError::invalid_params(format!("the tool's arguments: {error}")))
}
