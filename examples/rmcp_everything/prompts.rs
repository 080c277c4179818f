//! The prompts.

use rmcp::{
    ErrorData, RoleServer,
    handler::server::{prompt::PromptContext, router::prompt::PromptRouter, wrapper::Parameters},
    model::{
        ContentBlock, GetPromptRequestParams, GetPromptResponse, GetPromptResult, InputResponses,
        PromptMessage, ResourceContents, Role,
    },
    prompt, prompt_router, schemars,
    service::RequestContext,
};
use serde::Deserialize;
use serde_json::json;

use crate::{ask, server::Everything, tools::PIXEL};

/// The prompt that asks the client.
pub(crate) const ASKING: &str = "test_input_required_result_prompt";

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Two {
    /// The first
    arg1: String,
    /// The second
    arg2: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Embedded {
    /// What to embed
    resource_uri: String,
}

fn user(content: ContentBlock) -> PromptMessage {
    PromptMessage::new(Role::User, content)
}

#[prompt_router(router = "prompts", vis = "pub(crate)")]
impl Everything {
    #[prompt(description = "A simple prompt without arguments")]
    async fn test_simple_prompt(&self) -> Vec<PromptMessage> {
        vec![user(ContentBlock::text("This is a simple prompt for testing."))]
    }

    #[prompt(description = "A prompt with required arguments")]
    async fn test_prompt_with_arguments(
        &self,
        Parameters(Two { arg1, arg2 }): Parameters<Two>,
    ) -> Vec<PromptMessage> {
        vec![user(ContentBlock::text(format!("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")))]
    }

    #[prompt(description = "A prompt with an embedded resource")]
    async fn test_prompt_with_embedded_resource(
        &self,
        Parameters(Embedded { resource_uri }): Parameters<Embedded>,
    ) -> Vec<PromptMessage> {
        let resource = ResourceContents::text("Embedded resource content for testing.", resource_uri);
        vec![
            user(ContentBlock::resource(resource.with_mime_type("text/plain"))),
            user(ContentBlock::text("Please process the embedded resource above.")),
        ]
    }

    #[prompt(description = "A prompt with an image")]
    async fn test_prompt_with_image(&self) -> Vec<PromptMessage> {
        vec![
            user(ContentBlock::image(PIXEL, "image/png")),
            user(ContentBlock::text("Please analyze the image above.")),
        ]
    }

    /// Listed only: see [`asking`].
    #[prompt(name = "test_input_required_result_prompt", description = "A prompt that asks for its context")]
    async fn asks(&self) -> Result<GetPromptResult, ErrorData> {
        Err(ErrorData::internal_error("served by get_prompt", None))
    }
}

/// Serves a prompt of the router.
pub(crate) async fn from_router(
    router: &PromptRouter<Everything>,
    server: &Everything,
    request: GetPromptRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    router.get_prompt(PromptContext::new(server, request.name, request.arguments, context)).await
}

/// Serves [`ASKING`].
pub(crate) fn asking(answers: Option<&InputResponses>) -> Result<GetPromptResponse, ErrorData> {
    const KEY: &str = "user_context";
    let Some(context) = ask::content(answers, KEY, "context") else {
        let schema = json!({
            "type": "object", "properties": { "context": { "type": "string" } }, "required": ["context"],
        });
        let question = ask::elicitation("What context should the prompt use?", &schema)?;
        return Ok(ask::required([(KEY, question)], None).into());
    };
    let text = format!("Prompt with context: {}", context.as_str().unwrap_or_default());
    Ok(GetPromptResult::new(vec![user(ContentBlock::text(text))]).into())
}
