//! [`Handler`], the user's code.

pub(crate) mod context;
pub(crate) mod exchange;
pub(crate) mod initialize;
pub(crate) mod input;
pub(crate) mod modern;
pub(crate) mod notification;
pub(crate) mod router;
pub(crate) mod run;
pub(crate) mod state;

use std::{fmt, future::Future, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use http::{Extensions, HeaderMap};
use mcp_session_proto::{Json, Notification, ProtocolVersion, RpcError, SessionId, TerminateReason};
use serde_json::Value;

use crate::{
    handler::{
        context::RequestContext, initialize::Icon, notification::NotificationContext, run::HandlerFuture,
    },
    principal::Principal,
    session::{Session, data::SessionData, hooks::Hooks},
};

/// A client's `initialize` request, which opens a session (C-02).
#[derive(Clone)]
#[non_exhaustive]
pub struct InitializeRequest {
    /// The id of the new session. The client is told it with the result, and not before (C-20). `None` if the client gets
    /// no session.
    pub session_id: Option<SessionId>,
    /// The negotiated version of the session.
    pub protocol_version: ProtocolVersion,
    /// The client's capabilities, an object.
    pub capabilities: Json,
    /// The client's name and version, an object.
    pub client_info: Json,
    /// The headers of the HTTP request.
    pub headers: HeaderMap,
    /// The extensions of the HTTP request, as set by outer layers and [`Authenticate`](crate::Authenticate).
    pub extensions: Extensions,
    /// The new session, which takes the handler's data.
    pub(crate) session: Option<Session>,
}

impl InitializeRequest {
    /// Sets the handler's data of the new session: for a handler that creates it while it answers `initialize`, before
    /// [`Handler::session_data`] is called. That method finds it with [`Session::data`], and keeps it by returning
    /// [`SessionData::none`]; any other data replaces it. If the client gets no session, or the session is gone already,
    /// `data` is dropped.
    pub fn set_session_data(&self, data: SessionData) {
        if let Some(session) = &self.session {
            session.set_data(data);
        }
    }

    /// The principal that will own the session, if an outer layer or [`Authenticate`](crate::Authenticate) has set one.
    pub fn principal(&self) -> Option<&Principal> {
        self.extensions.get()
    }
}

/// Omits headers and extensions: they hold the client's secrets.
impl fmt::Debug for InitializeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InitializeRequest")
            .field("protocol_version", &self.protocol_version)
            .field("capabilities", &self.capabilities)
            .field("client_info", &self.client_info)
            .finish_non_exhaustive()
    }
}

/// The result of `initialize`, without the version (C-03).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitializeResult {
    /// The server's capabilities, an object.
    pub capabilities: Json,
    /// The server's name and version, an object.
    pub server_info: Json,
    /// Hints for the model.
    pub instructions: Option<String>,
    /// Other members of the result, such as `_meta`. They are sent as they are.
    pub extra: serde_json::Map<String, Value>,
}

