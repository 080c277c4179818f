//! The two tools on our own session layer.

use std::{borrow::Cow, sync::Arc, time::Duration};

use mcp_session_core::{Config, Endpoint, RequestContext, Router, RpcError, Runtime};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

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

/// An endpoint with the defaults and two tools: `echo` answers with its `message` at once, `slow` reports progress
/// for `steps` steps, `interval_ms` apart.
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
    endpoint_with(runtime, Config::default())
}

/// The same with this configuration.
pub(crate) fn endpoint_with(runtime: impl Runtime, config: Config) -> Endpoint {
    let runtime: Arc<dyn Runtime> = Arc::new(runtime);
    let timer = Arc::clone(&runtime);
    let tools = json!({ "tools": [
        { "name": "echo", "inputSchema": { "type": "object" } },
        { "name": "slow", "inputSchema": { "type": "object" } },
    ]});
    let router = Router::new("bench", "0.1.0")
        // For listeners: nothing else is said of the list, which does not change.
        .capabilities(json!({ "tools": { "listChanged": true } }))
        .request("tools/list", move |_| std::future::ready(Ok(tools.clone())))
        .request("tools/call", move |cx| call(cx, Arc::clone(&timer)));
    Endpoint::with_config(runtime, router, config).expect("the limits work")
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
        _ => return Err(RpcError::invalid_params("no such tool")),
    };
    Ok(CallResult::text(text))
}
