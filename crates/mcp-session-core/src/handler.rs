//! [`Handler`], the user's code, and [`RequestContext`], what it works with.

use std::{
    fmt,
    future::Future,
    mem,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Extensions, HeaderMap, request::Parts};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use crate::{
    ask::ask,
    call::{ExchangeHandle, HandlerFuture},
    data::SessionData,
    initialize::{self, Icon},
    principal::Principal,
    proto::{
        CancelReason, Json, Notification, Phase, ProtocolVersion, RequestError, RequestId, RpcError,
        RpcRequest, SendError, SessionId, Status, TerminateReason,
    },
    session::{Machine, Session, notification, object},
};

/// What a client opens a session with (C-02).
#[derive(Clone)]
#[non_exhaustive]
pub struct InitializeRequest {
    /// The version that the session will have.
    pub protocol_version: ProtocolVersion,
    /// The client's capabilities, an object.
    pub capabilities: Json,
    /// The client's name and version, an object.
    pub client_info: Json,
    /// The headers of the HTTP request.
    pub headers: HeaderMap,
    /// What layers in front, and [`Authenticate`](crate::Authenticate), have left on the HTTP request.
    pub extensions: Extensions,
}

impl InitializeRequest {
    /// Whose session it will be, if a layer in front or [`Authenticate`](crate::Authenticate) has said so.
    pub fn principal(&self) -> Option<&Principal> {
        self.extensions.get()
    }
}

/// Without headers and extensions: they hold the client's secrets.
impl fmt::Debug for InitializeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InitializeRequest")
            .field("protocol_version", &self.protocol_version)
            .field("capabilities", &self.capabilities)
            .field("client_info", &self.client_info)
            .finish_non_exhaustive()
    }
}

/// The result of `initialize` (C-03), beside the version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitializeResult {
    /// The server's capabilities, an object.
    pub capabilities: Json,
    /// The server's name and version, an object.
    pub server_info: Json,
    /// Hints for the model.
    pub instructions: Option<String>,
}

