//! One named server: core's [`Handler`](mcp_session_core::Handler) on top of the children that speak stdio.
//!
//! | part | what it is |
//! |---|---|
//! | [`config`] | how a server is described |
//! | [`state`] | what can be seen of it |
//! | `link`, `call`, `hearing`, `asking` | the JSON-RPC of one child: ids, progress, cancels, questions to the client |
//! | `modern` | a child of 2026-07-28 |
//! | `keeper` | the tasks of one child, and its end |
//! | `per_session`, `shared`, `per_request` | which client gets which child |
//! | `restart` | delays and crash loops |
//!
//! # Revisions
//!
//! Clients and children may be of different revisions. What cannot be the same as between equals:
//!
//! - *A client of 2026-07-28, a child of an older revision.* When the child asks the client something, the call ends with
//!   `input_required` and is cancelled at the child. When the client comes back with its answers, the call **runs again from its
//!   beginning**, in [`Mode::Session`] and [`Mode::Request`] with another child, and each question is answered in its turn. So
//!   whatever the child does before its last question happens more than once. Nothing that a child keeps between requests
//!   reaches the next request, except in [`Mode::Shared`]. `subscriptions/listen` hears a shared child only; the others serve no
//!   client outside of a request. Arguments that a tool wants repeated in headers (`x-mcp-header`) are not compared.
//! - *A client of an older revision, a child of 2026-07-28.* The client gets questions as requests, notifications as if it had
//!   subscribed, `resources/subscribe` and `logging/setLevel`. The client's own notifications, such as `notifications/roots/list_changed`, have no place there and end at the gateway.
//! - *A client that names no session.* It cannot be asked, and hears nothing outside of its requests. Each of them has a child of
//!   its own, except in [`Mode::Shared`]. A cancel that it sends names nobody; if it leaves, its call is cancelled.
//! - *A child that answers `initialize` with an older revision than the client's.* Its messages are passed as they are.
//!
//! In a session, a client that loses its connection has not cancelled its calls: it may come back for their answers. They are
//! cancelled when the session's idle timeout has passed.

mod asking;
mod audience;
mod call;
pub mod config;
mod core;
mod handler;
mod hearing;
mod keeper;
mod link;
mod message;
mod modern;
mod params;
mod per_request;
mod per_session;
mod restart;
mod shared;
pub mod state;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use mcp_session_core::{Config, Json, SessionManager};

use self::{
    config::{Mode, ServerConfig},
    core::{Core, lock},
    per_request::Pool,
    shared::Shared,
    state::{ChildrenReport, ServerState, ServerStats},
};

pub use self::handler::ServerHandler;

/// Why a server could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
#[non_exhaustive]
pub struct StartError {
    /// The name of the server.
    pub server: String,
    /// What is wrong, for a reader. It names the server.
    pub why: String,
}

/// One named server. Cheap to clone.
///
/// ```
/// use mcp_session_gateway::{child::command::CommandLine, server::{Server, config::ServerConfig, state::ServerState}};
///
/// # let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # tokio.block_on(async {
/// let server = Server::new(ServerConfig::new("nothing", CommandLine::new("/no/such/program", [""; 0])));
/// assert_eq!(server.state(), ServerState::Starting);
/// let error = server.start().await.unwrap_err();
/// assert!(error.why.contains("server nothing: its process does not start"), "{error}");
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Server(Arc<Parts>);

struct Parts {
    core: Arc<Core>,
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    /// The result of the first child's `initialize`.
    info: Mutex<Option<Json>>,
    started: AtomicBool,
}

