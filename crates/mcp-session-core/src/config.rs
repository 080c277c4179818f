//! [`Config`]: the limits of an endpoint, each with its reason.

mod auth;
pub(crate) mod check;
mod cors;
mod eras;
mod hosts;
pub(crate) mod state_keys;

use std::{fmt, sync::Arc, time::Duration};

use mcp_session_proto::SessionConfig;

pub use auth::{AuthError, AuthFuture, Authenticate, AuthenticateFn, authenticate_fn};
pub use check::ConfigError;
pub use cors::Cors;
pub use eras::{Eras, Sessions};
pub use hosts::{AllowedHosts, AllowedOrigins, InvalidEntry};
pub use state_keys::{InvalidStateKeys, StateKeys};

use crate::{observer::Observer, store::Store};

/// The limits of an endpoint. [`Endpoint::with_config`](crate::Endpoint::with_config) refuses limits that
/// cannot work, such as a cap or a deadline of zero.
///
/// ```
/// use std::time::Duration;
/// use mcp_session_core::Config;
///
/// let mut config = Config::default();
/// config.max_sessions = 10_000;
/// config.session.idle_timeout = Duration::from_secs(600);
/// config.allowed_hosts.allow("mcp.example.com")?;
/// assert!(config.allowed_hosts.allow("not a host").is_err());
/// # Ok::<(), mcp_session_core::InvalidEntry>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The limits of each session.
    pub session: SessionConfig,
    /// Which revisions of the protocol are served. Both eras by default.
    pub eras: Eras,
    /// Whether clients of the legacy revisions get sessions, and need them. [`Sessions::Optional`] by default.
    pub sessions: Sessions,
    /// The maximum number of running requests without a session, of both eras; more get 503 and `Retry-After`. Streams of
    /// `subscriptions/listen` count separately. 10,000: as many as a process usually has connections for.
    pub max_stateless_requests: usize,
    /// The maximum number of running requests without a session of one [`Principal`](crate::Principal); more get 503 and
    /// `Retry-After`. A request runs until its stream has been read to the end, so a layer in front of the endpoint, for which it
    /// is over with the response's head, cannot count it. 1,000, a tenth of the total, as sessions: a single caller cannot take
    /// every place.
    pub max_stateless_requests_per_principal: usize,
    /// The maximum number of open `subscriptions/listen` streams; more get 503 and `Retry-After`, before they are
    /// acknowledged (G-59). 100,000, as sessions.
    pub max_subscriptions: usize,
    /// The maximum number of open `subscriptions/listen` streams of one [`Principal`](crate::Principal). 10,000, a tenth of
    /// the total, as sessions.
    pub max_subscriptions_per_principal: usize,
    /// Whether results of 2026-07-28 carry the server's name and version, in
    /// `_meta["io.modelcontextprotocol/serverInfo"]` (A-36). On by default.
    pub send_server_info: bool,
    /// The maximum number of sessions. A session counts until nothing of it is left, its
    /// [`terminated`](crate::Handler::terminated) hook included. At the maximum, expired sessions make
    /// room for the next `initialize`, or else the oldest half-open one, which was not used since its
    /// `initialize` ([`TerminateReason::Evicted`](crate::TerminateReason::Evicted)). If no place is free
    /// within [`retry_after`](Config::retry_after), the `initialize` gets 503; if there is no session that
    /// can make room, at once. So a client that opens sessions without using them locks nobody out (E-15).
    /// 100,000: about 50 MB when idle.
    pub max_sessions: usize,
    /// The maximum number of sessions of one [`Principal`](crate::Principal). Its next `initialize`
    /// gets 503, unless one of its own sessions makes room (E-15). 10,000, a tenth of the total: a single
    /// caller cannot take every place, and a gateway that serves many users under one name fits.
    pub max_sessions_per_principal: usize,
    /// The maximum length of a POST body in bytes, at least 256; longer ones get 413 (A-19). 4 MiB: what
    /// the Python, Go and Rust SDKs accept.
    pub body_limit: usize,
    /// The maximum number of bytes of all POST bodies that are arriving at the same time; a body that would
    /// exceed it gets 503 and `Retry-After`. The first 64 KiB of each body do not count, so that large
    /// bodies do not block small ones. 256 MiB: 64 bodies of the maximum length, and a fraction of the
    /// memory of a server with 100,000 sessions.
    pub bodies_in_flight: usize,
    /// The maximum number of messages in a batch; larger batches get 400 and are not dispatched. Only
    /// revision 2025-03-26 has batches, in sessions and without (A-21, A-31). 100: they all run concurrently, and no
    /// known client sends more than a handful.
    pub batch_limit: usize,
    /// How long a POST body may take to arrive; then the request gets 408. 30 seconds: 4 MiB over a bad
    /// phone line.
    pub body_timeout: Duration,
    /// How long the [`terminated`](crate::Handler::terminated) hook of a session may take. Then it is
    /// dropped and logged, and the session's place is free. 10 seconds: longer than a clean-up takes, and
    /// longer than a shutdown waits for one. Without a limit, hung hooks would eventually take every place.
    /// [`Duration::MAX`]: no limit.
    pub hook_timeout: Duration,
    /// The value of `Retry-After` in 503 responses, in whole seconds, at least 1. 1 second: the next
    /// instance is usually up already.
    pub retry_after: Duration,
    /// Whether GET opens a standalone stream; if not, it gets 405 (B-32).
    pub standalone_streams: bool,
    /// Whether a client may DELETE its session; if not, it gets 405 (B-35).
    pub client_delete: bool,
    /// The `Host` values that are served (B-07). Defaults to loopback names: a public server lists its own.
    pub allowed_hosts: AllowedHosts,
    /// The `Origin` values that are served. Requests without `Origin` do not come from a browser and pass
    /// (B-05, B-06). Defaults to loopback origins.
    pub allowed_origins: AllowedOrigins,
    /// Lets web pages of these origins use the server (B-40). `None` by default: most clients are not web
    /// pages, and every page that may read answers is one more that can be attacked.
    pub cors: Option<Cors>,
    /// Checks the credentials of every request, immediately or with
    /// [`authenticate_fn`](crate::authenticate_fn) (B-09, B-10). `None` by default: then an outer layer
    /// checks them, or nobody does.
    pub authenticate: Option<Arc<dyn Authenticate>>,
    /// How long [`authenticate`](Config::authenticate) may take; then the request gets 503. 10 seconds: an
    /// authorization server that has not answered by then will not, and clients give up after 30 or 60.
    pub authenticate_timeout: Duration,
    /// Where sessions are stored so that other endpoints with the same store can serve them: see
    /// [`store`](crate::store). A store needs [`replay`](SessionConfig::replay); if that is off, its
    /// default is used. `None`: a session lives and ends with its endpoint, and there are no store calls.
    pub store: Option<Store>,
    /// Hears of each refused request, by reason, of each call of the store, and of handlers that block or panic. `None` by
    /// default: then nothing is measured for it.
    pub observer: Option<Arc<dyn Observer>>,
    /// The keys that seal `requestState`, in which revision 2026-07-28 has a client carry what a handler
    /// needs after a question to the user (G-38, G-67). `None`: without a store, one key is made when it is first needed,
    /// with a warning in the log; what it sealed is lost when the node restarts. With a store, all nodes use one key that
    /// the store keeps ([`SessionStore::agree`](crate::store::SessionStore::agree)), so each opens what another sealed;
    /// give keys to change them from time to time, or if whoever reads the store must not forge states.
    pub state_keys: Option<StateKeys>,
    /// How long a `requestState` can be sent back, at least 1 millisecond; then the client has to start
    /// again (G-38). 10 minutes: a user has time to read a question, or to log in somewhere else, and a
    /// state that somebody copied is of use no longer than that. Until it expires, it may come back more
    /// than once. Each node goes by its own [`system_time`](crate::Runtime::system_time).
    pub state_ttl: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            session: SessionConfig::default(),
            eras: Eras::default(),
            sessions: Sessions::default(),
            max_stateless_requests: 10_000,
            max_stateless_requests_per_principal: 1_000,
            max_subscriptions: 100_000,
            max_subscriptions_per_principal: 10_000,
            send_server_info: true,
            max_sessions: 100_000,
            max_sessions_per_principal: 10_000,
            body_limit: 4 * 1024 * 1024,
            bodies_in_flight: 256 * 1024 * 1024,
            batch_limit: 100,
            body_timeout: Duration::from_secs(30),
            hook_timeout: Duration::from_secs(10),
            retry_after: Duration::from_secs(1),
            standalone_streams: true,
            client_delete: true,
            allowed_hosts: AllowedHosts::default(),
            allowed_origins: AllowedOrigins::default(),
            cors: None,
            authenticate: None,
            authenticate_timeout: Duration::from_secs(10),
            store: None,
            observer: None,
            state_keys: None,
            state_ttl: Duration::from_secs(10 * 60),
        }
    }
}

