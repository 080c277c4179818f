//! [`Router`]: a [`Handler`] made of functions, one per method.

#[cfg(feature = "tools")]
mod catalog;
#[cfg(feature = "tools")]
mod elicitation;
#[cfg(feature = "tools")]
mod logging;
#[cfg(feature = "tools")]
mod members;
#[cfg(feature = "tools")]
mod pages;
#[cfg(feature = "tools")]
pub(crate) mod prompts;
#[cfg(feature = "tools")]
pub(crate) mod resources;
#[cfg(feature = "tools")]
pub(crate) mod result;
#[cfg(feature = "tools")]
mod schema;
#[cfg(feature = "tools")]
mod template;
#[cfg(feature = "tools")]
mod texts;
#[cfg(feature = "tools")]
pub(crate) mod tools;

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    fmt,
    future::Future,
    sync::Arc,
};

use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use mcp_session_proto::{Json, Notification, RpcError};
use serde::Serialize;

use crate::{
    handler::{
        Handler, InitializeResult, context::RequestContext, initialize::Icon,
        notification::NotificationContext,
    },
    session::{Session, data::SessionData},
};

type RequestFn = Arc<dyn Fn(RequestContext) -> BoxFuture<'static, Result<Json, RpcError>> + Send + Sync>;
type ToolSchemaFn = Arc<dyn Fn(&str) -> Option<Json> + Send + Sync>;
type SessionDataFn = Arc<dyn Fn(&Session) -> SessionData + Send + Sync>;
type NotificationFn = Arc<dyn Fn(Notification, NotificationContext) -> BoxFuture<'static, ()> + Send + Sync>;

/// A [`Handler`] made of functions, one per method. An unknown method is answered with -32601 (A-18). Unknown
/// notifications are ignored.
///
/// ```
/// use mcp_session_core::{RequestContext, Router, RpcError};
/// use serde_json::{Value, json};
///
/// let router = Router::new("greeter", "0.1.0")
///     .capabilities(json!({ "tools": {} }))
///     .request("tools/list", |_| async { Ok(json!({ "tools": [] })) })
///     .request("tools/call", |cx: RequestContext| async move {
///         let params: Value = cx.params()?;
///         match params["name"].as_str() {
///             Some("greet") => Ok(json!({ "content": [{ "type": "text", "text": "hello" }] })),
///             _ => Err(RpcError::invalid_params("unknown tool")),
///         }
///     });
/// # let _ = router;
/// ```
#[derive(Clone)]
pub struct Router {
    info: InitializeResult,
    tool_schema: Option<ToolSchemaFn>,
    session_data: Option<SessionDataFn>,
    /// Found by comparing: a server has few methods, and hashing costs more.
    requests: BTreeMap<String, RequestFn>,
    notifications: HashMap<String, NotificationFn>,
    /// What the lists of tools, prompts and resources show.
    #[cfg(feature = "tools")]
    catalog: catalog::Catalog,
}

