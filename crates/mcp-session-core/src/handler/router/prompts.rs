//! [`Prompt`], and the answers to `prompts/get`.

use std::{future::Future, sync::Arc};

use futures::FutureExt;
use mcp_session_proto::RpcError;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    Router,
    members::common_members,
    pages::List,
    schema::{arguments_of, decode_texts},
    tools::{Answer, Named, ToolFn},
};
use crate::handler::context::RequestContext;

/// How a prompt is listed: see [`Router::prompt_with`].
#[derive(Debug, Clone)]
pub struct Prompt {
    name: String,
    members: Map<String, Value>,
}

common_members!(Prompt);

impl Prompt {
    /// A prompt with this name and description.
    pub fn new(name: &str, description: &str) -> Self {
        Self { name: name.to_owned(), members: Map::new() }
            .member("name", name)
            .member("description", description)
    }
}

/// The messages of a prompt. A text becomes one message of the user.
///
/// ```
/// use mcp_session_core::PromptResult;
///
/// let result = PromptResult::new().user("Who are you?").assistant("A server of notes.");
/// assert_eq!(result.messages[1]["role"], "assistant");
/// assert_eq!(PromptResult::from("Hello").messages.len(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct PromptResult {
    /// The messages.
    pub messages: Vec<Value>,
}

impl PromptResult {
    /// A result without messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text of the user.
    #[must_use]
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(json!({ "role": "user", "content": { "type": "text", "text": text.into() } }))
    }

    /// Adds a text of the model.
    #[must_use]
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message(json!({ "role": "assistant", "content": { "type": "text", "text": text.into() } }))
    }

    /// Adds any message.
    #[must_use]
    pub fn message(mut self, message: impl Into<Value>) -> Self {
        self.messages.push(message.into());
        self
    }
}

impl From<String> for PromptResult {
    fn from(text: String) -> Self {
        Self::new().user(text)
    }
}

impl From<&str> for PromptResult {
    fn from(text: &str) -> Self {
        Self::new().user(text)
    }
}

impl Router {
    /// Adds a prompt. The function takes the arguments as a type, whose fields are listed with their docs; clients send them
    /// as strings, from which numbers and booleans are read. It returns a text, or a [`PromptResult`]. Otherwise as [`Router::tool`].
    ///
    /// ```
    /// use mcp_session_core::{RequestContext, Router};
    /// use schemars::JsonSchema;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize, JsonSchema)]
    /// struct Review { code: String }
    ///
    /// let router = Router::new("reviews", "0.1.0")
    ///     .prompt("review", "Reviews code", |_: RequestContext, Review { code }: Review| async move {
    ///         Ok(format!("Please review this code: {code}"))
    ///     });
    /// # let _ = router;
    /// ```
    ///
    /// # Panics
    ///
    /// If the type of the arguments is not an object.
    #[must_use]
    pub fn prompt<P, F, Fut, R>(self, name: &str, description: &str, get: F) -> Self
    where
        P: DeserializeOwned + JsonSchema + 'static,
        F: Fn(RequestContext, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
        R: Into<PromptResult> + 'static,
    {
        self.prompt_with(Prompt::new(name, description), get)
    }

    /// Adds a prompt with a title or icons: otherwise as [`Router::prompt`].
    ///
    /// # Panics
    ///
    /// As [`Router::prompt`].
    #[must_use]
    pub fn prompt_with<P, F, Fut, R>(mut self, prompt: Prompt, get: F) -> Self
    where
        P: DeserializeOwned + JsonSchema + 'static,
        F: Fn(RequestContext, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
        R: Into<PromptResult> + 'static,
    {
        let arguments = listed(&arguments_of::<P>(&prompt.name));
        let prompt = if arguments.is_empty() { prompt } else { prompt.member("arguments", arguments) };
        let get: ToolFn = Arc::new(move |cx, arguments| {
            let running = get(cx, decode_texts(arguments)?);
            Ok(async move { Ok(json!({ "messages": running.await?.into().messages }).into()) }.boxed())
        });
        self.catalog.prompts.insert(prompt.name, Value::Object(prompt.members), get);
        self
    }
}

/// The arguments of a prompt, as they are listed, from their schema.
fn listed(schema: &Value) -> Vec<Value> {
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let properties = schema["properties"].as_object().into_iter().flatten();
    let argument = |(name, property): (&String, &Value)| {
        let mut argument = json!({ "name": name, "required": required(name) });
        if let Some(description) = property.get("description") {
            argument["description"] = description.clone();
        }
        argument
    };
    properties.map(argument).collect()
}

/// Answers `prompts/get`.
pub(super) fn get(prompts: &List<ToolFn>, cx: &RequestContext) -> Result<Answer, RpcError> {
    let Named { name, arguments } = Named::of(cx)?;
    let prompt = prompts.get(&name);
    let prompt = prompt.ok_or_else(|| RpcError::invalid_params(format!("there is no prompt `{name}`")))?;
    prompt(cx.clone(), arguments)
}
