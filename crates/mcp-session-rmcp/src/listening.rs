//! [`Listening`]: an rmcp server for one subscription, which hears of all that happens after the acknowledgement.

use std::{borrow::Cow, sync::Arc};

use futures::future::join;
use rmcp::{
    ErrorData, ServerHandler,
    model::{ProtocolVersion, ServerConfig, SubscriptionFilter},
    service::SubscriptionContext,
};

use crate::link::Shared;

/// The server `S`, whose `listen` runs up to its first wait before the client gets the acknowledgement.
///
/// rmcp sends the acknowledgement and calls `listen` then. A server that begins to listen there would not hear of what a
/// client does at once: its request may run on another thread. rmcp asks a server for no more than this in
/// `subscriptions/listen`.
pub(crate) struct Listening<S> {
    server: Arc<S>,
    shared: Arc<Shared>,
}

impl<S> Listening<S> {
    pub(crate) fn new(server: &Arc<S>, shared: &Arc<Shared>) -> Self {
        shared.hold_acknowledgement();
        Self { server: Arc::clone(server), shared: Arc::clone(shared) }
    }
}

impl<S> Drop for Listening<S> {
    fn drop(&mut self) {
        self.shared.drop_acknowledgement();
    }
}

impl<S: ServerHandler> ServerHandler for Listening<S> {
    fn get_info(&self) -> ServerConfig {
        ServerHandler::get_info(&*self.server)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        ServerHandler::supported_protocol_versions(&*self.server)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        self.server.accepted_subscription_filter(requested)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        // `join` polls the first one first.
        join(self.server.listen(context), self.shared.acknowledge()).await.0
    }
}