impl Server {
    /// Creates a server. Nothing is started.
    pub fn new(config: ServerConfig) -> Self {
        let warm = if config.mode == Mode::Request { config.warm } else { 0 };
        let core = Arc::new(Core::new(config));
        let shared = Arc::new(Shared::new(Arc::clone(&core)));
        let pool = Arc::new(Pool::new(Arc::clone(&core), warm));
        let (info, started) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Parts { core, shared, pool, info, started }))
    }

    /// Starts a first child and learns from it what the server is. Call it before an endpoint is built with
    /// [`Server::handler`], which asks once, when it is built. In [`Mode::Session`] that child ends at once. If it has failed
    /// and variables come from headers ([`ServerConfig::header_env`]), this is no error: it may have missed them. Then the server
    /// serves sessions only.
    ///
    /// # Errors
    ///
    /// If the child does not start or does not answer `initialize`. It may be called again.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with IO and time.
    pub async fn start(&self) -> Result<(), StartError> {
        let Parts { core, shared, pool, info, started } = &*self.0;
        let opened = match core.config.mode {
            Mode::Shared => {
                tracing::warn!(
                    server = core.config.name,
                    "one child is shared by all clients: what it keeps for one, all see; it can ask a client only while \
                     calls of no other run"
                );
                shared.start().await
            }
            Mode::Session | Mode::Request => pool.start().await,
        };
        match opened {
            Ok(opened) => *lock(info) = Some(opened),
            Err(_) if core.config.mode == Mode::Session && !core.config.header_env.is_empty() => {}
            Err(error) => {
                let why = error.message.into_owned();
                return Err(StartError { server: core.config.name.clone(), why });
            }
        }
        started.store(true, SeqCst);
        Ok(())
    }

    /// The configuration.
    pub fn config(&self) -> &ServerConfig {
        &self.0.core.config
    }

    /// The result of `initialize` of the first child, if [`Server::start`] has succeeded.
    pub fn info(&self) -> Option<Json> {
        lock(&self.0.info).clone()
    }

    /// The handler, for an endpoint.
    pub fn handler(&self) -> ServerHandler {
        ServerHandler(self.clone())
    }

    /// Sets what [`Limits`](crate::limits::Limits) says in the configuration of the endpoint: sessions, body, idle and maximum
    /// life, and time enough for a child to start.
    pub fn configure(&self, config: &mut Config) {
        let limits = &self.config().limits;
        config.max_sessions = limits.sessions;
        config.max_sessions_per_principal = config.max_sessions_per_principal.min(limits.sessions);
        config.body_limit = limits.body;
        config.session.idle_timeout = limits.idle;
        config.session.max_age = limits.max_life;
        // The child's start is a part of it.
        config.session.initialize_timeout += limits.init_timeout;
    }

    /// The sessions of the endpoint, so that what a shared child tells everyone reaches them and the subscriptions of
    /// 2026-07-28 from the beginning. Without it, from the first request on.
    pub fn attach(&self, sessions: &SessionManager) {
        self.0.shared.audience.set_manager(sessions);
    }

    /// What it can do at the moment.
    pub fn state(&self) -> ServerState {
        let Parts { core, shared, started, .. } = &*self.0;
        if core.is_draining() {
            return ServerState::Draining;
        }
        if !started.load(SeqCst) {
            return ServerState::Starting;
        }
        let is_shared = core.config.mode == Mode::Shared;
        if is_shared && shared.is_ready() {
            return ServerState::Ready;
        }
        let (crash_loop, failures) = {
            let health = lock(&core.health);
            (health.crash_loop(Instant::now()), health.failures())
        };
        match crash_loop {
            Some(retry_in) if is_shared || retry_in > Duration::ZERO => {
                ServerState::CrashLoop { failures, retry_in }
            }
            _ if is_shared => ServerState::Restarting { failures },
            _ if core.is_full() && self.0.pool.ready() == 0 => ServerState::AtLimit,
            _ => ServerState::Ready,
        }
    }

    /// Its counts.
    pub fn stats(&self) -> ServerStats {
        let core = &self.0.core;
        let counts = &core.counts;
        ServerStats {
            children: core.children(),
            sessions: counts.sessions.load(Relaxed),
            calls: counts.calls.load(Relaxed),
            spawned: counts.spawned.load(Relaxed),
            failed: counts.failed.load(Relaxed),
            died: counts.died.load(Relaxed),
            terminated: counts.terminated.load(Relaxed),
            killed: counts.killed.load(Relaxed),
            calls_total: counts.calls_total.load(Relaxed),
            calls_lost: counts.calls_lost.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            lines_dropped: counts.lines_dropped.load(Relaxed),
            notifications_dropped: counts.notifications_dropped.load(Relaxed),
        }
    }

    /// From now on the state is [`ServerState::Draining`], and children that end are a part of the report of
    /// [`Server::close`]. Nothing else changes: core refuses new clients.
    pub fn drain(&self) {
        self.0.core.drain();
    }

    /// From now on no step of the ladder takes any time: for whoever asks a second time for the end.
    pub fn hurry(&self) {
        self.0.core.hurry.send_replace(true);
    }

    /// Ends all children, at the same time, and returns when they have ended: after at most both budgets and a moment. Calls
    /// that run get an error: shut the endpoint down first.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the children end nevertheless.
    pub async fn close(&self) -> ChildrenReport {
        let Parts { core, shared, pool, .. } = &*self.0;
        let report = core.close().await;
        shared.clear();
        pool.clear();
        report
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.config().name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
