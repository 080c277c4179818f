//! The server that both serve: tools, a prompt, resources, completion and a level of log messages.
#![allow(deprecated, reason = "what clients of older revisions use")]

use rmcp::{
    ErrorData, Json, RoleServer, ServerHandler,
    handler::server::{
        router::{prompt::PromptRouter, tool::ToolRouter},
        wrapper::Parameters,
    },
    model::*,
    prompt, prompt_handler, prompt_router, schemars,
    service::RequestContext,
    tool, tool_handler, tool_router,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Clone)]
pub(crate) struct Server {
    tools: ToolRouter<Self>,
    prompts: PromptRouter<Self>,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Echo {
    message: String,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Add {
    a: i32,
    #[serde(default)]
    b: Option<i32>,
}

#[derive(Serialize, schemars::JsonSchema)]
struct Sum {
    sum: i32,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Topic {
    topic: String,
}

#[tool_router]
impl Server {
    pub(crate) fn new() -> Self {
        Self { tools: Self::tool_router(), prompts: Self::prompt_router() }
    }

    #[tool(description = "Says the same")]
    fn echo(&self, Parameters(Echo { message }): Parameters<Echo>) -> String {
        message
    }

    #[tool(description = "Adds")]
    fn add(&self, Parameters(Add { a, b }): Parameters<Add>) -> Json<Sum> {
        Json(Sum { sum: a.saturating_add(b.unwrap_or_default()) })
    }

    #[tool(description = "Fails, and the model may see why")]
    fn fail(&self) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text("it failed")])
    }

    #[tool(description = "Refuses")]
    fn refuse(&self) -> Result<String, ErrorData> {
        Err(ErrorData::invalid_request("not today", Some(json!({ "retry": false }))))
    }

    #[tool(description = "Reports three steps if it is asked to")]
    async fn steps(&self, context: RequestContext<RoleServer>) -> String {
        let Some(token) = context.meta.get_progress_token() else { return "no token".to_owned() };
        for step in 1..=3 {
            let step = ProgressNotificationParam::new(token.clone(), step.into()).with_total(3.0);
            let _ = context.peer.notify_progress(step).await;
        }
        "done".to_owned()
    }

    #[tool(description = "Says how the request came")]
    async fn whoami(&self, context: RequestContext<RoleServer>) -> String {
        let client = context.client_info().map(|info| info.name).unwrap_or_default();
        let version = context.protocol_version().map(|version| version.to_string()).unwrap_or_default();
        format!("{} {client} {version}", context.id)
    }
}

#[prompt_router]
impl Server {
    #[prompt(name = "explain", description = "Explains a topic")]
    async fn explain(&self, Parameters(Topic { topic }): Parameters<Topic>) -> Vec<PromptMessage> {
        vec![PromptMessage::new_text(Role::User, format!("Explain {topic}"))]
    }
}

#[tool_handler(router = self.tools)]
#[prompt_handler(router = self.prompts)]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_completions()
            .enable_logging()
            .build();
        let mut info = ServerConfig::new(capabilities).with_instructions("Ask me");
        info.server_info = Implementation::new("corpus", "1.0.0");
        info
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(vec![Resource::new("memo://one", "one")]))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(vec![ResourceTemplate::new("memo://{id}", "memo")]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri != "memo://one" {
            return Err(ErrorData::resource_not_found("no such memo", Some(json!({ "uri": request.uri }))));
        }
        Ok(ReadResourceResult::new(vec![ResourceContents::text("a memo", request.uri)]).into())
    }

    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values = vec![format!("{}!", request.argument.value)];
        let values = CompletionInfo::new(values).map_err(|error| ErrorData::internal_error(error, None))?;
        Ok(CompleteResult::new(values))
    }
}
