//! Tools that ask the client of a session, and wait for its answer in the middle of the call.
#![allow(deprecated, reason = "what clients of older revisions use")]

use rmcp::{
    ErrorData, RoleServer,
    handler::server::wrapper::Parameters,
    model::{
        CreateMessageRequestParams, ElicitRequestParams, ElicitResult, ElicitationSchema, SamplingMessage,
        SamplingMessageContentBlock,
    },
    schemars,
    service::{RequestContext, ServiceError},
    tool, tool_router,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{schemas, server::Everything};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Prompt {
    /// What to ask the model
    prompt: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Message {
    /// What to ask the user
    message: String,
}

fn failed(error: &ServiceError) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

/// Asks with a form; returns the action as the protocol writes it, and the content.
async fn elicit(
    context: &RequestContext<RoleServer>,
    message: String,
    schema: Value,
) -> Result<(String, Value), ErrorData> {
    let requested_schema: ElicitationSchema =
        serde_json::from_value(schema).map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    let form = ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema };
    let ElicitResult { action, content, .. } =
        context.peer.create_elicitation(form).await.map_err(|error| failed(&error))?;
    let action = json!(action).as_str().unwrap_or_default().to_owned();
    Ok((action, content.unwrap_or_default()))
}

#[tool_router(router = asking_tools, vis = "pub(crate)")]
impl Everything {
    #[tool(description = "Requests sampling")]
    async fn test_sampling(
        &self,
        Parameters(Prompt { prompt }): Parameters<Prompt>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        let question = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100);
        let answer = context.peer.create_message(question).await.map_err(|error| failed(&error))?;
        let text = answer.message.content.first().and_then(|content| match content {
            SamplingMessageContentBlock::Text(text) => Some(text.text.as_str()),
            _ => None,
        });
        Ok(format!("LLM response: {}", text.unwrap_or_default()))
    }

    #[tool(description = "Requests elicitation")]
    async fn test_elicitation(
        &self,
        Parameters(Message { message }): Parameters<Message>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        let schema = json!({
            "type": "object",
            "properties": {
                "username": { "type": "string", "description": "User's response" },
                "email": { "type": "string", "description": "User's email address" },
            },
            "required": ["username", "email"],
        });
        let (action, content) = elicit(&context, message, schema).await?;
        Ok(format!("User response: action={action}, content={content}"))
    }

    #[tool(description = "Elicitation defaults")]
    async fn test_elicitation_sep1034_defaults(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        let message = "Please review the defaults".to_owned();
        let (action, content) = elicit(&context, message, schemas::defaults()).await?;
        Ok(format!("Elicitation completed: action={action}, content={content}"))
    }

    #[tool(description = "Elicitation enums")]
    async fn test_elicitation_sep1330_enums(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        let message = "Please select options".to_owned();
        let (action, content) = elicit(&context, message, schemas::choices()).await?;
        Ok(format!("Elicitation completed: action={action}, content={content}"))
    }
}
