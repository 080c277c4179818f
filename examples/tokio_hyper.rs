//! Run with `cargo run --example tokio_hyper -- --bind 127.0.0.1:8000`, stop with Ctrl-C.
use mcp_session_core::{Endpoint, RequestContext, Router};
use mcp_session_tokio::{TokioRuntime, bind, serve, terminate_signal};
use std::time::Duration;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Echo {
    /// What to say.
    message: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Router::new("tokio-hyper", "0.1.0")
        .tool("echo", "Echoes a message", async |_: RequestContext, Echo { message }: Echo| Ok(message))
        .tool("slow", "Takes a second, and reports progress", async |cx: RequestContext, (): ()| {
            for step in 1..=5 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                cx.progress(step.into(), Some(5.0), None).await?;
            }
            Ok("done".to_owned())
        });
    let at = std::env::args().skip_while(|arg| arg != "--bind").nth(1);
    let listener = bind(at.as_deref().unwrap_or("127.0.0.1:8000"))?;
    let address = listener.local_addr()?;
    let endpoint = Endpoint::new(TokioRuntime::current(), router);
    let server = serve(listener, endpoint).with_graceful_shutdown(terminate_signal);
    println!("http://{address}/mcp");
    let report = server.await?;
    println!("{report}");
    std::process::exit(i32::from(!report.is_clean())) // at once, even if a handler blocks its thread
}
