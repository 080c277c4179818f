//! One named server: a [`Handler`] on top of the children that speak stdio.

pub mod config;
pub mod state;

use std::sync::Arc;

use mcp_session_core::{Handler, InitializeResult, Json, RequestContext, RpcError};

use self::{
    config::ServerConfig,
    state::{ChildrenReport, ServerState, ServerStats},
};

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("server {server}: {why}")]
#[non_exhaustive]
pub struct StartError {
    /// The name of the server.
    pub server: String,
    /// What is wrong, for a reader.
    pub why: String,
}

/// One named server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server(Arc<ServerConfig>);

impl Server {
    /// Creates a server. Nothing is started.
    pub fn new(config: ServerConfig) -> Self {
        Self(Arc::new(config))
    }

    /// Starts a first child and learns from it what the server is. Call it before an endpoint is built with
    /// [`Server::handler`], which asks once, when it is built.
    ///
    /// # Errors
    ///
    /// If the child does not start or does not answer `initialize`. It may be called again.
    pub async fn start(&self) -> Result<(), StartError> {
        Ok(())
    }

    /// The configuration.
    pub fn config(&self) -> &ServerConfig {
        &self.0
    }

    /// The handler, for an endpoint.
    pub fn handler(&self) -> ServerHandler {
        ServerHandler(self.clone())
    }

    /// What it can do at the moment.
    pub fn state(&self) -> ServerState {
        ServerState::Starting
    }

    /// Its counts.
    pub fn stats(&self) -> ServerStats {
        ServerStats::default()
    }

    /// From now on the state is [`ServerState::Draining`]. Nothing else changes: core refuses new clients.
    pub fn drain(&self) {}

    /// Ends all children, at the same time, and returns when they have ended: after at most both budgets and a moment.
    pub async fn close(&self) -> ChildrenReport {
        ChildrenReport::default()
    }
}

/// The [`Handler`] of a [`Server`].
#[derive(Debug, Clone)]
pub struct ServerHandler(Server);

impl Handler for ServerHandler {
    fn info(&self) -> InitializeResult {
        InitializeResult::new(&self.0.config().name, env!("CARGO_PKG_VERSION"))
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        Err(RpcError::method_not_found(cx.method()))
    }
}
