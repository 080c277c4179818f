//! The tools on our own session layer.

use std::{borrow::Cow, future::ready, sync::Arc, time::Duration};

use mcp_session_core::{Config, ConfigError, Endpoint, Json, RequestContext, Router, RpcError, Runtime};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use crate::monotonic_nanos;

/// How long `ask` waits for its reply: far longer than a measured one takes.
const REPLY: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    arguments: &'a RawValue,
}

#[derive(Deserialize)]
struct Echo {
    message: String,
}

#[derive(Deserialize)]
struct Slow {
    steps: u32,
    interval_ms: u64,
}

#[derive(Deserialize)]
struct Stamped {
    steps: u32,
    interval_us: u64,
    hold_ms: u64,
}

#[derive(Serialize)]
pub(crate) struct CallResult {
    content: [Text; 1],
}

impl CallResult {
    pub(crate) fn text(text: String) -> Self {
        Self { content: [Text { r#type: "text", text }] }
    }
}

#[derive(Serialize)]
struct Text {
    r#type: &'static str,
    text: String,
}

/// An endpoint with the defaults and four tools: `echo` answers with its `message` at once, `slow` reports progress
/// for `steps` steps, `interval_ms` apart. `stamped` does the same every `interval_us`, and each of its events has
/// [`monotonic_nanos`] as its message; it answers `hold_ms` later. `ask` asks the client, and answers with [`monotonic_nanos`] at which it had the reply.
///
/// ```
/// # use mcp_session_core::Runtime;
/// # async fn example(runtime: impl Runtime) {
/// let endpoint = mcp_session_bench::endpoint(runtime);
/// let response = endpoint.handle(http::Request::put("/mcp").body(String::new()).unwrap()).await;
/// assert_eq!(response.status(), 405);
/// # }
/// ```
pub fn endpoint(runtime: impl Runtime) -> Endpoint {
    let runtime: Arc<dyn Runtime> = Arc::new(runtime);
    let router = router(Arc::clone(&runtime));
    Endpoint::new(runtime, router)
}

/// The same with another configuration, such as with a store.
///
/// # Errors
///
/// If a limit of the configuration cannot work.
pub fn endpoint_with(runtime: impl Runtime, config: Config) -> Result<Endpoint, ConfigError> {
    let runtime: Arc<dyn Runtime> = Arc::new(runtime);
    let router = router(Arc::clone(&runtime));
    Endpoint::with_config(runtime, router, config)
}

/// An endpoint whose calls are answered at once, by a handler that shares nothing among them: what threads share is core's.
pub(crate) fn endpoint_that_shares_nothing(runtime: impl Runtime) -> Endpoint {
    let router = Router::new("bench", "0.1.0");
    Endpoint::new(runtime, router.request("tools/call", |_| ready(Ok(Json::from(json!({}))))))
}

fn router(timer: Arc<dyn Runtime>) -> Router {
    let tools = ["echo", "slow", "stamped", "ask"]
        .map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }));
    let tools = json!({ "tools": tools });
    Router::new("bench", "0.1.0")
        // For listeners: nothing else is said of the list, which does not change.
        .capabilities(json!({ "tools": { "listChanged": true } }))
        .request("tools/list", move |_| ready(Ok(tools.clone())))
        .request("tools/call", move |cx| call(cx, Arc::clone(&timer)))
}

async fn call(cx: RequestContext, timer: Arc<dyn Runtime>) -> Result<CallResult, RpcError> {
    let params = cx.raw_params().ok_or_else(|| RpcError::invalid_params("a call needs params"))?;
    let Call { name, arguments } = params.borrow()?;
    let invalid = |error: serde_json::Error| RpcError::invalid_params(error.to_string());
    let text = match &*name {
        "echo" => serde_json::from_str::<Echo>(arguments.get()).map_err(invalid)?.message,
        "slow" => {
            let Slow { steps, interval_ms } = serde_json::from_str(arguments.get()).map_err(invalid)?;
            for step in 1..=steps {
                if interval_ms > 0 {
                    timer.sleep_until(timer.now() + Duration::from_millis(interval_ms)).await;
                }
                cx.progress(step.into(), None, None).await?;
            }
            "done".to_owned()
        }
        "stamped" => {
            let Stamped { steps, interval_us, hold_ms } =
                serde_json::from_str(arguments.get()).map_err(invalid)?;
            // Boxed, as below: the future of every call would be larger.
            Box::pin(stamped(&cx, &*timer, steps, Duration::from_micros(interval_us))).await?;
            if hold_ms > 0 {
                timer.sleep_until(timer.now() + Duration::from_millis(hold_ms)).await;
            }
            "done".to_owned()
        }
        "ask" => {
            let form =
                json!({ "message": "when?", "requestedSchema": { "type": "object", "properties": {} } });
            Box::pin(cx.elicit("when", &form, REPLY)).await?;
            monotonic_nanos().to_string()
        }
        _ => return Err(RpcError::invalid_params("no such tool")),
    };
    Ok(CallResult::text(text))
}

/// Events are due at fixed times: those that a timer is late for are sent at once, so that the rate holds.
async fn stamped(
    cx: &RequestContext,
    timer: &dyn Runtime,
    steps: u32,
    interval: Duration,
) -> Result<(), RpcError> {
    let mut due = timer.now();
    for step in 1..=steps {
        due += interval;
        if due > timer.now() {
            timer.sleep_until(due).await;
        }
        cx.progress(step.into(), None, Some(&monotonic_nanos().to_string())).await?;
    }
    Ok(())
}
