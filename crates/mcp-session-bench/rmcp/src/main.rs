//! The two tools on rmcp, and one that counts tasks, set up like the Streamable HTTP server in its documentation.
//!
//! In that setup, a small answer waits for the client's delayed acknowledgement. `--nodelay` sets `TCP_NODELAY`, so that
//! the benchmark compares the session layers.
//!
//! `--on-mcp-session` serves the same tools with `mcp-session-rmcp` instead.
//!
//! With sessions, it refuses a call that has no session id. `--stateless` serves the legacy revisions without sessions.
//! 2026-07-28 is served in both modes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::ListenerExt as _;
use clap::Parser;
use mcp_session_core::Endpoint;
use mcp_session_rmcp::RmcpHandler;
use mcp_session_tokio::{TokioRuntime, terminate_signal};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    model::{ProgressNotificationParam, ServerCapabilities, ServerConfig, SubscriptionFilter},
    schemars,
    service::RequestContext,
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Parser)]
struct Args {
    /// Address and port; port 0 picks a free one. The first line on stdout is the URL
    #[arg(long, default_value = "127.0.0.1:0")]
    bind: SocketAddr,
    /// Ends with the process that started it
    #[arg(long)]
    with_parent: bool,
    /// Sets TCP_NODELAY
    #[arg(long)]
    nodelay: bool,
    /// Serves the legacy revisions without sessions
    #[arg(long)]
    stateless: bool,
    /// Serves with mcp-session, which serves every era at once and always sets TCP_NODELAY
    #[arg(long, conflicts_with_all = ["nodelay", "stateless"])]
    on_mcp_session: bool,
    /// Serves one value to all sessions; rmcp itself makes one for each
    #[arg(long, requires = "on_mcp_session")]
    shared: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    if args.with_parent {
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    if args.on_mcp_session { on_mcp_session(args).await } else { on_rmcp(args).await }
}

async fn on_mcp_session(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let tools = Tools::new();
    let listener = mcp_session_tokio::bind(args.bind)?;
    let address = listener.local_addr()?;
    let handler = match args.shared {
        true => RmcpHandler::shared(Arc::new(tools)),
        false => RmcpHandler::new(move |_| tools.clone()),
    };
    let endpoint = Endpoint::new(TokioRuntime::current(), handler);
    let server = mcp_session_tokio::serve(listener, endpoint).with_graceful_shutdown(terminate_signal);
    println!("http://{address}/mcp");
    eprintln!("{}", server.await?);
    Ok(())
}

async fn on_rmcp(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let stop = CancellationToken::new();
    let tools = Tools::new();
    let service: StreamableHttpService<Tools, LocalSessionManager> = StreamableHttpService::new(
        move || Ok(tools.clone()),
        Default::default(),
        StreamableHttpServerConfig::default()
            .with_legacy_session_mode(!args.stateless)
            .with_cancellation_token(stop.child_token()),
    );
    let app = axum::Router::new().nest_service("/mcp", service);
    let listener = TcpListener::bind(args.bind).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("http://{}/mcp", listener.local_addr()?);
    let nodelay = args.nodelay;
    let listener = listener.tap_io(move |socket| {
        if nodelay {
            let _ = socket.set_nodelay(true); // fails only on a closed socket
        }
    });
    let stopped = async move {
        terminate.recv().await;
        stop.cancel();
    };
    axum::serve(listener, app).with_graceful_shutdown(stopped).await?;
    Ok(())
}

#[derive(Debug, Clone)]
struct Tools {
    tool_router: ToolRouter<Self>,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Echo {
    message: String,
}

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Slow {
    steps: u32,
    interval_ms: u64,
}

#[tool_router]
impl Tools {
    fn new() -> Self {
        Self { tool_router: Self::tool_router() }
    }

    #[tool(description = "Answers with the message, at once")]
    fn echo(&self, Parameters(Echo { message }): Parameters<Echo>) -> String {
        message
    }

    #[tool(description = "Returns the number of tokio tasks of this process")]
    fn tasks(&self) -> String {
        tokio::runtime::Handle::current().metrics().num_alive_tasks().to_string()
    }

    #[tool(description = "Takes `steps` times `interval_ms`, with a progress notification per step")]
    async fn slow(
        &self,
        Parameters(Slow { steps, interval_ms }): Parameters<Slow>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        for step in 1..=steps {
            if interval_ms > 0 {
                tokio::time::sleep(Duration::from_millis(interval_ms)).await;
            }
            if let Some(token) = context.meta.get_progress_token() {
                let progress = ProgressNotificationParam::new(token, step.into());
                let sent = context.peer.notify_progress(progress).await;
                sent.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
            }
        }
        Ok("done".to_owned())
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build())
    }

    /// Everything that a listener asks for; without this there is no `subscriptions/listen`.
    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }
}