impl InitializeResult {
    /// Creates the result for a server with this name and version, and no capabilities.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            capabilities: serde_json::json!({}).into(),
            server_info: serde_json::json!({ "name": name, "version": version }).into(),
            instructions: None,
            extra: serde_json::Map::new(),
        }
    }

    /// Sets the capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: impl Into<Json>) -> Self {
        self.capabilities = capabilities.into();
        self
    }

    /// Sets the instructions.
    #[must_use]
    pub fn with_instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// Sets another member of the result, such as `_meta`. The protocol's own members are not affected.
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Sets a human-readable title. Clients read it since 2025-06-18; older ones ignore it.
    ///
    /// ```
    /// use mcp_session_core::{Icon, InitializeResult};
    ///
    /// let result = InitializeResult::new("weather", "1.2.0")
    ///     .with_title("Weather of the World")
    ///     .with_description("Forecasts for any place")
    ///     .with_website_url("https://weather.example")
    ///     .with_icon(Icon::new("https://weather.example/icon.png").with_sizes(["48x48"]));
    /// let info: serde_json::Value = result.server_info.parse()?;
    /// assert_eq!((&info["name"], &info["title"]), (&"weather".into(), &"Weather of the World".into()));
    /// assert_eq!(info["icons"][0]["sizes"][0], "48x48");
    /// # Ok::<(), mcp_session_core::RpcError>(())
    /// ```
    #[must_use]
    pub fn with_title(self, title: impl Into<String>) -> Self {
        self.info(|info| drop(info.insert("title".into(), title.into().into())))
    }

    /// Sets a human-readable description. Clients read it since 2025-11-25.
    #[must_use]
    pub fn with_description(self, description: impl Into<String>) -> Self {
        self.info(|info| drop(info.insert("description".into(), description.into().into())))
    }

    /// Sets the URL of a page about the server. Clients read it since 2025-11-25.
    #[must_use]
    pub fn with_website_url(self, url: impl Into<String>) -> Self {
        self.info(|info| drop(info.insert("websiteUrl".into(), url.into().into())))
    }

    /// Adds an icon. Clients read icons since 2025-11-25.
    #[must_use]
    pub fn with_icon(self, icon: Icon) -> Self {
        self.info(|info| {
            let icons = info.entry("icons").or_insert_with(|| Value::Array(Vec::new()));
            if let Some(icons) = icons.as_array_mut() {
                icons.push(icon.into());
            }
        })
    }

    /// Changes [`InitializeResult::server_info`], if it is an object.
    fn info(mut self, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Self {
        if let Ok(Value::Object(mut info)) = self.server_info.parse() {
            change(&mut info);
            self.server_info = Value::Object(info).into();
        }
        self
    }
}

/// Reads a whole result, as another server has sent it. What this version of the crate does not know is passed on, apart
/// from `protocolVersion`, which each endpoint negotiates itself.
///
/// ```
/// use mcp_session_core::{ErrorCode, InitializeResult, Json};
/// use serde_json::json;
///
/// let result = json!({
///     "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
///     "serverInfo": { "name": "weather", "version": "1.2.0" }, "_meta": { "region": "eu" },
/// });
/// let result = InitializeResult::try_from(Json::from(result))?;
/// assert_eq!(result.extra["_meta"]["region"], "eu");
/// assert!(!result.extra.contains_key("protocolVersion"));
/// let refused = InitializeResult::try_from(Json::from(json!({ "capabilities": {} })));
/// assert_eq!(refused.unwrap_err().code, ErrorCode::INTERNAL_ERROR);
/// # Ok::<(), mcp_session_core::RpcError>(())
/// ```
impl TryFrom<Json> for InitializeResult {
    type Error = RpcError;

    /// Fails with [`ErrorCode::INTERNAL_ERROR`](crate::ErrorCode::INTERNAL_ERROR) if `capabilities` or `serverInfo` is
    /// missing or not an object, or if `instructions` is not a string.
    fn try_from(result: Json) -> Result<Self, RpcError> {
        let invalid = |what: &str| RpcError::internal(format!("the result of `initialize`: {what}"));
        let Ok(Value::Object(mut members)) = result.parse() else {
            return Err(invalid("it is not an object"));
        };
        let mut object = |name: &str| match members.remove(name) {
            Some(value @ Value::Object(_)) => Ok(Json::from(value)),
            Some(_) => Err(invalid(&format!("`{name}` is not an object"))),
            None => Err(invalid(&format!("`{name}` is missing"))),
        };
        let (capabilities, server_info) = (object("capabilities")?, object("serverInfo")?);
        let instructions = match members.remove("instructions") {
            None => None,
            Some(Value::String(instructions)) => Some(instructions),
            Some(_) => return Err(invalid("`instructions` is not a string")),
        };
        members.remove("protocolVersion");
        Ok(Self { capabilities, server_info, instructions, extra: members })
    }
}

