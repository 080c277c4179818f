//! [`Sentinel`]: asks Redis Sentinel for the present primary.

use std::io;

use futures::FutureExt;
use mcp_session_core::BoxFuture;
use redis::Value;

use crate::{
    ask::Oracles,
    connect::{AsyncIo, Connect, Stream},
    error::ConfigError,
};

/// Connects to the primary that Redis Sentinel names at that moment. After a failover, the next connection is to the new one.
///
/// Host and port of the store's URL are not used; its user, password, database and TLS are. All sentinels are asked at once,
/// and the first that knows the primary decides.
///
/// ```
/// use std::sync::Arc;
/// use mcp_session_core::Runtime;
/// use mcp_session_redis::{Config, ConfigError, RedisStore, Sentinel};
///
/// fn start(runtime: Arc<dyn Runtime>) -> Result<RedisStore, ConfigError> {
///     let sentinels = Sentinel::new("mymaster", ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379"])?;
///     RedisStore::start_with(Config::new("redis://node:secret@mymaster/0")?, runtime, sentinels)
/// }
/// # let _ = start;
/// assert_eq!(Sentinel::new("mymaster", [""; 0]).unwrap_err(), ConfigError::Sentinels);
/// ```
#[derive(Debug, Clone)]
pub struct Sentinel<C = AsyncIo> {
    primary: String,
    sentinels: Oracles<C>,
}

impl Sentinel {
    /// Asks the sentinels at these URLs for the primary of this name, over TCP by [`AsyncIo`]. User, password and `rediss://` in
    /// a URL are for the sentinel.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Sentinels`] without any, and those of [`Config::new`](crate::Config::new).
    pub fn new<U: AsRef<str>>(
        primary: impl Into<String>,
        sentinels: impl IntoIterator<Item = U>,
    ) -> Result<Self, ConfigError> {
        Self::with(primary, sentinels, AsyncIo)
    }
}

impl<C: Connect> Sentinel<C> {
    /// As [`new`](Sentinel::new), with byte streams of your own.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Sentinels`] without any, and those of [`Config::new`](crate::Config::new).
    pub fn with<U: AsRef<str>>(
        primary: impl Into<String>,
        sentinels: impl IntoIterator<Item = U>,
        connect: C,
    ) -> Result<Self, ConfigError> {
        let sentinels = Oracles::new(sentinels, connect)?.ok_or(ConfigError::Sentinels)?;
        Ok(Self { primary: primary.into(), sentinels })
    }
}

impl<C: Connect> Connect for Sentinel<C> {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let read = |_: &str, answers| {
            let (primary,): (Option<(String, u16)>,) =
                redis::from_redis_value(Value::Array(answers)).map_err(io::Error::other)?;
            primary.ok_or_else(|| io::Error::other(format!("no sentinel knows a primary `{}`", self.primary)))
        };
        async move {
            let mut question = redis::pipe();
            question.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.primary);
            self.sentinels.connect(&question, read).await
        }
        .boxed()
    }
}
