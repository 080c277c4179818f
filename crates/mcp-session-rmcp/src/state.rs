//! [`State`]: what the bridge has of a session.

use std::sync::Arc;

use crate::peer::Kept;

/// The data of a session.
pub(crate) struct State<S> {
    pub(crate) service: Arc<S>,
    pub(crate) kept: Arc<Kept>,
}

impl<S> State<S> {
    pub(crate) fn new(service: Arc<S>) -> Self {
        Self { service, kept: Arc::default() }
    }
}
