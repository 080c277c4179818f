//! [`Counter`]: the tools, written with rmcp's macros. Nothing here knows who serves them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    model::{ProgressNotificationParam, ServerCapabilities, ServerConfig},
    schemars,
    service::RequestContext,
    tool, tool_handler, tool_router,
};
use serde::Deserialize;
use tokio::time::sleep;

/// The number of steps of a slow call, each with a progress notification.
const STEPS: u32 = 10;

/// The longest slow call.
const LONGEST: u64 = 600;

/// The counter of one session.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    count: Arc<AtomicU64>,
    tool_router: ToolRouter<Self>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Slow {
    /// How long to work, in seconds: 1 to 600.
    seconds: u64,
}

#[tool_router]
impl Counter {
    /// A counter at zero.
    pub(crate) fn new() -> Self {
        Self { count: Arc::default(), tool_router: Self::tool_router() }
    }

    #[tool(description = "Adds one to the counter of this session, and answers with the new count")]
    fn increment(&self) -> String {
        (self.count.fetch_add(1, Relaxed) + 1).to_string()
    }

    #[tool(description = "Answers with the count of this session")]
    fn get(&self) -> String {
        self.count.load(Relaxed).to_string()
    }

    #[tool(description = "Works for some seconds, in ten steps, and reports each as progress")]
    async fn slow(
        &self,
        Parameters(Slow { seconds }): Parameters<Slow>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        if !(1..=LONGEST).contains(&seconds) {
            let why = format!("`seconds` is {seconds}: it must be 1 to {LONGEST}");
            return Err(ErrorData::invalid_params(why, None));
        }
        let token = context.meta.get_progress_token();
        for step in 0..=STEPS {
            if step > 0 {
                sleep(Duration::from_secs(seconds) / STEPS).await;
            }
            if let Some(token) = token.clone() {
                let progress = ProgressNotificationParam::new(token, step.into()).with_total(STEPS.into());
                let _ = context.peer.notify_progress(progress).await; // the work goes on if nobody listens
            }
        }
        Ok("done".to_owned())
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Counter {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}
