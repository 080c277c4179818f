//! [`RedisStore`]: the store, and how it starts.

use std::{fmt, sync::Arc, time::Duration};

use async_channel::Sender;
use mcp_session_core::{Runtime, store::Store};

use crate::{
    config::Config,
    connect::{AsyncIo, Connect},
    connection::Dialer,
    core::Core,
    error::{ConfigError, Trouble},
    link::until_closed,
    reader,
};

/// The sessions of a service, on a Redis. Cheap to clone; each clone is the same store.
///
/// It implements [`EventStore`](mcp_session_core::store::EventStore), [`SessionStore`](mcp_session_core::store::SessionStore)
/// and [`Peers`](mcp_session_core::store::Peers). One per process: it keeps the lease of each node that uses it. Its
/// connections and tasks end with the last clone.
#[derive(Clone)]
pub struct RedisStore(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    /// The tasks end when it is dropped.
    _stop: Sender<()>,
}

/// Why [`RedisStore::connect`] has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Redis cannot be used.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl RedisStore {
    /// Connects to a Redis, and checks its version, its role and its `maxmemory-policy`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], after [`Config::timeout`] for each step at most.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the connection.
    pub async fn connect(config: Config, runtime: Arc<dyn Runtime>) -> Result<Self, ConnectError> {
        Self::connect_with(config, runtime, AsyncIo).await
    }

    /// As [`connect`](Self::connect), with byte streams of your own, or through [`Sentinel`](crate::Sentinel) or
    /// [`Cluster`](crate::Cluster).
    ///
    /// # Errors
    ///
    /// [`ConnectError`], after [`Config::timeout`] for each step at most.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the connection.
    pub async fn connect_with(
        config: Config,
        runtime: Arc<dyn Runtime>,
        connect: impl Connect,
    ) -> Result<Self, ConnectError> {
        let store = Self::start_with(config, runtime, connect)?;
        store.0.core.link.tried().await?;
        Ok(store)
    }

    /// Starts a store that connects in the background, again and again until Redis is there. Until then its calls fail with
    /// [`Unavailable`](mcp_session_core::store::Unavailable); [`unreachable_for`](Self::unreachable_for) is for a readiness
    /// probe.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use mcp_session_core::Runtime;
    /// use mcp_session_redis::{Config, ConfigError, RedisStore};
    ///
    /// fn start(runtime: Arc<dyn Runtime>) -> Result<RedisStore, ConfigError> {
    ///     RedisStore::start(Config::new("redis://127.0.0.1:6379/0")?, runtime)
    /// }
    /// # let _ = start;
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`], from [`Config::check`], or without certificate authorities for TLS.
    pub fn start(config: Config, runtime: Arc<dyn Runtime>) -> Result<Self, ConfigError> {
        Self::start_with(config, runtime, AsyncIo)
    }

    /// As [`start`](Self::start), with byte streams of your own, or through [`Sentinel`](crate::Sentinel) or
    /// [`Cluster`](crate::Cluster). TLS goes over them, if the configuration wants it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], from [`Config::check`], or without certificate authorities for TLS.
    pub fn start_with(
        mut config: Config,
        runtime: Arc<dyn Runtime>,
        connect: impl Connect,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        config.tls = config.tls.ready()?;
        let core =
            Arc::new(Core::new(Dialer { config: Arc::new(config), connect: Arc::new(connect), runtime }));
        let (stop, stopped) = async_channel::bounded(1);
        let linked = Arc::clone(&core);
        core.spawn(until_closed(stopped.clone(), async move { linked.keep_connected().await }));
        let beating = Arc::clone(&core);
        core.spawn(until_closed(stopped.clone(), async move { beating.beat().await }));
        core.spawn(until_closed(stopped.clone(), reader::keep(Arc::clone(&core), stopped)));
        Ok(Self(Arc::new(Handle { core, _stop: stop })))
    }

    /// Core's [`Store`], for [`Config::store`](mcp_session_core::Config::store).
    pub fn store(&self) -> Store {
        Store::new(self.clone())
    }

    /// For how long Redis could not be used; `None` if it can be. A readiness probe fails after some seconds of it: other nodes
    /// may reach Redis, and short breaks harm nobody.
    pub fn unreachable_for(&self) -> Option<Duration> {
        let core = &self.0.core;
        core.link.down_since().map(|since| core.now().saturating_duration_since(since))
    }

    /// Whether it has ever been connected.
    pub fn was_connected(&self) -> bool {
        self.0.core.link.generation() > 0
    }

    /// Why Redis cannot be used, or why the last call failed that did. For logs and humans.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.core.link.trouble()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("config", self.0.core.config())
            .field("unreachable_for", &self.unreachable_for())
            .field("trouble", &self.trouble())
            .finish_non_exhaustive()
    }
}
