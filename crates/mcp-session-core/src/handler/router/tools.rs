//! [`Tool`], and the answers to `tools/call`.

use std::{borrow::Cow, future::Future, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use mcp_session_proto::{self as proto, Json, Part, RpcError};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    Router,
    members::common_members,
    pages::List,
    result::{ToolError, ToolOutput},
    schema::{arguments_of, decode},
};
use crate::handler::context::RequestContext;

pub(super) type Answer = BoxFuture<'static, Result<Json, RpcError>>;
pub(super) type ToolFn = Arc<dyn Fn(RequestContext, Option<&str>) -> Result<Answer, RpcError> + Send + Sync>;

/// A tool that was added.
#[derive(Clone)]
pub(super) struct AddedTool {
    call: ToolFn,
    /// Its `inputSchema`.
    pub(super) schema: Json,
}

/// How a tool is listed: see [`Router::tool_with`].
#[derive(Debug, Clone)]
pub struct Tool {
    name: String,
    members: Map<String, Value>,
}

common_members!(Tool);

impl Tool {
    /// A tool with this name, and a description for the model.
    pub fn new(name: &str, description: &str) -> Self {
        Self { name: name.to_owned(), members: Map::new() }
            .member("name", name)
            .member("description", description)
    }

    /// The tool changes nothing (`readOnlyHint`). Clients take annotations as hints.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.annotation("readOnlyHint", true)
    }

    /// Whether the tool may destroy something (`destructiveHint`).
    #[must_use]
    pub fn destructive(self, destructive: bool) -> Self {
        self.annotation("destructiveHint", destructive)
    }

    /// A second call with the same arguments changes nothing more (`idempotentHint`).
    #[must_use]
    pub fn idempotent(self) -> Self {
        self.annotation("idempotentHint", true)
    }

    /// Whether the tool reaches a world beyond the server, such as the web (`openWorldHint`).
    #[must_use]
    pub fn open_world(self, open: bool) -> Self {
        self.annotation("openWorldHint", open)
    }

    fn annotation(mut self, hint: &str, value: bool) -> Self {
        self.members.entry("annotations").or_insert_with(|| Value::Object(Map::new()))[hint] = value.into();
        self
    }
}

impl Router {
    /// Adds a tool. The function takes the arguments as a type, whose schema is the tool's `inputSchema`: a struct with named
    /// fields, or `()`. What it may return: [`ToolOutput`] and [`ToolError`]. Arguments that do not decode, and an unknown
    /// tool, are answered with -32602.
    ///
    /// The first tool adds the capability `tools` and answers `tools/list`, page by page, in the order in which the tools
    /// were added. A tool of the same name replaces the first. A function of [`Router::request`] takes precedence.
    ///
    /// ```
    /// use mcp_session_core::{Handler, RequestContext, Router};
    /// use schemars::JsonSchema;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize, JsonSchema)]
    /// struct Echo {
    ///     /// What to say.
    ///     message: String,
    /// }
    ///
    /// let router = Router::new("echo", "0.1.0")
    ///     .tool("echo", "Echoes a message", |_: RequestContext, Echo { message }: Echo| async move { Ok(message) });
    /// let schema: serde_json::Value = Handler::tool_schema(&router, "echo").unwrap().parse()?;
    /// assert_eq!(schema["properties"]["message"]["description"], "What to say.");
    /// assert!(Handler::tool_schema(&router, "other").is_none());
    /// # Ok::<(), mcp_session_core::RpcError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the type of the arguments is not an object.
    #[must_use]
    pub fn tool<P, F, Fut, R>(self, name: &str, description: &str, call: F) -> Self
    where
        P: DeserializeOwned + JsonSchema + 'static,
        F: Fn(RequestContext, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
        R: ToolOutput,
    {
        self.tool_with(Tool::new(name, description), call)
    }

    /// Adds a tool with a title, icons or annotations: otherwise as [`Router::tool`].
    ///
    /// # Panics
    ///
    /// As [`Router::tool`].
    #[must_use]
    pub fn tool_with<P, F, Fut, R>(mut self, mut tool: Tool, call: F) -> Self
    where
        P: DeserializeOwned + JsonSchema + 'static,
        F: Fn(RequestContext, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
        R: ToolOutput,
    {
        let input = arguments_of::<P>(&tool.name);
        let schema = Json::from(input.clone());
        tool = tool.member("inputSchema", input);
        if let Some(schema) = R::output_schema() {
            tool = tool.member("outputSchema", schema);
        }
        let call: ToolFn = Arc::new(move |cx, arguments| {
            let running = call(cx, decode(arguments)?);
            Ok(async move {
                match running.await {
                    Ok(output) => output.into_answer(),
                    Err(error) => error.into_answer(),
                }
            }
            .boxed())
        });
        self.catalog.tools.insert(tool.name, Value::Object(tool.members), AddedTool { call, schema });
        self
    }
}

/// What a call or a prompt is named, and its arguments, as they are written.
pub(super) struct Named<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) arguments: Option<&'a str>,
}

impl<'a> Named<'a> {
    /// Finds them in the params, which are not decoded: the arguments are decoded once, as what the tool takes.
    ///
    /// # Errors
    ///
    /// -32602 if there is no name, or one of the two occurs twice.
    pub(super) fn of(cx: &'a RequestContext) -> Result<Self, RpcError> {
        let (name, arguments) = (cx.part(Part::Name)?, cx.part(Part::Arguments)?);
        let name = name.ok_or_else(|| RpcError::invalid_params("`params.name` is missing"))?;
        let name =
            proto::string(name).ok_or_else(|| RpcError::invalid_params("`params.name` must be a string"))?;
        Ok(Self { name, arguments: arguments.filter(|text| *text != "null") })
    }
}

/// Answers `tools/call`.
pub(super) fn call(tools: &List<AddedTool>, cx: &RequestContext) -> Result<Answer, RpcError> {
    let Named { name, arguments } = Named::of(cx)?;
    let tool = tools.get(&name);
    let tool = tool.ok_or_else(|| RpcError::invalid_params(format!("there is no tool `{name}`")))?;
    (tool.call)(cx.clone(), arguments)
}
