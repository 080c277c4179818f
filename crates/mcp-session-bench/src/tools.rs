//! The tools on our own session layer.

use std::{future::ready, sync::Arc, time::Duration};

use mcp_session_core::{Config, ConfigError, Endpoint, Json, RequestContext, Router, Runtime, ToolError};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::monotonic_nanos;

/// How long `ask` waits for its reply: far longer than a measured one takes.
const REPLY: Duration = Duration::from_secs(30);

#[derive(Deserialize, JsonSchema)]
struct Echo {
    message: String,
}

#[derive(Deserialize, JsonSchema)]
struct Slow {
    steps: u32,
    interval_ms: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Stamped {
    steps: u32,
    interval_us: u64,
    hold_ms: u64,
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
    let stamps = Arc::clone(&timer);
    Router::new("bench", "0.1.0")
        // For listeners: nothing else is said of the list, which does not change.
        .capabilities(json!({ "tools": { "listChanged": true } }))
        .tool("echo", "Answers with its message", |_: RequestContext, Echo { message }: Echo| async move {
            Ok(message)
        })
        .tool("slow", "Reports progress", move |cx: RequestContext, slow: Slow| {
            slowly(cx, Arc::clone(&timer), slow)
        })
        .tool("stamped", "Reports progress at fixed times", move |cx: RequestContext, times: Stamped| {
            stamped(cx, Arc::clone(&stamps), times)
        })
        .tool("ask", "Asks the client", |cx: RequestContext, (): ()| async move {
            let form =
                json!({ "message": "when?", "requestedSchema": { "type": "object", "properties": {} } });
            Box::pin(cx.elicit("when", &form, REPLY)).await?; // boxed: it is large
            Ok(monotonic_nanos().to_string())
        })
}

async fn slowly(
    cx: RequestContext,
    timer: Arc<dyn Runtime>,
    Slow { steps, interval_ms }: Slow,
) -> Result<String, ToolError> {
    for step in 1..=steps {
        if interval_ms > 0 {
            timer.sleep_until(timer.now() + Duration::from_millis(interval_ms)).await;
        }
        cx.progress(step.into(), None, None).await?;
    }
    Ok("done".to_owned())
}

/// Events are due at fixed times: those that a timer is late for are sent at once, so that the rate holds.
async fn stamped(
    cx: RequestContext,
    timer: Arc<dyn Runtime>,
    Stamped { steps, interval_us, hold_ms }: Stamped,
) -> Result<String, ToolError> {
    let mut due = timer.now();
    for step in 1..=steps {
        due += Duration::from_micros(interval_us);
        if due > timer.now() {
            timer.sleep_until(due).await;
        }
        cx.progress(step.into(), None, Some(&monotonic_nanos().to_string())).await?;
    }
    if hold_ms > 0 {
        timer.sleep_until(timer.now() + Duration::from_millis(hold_ms)).await;
    }
    Ok("done".to_owned())
}
