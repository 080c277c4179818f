//! A supervised gateway without HTTP, for tests: its sessions are in its own process. SIGTERM ends it.
//!
//! Run with `cargo run -p mcp-session-gateway --example supervised -- MODE COUNT [SWITCH]...`: `session`, `shared` or `request`,
//! and how many sessions call the children of `stdio_child` with these switches. With `end-one` in place of the first switch it
//! ends its first session. Writes the id of the gateway's process to stdout when all sessions have called, and `ended` when its
//! children have ended.

use std::{env, error::Error, process::ExitCode, time::Duration};

use http::Request;
use http_body_util::BodyExt;
use mcp_session_core::{Config, Endpoint};
use mcp_session_gateway::{
    child::{command::CommandLine, ladder::LadderBudgets},
    server::{
        Server,
        config::{Mode, ServerConfig},
    },
    supervisor,
};
use mcp_session_tokio::TokioRuntime;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

const BUDGETS: LadderBudgets = LadderBudgets::new(Duration::from_millis(200), Duration::from_millis(200));

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if !supervisor::is_supervised() {
        let mut gateway = std::process::Command::new(env::current_exe()?);
        gateway.args(env::args_os().skip(1));
        return Ok(supervisor::supervise(gateway, BUDGETS)?.into());
    }
    supervisor::follow()?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(gateway())
}

async fn gateway() -> Result<ExitCode, Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut args = env::args().skip(1).peekable();
    let mode = match args.next().as_deref() {
        Some("shared") => Mode::Shared,
        Some("request") => Mode::Request,
        _ => Mode::Session,
    };
    let count: usize = args.next().and_then(|count| count.parse().ok()).unwrap_or(1);
    let ends_one = args.next_if_eq("end-one").is_some();
    let program = env::current_exe()?.with_file_name("stdio_child");
    let mut config = ServerConfig::new("supervised", CommandLine::new(program, args));
    (config.mode, config.budgets) = (mode, BUDGETS);
    let server = Server::new(config);
    server.start().await?;
    let mut config = Config::default();
    server.configure(&mut config);
    let endpoint = Endpoint::with_config(TokioRuntime::current(), server.handler(), config)?;
    let mut sessions = Vec::new();
    for _ in 0..count {
        let opened = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
        let (session, _) = post(&endpoint, None, "initialize", opened).await?;
        let (_, answer) = post(&endpoint, session.as_deref(), "tools/call", json!({ "name": "pid" })).await?;
        assert!(answer.contains("\"result\""), "{answer}");
        sessions.extend(session);
    }
    println!("{}", std::process::id());
    if let Some(session) = sessions.first().filter(|_| ends_one) {
        endpoint
            .handle(
                Request::delete("/mcp")
                    .header("host", "localhost")
                    .header("mcp-session-id", session)
                    .body(String::new())?,
            )
            .await;
    }
    // Whatever a test does, it ends.
    let _ = tokio::time::timeout(Duration::from_secs(60), terminate.recv()).await;
    endpoint.shutdown(mcp_session_core::ShutdownPolicy::default()).await;
    let report = server.close().await;
    println!("ended");
    Ok(if report.left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends a request. Returns the id of the session and the text of the reply.
async fn post(
    endpoint: &Endpoint,
    session: Option<&str>,
    method: &str,
    params: Value,
) -> Result<(Option<String>, String), Box<dyn Error>> {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut request = Request::post("/mcp")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    let response = endpoint.handle(request.body(message.to_string())?).await;
    let session =
        response.headers().get("mcp-session-id").map(|id| id.to_str().map(str::to_owned)).transpose()?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok((session, String::from_utf8(body.to_vec())?))
}