impl Router {
    /// Creates a server with this name and version. It answers only `initialize`, `ping` and `server/discover`
    /// so far.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            info: InitializeResult::new(name, version),
            tool_schema: None,
            session_data: None,
            requests: BTreeMap::new(),
            notifications: HashMap::new(),
            #[cfg(feature = "tools")]
            catalog: catalog::Catalog::default(),
        }
    }

    /// Sets the server's capabilities.
    #[must_use]
    pub fn capabilities(mut self, capabilities: impl Into<Json>) -> Self {
        self.info = self.info.with_capabilities(capabilities);
        self
    }

    /// Sets the instructions for the model.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.info = self.info.with_instructions(instructions);
        self
    }

    /// Sets a human-readable title: see [`InitializeResult::with_title`].
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.info = self.info.with_title(title);
        self
    }

    /// Sets a human-readable description: see [`InitializeResult::with_description`].
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.info = self.info.with_description(description);
        self
    }

    /// Sets the URL of a page about the server: see [`InitializeResult::with_website_url`].
    #[must_use]
    pub fn website_url(mut self, url: impl Into<String>) -> Self {
        self.info = self.info.with_website_url(url);
        self
    }

    /// Adds an icon: see [`InitializeResult::with_icon`].
    #[must_use]
    pub fn icon(mut self, icon: Icon) -> Self {
        self.info = self.info.with_icon(icon);
        self
    }

    /// Creates the data of each session: see [`Handler::session_data`].
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use mcp_session_core::{RequestContext, Router, RpcError, Session};
    /// use serde_json::json;
    ///
    /// #[derive(Default)]
    /// struct Notes(Mutex<Vec<String>>);
    ///
    /// let router = Router::new("notes", "0.1.0")
    ///     .session_data(|_: &Session| Notes::default())
    ///     .request("notes/add", |cx: RequestContext| async move {
    ///         let notes = cx.data::<Notes>().ok_or_else(|| RpcError::internal("the session has ended"))?;
    ///         let mut notes = notes.0.lock().unwrap();
    ///         notes.push(cx.params()?);
    ///         Ok(json!({ "notes": notes.len() }))
    ///     });
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn session_data<F, T>(mut self, make: F) -> Self
    where
        F: Fn(&Session) -> T + Send + Sync + 'static,
        T: Send + Sync + 'static,
    {
        self.session_data = Some(Arc::new(move |session| SessionData::new(make(session))));
        self
    }

    /// Gives the `inputSchema` of a tool by its name: see [`Handler::tool_schema`].
    #[must_use]
    pub fn tool_schema(mut self, schema: impl Fn(&str) -> Option<Json> + Send + Sync + 'static) -> Self {
        self.tool_schema = Some(Arc::new(schema));
        self
    }

    /// Answers requests of this method. The result must serialize as an object; otherwise the answer is -32603. A second
    /// function for the same method replaces the first.
    #[must_use]
    pub fn request<F, Fut, R>(mut self, method: &str, answer: F) -> Self
    where
        F: Fn(RequestContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
        R: Serialize + 'static,
    {
        let answer: RequestFn = Arc::new(move |cx| {
            let answer = answer(cx);
            async move {
                let answer = answer.await?;
                // A result that is JSON text already is passed on as it is.
                match (&answer as &dyn Any).downcast_ref::<Json>() {
                    Some(json) => Ok(json.clone()),
                    None => Json::new(&answer),
                }
            }
            .boxed()
        });
        self.requests.insert(method.to_owned(), answer);
        self
    }

    /// Handles notifications of this method.
    #[must_use]
    pub fn notification<F, Fut>(mut self, method: &str, take: F) -> Self
    where
        F: Fn(Notification, NotificationContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let take: NotificationFn = Arc::new(move |notification, cx| take(notification, cx).boxed());
        self.notifications.insert(method.to_owned(), take);
        self
    }

    fn dispatch(&self, cx: RequestContext) -> BoxFuture<'static, Result<Json, RpcError>> {
        if let Some(answer) = self.requests.get(cx.method()) {
            return answer(cx);
        }
        #[cfg(feature = "tools")]
        if let Some(answer) = self.catalog.answer(&cx) {
            return answer;
        }
        ready(Err(RpcError::method_not_found(cx.method()))).boxed()
    }
}

impl Handler for Router {
    fn info(&self) -> InitializeResult {
        #[cfg(feature = "tools")]
        return self.catalog.add_capabilities(self.info.clone());
        #[cfg(not(feature = "tools"))]
        self.info.clone()
    }

    fn tool_schema(&self, tool: &str) -> Option<Json> {
        let schema = self.tool_schema.as_ref().and_then(|schema| schema(tool));
        #[cfg(feature = "tools")]
        let schema = schema.or_else(|| self.catalog.tool_schema(tool));
        schema
    }

    fn session_data(&self, session: &Session) -> SessionData {
        self.session_data.as_ref().map_or_else(SessionData::none, |make| make(session))
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        self.dispatch(cx).await
    }

    fn request_boxed(self: &Arc<Self>, cx: RequestContext) -> BoxFuture<'static, Result<Json, RpcError>> {
        self.dispatch(cx)
    }

    async fn notification(&self, notification: Notification, cx: NotificationContext) {
        if let Some(take) = self.notifications.get(&*notification.method) {
            take(notification, cx).await;
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("info", &self.info)
            .field("session_data", &self.session_data.is_some())
            .field("requests", &self.requests.keys())
            .field("notifications", &self.notifications.keys())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::future::Ready;
    use http::Request;

    use super::*;
    use crate::{endpoint::Endpoint, testing::Stopped};

    #[test]
    fn a_panic_before_the_future_exists_is_answered() {
        let panics = |_| -> Ready<Result<(), RpcError>> { panic!("planted: there is no future") };
        let endpoint =
            Endpoint::new(Stopped::default(), Router::new("panics", "1.0.0").request("boom", panics));
        let post = |session: &str, body: &'static str| {
            let request = Request::post("/mcp")
                .header("content-type", "application/json")
                .header("accept", "application/json, text/event-stream")
                .header("mcp-session-id", session);
            let response = endpoint.handle(request.body(body.to_owned()).expect("a request"));
            response.now_or_never().expect("at once")
        };
        let initialize = Request::post("/mcp")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",
                "capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#
                    .to_owned(),
            );
        let opened = endpoint.handle(initialize.expect("a request")).now_or_never().expect("at once");
        let id = opened.headers()["mcp-session-id"].to_str().expect("an id").to_owned();
        post(&id, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);

        let answer = post(&id, r#"{"jsonrpc":"2.0","id":2,"method":"boom"}"#);
        assert_eq!(answer.status(), 200);
        assert_eq!(endpoint.stats().exchanges_answered, 2);
        assert_eq!(post(&id, r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#).status(), 200);
    }
}
