//! Run with `cargo run --example axum_router -- --bind 127.0.0.1:8000`, stop with Ctrl-C.
//!
//! MCP as one route of an axum application, for clients of every revision: those of 2026-07-28 learn with `server/discover`
//! what the router says here about itself, and need no session. The whole application shuts down gracefully with the
//! endpoint: nothing is lost.

use std::time::Duration;

use axum::{http::StatusCode, routing::get};
use mcp_session_core::{Endpoint, RequestContext, Router, RpcError};
use mcp_session_tokio::{McpService, TokioRuntime, bind, serve_app, terminate_signal};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let at = std::env::args().skip_while(|arg| arg != "--bind").nth(1);
    let listener = bind(at.as_deref().unwrap_or("127.0.0.1:8000"))?;
    let url = format!("http://{}/mcp", listener.local_addr()?);

    let mcp = Router::new("axum-router", "0.1.0")
        .capabilities(json!({ "tools": {} }))
        .request("tools/list", |_| async { Ok(json!({ "tools": [tool("echo"), tool("slow")] })) })
        .request("tools/call", call);
    let endpoint = Endpoint::new(TokioRuntime::current(), mcp);
    let probed = endpoint.clone();
    let app = axum::Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/readyz", get(move || async move { ready(&probed) }))
        .route_service("/mcp", McpService::new(endpoint.clone()));
    let server = serve_app(listener, endpoint, app).with_graceful_shutdown(terminate_signal);
    println!("{url}");
    let report = server.await?;
    println!("{report}");
    std::process::exit(i32::from(!report.is_clean())) // at once, even if a handler blocks its thread
}

/// For a load balancer: 503 from the start of the shutdown.
fn ready(endpoint: &Endpoint) -> StatusCode {
    if endpoint.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn call(cx: RequestContext) -> Result<Value, RpcError> {
    let params: Value = cx.params()?;
    let text = match params["name"].as_str() {
        Some("echo") => params["arguments"]["message"].as_str().unwrap_or_default().to_owned(),
        Some("slow") => {
            for step in 1..=params["arguments"]["steps"].as_u64().unwrap_or(5) {
                tokio::time::sleep(Duration::from_millis(200)).await;
                cx.progress(step as f64, None, None).await?;
            }
            "done".to_owned()
        }
        _ => return Err(RpcError::invalid_params("no such tool")),
    };
    Ok(json!({ "content": [{ "type": "text", "text": text }] }))
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "description": name, "inputSchema": { "type": "object" } })
}
