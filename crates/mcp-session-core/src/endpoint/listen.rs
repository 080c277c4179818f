//! POST of `subscriptions/listen` (G.6).

use http::{Response, request::Parts};
use mcp_session_proto::{ResponseMode, RpcError, RpcRequest};

use super::{Endpoint, response::events};
use crate::{
    session::cell::SharedWaiters,
    stateless::subscription::{Filter, Subscription},
    stream::{EventStream, ReplyBody},
    transport::{self, Rejection},
};

impl Endpoint {
    /// Opens a stream with the notifications that the client asks for. A subscription of which nothing is honoured ends at
    /// once, in band (G-59).
    pub(super) fn listen(
        &self,
        parts: &Parts,
        request: &RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        let invalid = |error: RpcError| Rejection::InvalidEnvelope(error.message);
        let filter = Filter::read(request.params.as_ref()).map_err(invalid)?;
        if form == Some(ResponseMode::Json) {
            return Err(Rejection::NotAcceptable("text/event-stream")); // G-51
        }
        let filter = filter.honoured(&self.0.stateless.server().capabilities);
        let is_empty = filter.is_empty();
        let subscription = Subscription::new(&request.id, parts.extensions.get().cloned(), filter);
        let call = self.0.stateless.subscribe(request.id.clone(), subscription)?;
        transport::ends_with_client(parts);
        if is_empty {
            self.0.stateless.end(&call);
        }
        let waiters = call.with(|machine, _| machine.tag_or(SharedWaiters::default));
        Ok(events(ReplyBody::events(EventStream::of_call(call, waiters))))
    }
}