impl InitializeResult {
    /// A server of this name and version, without capabilities.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            capabilities: serde_json::json!({}).into(),
            server_info: serde_json::json!({ "name": name, "version": version }).into(),
            instructions: None,
        }
    }

    /// The same with these capabilities.
    #[must_use]
    pub fn capabilities(mut self, capabilities: impl Into<Json>) -> Self {
        self.capabilities = capabilities.into();
        self
    }

    /// The same with these instructions.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// The same with a title, for people to read. Clients know it since 2025-06-18, and older ones pass over it.
    ///
    /// ```
    /// use mcp_session_core::{Icon, InitializeResult};
    ///
    /// let result = InitializeResult::new("weather", "1.2.0")
    ///     .title("Weather of the World")
    ///     .description("Forecasts for any place")
    ///     .website_url("https://weather.example")
    ///     .icon(Icon::new("https://weather.example/icon.png").mime_type("image/png").sizes(["48x48"]));
    /// let info: serde_json::Value = result.server_info.parse()?;
    /// assert_eq!((&info["name"], &info["title"]), (&"weather".into(), &"Weather of the World".into()));
    /// assert_eq!(info["icons"][0]["sizes"][0], "48x48");
    /// # Ok::<(), mcp_session_core::RpcError>(())
    /// ```
    #[must_use]
    pub fn title(self, title: impl Into<String>) -> Self {
        self.info(|info| drop(info.insert("title".into(), title.into().into())))
    }

    /// The same with a description, for people to read. Clients know it since 2025-11-25.
    #[must_use]
    pub fn description(self, description: impl Into<String>) -> Self {
        self.info(|info| drop(info.insert("description".into(), description.into().into())))
    }

    /// The same with the address of a page about the server. Clients know it since 2025-11-25.
    #[must_use]
    pub fn website_url(self, url: impl Into<String>) -> Self {
        self.info(|info| drop(info.insert("websiteUrl".into(), url.into().into())))
    }

    /// The same with one more icon. Clients know them since 2025-11-25.
    #[must_use]
    pub fn icon(self, icon: Icon) -> Self {
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

/// The user's code: what a server does with what its clients ask.
///
/// [`Router`](crate::Router) implements it by method name; implement it yourself for a framework of your own.
///
/// A request's future is polled once in place. If it is ready then, the answer costs no task. If not, it becomes a
/// task, which goes on when the client disconnects (D-12), is told to stop through [`RequestContext::cancelled`],
/// and is dropped some time after that. A panic is answered with -32603 and harms nobody else.
/// One poll that takes more than 100 ms blocks its thread, and is logged as a warning with the method: what computes or
/// waits for that long belongs in a pool of threads, such as tokio's `spawn_blocking`.
///
/// ```
/// use mcp_session_core::{Handler, InitializeRequest, InitializeResult, Json, RequestContext, RpcError};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     async fn initialize(&self, _: InitializeRequest) -> Result<InitializeResult, RpcError> {
///         Ok(InitializeResult::new("echo", "0.1.0"))
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
    /// A client opens a session.
    fn initialize(
        &self,
        request: InitializeRequest,
    ) -> impl Future<Output = Result<InitializeResult, RpcError>> + Send;

    /// What a session has of its own, such as a cart or a cache: made once for each session at each endpoint that serves it,
    /// after `initialize` was answered with a result and before the client knows of it, or when a session of another
    /// endpoint is taken up from the [`store`](crate::store). Nothing of it goes into the store: it is made anew there.
    ///
    /// [`Session::data`] and [`RequestContext::data`] give it back. It is dropped when the session ends here, after
    /// [`Handler::terminated`], or is parked; a call that goes on then may hold it for longer.
    ///
    /// It must not block. What has to wait, such as a look into a database, is begun at first use: put a cell into it that is
    /// filled then. If it panics, the request gets 500 and nothing is left of the session here. `SessionData::none()` by
    /// default, which takes no memory.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// use mcp_session_core::{
    ///     Handler, InitializeRequest, InitializeResult, Json, RequestContext, RpcError, Session, SessionData,
    /// };
    ///
    /// struct Counter;
    ///
    /// impl Handler for Counter {
    ///     fn session_data(&self, _: &Session) -> SessionData {
    ///         SessionData::new(AtomicU64::new(0))
    ///     }
    ///     async fn initialize(&self, _: InitializeRequest) -> Result<InitializeResult, RpcError> {
    ///         Ok(InitializeResult::new("counter", "0.1.0"))
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

    /// A client's request, other than `initialize` and `ping`. The result has to be an object; anything else becomes
    /// -32603.
    fn request(&self, cx: RequestContext) -> impl Future<Output = Result<Json, RpcError>> + Send;

    /// [`Handler::request`] in a box: what is really called. A handler whose futures are in boxes already may pass its own
    /// on, instead of a box around a box, as [`Router`](crate::Router) does; nobody else has to implement it.
    fn request_boxed(self: &Arc<Self>, cx: RequestContext) -> BoxFuture<'static, Result<Json, RpcError>>
    where
        Self: Sized,
    {
        let handler = Arc::clone(self);
        async move { Self::request(&*handler, cx).await }.boxed()
    }

    /// A client's notification, other than `initialized` and `cancelled`. Ignored by default. It may take its time, as
    /// long as the session lives; one session may have as many at work as it may have requests.
    fn notification(&self, notification: Notification, session: Session) -> impl Future<Output = ()> + Send {
        let _ = (notification, session);
        async {}
    }

    /// The hook: a session has ended, nothing is owed to its client any more, and this is why (S12). Called once for
    /// each session whose `initialize` succeeded: as a task of its own, except that where the client's own request or
    /// stream ends the session, it is polled once in place, as requests are: one that blocks its thread
    /// then holds up the end that this client sees. A shutdown waits for it, within its
    /// ceiling (S8). A handler that ignored its cancellation may still be about to be dropped, and during a shutdown the
    /// session's [`state`](Session::state) is `Draining` still: its id answers 503 until everything is over (S2).
    fn terminated(&self, session: Session, reason: TerminateReason) -> impl Future<Output = ()> + Send {
        let _ = (session, reason);
        async {}
    }
}

/// [`Handler`] as an object.
pub(crate) trait ErasedHandler: Send + Sync + 'static {
    fn initialize(&self, request: InitializeRequest) -> HandlerFuture;
    fn session_data(&self, session: &Session) -> SessionData;
    fn request(&self, cx: RequestContext) -> HandlerFuture;
    fn notification(&self, notification: Notification, session: Session) -> BoxFuture<'static, ()>;
    fn terminated(&self, session: Session, reason: TerminateReason) -> BoxFuture<'static, ()>;
}

impl<H: Handler> ErasedHandler for Arc<H> {
    fn initialize(&self, request: InitializeRequest) -> HandlerFuture {
        let (handler, version) = (Self::clone(self), request.protocol_version);
        async move { initialize::result(version, &H::initialize(&*handler, request).await?) }.boxed()
    }

    fn session_data(&self, session: &Session) -> SessionData {
        H::session_data(self, session)
    }

    fn request(&self, cx: RequestContext) -> HandlerFuture {
        H::request_boxed(self, cx)
    }

    fn notification(&self, notification: Notification, session: Session) -> BoxFuture<'static, ()> {
        let handler = Self::clone(self);
        async move { H::notification(&*handler, notification, session).await }.boxed()
    }

    fn terminated(&self, session: Session, reason: TerminateReason) -> BoxFuture<'static, ()> {
        let handler = Self::clone(self);
        async move { H::terminated(&*handler, session, reason).await }.boxed()
    }
}

