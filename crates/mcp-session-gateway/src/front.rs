//! [`Front`]: the HTTP side of the gateway: it listens, knows who may call, and passes requests to the servers.

mod access;
mod listener;
mod reload;
mod routes;

use std::{fmt, io, sync::Arc};

use futures::future::join_all;
use mcp_session_core::{Endpoint, Serve};
use mcp_session_tokio::TokioRuntime;

use self::{
    access::{Doorkeeper, Tokens, core_config},
    listener::{Bound, SocketFile},
    routes::routes,
};
use crate::{
    config::{Access, ConfigError, GatewayConfig},
    server::{Server, state::ServerState},
};

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot work, or an address or a file is not available.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Servers do not start: what each says.
    #[error("{}", .0.join("; "))]
    Servers(Vec<String>),
}

/// A server, and its endpoint.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Served {
    /// The server.
    pub server: Server,
    /// The endpoint that serves it.
    pub endpoint: Endpoint,
    pub(crate) doorkeeper: Arc<Doorkeeper>,
}

impl Served {
    /// The name of the server.
    pub fn name(&self) -> &str {
        &self.server.config().name
    }

    /// Whether new clients are served.
    pub fn is_ready(&self) -> bool {
        self.endpoint.is_ready() && self.server.state().is_ready()
    }

    /// Its state, for a reader.
    pub(crate) fn condition(&self) -> String {
        let state = if self.endpoint.is_ready() { self.server.state() } else { ServerState::Draining };
        match state {
            ServerState::Restarting { failures } => format!("restarting, after {failures} failures in a row"),
            ServerState::CrashLoop { failures, retry_in } => {
                let seconds = retry_in.as_secs_f64();
                format!("crash loop, {failures} failures in a row, next attempt in {seconds:.1} s")
            }
            ServerState::AtLimit => "at its limit of children".to_owned(),
            other => other.as_str().to_owned(),
        }
    }
}

/// The gateway before it serves. Its address is bound: clients can connect, and wait.
#[derive(Debug)]
pub struct Front {
    bound: Bound,
    access: Access,
    tokens: Option<Arc<Tokens>>,
    servers: Vec<Server>,
}

/// The gateway, started.
#[derive(Debug)]
pub struct Started {
    /// The URL of each server.
    pub urls: Vec<String>,
    /// The servers, in the order of the configuration.
    pub served: Arc<[Served]>,
    /// The HTTP server. It ends when the endpoints have shut down.
    pub serve: Serve,
    /// Removes the file of a Unix socket when it is dropped.
    pub(crate) file: Option<SocketFile>,
}

impl Front {
    /// Binds the address, and reads the files of the configuration.
    ///
    /// # Errors
    ///
    /// If one of these fails.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn bind(config: &GatewayConfig) -> Result<Self, StartError> {
        let tokens = config.access.token_file.as_deref().map(Tokens::read).transpose()?;
        let bound = Bound::new(&config.bind, config.tls.as_ref())?;
        if bound.is_public() && !config.access.has_hosts {
            tracing::warn!(
                "it listens on {}, but only the loopback names are served, and every other Host gets 403: name this one with --allow-host",
                config.bind
            );
        }
        if bound.is_public() && tokens.is_none() {
            tracing::warn!(
                "it listens on {}, and everybody who reaches that may use the servers: --bearer-token-file asks for a token",
                config.bind
            );
        }
        let servers = config.servers.iter().cloned().map(Server::new).collect();
        Ok(Self { bound, access: config.access.clone(), tokens: tokens.map(Arc::new), servers })
    }

    /// Starts the servers, all at the same time, and then the endpoints.
    ///
    /// # Errors
    ///
    /// If one of the servers does not start. The children of the others have ended by then.
    ///
    /// # Cancel safety
    ///
    /// Safe: children that were started end.
    pub async fn start(self) -> Result<Started, StartError> {
        let started = join_all(self.servers.iter().map(Server::start)).await;
        let failed: Vec<_> = started.into_iter().filter_map(|one| Some(one.err()?.to_string())).collect();
        if !failed.is_empty() {
            join_all(self.servers.iter().map(Server::close)).await;
            return Err(StartError::Servers(failed));
        }
        let runtime = TokioRuntime::current();
        let mut served = Vec::new();
        for server in self.servers {
            let name = server.config().name.clone();
            let limit = |error: &dyn fmt::Display| ConfigError::new(format!("servers.{name}"), error);
            let config = core_config(&server, &self.access, self.tokens.as_ref());
            let config = config.map_err(|error| limit(&error))?;
            let endpoint = Endpoint::with_config(runtime.clone(), server.handler(), config);
            let endpoint = endpoint.map_err(|error| limit(&error))?;
            server.attach(&endpoint.manager());
            let doorkeeper = Arc::new(Doorkeeper::new(self.access.clone()));
            served.push(Served { server, endpoint, doorkeeper });
        }
        let served: Arc<[Served]> = served.into();
        let base = self.bound.base();
        let urls = match &*served {
            [_] => vec![format!("{base}/mcp")],
            several => several.iter().map(|one| format!("{base}/{}/mcp", one.name())).collect(),
        };
        let app = routes(&served);
        let endpoints: Vec<_> = served.iter().map(|one| one.endpoint.clone()).collect();
        let (serve, file) = self.bound.serve(endpoints, app);
        Ok(Started { urls, served, serve, file })
    }
}

impl From<StartError> for io::Error {
    fn from(error: StartError) -> Self {
        Self::other(error)
    }
}
