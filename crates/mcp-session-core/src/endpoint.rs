//! [`Endpoint`]: an HTTP request in, its response out.

mod batch;
mod get;
mod initialize;
mod listen;
mod modern;
mod notification;
mod post;
mod response;
mod shutdown;

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use futures::future::{BoxFuture, Either, ready};
use http::{HeaderValue, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::Body;
use mcp_session_proto::{self as proto, ProtocolVersion, Refusal, RequestId, SendError};
use serde::Serialize;

use self::post::head;
use crate::{
    cluster::{inbox, keys},
    config::{Config, ConfigError, Cors, Sessions},
    handler::{ErasedHandler, Handler, InitializeResult, state::Sealer},
    metrics::Stats,
    observer,
    runtime::Runtime,
    session::env::Env,
    session::{Session, broadcast::Broadcast, manager::SessionManager, registry::Registry},
    shutdown::{Shutdown, ShutdownPhase, ShutdownPolicy, ShutdownReport},
    stateless::{self, server::Server},
    store::node::Node,
    stream::ReplyBody,
    sync::atomic::Ordering::Relaxed,
    trace,
    transport::{
        self, Address, BoxError, Incoming, PeerAddr, Rejection, RequestEra, SessionHeader, VersionHeader,
    },
};

/// The HTTP endpoint of an MCP server: an `http::Request` in, an `http::Response` out, on any runtime.
///
/// Cheap to clone. If the last clone and [`SessionManager`] are dropped without a shutdown, everything that is still open is
/// cut. A handler must not hold one of them, because they hold the handler. To broadcast, use a separate task, which ends
/// with the server.
///
/// Every request goes through the same checks in the same order, and the first failure is the answer: `Host` and
/// `Origin`, method, authentication, `Accept` and `Content-Type`, body size, JSON, message shape, era, session,
/// version, lifecycle (B-44). A request that passes is admitted: it gets exactly one answer.
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
// One reference count: each request writes it twice, and all cores share it.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

/// Aligned to cache lines of its own: every request reads it, while others write the reference count before it.
#[repr(align(128))]
struct Inner {
    registry: Arc<Registry>,
    /// The requests without a session.
    stateless: Arc<stateless::registry::Registry>,
    handler: Box<dyn ErasedHandler>,
    sealer: Arc<Sealer>,
}

impl Endpoint {
    /// Creates an endpoint with the default [`Config`].
    pub fn new(runtime: impl Runtime, handler: impl Handler) -> Self {
        Self::build(Arc::new(runtime), handler, Config::default(), None)
    }

    /// Creates an endpoint with this [`Config`]. Spawns the one task that waits for all deadlines.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if one of the limits cannot work, such as a queue without capacity or a deadline of zero. It names
    /// the field and the smallest value that works. Also if there is a [`store`](Config::store), and the runtime has no
    /// random bytes for the id of this node ([`Runtime::random`]).
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
        let runtime: Arc<dyn Runtime> = Arc::new(runtime);
        let observer = config.observer.as_ref();
        let node = config.store.clone().map(|store| Node::new(store, Arc::clone(&runtime), observer));
        let node = node.transpose().map_err(|error| ConfigError::no_node_id(&error))?;
        Ok(Self::build(runtime, handler, config, node))
    }

    fn build(
        runtime: Arc<dyn Runtime>,
        handler: impl Handler,
        mut config: Config,
        node: Option<Node>,
    ) -> Self {
        if config.store.is_some() {
            config.session.replay.get_or_insert_default();
        }
        let handler = Arc::new(handler);
        let env = Arc::new(Env::new(runtime, config, node, Box::new(Arc::clone(&handler))));
        let driven = Arc::clone(&env);
        env.runtime.spawn_keeper(Box::pin(async move {
            let Env { timers, runtime, counters, .. } = &*driven;
            driven.summary.beside(timers.drive(&**runtime), &**runtime, || counters.stats()).await;
        }));
        let registry = Registry::new(env);
        let Env { config, runtime, .. } = &*registry.env;
        let shares = registry.env.node.is_some() && config.state_keys.is_none();
        let (first, asked) = shares.then(|| async_channel::bounded(1)).unzip();
        let sealer = Sealer::new(config.state_keys.clone(), asked, config.state_ttl, Arc::clone(runtime));
        let sealer = Arc::new(sealer);
        if let Some(node) = registry.env.node.clone() {
            let keys: BoxFuture<'static, ()> = match first {
                Some(first) => Box::pin(keys::share(Arc::clone(&sealer), node.clone(), first)),
                None => Box::pin(ready(())),
            };
            node.clone().spawn(inbox::keep(Arc::downgrade(&registry), node, keys));
        }
        let InitializeResult { capabilities, server_info, instructions, mut extra } = handler.info();
        extra.retain(|name, _| !matches!(&**name, "protocolVersion" | "serverInfo")); // of `initialize` only
        if let Some(instructions) = instructions {
            extra.insert("instructions".into(), instructions.into());
        }
        let server_info = config.send_server_info.then_some(&server_info);
        let server = Server::new(config.eras.versions(), &capabilities, server_info, extra);
        let stateless = stateless::registry::Registry::new(Arc::clone(&registry.env), server);
        let _ = registry.subscribers.set(Arc::clone(&stateless) as _); // set only here
        Self(Arc::new(Inner { registry, stateless, handler: Box::new(handler), sealer }))
    }

    /// For models: what holds the sessions, and what holds the requests without one.
    #[cfg(all(test, loom))]
    pub(crate) fn registries(&self) -> (&Arc<Registry>, &Arc<stateless::registry::Registry>) {
        (&self.0.registry, &self.0.stateless)
    }

    /// The runtime.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.0.registry.env.runtime
    }

    /// The manager of the sessions.
    pub fn manager(&self) -> SessionManager {
        SessionManager(Arc::clone(&self.0.registry))
    }

    /// A snapshot of gauges and totals (S15).
    pub fn stats(&self) -> Stats {
        let subscriptions = self.0.stateless.subscriptions() as u64;
        Stats { subscriptions, ..self.0.registry.stats() }
    }

    /// Sends a notification that belongs to no request to every session and every subscription that wants it: see
    /// [`SessionManager::broadcast`].
    ///
    /// # Errors
    ///
    /// [`SendError::Invalid`] if the params are not a JSON object.
    pub fn notify<P: Serialize + ?Sized>(
        &self,
        method: &str,
        params: Option<&P>,
    ) -> Result<Broadcast, SendError> {
        self.manager().broadcast(method, params)
    }

    /// Returns `false` from the beginning of a shutdown. For readiness probes.
    pub fn is_ready(&self) -> bool {
        self.0.registry.phase() == ShutdownPhase::Running
    }

    /// Begins a shutdown with the phases of [`ShutdownPolicy`]: running calls finish or get exactly one error, and every
    /// stream gets its end, all within the ceiling. The handle resolves once the last byte was handed over (S9); close
    /// the HTTP server's connections after that, not before (S7).
    ///
    /// Later calls join the same shutdown and can only tighten its deadlines (S10). The shutdown goes on even if the
    /// handle is dropped or not awaited.
    pub fn shutdown(&self, policy: ShutdownPolicy) -> Shutdown {
        shutdown::begin(&self.0.registry, &self.0.stateless, policy)
    }

    /// Waits until a shutdown is over, no matter who began it, and returns its report. For the HTTP server around the
    /// endpoint, which accepts connections until then.
    ///
    /// # Cancel safety
    ///
    /// Safe: it does not begin a shutdown.
    pub fn closed(&self) -> impl Future<Output = ShutdownReport> + Send + 'static {
        let begun = self.shutdown_begun();
        async move { begun.await.wait().await }
    }

    /// Waits until a shutdown begins.
    pub(crate) fn shutdown_begun(&self) -> impl Future<Output = Shutdown> + Send + 'static {
        Arc::clone(&self.0.registry).shutdown_begun()
    }

    /// Counts a response that its client did not read in time.
    pub(crate) fn response_stalled(&self, timeout: Duration) {
        trace::response_stalled(timeout);
        self.0.registry.env.counters.stripe(0).responses_stalled.fetch_add(1, Relaxed);
    }

    /// Serves one HTTP request, with any path. The response's body ends properly, or with an error if it had to be cut.
    ///
    /// The request's body may have any error type. An error gets 400, with its text and those of its causes; the error
    /// of a layer that limits bodies, such as those of `tower-http` and `axum`, gets 413.
    ///
    /// # Cancel safety
    ///
    /// If dropped before the response, the client counts as disconnected. An admitted request of a session goes on (D-12);
    /// any other is cancelled (G-32, E-30).
    pub fn handle<B>(&self, request: Request<B>) -> impl Future<Output = Response<ReplyBody>> + use<B>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        // Not in the future: an async function would store both the request and its parts.
        let endpoint = self.clone();
        let (mut parts, body) = request.into_parts();
        async move {
            let Registry { env, .. } = &*endpoint.0.registry;
            let config = &env.config;
            let cors = config.cors.as_ref();
            let cors = cors.map(|cors| (cors, Cors::origin(&config.allowed_origins, &parts.headers)));
            let mut seen = Seen::default();
            // No value is matched on while a future that was a part of it is awaited: it would be stored twice.
            let read = transport::read(&mut parts, pin!(body), env.limits()).await.inspect_err(|_| {
                seen.modern = transport::looks_modern(config.eras, &parts.headers);
            });
            let answering = read.and_then(|incoming| endpoint.answer(incoming, &mut parts, &mut seen));
            let answered =
                answering.map_or_else(|rejection| Either::Right(ready(Err(rejection))), Either::Left).await;
            let mut response = match answered {
                Ok(mut response) => {
                    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                        config.say_when(response.headers_mut()); // a handler's: `RpcError::unavailable`
                    }
                    response
                }
                Err(rejection) => {
                    let rejection = match (rejection, &env.node) {
                        (Rejection::Session(Refusal::Gone), Some(node)) => {
                            Box::pin(endpoint.gone(node, &parts, Refusal::Gone.into())).await
                        }
                        (rejection, _) => rejection,
                    };
                    endpoint.refused(&rejection, parts.extensions.get());
                    rejection.into_response(seen.id.as_ref(), seen.modern, config).map(ReplyBody::full)
                }
            };
            if let Some((cors, origin)) = cors {
                cors.mark(&config.allowed_origins, origin, response.headers_mut());
            }
            // A client that sees this sends its next request on a new connection, to another instance. HTTP/2 has no such
            // header: there the connection is closed, with GOAWAY, once everything is over.
            if parts.version < Version::HTTP_2 && endpoint.0.registry.phase() != ShutdownPhase::Running {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }

    /// Counts a refused request, logs it, and tells the observer.
    #[cold]
    #[inline(never)] // it would be a part of the future of every request
    fn refused(&self, rejection: &Rejection, peer: Option<&PeerAddr>) {
        let env = &self.0.registry.env;
        env.counters.stripe(0).requests_refused.fetch_add(1, Relaxed);
        observer::tell(env.config.observer.as_ref(), |it| it.refused(&rejection.to_observe()));
        env.summary.note();
        let peer = peer.map(|PeerAddr(peer)| *peer);
        trace::rejected(|| rejection.to_log(), peer, &env.refusals, || env.runtime.now());
    }

    /// Answers a checked request. Sets `seen`, for a later error.
    ///
    /// Not async, and what is rarer than requests is boxed: otherwise the future of every request would be larger, and HTTP
    /// servers keep room for one in each connection.
    fn answer<'a>(
        &'a self,
        incoming: Incoming,
        parts: &'a mut Parts,
        seen: &mut Seen,
    ) -> Result<impl Future<Output = Answer> + 'a, Rejection> {
        let rare: BoxFuture<'a, Answer> = match incoming {
            Incoming::Request(request, address, form) => {
                seen.id = Some(request.id.clone());
                let eras = self.0.registry.env.config.eras;
                let version = address.map(|address| address.version);
                let version = version.unwrap_or_else(|| VersionHeader::of(&parts.headers));
                match transport::era_of_request(eras, &parts.headers, version, &request)? {
                    RequestEra::Modern(envelope) => {
                        seen.modern = true;
                        let asks = !matches!(&*request.method, "server/discover" | "subscriptions/listen");
                        if !asks || self.0.sealer.is_ready() {
                            return Ok(Either::Right(head(
                                self.begin_modern(parts, request, envelope, form),
                            )));
                        }
                        Box::pin(self.modern(parts, request, envelope, form))
                    }
                    RequestEra::Legacy if request.method == "initialize" => {
                        Box::pin(self.initialize(parts, request, form))
                    }
                    RequestEra::Legacy => match self.scope_at_once(parts, address)? {
                        Some(scope) => {
                            return Ok(Either::Right(head(self.begin(scope, parts, request, form))));
                        }
                        None => Box::pin(self.request(parts, request, address, form)),
                    },
                }
            }
            Incoming::Notification(notification) => Box::pin(self.notification(parts, notification)),
            Incoming::Response(response) => Box::pin(self.response(parts, response)),
            Incoming::Batch(body, form) => Box::pin(self.batch(parts, body, form)),
            Incoming::Get => Box::pin(self.get(parts)),
            Incoming::Delete => Box::pin(self.delete(parts)),
            Incoming::Preflight => Box::pin(ready(Ok(self.preflight()))),
        };
        Ok(Either::Left(rare))
    }

    /// Finds what a message of a legacy revision belongs to, and checks the version header (E-09, E-11, E-26, E-27, B-26).
    /// `address` is what its headers say, if that is known.
    async fn scope(&self, parts: &Parts, address: Option<Address>) -> Result<Scope, Rejection> {
        match self.scope_at_once(parts, address)? {
            Some(scope) => Ok(scope),
            None => {
                let session = self.lookup(session_header(parts, address)?, parts).await?;
                self.scope_of(session, parts, address)
            }
        }
    }

    /// The same without waiting. `None`: a store must be asked.
    fn scope_at_once(&self, parts: &Parts, address: Option<Address>) -> Result<Option<Scope>, Rejection> {
        let header = session_header(parts, address)?;
        let without = match self.0.registry.env.config.sessions {
            Sessions::Optional => header == SessionHeader::Absent,
            Sessions::Stateful => false,
            Sessions::Stateless => true,
        };
        if without {
            return Ok(Some(Scope::Stateless(self.version(parts, address)?)));
        }
        let session = self.lookup_at_once(header, parts)?;
        session.map(|session| self.scope_of(session, parts, address)).transpose()
    }

    /// The scope of a message that names this session.
    fn scope_of(
        &self,
        session: Session,
        parts: &Parts,
        address: Option<Address>,
    ) -> Result<Scope, Rejection> {
        match self.version(parts, address) {
            // A dead id is 404, even if the version is wrong (E-11). If it is right, the machine refuses the request.
            Err(_) if session.state() == proto::State::Terminated => Err(Rejection::UnknownSession),
            checked => checked.map(|_| Scope::Session(session)),
        }
    }

    /// The version that the headers of a message name.
    fn version(&self, parts: &Parts, address: Option<Address>) -> Result<ProtocolVersion, Rejection> {
        match address.map(|address| address.version) {
            Some(VersionHeader::Legacy(version)) => Ok(version),
            Some(VersionHeader::Absent | VersionHeader::Modern | VersionHeader::Unknown) | None => {
                transport::version(&parts.headers, self.0.registry.env.config.eras)
            }
        }
    }

    /// The rejection after a session died between its look-up and the request: for good, or at this node only.
    async fn gone(&self, node: &Node, parts: &Parts, refused: Rejection) -> Rejection {
        match transport::session_header(&parts.headers) {
            Ok(SessionHeader::Id(id)) => self.0.registry.or_moving(node, id, refused).await,
            Ok(SessionHeader::Absent | SessionHeader::Foreign) | Err(_) => refused,
        }
    }

    /// Finds the session that a message names.
    async fn lookup(&self, header: SessionHeader, parts: &Parts) -> Result<Session, Rejection> {
        match (self.lookup_at_once(header, parts)?, header, &self.0.registry.env.node) {
            (Some(session), ..) => Ok(session),
            (None, SessionHeader::Id(id), Some(node)) => {
                self.0.registry.find_in_store(node, id, parts.extensions.get()).await
            }
            (None, ..) => Err(Rejection::UnknownSession),
        }
    }

    /// The same without waiting. `None`: a store must be asked.
    fn lookup_at_once(&self, header: SessionHeader, parts: &Parts) -> Result<Option<Session>, Rejection> {
        let id = match header {
            SessionHeader::Absent => return Err(Rejection::MissingSession),
            SessionHeader::Foreign => return Err(Rejection::UnknownSession),
            SessionHeader::Id(id) => id,
        };
        // A session of another principal is as unknown as an id that was never issued (E-07).
        let found = self.0.registry.find(&id, parts.extensions.get())?;
        match (found, &self.0.registry.env.node) {
            (Some(session), Some(_)) if session.is_in_doubt() => Ok(None),
            (Some(session), _) => Ok(Some(session)),
            (None, Some(_)) => Ok(None),
            (None, None) => Err(Rejection::UnknownSession),
        }
    }
}

/// What the headers of a message say about its session.
fn session_header(parts: &Parts, address: Option<Address>) -> Result<SessionHeader, Rejection> {
    address.map_or_else(|| transport::session_header(&parts.headers), |address| Ok(address.session))
}

/// What becomes of a request.
type Answer = Result<Response<ReplyBody>, Rejection>;

/// What a message of a legacy revision belongs to.
enum Scope {
    Session(Session),
    /// No session: its client names none and needs none, or no client gets one. The version is that of the message.
    Stateless(ProtocolVersion),
}

/// What is known of a request that is refused.
#[derive(Debug, Default)]
struct Seen {
    /// The id of the JSON-RPC request, which an error echoes (A-12).
    id: Option<RequestId>,
    /// Whether it is of 2026-07-28, which has codes of its own.
    modern: bool,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
