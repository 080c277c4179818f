//! [`Adoptions`]: the sessions of other nodes that are being taken up here, with a store.

use std::{collections::HashMap, sync::Arc};

use event_listener::Event;
use mcp_session_proto::SessionId;

use super::Session;
use crate::{
    store::Unavailable,
    sync::{Mutex, OnceLock},
    transport::Rejection,
};

/// Sessions that are being adopted: once each, however many requests need it, so that it gets one number and one machine.
#[derive(Debug, Default)]
pub(crate) struct Adoptions(pub(crate) Mutex<HashMap<SessionId, Arc<Adoption>>>);

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Adoption {
    pub(crate) outcome: OnceLock<Result<Session, Failure>>,
    pub(crate) over: Event,
}

impl Adoption {
    /// Waits until it is over.
    pub(crate) async fn ends(&self) -> Result<Session, Failure> {
        loop {
            let over = self.over.listen();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            over.await;
        }
    }
}

/// Why a session could not be adopted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure {
    Unknown,
    Unavailable,
    ShuttingDown,
    TooMany,
    /// `session_data` panicked.
    Panicked,
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unknown => Self::UnknownSession,
            Failure::Unavailable => Self::StoreUnavailable,
            Failure::ShuttingDown => Self::ShuttingDown,
            Failure::TooMany => Self::TooManySessions,
            Failure::Panicked => Self::Internal("the data of the session could not be created"),
        }
    }
}

impl From<Unavailable> for Failure {
    fn from(Unavailable: Unavailable) -> Self {
        Self::Unavailable
    }
}