/// The user's code: answers the requests of clients.
///
/// [`Router`](crate::Router) implements it by method name; implement it yourself for a framework of your
/// own.
///
/// A request's future is polled once in place. If it is ready then, the answer needs no task. If not, it
/// becomes a task. In a session it keeps running when the client disconnects (D-12); otherwise that cancels it (G-30,
/// E-30). It is told to stop through
/// [`RequestContext::cancelled`], and is dropped some time after that. A panic is answered with -32603 and
/// affects no other request. A single poll that takes more than 100 ms blocks its thread and is logged as a
/// warning with the method: move such computations and blocking waits to a thread pool, such as tokio's
/// `spawn_blocking`.
///
/// ```
/// use mcp_session_core::{Handler, InitializeResult, Json, RequestContext, RpcError};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     fn info(&self) -> InitializeResult {
///         InitializeResult::new("echo", "0.1.0")
///     }
///     async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
///         match cx.method() {
///             "echo" => Ok(cx.params::<serde_json::Value>()?.into()),
///             other => Err(RpcError::method_not_found(other)),
///         }
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// What the server says about itself: name and version, capabilities, instructions. The answer to `server/discover`
    /// (G-47) and, unless [`Handler::initialize`] is overridden, to `initialize`.
    ///
    /// Called once, when the endpoint is built: a client that probes for 2026-07-28 gets the answer at once, whatever
    /// other requests do (G-66).
    fn info(&self) -> InitializeResult;

    /// Answers `initialize`: a client of a revision before 2026-07-28 opens a session, or would if
    /// [`Config::sessions`](crate::Config::sessions) gave it one. Defaults to [`Handler::info`].
    fn initialize(
        &self,
        request: InitializeRequest,
    ) -> impl Future<Output = Result<InitializeResult, RpcError>> + Send {
        let _ = request;
        let info = self.info();
        async { Ok(info) }
    }

    /// The `inputSchema` of this tool. If a property has `x-mcp-header`, a `tools/call` of 2026-07-28 must repeat the
    /// argument in the header `Mcp-Param-…`, and is refused with 400 and -32020 if it does not (G-14). Called for every
    /// `tools/call` of 2026-07-28, so it should be cheap. `None` by default: no argument is in a header.
    fn tool_schema(&self, tool: &str) -> Option<Json> {
        let _ = tool;
        None
    }

    /// Returns `true` if the handler itself answers `subscriptions/listen` (2026-07-28), as it answers other requests: with
    /// an acknowledgement, notifications, and a result when [`RequestContext::draining`] is ready. The reply is a stream
    /// (G-51), and the request counts against
    /// [`max_stateless_requests`](crate::Config::max_stateless_requests). `false` by default: the endpoint answers, and
    /// [`SessionManager::broadcast`](crate::SessionManager::broadcast) reaches the subscriber.
    fn answers_subscriptions(&self) -> bool {
        false
    }

    /// Creates the handler's own data for a session, such as a cart or a cache.
    ///
    /// Called once per session at each endpoint that serves it: after `initialize` was answered with a result and
    /// before the client learns of it, or when a session of another endpoint is adopted from the
    /// [`store`](crate::store). The data does not go into the store; each endpoint creates its own.
    ///
    /// [`Session::data`] and [`RequestContext::data`] return it. It is dropped when the session ends here, after
    /// [`Handler::terminated`], or is parked; a call that is still running then may hold it longer.
    ///
    /// This method must not block. Start slow work, such as a database query, at first use: return a cell that is
    /// filled then. If it panics, the request gets 500 and the session is discarded here. Defaults to
    /// `SessionData::none()`, which takes no memory.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// use mcp_session_core::{
    ///     Handler, InitializeResult, Json, RequestContext, RpcError, Session, SessionData,
    /// };
    ///
    /// struct Counter;
    ///
    /// impl Handler for Counter {
    ///     fn session_data(&self, _: &Session) -> SessionData {
    ///         SessionData::new(AtomicU64::new(0))
    ///     }
    ///     fn info(&self) -> InitializeResult {
    ///         InitializeResult::new("counter", "0.1.0")
    ///     }
    ///     async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
    ///         let count = cx.data::<AtomicU64>().ok_or_else(|| RpcError::internal("the session has ended"))?;
    ///         Ok(serde_json::json!({ "calls": count.fetch_add(1, Relaxed) + 1 }).into())
    ///     }
    /// }
    /// ```
    fn session_data(&self, session: &Session) -> SessionData {
        let _ = session;
        SessionData::none()
    }

    /// Answers a client's request, other than `initialize` and `ping`. The result must be an object; anything else
    /// becomes -32603.
    fn request(&self, cx: RequestContext) -> impl Future<Output = Result<Json, RpcError>> + Send;

    /// [`Handler::request`], boxed. This is the method that is called. Override it only if your futures are boxed
    /// already, to avoid a second box, as [`Router`](crate::Router) does.
    fn request_boxed(self: &Arc<Self>, cx: RequestContext) -> BoxFuture<'static, Result<Json, RpcError>>
    where
        Self: Sized,
    {
        let handler = Arc::clone(self);
        async move { Self::request(&*handler, cx).await }.boxed()
    }

    /// Handles a client's notification, other than `initialized` and `cancelled`. Ignored by default. It may run as
    /// long as the session lives. A session may have as many running notifications as running requests.
    fn notification(
        &self,
        notification: Notification,
        cx: NotificationContext,
    ) -> impl Future<Output = ()> + Send {
        let _ = (notification, cx);
        async {}
    }

    /// Called when `notifications/initialized` has arrived at this endpoint: from now on the client may be asked
    /// (C-06). Not called for a client that never sends it, though it may use the session (C-18). It may run as long
    /// as the session lives, and nothing waits for it.
    fn initialized(&self, session: Session) -> impl Future<Output = ()> + Send {
        let _ = session;
        async {}
    }

    /// Called when a session of another endpoint is adopted from the [`store`](crate::store), after
    /// [`Handler::session_data`] and before this endpoint serves its first request. It may run as long as the session
    /// lives here, and nothing waits for it.
    fn adopted(&self, session: Session) -> impl Future<Output = ()> + Send {
        let _ = session;
        async {}
    }

    /// Called when a session has ended, with the reason; nothing is owed to its client any more (S12).
    ///
    /// Called once for each session whose `initialize` succeeded. It runs as its own task. If the client's own request
    /// or stream ends the session, it is polled once in place first, as requests are; a hook that blocks its thread
    /// then delays the end that this client sees. A shutdown waits for the hook, within its ceiling (S8).
    ///
    /// A handler that ignored its cancellation may not have been dropped yet. During a shutdown the session's
    /// [`state`](Session::state) is still `Draining`: its id answers 503 until the shutdown is complete (S2).
    fn terminated(&self, session: Session, reason: TerminateReason) -> impl Future<Output = ()> + Send {
        let _ = (session, reason);
        async {}
    }
}

