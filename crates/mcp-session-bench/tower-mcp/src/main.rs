//! The two tools on tower-mcp, mounted in axum as its deployment guide shows, with `TCP_NODELAY`.
//!
//! Sessions are optional and 2026-07-28 is served: its defaults. Its bound of 256 listeners is lifted, so that as many can be
//! measured as of the others.

use std::{net::SocketAddr, time::Duration};

use axum::serve::ListenerExt as _;
use clap::Parser;
use rustix::process::{Signal, set_parent_process_death_signal};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tower_mcp::{
    CallToolResult, HttpTransport, McpRouter, SubscriptionLimits, ToolBuilder,
    extract::{Context, Json},
};

#[derive(Debug, Parser)]
struct Args {
    /// Address and port; port 0 picks a free one. The first line on stdout is the URL
    #[arg(long, default_value = "127.0.0.1:0")]
    bind: SocketAddr,
    /// Ends with the process that started it
    #[arg(long)]
    with_parent: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    if args.with_parent {
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    let limits = SubscriptionLimits::default().max_active(usize::MAX);
    let transport = HttpTransport::new(tools()).subscription_limits(limits);
    let (app, handle) = transport.into_router_at_with_handle("/mcp");
    let listener = TcpListener::bind(args.bind).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("http://{}/mcp", listener.local_addr()?);
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true); // fails only on a closed socket
    });
    let stopped = async move {
        terminate.recv().await;
        handle.close_subscriptions();
    };
    axum::serve(listener, app).with_graceful_shutdown(stopped).await?;
    Ok(())
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Echo {
    message: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Slow {
    steps: u32,
    interval_ms: u64,
}

fn tools() -> McpRouter {
    let echo = ToolBuilder::new("echo")
        .description("Answers with the message, at once")
        .handler(|Echo { message }: Echo| async move { Ok(CallToolResult::text(message)) })
        .build();
    let slow = ToolBuilder::new("slow")
        .description("Takes `steps` times `interval_ms`, with a progress notification per step")
        .extractor_handler((), |context: Context, Json(Slow { steps, interval_ms }): Json<Slow>| async move {
            for step in 1..=steps {
                if interval_ms > 0 {
                    tokio::time::sleep(Duration::from_millis(interval_ms)).await;
                }
                context.report_progress(step.into(), None, None).await;
            }
            Ok(CallToolResult::text("done"))
        })
        .build();
    McpRouter::new().server_info("bench", "0.1.0").tools_list_changed(true).tool(echo).tool(slow)
}
