//! [`Client`]: what the SDK calls when the server asks or announces something.

use rmcp::{
    ClientHandler, ErrorData, RoleClient,
    model::{
        ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
        ElicitationCapability, Implementation, ProgressNotificationParam, ResourceUpdatedNotificationParam,
    },
    service::{NotificationContext, RequestContext},
};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

#[derive(Debug)]
pub(crate) struct Client {
    /// Gets the number of each progress notification.
    pub(crate) progress: UnboundedSender<f64>,
    /// Gets a word for each `notifications/tools/list_changed` outside a subscription, and the URI of each resource that has
    /// changed.
    pub(crate) changed: UnboundedSender<String>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        capabilities.elicitation = Some(ElicitationCapability::default());
        ClientConfig::new(capabilities, Implementation::new("interop", "0"))
    }

    /// Answers the forms of `everything` and `notes`.
    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let content = match request {
            ElicitRequestParams::FormElicitationParams { message, .. } => match &*message {
                "What is your name?" => json!({ "name": "Ada" }),
                "Please confirm" => json!({ "ok": true }),
                message if message.starts_with("Remove") => json!({ "sure": true }),
                _ => json!({ "username": "Ada", "email": "ada@example.com" }),
            },
            _ => return Ok(ElicitResult::new(ElicitationAction::Decline)),
        };
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let _ = self.progress.send(params.progress); // fails only if nobody waits any more
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.changed.send("tools".to_owned()); // as above
    }

    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.changed.send(params.uri); // as above
    }
}
