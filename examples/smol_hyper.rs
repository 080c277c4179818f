//! Run with `cargo run --example smol_hyper -- --bind 127.0.0.1:8000`, stop with Ctrl-C.
use mcp_session_core::{Endpoint, RequestContext, Router, RpcError};
use mcp_session_smol::{SmolRuntime, bind, serve, terminate_signal};
use serde_json::{Value, json};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let at = std::env::args().skip_while(|arg| arg != "--bind").nth(1);
    let listener = bind(at.as_deref().unwrap_or("127.0.0.1:8000"))?;
    let address = listener.local_addr()?;

    let tool = |name| json!({ "name": name, "description": name, "inputSchema": { "type": "object" } });
    let tools = json!({ "tools": [tool("echo"), tool("slow")] });
    let router = Router::new("smol-hyper", "0.1.0")
        .capabilities(json!({ "tools": {} }))
        .request("tools/list", move |_| std::future::ready(Ok(tools.clone())))
        .request("tools/call", call);
    let endpoint = Endpoint::new(SmolRuntime::global(), router);
    let server = serve(listener, endpoint).with_graceful_shutdown(terminate_signal);
    println!("http://{address}/mcp");
    let report = server.await?;
    println!("{report}");
    std::process::exit(i32::from(!report.is_clean())) // at once, even if a handler blocks its thread
}

async fn call(cx: RequestContext) -> Result<Value, RpcError> {
    let params: Value = cx.params()?;
    let text = match params["name"].as_str() {
        Some("echo") => params["arguments"]["message"].as_str().unwrap_or_default().to_owned(),
        Some("slow") => {
            for step in 1..=params["arguments"]["steps"].as_u64().unwrap_or(5) {
                smol::Timer::after(Duration::from_millis(200)).await;
                cx.progress(step as f64, None, None).await?;
            }
            "done".to_owned()
        }
        _ => return Err(RpcError::invalid_params("no such tool")),
    };
    Ok(json!({ "content": [{ "type": "text", "text": text }] }))
}
