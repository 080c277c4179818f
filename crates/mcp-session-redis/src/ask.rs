//! [`Oracles`]: servers that know where the primary is.

use std::{io, sync::Arc};

use futures::future::{Either, FutureExt, select, select_ok};
use redis::{AsyncConnectionConfig, Pipeline, Value, aio::MultiplexedConnection};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::{
    config::Config,
    connect::{Connect, Stream},
    error::ConfigError,
};

/// The sentinels, or the nodes of a cluster. All are asked at once, and the first that knows the primary decides.
#[derive(Debug)]
pub(crate) struct Oracles<C> {
    servers: Vec<Config>,
    connect: Arc<C>,
}

impl<C> Clone for Oracles<C> {
    fn clone(&self) -> Self {
        Self { servers: self.servers.clone(), connect: Arc::clone(&self.connect) }
    }
}

impl<C: Connect> Oracles<C> {
    /// The servers at these URLs; `None` without any.
    pub(crate) fn new<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        connect: C,
    ) -> Result<Option<Self>, ConfigError> {
        let servers = urls.into_iter().map(|url| {
            let mut config = Config::new(url.as_ref())?;
            config.tls = config.tls.ready()?;
            Ok(config)
        });
        let servers: Vec<Config> = servers.collect::<Result<_, ConfigError>>()?;
        Ok((!servers.is_empty()).then(|| Self { servers, connect: Arc::new(connect) }))
    }

    /// Connects to the primary that `read` finds in the answers of one of the servers to `question`. `read` also gets the host
    /// of that server.
    pub(crate) async fn connect(
        &self,
        question: &Pipeline,
        read: impl Fn(&str, Vec<Value>) -> io::Result<(String, u16)> + Sync,
    ) -> io::Result<Box<dyn Stream>> {
        let asked = self.servers.iter().map(|server| {
            let read = &read;
            async move { read(&server.host, self.ask(server, question).await?) }.boxed()
        });
        let ((host, port), _) = select_ok(asked).await?;
        self.connect.connect(&host, port).await
    }

    async fn ask(&self, server: &Config, question: &Pipeline) -> io::Result<Vec<Value>> {
        let stream = self.connect.connect(&server.host, server.port).await?;
        let stream = server.tls.over(stream, &server.host).await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let opened = MultiplexedConnection::new_with_config(&server.login, stream.compat(), config);
        let (mut connection, driver) = opened.await.map_err(io::Error::other)?;
        let answer = std::pin::pin!(question.query_async(&mut connection));
        match select(answer, std::pin::pin!(driver)).await {
            Either::Left((answer, _)) => answer.map_err(io::Error::other),
            Either::Right(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
