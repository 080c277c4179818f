//! [`Endpoint`]: method, headers and body in, response out, along one order of checks.

mod batch;
mod forward;

use std::{
    fmt, mem,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{Either, poll_fn, select},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::Body;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    call::{ExchangeHandle, FirstPoll, HandlerFuture, ReplyHead},
    config::{Config, ConfigError},
    contain::{self, Contained, Panicked},
    cors::Cors,
    driver,
    env::Env,
    error::Rejection,
    handler::{Handler, InitializeRequest, RequestContext},
    initialize::{self, Opening},
    manager::{Registry, SessionManager},
    proto::{
        self, HttpRefusal, Input, Json, Message, Notification, Outgoing, ParseError, Phase, Refusal,
        RequestId, ResponseMode, RpcError, TerminateReason, Verdict,
    },
    runtime::Runtime,
    security::{self, AuthError, Authenticate},
    session::{NotificationPermit, Session, Waiters},
    stats::Stats,
    store,
    stream::{EventStream, ReplyBody},
    terminate::{Shutdown, ShutdownPhase, ShutdownPolicy, ShutdownReport},
    trace,
    transport::{self, BoxError, SessionHeader},
};

/// The front door of an MCP server: an `http::Request` in, an `http::Response` out, on any runtime.
///
/// Cheap to clone. When the last clone, [`SessionManager`] and [`Shutdown`] are dropped without a shutdown, whatever
/// is still open is cut. A handler must not hold one of them, because they hold the
/// handler: a task beside it, which ends with the server, can broadcast.
///
/// Every request passes the same checks in the same order, and the first failure is the answer (B-44): `Host` and
/// `Origin`, method, authentication, `Accept` and `Content-Type`, body size, JSON, message shape, era, session,
/// version, lifecycle. One that passes is admitted: it is owed exactly one answer.
///
/// ```
/// # use mcp_session_core::{Endpoint, Router, Runtime};
/// # async fn example(runtime: impl Runtime) {
/// let endpoint = Endpoint::new(runtime, Router::new("greeter", "0.1.0"));
///
/// let refused = endpoint.handle(http::Request::put("/mcp").body(String::new()).unwrap()).await;
/// assert_eq!(refused.status(), 405);
///
/// let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{
///     "protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
/// let request = http::Request::post("/mcp")
///     .header("content-type", "application/json")
///     .header("accept", "application/json, text/event-stream");
/// let response = endpoint.handle(request.body(initialize.to_owned()).unwrap()).await;
/// assert_eq!(response.status(), 200);
/// assert!(response.headers().contains_key("mcp-session-id"));
/// # }
/// ```
#[derive(Clone)]
pub struct Endpoint {
    registry: Arc<Registry>,
}

#[derive(Deserialize, Default)]
struct CancelledParams {
    #[serde(default, rename = "requestId")]
    request_id: Option<Box<RawValue>>,
    #[serde(default)]
    reason: Option<String>,
}

impl Endpoint {
    /// An endpoint with the default [`Config`].
    pub fn new(runtime: impl Runtime, handler: impl Handler) -> Self {
        Self::build(runtime, handler, Config::default())
    }