/// The object-safe form of [`Handler`].
pub(crate) trait ErasedHandler: Send + Sync + 'static {
    fn info(&self) -> InitializeResult;
    fn tool_schema(&self, tool: &str) -> Option<Json>;
    fn answers_subscriptions(&self) -> bool;
    fn initialize(&self, request: InitializeRequest) -> HandlerFuture;
    fn request(&self, cx: RequestContext) -> HandlerFuture;
    fn notification(&self, notification: Notification, cx: NotificationContext) -> BoxFuture<'static, ()>;
}

impl<H: Handler> ErasedHandler for Arc<H> {
    fn info(&self) -> InitializeResult {
        H::info(self)
    }

    fn tool_schema(&self, tool: &str) -> Option<Json> {
        H::tool_schema(self, tool)
    }

    fn answers_subscriptions(&self) -> bool {
        H::answers_subscriptions(self)
    }

    fn initialize(&self, request: InitializeRequest) -> HandlerFuture {
        let (handler, version) = (Self::clone(self), request.protocol_version);
        async move { initialize::result(version, &H::initialize(&*handler, request).await?) }.boxed()
    }

    fn request(&self, cx: RequestContext) -> HandlerFuture {
        H::request_boxed(self, cx)
    }

    fn notification(&self, notification: Notification, cx: NotificationContext) -> BoxFuture<'static, ()> {
        let handler = Self::clone(self);
        async move { H::notification(&*handler, notification, cx).await }.boxed()
    }
}

impl<H: Handler> Hooks for Arc<H> {
    fn session_data(&self, session: &Session) -> SessionData {
        H::session_data(self, session)
    }

    fn initialized(&self, session: Session) -> BoxFuture<'static, ()> {
        let handler = Self::clone(self);
        async move { H::initialized(&*handler, session).await }.boxed()
    }

    fn adopted(&self, session: Session) -> BoxFuture<'static, ()> {
        let handler = Self::clone(self);
        async move { H::adopted(&*handler, session).await }.boxed()
    }

    fn terminated(&self, session: Session, reason: TerminateReason) -> BoxFuture<'static, ()> {
        let handler = Self::clone(self);
        async move { H::terminated(&*handler, session, reason).await }.boxed()
    }
}
