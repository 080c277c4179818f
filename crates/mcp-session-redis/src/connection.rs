//! [`Connection`]: one connection to Redis, set up and checked. [`Dialer`] opens it.

use std::{fmt, io, sync::Arc, time::Duration};

use async_channel::Receiver;
use futures::{
    FutureExt,
    future::{AbortHandle, Either, abortable, select},
};
use mcp_session_core::{Runtime, proto::after};
use redis::{AsyncConnectionConfig, Pipeline, RedisError, Value, aio::MultiplexedConnection};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::{config::Config, connect::Connect, error::Trouble, keys::Keys, script, server};

/// How many commands wait for the driver of a connection before their senders do.
const BUFFER: usize = 1_024;

/// Opens connections, and measures time.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    pub(crate) config: Arc<Config>,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) runtime: Arc<dyn Runtime>,
}

impl Dialer {
    /// Awaits `work`, at most for this time.
    pub(crate) async fn within<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let deadline = self.runtime.sleep_until(after(self.runtime.now(), time));
        match select(std::pin::pin!(work), deadline).await {
            Either::Left((done, _)) => done,
            Either::Right(((), _)) => Err(Trouble::Timeout),
        }
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.runtime.sleep_until(after(self.runtime.now(), time)).await;
    }

    /// Opens a connection that is logged in, to a server that is what it must be, and that knows the scripts.
    pub(crate) async fn open(&self) -> Result<Connection, Trouble> {
        let address = || self.config.address();
        let opened = self.within(self.config.timeout, async {
            let opened = async {
                let stream = self.connect.connect(&self.config.host, self.config.port).await?;
                self.config.tls.over(stream, &self.config.host).await
            };
            opened.await.map_err(|error: io::Error| Trouble::unreachable(address(), &error))
        });
        let stream = opened.await.map_err(|trouble| match trouble {
            Trouble::Timeout => {
                Trouble::Unreachable { address: address(), error: "no answer in time".into() }
            }
            other => other,
        })?;
        self.within(self.config.timeout, async {
            // Deadlines are ours: that of the crate would end a blocking read.
            let config = AsyncConnectionConfig::new()
                .set_response_timeout(None)
                .set_connection_timeout(None)
                .set_pipeline_buffer_size(BUFFER);
            // Its future borrows the settings.
            let login = self.config.login.clone();
            let (commands, driver) = MultiplexedConnection::new_with_config(&login, stream.compat(), config)
                .await
                .map_err(|error| Trouble::from(&error))?;
            let (driver, abort) = abortable(driver);
            let (alive, ended) = async_channel::bounded::<()>(1);
            self.runtime.spawn(
                driver
                    .map(move |_| drop(alive)) // closes the channel
                    .boxed(),
            );
            let mut connection =
                Connection { server: None, commands, ended, _driver: Arc::new(Driver(abort)) };
            self.set_up(&mut connection).await?;
            Ok(connection)
        })
        .await
    }

    async fn set_up(&self, connection: &mut Connection) -> Result<(), Trouble> {
        if let Some(name) = &self.config.client_name {
            let mut named = redis::pipe();
            named.cmd("CLIENT").arg("SETNAME").arg(name);
            let _ = connection.run(&named).await; // best effort
        }
        let mut info = redis::pipe();
        info.cmd("INFO");
        let answer = connection.run(&info).await?;
        let info: String = match answer.into_iter().next() {
            Some(answer) => redis::from_redis_value(answer).unwrap_or_default(),
            None => String::new(),
        };
        server::check(&info)?;
        connection.server = server::id(&info).map(Arc::from);
        self.claim(connection).await?;
        connection.load_scripts().await
    }

    /// Claims the prefix for the service of this node, or finds that it belongs to another one.
    async fn claim(&self, connection: &mut Connection) -> Result<(), Trouble> {
        let (key, ours) = (Keys::new(&self.config.prefix).service(), self.config.service.as_deref());
        let mut claim = redis::pipe();
        if let Some(ours) = ours {
            claim.cmd("SET").arg(&key).arg(ours).arg("NX").ignore();
        }
        claim.cmd("GET").arg(&key);
        let answer = connection.run(&claim).await?.pop().unwrap_or(Value::Nil);
        let owner: Option<String> = redis::from_redis_value(answer).map_err(|_| Trouble::Unreadable)?;
        match owner {
            Some(service) if Some(&*service) != ours => Err(Trouble::Foreign { service }),
            _ => Ok(()),
        }
    }
}

/// A connection. Clones share it; it is closed when the last is dropped.
#[derive(Clone)]
pub(crate) struct Connection {
    /// Which server it is, if that says so: another id is another process.
    server: Option<Arc<str>>,
    commands: MultiplexedConnection,
    /// Closed when the connection is.
    ended: Receiver<()>,
    _driver: Arc<Driver>,
}

/// Ends the task that drives a connection.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Sends commands in one write, and waits for their answers. The first error is that of all.
    pub(crate) async fn run(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Trouble> {
        let run = commands.query_async::<Vec<Value>>(&mut self.commands).await;
        let unknown = |error: &RedisError| {
            let errors = error.clone().into_server_errors();
            errors.is_some_and(|errors| errors.iter().any(|(_, error)| error.code() == "NOSCRIPT"))
        };
        let again = run.as_ref().is_err_and(unknown);
        let run = if again {
            // After a failover, or `SCRIPT FLUSH`. A script that is not known has done nothing, and each is safe to repeat.
            self.load_scripts().await?;
            commands.query_async::<Vec<Value>>(&mut self.commands).await
        } else {
            run
        };
        run.map_err(|error| Trouble::from(&error))
    }

    async fn load_scripts(&mut self) -> Result<(), Trouble> {
        let mut load = redis::pipe();
        for command in script::load() {
            load.add_command(command).ignore();
        }
        load.exec_async(&mut self.commands).await.map_err(|error| Trouble::from(&error))
    }

    pub(crate) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Waits until the connection is closed.
    pub(crate) async fn closed(&self) {
        let _ = self.ended.recv().await;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("closed", &self.ended.is_closed()).finish_non_exhaustive()
    }
}