    /// An endpoint with limits of its own. Spawns the one task that keeps all deadlines.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if one of the limits cannot work, such as a queue without room or a deadline of zero. It names the field
    /// and the smallest value that works.
    ///
    /// ```
    /// # use mcp_session_core::{Config, Endpoint, Router, Runtime};
    /// # fn example(runtime: std::sync::Arc<dyn Runtime>) {
    /// let mut config = Config::default();
    /// config.max_sessions = 10_000;
    /// assert!(Endpoint::with_config(runtime.clone(), Router::new("greeter", "0.1.0"), config.clone()).is_ok());
    ///
    /// config.max_sessions = 0;
    /// let refused = Endpoint::with_config(runtime, Router::new("greeter", "0.1.0"), config);
    /// assert_eq!(refused.unwrap_err().field(), "max_sessions");
    /// # }
    /// ```
    pub fn with_config(
        runtime: impl Runtime,
        handler: impl Handler,
        config: Config,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self::build(runtime, handler, config))
    }

    fn build(runtime: impl Runtime, handler: impl Handler, mut config: Config) -> Self {
        if config.store.is_some() {
            config.session.replay.get_or_insert_default();
        }
        let env = Arc::new(Env::new(Arc::new(runtime), config, Box::new(Arc::new(handler))));
        env.runtime.spawn_keeper(Box::pin(driver::drive(Arc::clone(&env))));
        let registry = Registry::new(env);
        if let Some(node) = registry.env.node.clone() {
            node.clone().spawn(store::keep(Arc::downgrade(&registry), node));
        }
        Self { registry }
    }

    /// What it runs on.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.registry.env.runtime
    }

    /// The sessions.
    pub fn manager(&self) -> SessionManager {
        SessionManager(Arc::clone(&self.registry))
    }

    /// A snapshot of gauges and totals (S15).
    pub fn stats(&self) -> Stats {
        self.registry.stats()
    }

    /// False from the first moment of a shutdown: what a readiness probe should say.
    pub fn is_ready(&self) -> bool {
        self.registry.phase() == ShutdownPhase::Running
    }

    /// Begins to shut down, along the phases of [`ShutdownPolicy`]: running calls finish or get exactly one error,
    /// every stream gets its end, and all of it within the ceiling. Resolves once the last byte was handed over
    /// (S9); close the HTTP server's connections after that, not before (S7).
    ///
    /// Called again, it joins the same shutdown, and may only tighten its deadlines (S10). The work does not
    /// depend on the handle being awaited or kept.
    pub fn shutdown(&self, policy: ShutdownPolicy) -> Shutdown {
        self.manager().shutdown(policy)
    }

    /// Waits until a shutdown, whoever began it, is over, and gives its report. For the HTTP server around the
    /// endpoint: it goes on accepting until then.
    ///
    /// # Cancel safety
    ///
    /// Safe: it begins nothing.
    pub fn closed(&self) -> impl Future<Output = ShutdownReport> + Send + 'static {
        let begun = self.shutdown_begun();
        async move { begun.await.wait().await }
    }

    /// Waits until somebody begins a shutdown.
    pub(crate) fn shutdown_begun(&self) -> impl Future<Output = Shutdown> + Send + 'static {
        Arc::clone(&self.registry).shutdown_begun()
    }

    /// Counts a response that its client did not take in time.
    pub(crate) fn response_stalled(&self, timeout: Duration) {
        trace::response_stalled(timeout);
        self.registry.env.counters.stripe(0).responses_stalled.fetch_add(1, Relaxed);
    }

    /// Serves one HTTP request, whatever its path. The response's body ends properly, or with an error if it had
    /// to be cut.
    ///
    /// The request's body may have any error: its text and those of its causes are in the 400 that it gets. The error of a layer
    /// that limits bodies, as those of `tower-http` and `axum` do, gets 413.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the response, the client counts as gone. A request that was admitted goes on (D-12).
    pub fn handle<B>(&self, request: Request<B>) -> impl Future<Output = Response<ReplyBody>> + use<B>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        // Out here: an async function would have room for the request, and for its parts.
        let endpoint = self.clone();
        let (mut parts, body) = request.into_parts();
        async move {
            let Registry { env, .. } = &*endpoint.registry;
            let config = &env.config;
            let cors = config.cors.as_ref();
            let cors = cors.map(|cors| (cors, Cors::origin(&config.allowed_origins, &parts.headers)));
            let mut id = None;
            let mut response = match endpoint.route(&mut parts, pin!(body), &mut id).await {
                Ok(response) => response,
                Err(rejection) => {
                    let rejection = match rejection {
                        Rejection::Session(Refusal::Gone) if env.node.is_some() => {
                            Box::pin(endpoint.gone(&parts, rejection)).await
                        }
                        rejection => rejection,
                    };
                    trace::rejected(&rejection, &env.refusals, || env.runtime.now());
                    env.counters.stripe(0).requests_refused.fetch_add(1, Relaxed);
                    rejection.into_response(id.as_ref(), config)
                }
            };
            if let Some((cors, origin)) = cors {
                cors.mark(&config.allowed_origins, origin, response.headers_mut());
            }
            // A client that is told so sends its next request on a new connection, to another instance. HTTP/2 has no such
            // header: there the connection is closed, with GOAWAY, once everything is over.
            if parts.version < Version::HTTP_2 && endpoint.registry.phase() != ShutdownPhase::Running {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }

    /// The checks that need no body, and the three methods. `id` is set as soon as it could be read (A-12).
    async fn route<B>(
        &self,
        parts: &mut Parts,
        body: Pin<&mut B>,
        id: &mut Option<RequestId>,
    ) -> Result<Response<ReplyBody>, Rejection>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let config = &self.registry.env.config;
        security::check_host(&config.allowed_hosts, parts)?;
        // One look for two that most requests do not have.
        let rare =
            parts.headers.keys().any(|name| *name == header::ORIGIN || *name == header::CONTENT_ENCODING);
        if rare {
            security::check_origin(&config.allowed_origins, &parts.headers)?;
        }
        let offered = match parts.method {
            Method::POST => true,
            Method::GET => config.standalone_streams,
            Method::DELETE => config.client_delete,
            _ => false,
        };
        if !offered {
            return match &config.cors {
                Some(cors) if Cors::is_preflight(&parts.method, &parts.headers) => {
                    Ok(cors.preflight(allowed_methods(config)))
                }
                Some(_) | None => Err(Rejection::MethodNotAllowed(allowed_methods(config))),
            };
        }
        security::check_authorization(&parts.headers)?;
        if let Some(authenticate) = &config.authenticate {
            self.authenticate(&**authenticate, parts).await?;
        }
        // In boxes is what is rarer than requests: it would make the future of every request as large as its own.
        match parts.method {
            Method::GET => return Box::pin(self.get(parts)).await,
            Method::DELETE => return Box::pin(self.delete(parts)).await,
            _ => {}
        }
        let form = transport::accepted_form(&parts.headers)?;
        transport::check_content_type(&parts.headers)?;
        if rare {
            transport::check_content_encoding(&parts.headers)?;
        }
        let body = {
            let reading = pin!(transport::read_body(body, &self.registry));
            let read = Contained::new(|| reading).await;
            read.map_err(|Panicked| Rejection::Internal("the body could not be read"))??
        };
        let request = match Message::parse(&body) {
            Ok(Message::Request(request)) => request,
            other => return Box::pin(self.no_request(parts, body, other, form)).await,
        };
        *id = Some(request.id.clone());
        if request.method == "initialize" {
            return Box::pin(self.initialize(parts, &request, form)).await;
        }
        check_era(parts, &request)?;
        let session = self.session(parts).await?;
        if request.method == "ping" {
            return ping(&session, &request, form);
        }
        respond(self.admit(session, parts, request, form)?.await.head().await)
    }

    /// Whether the credential is good. A check that is through at once costs no box, one that waits has a deadline.
    async fn authenticate(&self, check: &dyn Authenticate, parts: &mut Parts) -> Result<(), Rejection> {
        let checked = |checked: Result<Result<(), AuthError>, Panicked>| {
            checked
                .map_err(|Panicked| Rejection::Internal("the check of the credential failed"))?
                .map_err(Rejection::Auth)
        };
        let mut checking = Contained::new(|| check.authenticate(parts));
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(checking.poll_unpin(cx))).await {
            return checked(done);
        }
        let Env { runtime, config, .. } = &*self.registry.env;
        let deadline = runtime.sleep_until(proto::after(runtime.now(), config.authenticate_timeout));
        match select(checking, deadline).await {
            Either::Left((done, _)) => checked(done),
            Either::Right(((), _)) => Err(Rejection::AuthTimeout),
        }
    }

    /// What a POST may be beside one request.
    async fn no_request(
        &self,
        parts: &Parts,
        body: bytes::Bytes,
        message: Result<Message, ParseError>,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        match message {
            Ok(Message::Notification(notification)) => self.notification(parts, notification).await,
            Ok(Message::Response(response)) => {
                let session = self.session(parts).await?;
                self.replied(&session, response)?;
                Ok(accepted())
            }
            Err(ParseError::Batch) => self.batch(parts, &body, form).await,
            Err(error) => Err(error.into()),
            Ok(Message::Request(_)) => Err(Rejection::Internal("a request is no other message")),
        }
    }

    async fn get(&self, parts: &Parts) -> Result<Response<ReplyBody>, Rejection> {
        transport::check_get_accept(&parts.headers)?;
        let session = self.session(parts).await?;
        let waiters = Arc::new(Waiters::default());
        let replay = self.registry.env.session_config.replay.is_some();
        let key = match transport::last_event_id(&parts.headers).filter(|_| replay) {
            Some(event) => self.resume(&session, event, &waiters).await?,
            None => self.listen(&session, &waiters).await?, // D-35
        };
        Ok(events(ReplyBody::events(EventStream::new(session, key, waiters))))
    }

    async fn delete(&self, parts: &Parts) -> Result<Response<ReplyBody>, Rejection> {
        let session = self.session(parts).await?;
        session.with_client(proto::Session::handle_delete)?;
        // Before the client is told so: from then on, it is unknown at every node (E-11).
        session.removed().await;
        let mut response = Response::new(ReplyBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT; // B-36
        Ok(response)
    }

    /// From here on the request is owed an answer. Not async, so that nobody's future has to have room for the parts.
    fn admit(
        &self,
        session: Session,
        parts: &mut Parts,
        request: proto::RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<impl Future<Output = FirstPoll>, Rejection> {
        let (key, now) = session.with(|machine, now| {
            let key = match machine.handle_request(now, request.id.clone(), None) {
                Err(Refusal::Draining) if asks_for_a_list(&request.method) => {
                    machine.handle_list(now, request.id.clone(), None)
                }
                admitted => admitted,
            }?;
            if let Some(form) = form {
                machine.restrict(key, form);
            }
            Ok::<_, Refusal>((key, now))
        })?;
        Ok(self.start(ExchangeHandle { session, key }, now, parts, request))
    }

    /// Begins to work on a request that was admitted.
    fn start(
        &self,
        call: ExchangeHandle,
        admitted: Instant,
        parts: &mut Parts,
        request: proto::RpcRequest,
    ) -> impl Future<Output = FirstPoll> {
        let env = &self.registry.env;
        let (id, method) = (request.id.clone(), request.method.clone());
        let cx = RequestContext::new(call.clone(), request, parts);
        // A handler may panic before there is a future: that is an answer too.
        let handling = contain::call(|| env.handler.request(cx)).unwrap_or_else(|Panicked| {
            trace::handler_panicked(&method);
            Box::pin(async { Err(RpcError::internal("the handler panicked")) })
        });
        call.start(env, admitted, id, method, handling)
    }

    async fn initialize(
        &self,
        parts: &mut Parts,
        request: &proto::RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        if transport::session_header(&parts.headers)? != SessionHeader::Absent {
            // C-17: a live session refuses, a dead one is unknown.
            let session = Box::pin(self.lookup(parts)).await?;
            session.with(|machine, now| machine.handle_input(now, Input::Initialize))?;
        }
        let (call, handler) = match self.open(parts, request) {
            Err(Rejection::TooManySessions) => {
                let principal = parts.extensions.get().cloned();
                Box::pin(self.registry.with_room(principal.as_ref(), || self.open(parts, request))).await?
            }
            opened => opened?,
        };
        let (session, env) = (call.session.clone(), &self.registry.env);
        if let Some(form) = form {
            session.with(|machine, _| machine.restrict(call.key, form));
        }
        let started =
            call.start(env, session.created(), request.id.clone(), request.method.clone(), handler).await;
        let mut response = respond(started.head().await)?;
        if session.with(|machine, _| machine.is_established()) {
            if let Err(rejection) = session.attach() {
                session.terminate(TerminateReason::Error);
                return Err(rejection);
            }
            if env.node.is_some() {
                Box::pin(self.keep(&session)).await?;
            }
            let id = HeaderValue::from_bytes(&session.id().digits())
                .map_err(|_| Rejection::Internal("the session id is no header value"))?;
            response.headers_mut().insert(transport::SESSION_ID, id);
        }
        Ok(response)
    }

    /// From here on there is a session, and its client is owed an answer.
    fn open(
        &self,
        parts: &mut Parts,
        request: &proto::RpcRequest,
    ) -> Result<(ExchangeHandle, HandlerFuture), Rejection> {
        let params = request.params.as_ref().ok_or_else(|| {
            Rejection::InvalidInitialize(RpcError::invalid_params("`initialize` needs `params`"))
        })?;
        let Opening { version, known, capabilities, client_info } = initialize::read(params)?;
        let principal = parts.extensions.get().cloned();
        let (session, key) = self.registry.create(request.id.clone(), version, known, principal, params)?;
        let initialize = InitializeRequest {
            protocol_version: version,
            capabilities,
            client_info,
            headers: mem::take(&mut parts.headers),
            extensions: mem::take(&mut parts.extensions),
        };
        Ok((ExchangeHandle { session, key }, self.registry.env.handler.initialize(initialize)))
    }

    async fn notification(
        &self,
        parts: &Parts,
        notification: Notification,
    ) -> Result<Response<ReplyBody>, Rejection> {
        transport::check_era(&parts.headers)?;
        let session = self.session(parts).await?;
        self.notified(&session, notification, || session.notification_permit()).await?;
        Ok(accepted())
    }

    /// Does what a notification says. One for the handler needs a place.
    async fn notified(
        &self,
        session: &Session,
        notification: Notification,
        place: impl FnOnce() -> Result<NotificationPermit, Refusal>,
    ) -> Result<(), Rejection> {
        match &*notification.method {
            "notifications/initialized" => {
                let verdict = session.with(|machine, now| machine.handle_input(now, Input::Initialized))?;
                if verdict == Verdict::Operate {
                    session.initialized().await;
                }
            }
            "notifications/cancelled" => {
                let (request_id, reason) = cancelled(&notification);
                trace::exchange_cancelled(&session.id(), request_id.as_ref(), reason.as_deref());
                let here = session.with(|machine, now| {
                    let here = request_id.as_ref().is_none_or(|id| machine.runs(id));
                    machine.handle_cancelled(now, request_id.as_ref(), reason).map(|()| here)
                })?;
                if !here {
                    self.pass_on(session, None, &Message::Notification(notification));
                }
            }
            _ => {
                let verdict = session.with(|machine, now| machine.handle_input(now, Input::Notification))?;
                if verdict == Verdict::Accept {
                    self.notify_handler(session.clone(), notification, place()?);
                }
            }
        }
        Ok(())
    }

    /// Gives a notification to the handler: in place if it is through with it at once, else as a task, which ends
    /// with the session.
    fn notify_handler(&self, session: Session, notification: Notification, place: NotificationPermit) {
        let env = &self.registry.env;
        let method = notification.method.clone();
        let work = Contained::new(|| env.handler.notification(notification, session.clone()));
        let mut work = Box::pin(async move {
            let done = work.await;
            drop(place);
            if done == Err(Panicked) {
                trace::handler_panicked(&method);
            }
        });
        if work.as_mut().now_or_never().is_none() {
            env.runtime.spawn(Box::pin(async move {
                let closed = pin!(session.until_ending(|machine| machine.phase() == Phase::Closed));
                select(work, closed).await;
            }));
        }
    }

    /// The session that a request names, with a version it may name (E-09, E-11, B-26).
    async fn session(&self, parts: &Parts) -> Result<Session, Rejection> {
        let session = self.lookup(parts).await?;
        match transport::check_version(&parts.headers) {
            // A dead id is 404, whatever else is wrong with the request (E-11). With nothing wrong, the machine says so.
            Err(_) if session.state() == proto::State::Terminated => Err(Rejection::UnknownSession),
            checked => checked.map(|()| session),
        }
    }

    /// A session has died between its look-up and the request: for good, or here only.
    async fn gone(&self, parts: &Parts, refused: Rejection) -> Rejection {
        match transport::session_header(&parts.headers) {
            Ok(SessionHeader::Id(id)) => self.registry.or_moving(id, refused).await,
            Ok(SessionHeader::Absent | SessionHeader::Foreign) | Err(_) => refused,
        }
    }

    async fn lookup(&self, parts: &Parts) -> Result<Session, Rejection> {
        match transport::session_header(&parts.headers)? {
            SessionHeader::Absent => Err(Rejection::MissingSession),
            SessionHeader::Foreign => Err(Rejection::UnknownSession),
            // Somebody else's is as unknown as one that was never issued (E-07).
            SessionHeader::Id(id) => self.registry.find(id, parts.extensions.get()).await,
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Which request is cancelled, and why. Malformed ones are ignored (F-04).
pub(crate) fn cancelled(notification: &Notification) -> (Option<RequestId>, Option<String>) {
    let params = notification.params.as_ref().and_then(|params| params.parse().ok());
    let CancelledParams { request_id, reason } = params.unwrap_or_default();
    (request_id.and_then(|raw| RequestId::from_json(raw.get())), reason)
}

/// What `Allow` lists (B-39).
fn allowed_methods(config: &Config) -> &'static str {
    match (config.standalone_streams, config.client_delete) {
        (true, true) => "GET, POST, DELETE",
        (false, true) => "POST, DELETE",
        (true, false) => "GET, POST",
        (false, false) => "POST",
    }
}

/// Whether it is a request that a client may have to make before it can take an answer.
fn asks_for_a_list(method: &str) -> bool {
    matches!(method, "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list")
}

/// Answered by the session itself, in every state, while other requests run (C-14).
fn ping(
    session: &Session,
    request: &proto::RpcRequest,
    form: Option<ResponseMode>,
) -> Result<Response<ReplyBody>, Rejection> {
    session.with(|machine, now| machine.handle_input(now, Input::Ping))?;
    let pong = pong(&request.id);
    Ok(match form {
        Some(ResponseMode::Sse) => events(ReplyBody::batch([event(&pong)].into(), Vec::new())),
        Some(ResponseMode::Json | ResponseMode::Auto) | None => json(pong),
    })
}

/// A request of a revision without sessions, by its envelope or by its header (G-40).
fn check_era(parts: &Parts, request: &proto::RpcRequest) -> Result<(), Rejection> {
    const KEY: (&str, &str) = ("io", ".modelcontextprotocol/protocolVersion");
    #[derive(Deserialize)]
    struct Params {
        #[serde(rename = "_meta")]
        meta: Meta,
    }
    #[derive(Deserialize)]
    struct Meta {
        #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
        version: String,
    }
    // Looked for as text first, by its point, which is rare, and never in base64: almost no request has it, and some
    // are long.
    let is_key = |text: &str, at| text[..at].ends_with(KEY.0) && text[at..].starts_with(KEY.1);
    let has_key = |params: &Json| {
        params.as_bytes().contains(&b'.') && {
            let text = params.as_str();
            text.match_indices('.').any(|(at, _)| is_key(text, at))
        }
    };
    if let Some(params) = request.params.as_ref().filter(|params| has_key(params)) {
        match params.parse::<Params>() {
            Ok(Params { meta }) if transport::is_modern(meta.version.as_bytes()) => {
                return Err(Rejection::UnsupportedVersion(meta.version));
            }
            Ok(_) | Err(_) => {}
        }
    }
    transport::check_era(&parts.headers)
}

fn respond(head: ReplyHead) -> Result<Response<ReplyBody>, Rejection> {
    match head {
        ReplyHead::Json(answer) => Ok(json(answer)),
        ReplyHead::Refused(answer, refusal) => Ok(refused(answer, *refusal)),
        ReplyHead::Events(stream) => Ok(events(ReplyBody::events(stream))),
        ReplyHead::Lost => Err(Rejection::Internal("the reply was lost")),
    }
}

/// The answer of a handler that refuses the credential (B-09).
#[cold]
fn refused(answer: bytes::Bytes, refusal: HttpRefusal) -> Response<ReplyBody> {
    let mut response = json(answer);
    *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN);
    if let Some(challenge) = refusal.challenge.and_then(|text| HeaderValue::from_maybe_shared(text).ok()) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The answer to `ping` (C-14).
fn pong(id: &RequestId) -> bytes::Bytes {
    Outgoing::Result { id, result: &Json::from(serde_json::json!({})) }.to_json()
}

/// An answer of one line, as an event.
fn event(answer: &[u8]) -> bytes::Bytes {
    [proto::MESSAGE, answer, b"\n\n"].concat().into()
}

fn accepted() -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::ACCEPTED; // B-17
    response
}

fn json(answer: bytes::Bytes) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(answer));
    *response.headers_mut() = HeaderMap::with_capacity(2); // this one, and the id of a new session
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn events(body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // D-41: no cache and no proxy may hold events back.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
