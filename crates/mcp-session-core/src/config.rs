//! [`Config`]: the limits of an endpoint, each with its reason.

pub(crate) mod check;

use std::{fmt, sync::Arc, time::Duration};

pub use check::ConfigError;

use crate::{
    cors::Cors,
    proto::SessionConfig,
    security::{AllowedHosts, AllowedOrigins, Authenticate},
    store::Store,
};

/// The limits of an endpoint. One that cannot work, such as a cap or a deadline of zero, is refused by
/// [`Endpoint::with_config`](crate::Endpoint::with_config).
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
    /// Sessions alive at a time; the next `initialize` gets 503 (E-15), unless one of them has expired, or is half-open: has
    /// not been used since its `initialize`. Then the oldest such makes room
    /// ([`TerminateReason::Evicted`](crate::TerminateReason::Evicted)): whoever opens sessions and does not use them keeps
    /// nobody out. 100,000: about 50 MB when idle.
    pub max_sessions: usize,
    /// Those of them that one [`Principal`](crate::Principal) may have; its next `initialize` gets 503, unless one of its own
    /// makes room (E-15). 10,000, a
    /// tenth: no single caller can take every place, and a gateway that speaks for many users under one name fits.
    pub max_sessions_per_principal: usize,
    /// Bytes of a POST body, 256 at the least; more get 413 (A-19). 4 MiB: what the Python, Go and Rust SDKs take.
    pub body_limit: usize,
    /// Bytes of POST bodies that may be held at a time while they arrive, of all together; the body that would exceed them
    /// gets 503 and `Retry-After`. The first 64 KiB of each do not count, so that large bodies keep no small ones out. 256 MiB: 64
    /// bodies of the greatest length, and a fraction of what a server with 100,000 sessions has.
    pub bodies_in_flight: usize,
    /// Messages in one batch; more get 400, and nothing of it is dispatched. Only sessions of revision 2025-03-26
    /// have batches (A-21, A-31). 100: they run all at once, and no known client sends more than a handful.
    pub batch_limit: usize,
    /// How long a POST body may take to arrive; then 408. 30 seconds: 4 MiB over a bad phone line.
    pub body_timeout: Duration,
    /// How long the [`terminated`](crate::Handler::terminated) hook of a session may take; then it is dropped, which is logged,
    /// and the session's place is free. 10 seconds: longer than a clean-up takes, and than a shutdown would wait for one;
    /// without a limit, hooks that hang would take every place in the end. [`Duration::MAX`]: none.
    pub hook_timeout: Duration,
    /// What `Retry-After` says beside 503, in whole seconds; less than one counts as one. 1 second: the next instance is usually there already.
    pub retry_after: Duration,
    /// Whether GET opens a standalone stream; without, it gets 405 (B-32).
    pub standalone_streams: bool,
    /// Whether a client may DELETE its session; without, it gets 405 (B-35).
    pub client_delete: bool,
    /// Which `Host` values are served (B-07). Loopback names by default: a public server lists its own.
    pub allowed_hosts: AllowedHosts,
    /// Which `Origin` values are served; requests without one are no browser's and pass (B-05, B-06). Loopback
    /// origins by default.
    pub allowed_origins: AllowedOrigins,
    /// Lets clients in web pages of these origins use the server (B-40). `None` by default: most clients are no pages,
    /// and every page that may read answers is one more that may be attacked.
    pub cors: Option<Cors>,
    /// Looks at the credential of every request (B-09, B-10), at once or with
    /// [`authenticate_fn`](crate::authenticate_fn). `None` by default: then a layer in front does it, or nobody.
    pub authenticate: Option<Arc<dyn Authenticate>>,
    /// How long [`authenticate`](Config::authenticate) may take; then 503. 10 seconds: an authorization server that has not
    /// answered by then will not, and clients give up after 30 or 60.
    pub authenticate_timeout: Duration,
    /// Where sessions are kept so that other endpoints with the same store can serve them: see [`store`](crate::store). It
    /// needs [`replay`](SessionConfig::replay), which is taken to be the default if it is off. `None`: a session lives and
    /// ends with its endpoint, and nothing is asked of anybody.
    pub store: Option<Store>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            session: SessionConfig::default(),
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
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("session", &self.session)
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
            .finish()
    }
}