impl Config {
    /// Adds `Retry-After` to a 503 (B-42).
    pub(crate) fn say_when(&self, headers: &mut http::HeaderMap) {
        headers.insert(http::header::RETRY_AFTER, self.retry_after.as_secs().max(1).into());
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("session", &self.session)
            .field("eras", &self.eras)
            .field("sessions", &self.sessions)
            .field("max_stateless_requests", &self.max_stateless_requests)
            .field("max_stateless_requests_per_principal", &self.max_stateless_requests_per_principal)
            .field("max_subscriptions", &self.max_subscriptions)
            .field("max_subscriptions_per_principal", &self.max_subscriptions_per_principal)
            .field("send_server_info", &self.send_server_info)
            .field("max_sessions", &self.max_sessions)
            .field("max_sessions_per_principal", &self.max_sessions_per_principal)
            .field("body_limit", &self.body_limit)
            .field("bodies_in_flight", &self.bodies_in_flight)
            .field("batch_limit", &self.batch_limit)
            .field("body_timeout", &self.body_timeout)
            .field("hook_timeout", &self.hook_timeout)
            .field("retry_after", &self.retry_after)
            .field("standalone_streams", &self.standalone_streams)
            .field("client_delete", &self.client_delete)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("allowed_origins", &self.allowed_origins)
            .field("cors", &self.cors)
            .field("authenticate", &self.authenticate.is_some())
            .field("authenticate_timeout", &self.authenticate_timeout)
            .field("store", &self.store)
            .field("observer", &self.observer.is_some())
            .field("state_keys", &self.state_keys)
            .field("state_ttl", &self.state_ttl)
            .finish()
    }
}