/// One request at work: what it asks, who asks it, and the way back. Cheap to clone, for parts of the work that
/// go on by themselves.
///
/// ```
/// use std::time::Duration;
/// use futures::{FutureExt, select_biased};
/// use mcp_session_core::{RequestContext, RpcError};
/// use serde_json::{Value, json};
///
/// async fn work(cx: RequestContext) -> Result<Value, RpcError> {
///     let params: Value = cx.params()?; // -32602 if they are not what they should be
///     cx.progress(0.5, Some(1.0), Some("asking")).await?;
///     let mut asked = Box::pin(cx.request("roots/list", None::<&()>, Duration::from_secs(60))).fuse();
///     let mut cancelled = Box::pin(cx.cancelled()).fuse();
///     select_biased! {
///         roots = asked => Ok(json!({ "of": params, "roots": roots? })),
///         why = cancelled => Err(why.into()),
///     }
/// }
/// # let _ = work;
/// ```
#[derive(Clone)]
pub struct RequestContext(Arc<Inner>);

struct Inner {
    call: ExchangeHandle,
    request: RpcRequest,
    headers: HeaderMap,
    extensions: Extensions,
    progress_token: OnceLock<Option<Box<RawValue>>>,
}

#[derive(Deserialize)]
struct ParamsWithMeta<'a> {
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Progress<'a> {
    #[serde(rename = "progressToken")]
    progress_token: &'a RawValue,
    progress: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl RequestContext {
    /// Takes headers and extensions out of the parts of the HTTP request.
    pub(crate) fn new(call: ExchangeHandle, request: RpcRequest, parts: &mut Parts) -> Self {
        let (headers, extensions) = (mem::take(&mut parts.headers), mem::take(&mut parts.extensions));
        Self(Arc::new(Inner { call, request, headers, extensions, progress_token: OnceLock::new() }))
    }

    /// Which client asks: its `clientInfo`. See [`Session::client_info`].
    ///
    /// ```
    /// # use mcp_session_core::{RequestContext, RpcError};
    /// # use serde_json::Value;
    /// async fn whoami(cx: RequestContext) -> Result<Value, RpcError> {
    ///     let info: Value = cx.client_info().parse()?;
    ///     Ok(serde_json::json!({ "name": info["name"] }))
    /// }
    /// # let _ = whoami;
    /// ```
    pub fn client_info(&self) -> &Json {
        self.session().client_info()
    }

    /// What that client can do: its `capabilities`, as it declared them. See [`Session::client_capabilities`].
    pub fn client_capabilities(&self) -> &Json {
        self.session().client_capabilities()
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.0.request.method
    }

    /// The request's id.
    pub fn id(&self) -> &RequestId {
        &self.0.request.id
    }

    /// The params as the client wrote them (A-17).
    pub fn raw_params(&self) -> Option<&Json> {
        self.0.request.params.as_ref()
    }

    /// The params, decoded. Absent ones count as an empty object.
    ///
    /// # Errors
    ///
    /// -32602 with the reason, ready to be answered.
    pub fn params<P: DeserializeOwned>(&self) -> Result<P, RpcError> {
        match self.raw_params() {
            Some(params) => params.parse(),
            None => serde_json::from_str("{}").map_err(|error| RpcError::invalid_params(error.to_string())),
        }
    }

    /// The session it belongs to.
    pub fn session(&self) -> &Session {
        &self.0.call.session
    }

    /// The id of that session.
    pub fn session_id(&self) -> SessionId {
        self.session().id()
    }

    /// Who is asking: the principal of the session. State that outlives the request belongs to this name, not to the
    /// session's id (E-19).
    pub fn principal(&self) -> Option<&Principal> {
        self.session().principal()
    }

    /// What the handler has attached to the session, if it is a `T`: see [`Session::data`].
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.session().data()
    }

    /// What layers in front, and [`Authenticate`](crate::Authenticate), have left on the HTTP request.
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// The headers of the HTTP request.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// Sends a notification ahead of the answer, on the stream of this request (D-04). Waits while its queue is
    /// full; nobody else waits with it. If the client has left, it is kept for replay, else dropped (D-12).
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`]: the request has its answer. [`SendError::Invalid`]: the params are no JSON object.
    ///
    /// # Cancel safety
    ///
    /// Dropped while waiting, nothing was sent.
    pub async fn notify<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
    ) -> Result<(), SendError> {
        let event = notification(method, params)?;
        let call = &self.0.call;
        call.send(|machine, now| machine.notify(now, call.key, &event)).await
    }

    /// Reports progress, if the client asked for it with a token (F-13). A value that does not exceed the last
    /// one is not reported (F-14), nor is one that is not finite; a `total` that is not finite is left out (D-45).
    ///
    /// # Errors
    ///
    /// As [`RequestContext::notify`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while waiting, nothing was sent.
    pub async fn progress(
        &self,
        progress: f64,
        total: Option<f64>,
        message: Option<&str>,
    ) -> Result<(), SendError> {
        let Some(progress_token) = self.progress_token() else { return Ok(()) };
        let total = total.filter(|total| total.is_finite());
        let params = Progress { progress_token, progress, total, message };
        let event = notification("notifications/progress", Some(&params))?;
        let call = &self.0.call;
        call.send(|machine, now| machine.progress(now, call.key, progress, &event)).await
    }

    /// Whether the client wants progress.
    pub fn wants_progress(&self) -> bool {
        self.progress_token().is_some()
    }

    /// Asks the client, on the stream of this request (F-22), and waits for its reply, `timeout` at the most.
    /// Dropped or timed out, it tells the client to stop (F-24).
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the client's own error, an undeclared capability, no stream, a timeout, the end.
    pub async fn request<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
        timeout: Duration,
    ) -> Result<Json, RequestError> {
        let params = object(params)?;
        let call @ ExchangeHandle { session, key } = &self.0.call;
        let signal = session.with(|machine, _| call.waiters(machine)).unwrap_or_default(); // over: nothing is sent
        let send = |machine: &mut Machine, now, left| {
            machine.request(now, *key, Arc::clone(&signal), method, params.as_ref(), left)
        };
        ask(session, &signal, timeout, send, |_| Some(Arc::clone(&signal))).await
    }

    /// Sends the client away for a while, so that a long call holds no connection (SEP-1699): the stream of this request
    /// is told `retry` and ends after what was sent so far, the handler goes on, and the client comes back after `retry`
    /// for what it sends meanwhile (D-06, D-07). A shutdown waits for a client that is away like this.
    ///
    /// Returns whether the client is sent away. If not, its connection stays and nothing is lost: because replay is off,
    /// the session's version is older than 2025-11-25 (D-05), the reply is JSON, the client is away already, or the
    /// endpoint shuts down, after which nobody could come back (S6). An answer that comes before the client has gone
    /// needs no second connection, and is sent on the first.
    ///
    /// ```
    /// use std::time::Duration;
    /// use mcp_session_core::{RequestContext, RpcError};
    /// use serde_json::{Value, json};
    ///
    /// async fn report(cx: RequestContext) -> Result<Value, RpcError> {
    ///     cx.progress(0.0, None, Some("this takes some minutes")).await?;
    ///     if !cx.close_stream(Duration::from_secs(5)) {
    ///         cx.progress(0.1, None, Some("stay on the line")).await?;
    ///     }
    ///     Ok(json!({ "pages": 400 })) // after some minutes
    /// }
    /// # let _ = report;
    /// ```
    pub fn close_stream(&self, retry: Duration) -> bool {
        let ExchangeHandle { session, key } = &self.0.call;
        session.with(|machine, now| machine.close_connection(now, *key, retry))
    }

    /// Waits until the handler should stop, and says why. A handler that stops answers `Err(reason.into())`. After [`CancelReason::Terminated`] there is a little
    /// time left to answer; otherwise nobody waits for the answer.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn cancelled(&self) -> CancelReason {
        self.0.call.until(reason_to_stop).await
    }

    /// Why the handler should stop, if it should: [`RequestContext::cancelled`] without waiting.
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        reason_to_stop(self.0.call.status())
    }

    /// Waits until the endpoint shuts down or the session ends: a hint to come to an end, before anything is
    /// cancelled.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub async fn draining(&self) {
        self.session().until_ending(|machine| machine.phase() != Phase::Running).await;
    }

    /// Whether the endpoint shuts down or the session ends.
    pub fn is_draining(&self) -> bool {
        self.draining().now_or_never().is_some()
    }

    fn progress_token(&self) -> Option<&RawValue> {
        let token = self.0.progress_token.get_or_init(|| {
            let params: ParamsWithMeta<'_> = self.raw_params()?.borrow().ok()?;
            let token = params.meta?.progress_token?;
            RequestId::from_json(token.get()).map(|_| token.to_owned()) // a string or an integer (F-12)
        });
        token.as_deref()
    }
}

fn reason_to_stop(status: Status) -> Option<CancelReason> {
    let Status { cancelled, abandoned } = status;
    cancelled.or_else(|| abandoned.then_some(CancelReason::Answered))
}

/// Without headers and params: they hold the client's secrets (E-20).
impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("session", &self.session_id())
            .field("id", self.id())
            .field("method", &self.method())
            .field("client", &self.client_info().as_str()) // escaped: it is what a client says
            .finish_non_exhaustive()
    }
}
