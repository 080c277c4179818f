//! Tools that notify: on the stream of the call, or everybody.
#![allow(deprecated, reason = "what clients of older revisions use")]

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam,
        PromptListChangedNotification, ServerNotification, ToolListChangedNotification,
    },
    service::RequestContext,
    tool, tool_router,
};
use tokio::time::sleep;

use crate::server::Everything;

/// Between two notifications.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a client waits before it reconnects to a closed stream. Longer than the tool sleeps after closing it, so that
/// the result is ready then.
const RETRY: Duration = Duration::from_millis(500);

async fn log(context: &RequestContext<RoleServer>, data: &str) {
    let message = LoggingMessageNotificationParam::new(LoggingLevel::Info, data.into());
    // The tool goes on if nobody listens.
    let _ = context.peer.notify_logging_message(message.with_logger("conformance")).await;
}

/// Reports progress, if the client wants to know.
pub(super) async fn progress(context: &RequestContext<RoleServer>, progress: f64, total: f64) {
    if let Some(token) = context.meta.get_progress_token() {
        let progress = ProgressNotificationParam::new(token, progress).with_total(total);
        let _ = context.peer.notify_progress(progress).await;
    }
}

#[tool_router(router = notifying_tools, vis = "pub(crate)")]
impl Everything {
    #[tool(description = "Emits 3 log messages")]
    async fn test_tool_with_logging(&self, context: RequestContext<RoleServer>) -> String {
        log(&context, "Tool execution started").await;
        sleep(PAUSE).await;
        log(&context, "Tool processing data").await;
        sleep(PAUSE).await;
        log(&context, "Tool execution completed").await;
        "Tool with logging executed successfully".to_owned()
    }

    #[tool(description = "Emits a log message")]
    async fn test_logging_tool(&self, context: RequestContext<RoleServer>) -> String {
        log(&context, "Logging evaluated").await;
        "Logging evaluated".to_owned()
    }

    #[tool(description = "Emits 3 progress notifications")]
    async fn test_tool_with_progress(&self, context: RequestContext<RoleServer>) -> String {
        progress(&context, 0.0, 100.0).await;
        sleep(PAUSE).await;
        progress(&context, 50.0, 100.0).await;
        sleep(PAUSE).await;
        progress(&context, 100.0, 100.0).await;
        "Progress completed".to_owned()
    }

    /// rmcp has no word for this; core's context has.
    #[tool(description = "Closes its stream in the middle of the call")]
    async fn test_reconnection(&self, context: RequestContext<RoleServer>) -> Result<String, ErrorData> {
        let core = context.extensions.get::<mcp_session_core::RequestContext>();
        core.ok_or_else(|| ErrorData::internal_error("not on mcp-session", None))?.close_stream(RETRY);
        sleep(2 * PAUSE).await;
        Ok("Reconnection test completed successfully.".to_owned())
    }

    #[tool(description = "Announces a change of the tools to every client")]
    fn test_trigger_tool_change(&self) -> String {
        self.announce(ServerNotification::ToolListChangedNotification(ToolListChangedNotification::default()))
    }

    #[tool(description = "Announces a change of the prompts to every client")]
    fn test_trigger_prompt_change(&self) -> String {
        let change = PromptListChangedNotification::default();
        self.announce(ServerNotification::PromptListChangedNotification(change))
    }

    fn announce(&self, change: ServerNotification) -> String {
        let _ = self.changes.send(change); // an error: nobody listens
        "Mutation triggered".to_owned()
    }
}
