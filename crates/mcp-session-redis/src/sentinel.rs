//! [`Sentinel`]: asks Redis Sentinel for the present primary.

use std::{io, sync::Arc};

use futures::{
    FutureExt,
    future::{Either, select, select_ok},
};
use mcp_session_core::BoxFuture;
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::{
    config::Config,
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
    sentinels: Vec<Config>,
    connect: Arc<C>,
}

impl Sentinel {
    /// Asks the sentinels at these URLs for the primary of this name, over TCP by [`AsyncIo`]. User, password and `rediss://` in
    /// a URL are for the sentinel.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Sentinels`] without any, and those of [`Config::new`].
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
    /// [`ConfigError::Sentinels`] without any, and those of [`Config::new`].
    pub fn with<U: AsRef<str>>(
        primary: impl Into<String>,
        sentinels: impl IntoIterator<Item = U>,
        connect: C,
    ) -> Result<Self, ConfigError> {
        let sentinels = sentinels.into_iter().map(|url| {
            let mut config = Config::new(url.as_ref())?;
            config.tls = config.tls.ready()?;
            Ok(config)
        });
        let sentinels: Vec<Config> = sentinels.collect::<Result<_, ConfigError>>()?;
        if sentinels.is_empty() {
            return Err(ConfigError::Sentinels);
        }
        Ok(Self { primary: primary.into(), sentinels, connect: Arc::new(connect) })
    }

    /// What one sentinel says.
    async fn ask(&self, sentinel: &Config) -> io::Result<(String, u16)> {
        let stream = self.connect.connect(&sentinel.host, sentinel.port).await?;
        let stream = sentinel.tls.over(stream, &sentinel.host).await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let opened = MultiplexedConnection::new_with_config(&sentinel.login, stream.compat(), config);
        let (mut connection, driver) = opened.await.map_err(io::Error::other)?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.primary);
        let answer = std::pin::pin!(question.query_async::<Option<(String, u16)>>(&mut connection));
        match select(answer, std::pin::pin!(driver)).await {
            Either::Left((answer, _)) => answer
                .map_err(io::Error::other)?
                .ok_or_else(|| io::Error::other(format!("no sentinel knows a primary `{}`", self.primary))),
            Either::Right(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<C: Connect> Connect for Sentinel<C> {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        async move {
            let asked = self.sentinels.iter().map(|sentinel| self.ask(sentinel).boxed());
            let ((host, port), _) = select_ok(asked).await?;
            self.connect.connect(&host, port).await
        }
        .boxed()
    }
}
