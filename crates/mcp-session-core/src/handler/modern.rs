//! [`Modern`]: what a request of 2026-07-28 has beside its exchange.

use std::sync::Arc;

use mcp_session_proto::{ErrorCode, Json, RpcError};

use super::{input::Inputs, state::Sealer};
use crate::{
    principal::Principal,
    stateless::{
        registry::Shared,
        server::{Answered, Completed},
    },
    transport::{Envelope, LogLevel},
};

/// What a request of 2026-07-28 has beside its exchange.
pub(crate) struct Modern {
    pub(crate) envelope: Envelope,
    pub(super) principal: Option<Principal>,
    pub(super) sealer: Arc<Sealer>,
    pub(super) inputs: Inputs,
    shared: Arc<Shared>,
}

impl Modern {
    pub(crate) fn new(
        envelope: Envelope,
        principal: Option<Principal>,
        sealer: Arc<Sealer>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { envelope, principal, sealer, inputs: Inputs::default(), shared }
    }

    /// Completes the handler's answer. A handler that stopped because it needs the client's input gets it asked (G-35).
    pub(super) fn complete(&self, method: &str, answer: Result<Json, RpcError>) -> Completed<'_> {
        let answer = match answer {
            Err(error) if error.code == ErrorCode::INPUT_REQUIRED => self.ask(method),
            answer => answer,
        };
        let answered = Answered { method, capabilities: &self.envelope.capabilities };
        self.shared.server.complete(Some(answered), answer)
    }

    /// Whether the request asked for log messages of this level (G-08).
    pub(super) fn wants_log(&self, level: Option<LogLevel>) -> bool {
        self.envelope.log_level.is_some_and(|least| level.is_some_and(|level| level >= least))
    }
}
