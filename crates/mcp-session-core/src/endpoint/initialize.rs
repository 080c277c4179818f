//! POST of `initialize`: a new session.

use std::mem;

use http::{HeaderValue, Response, request::Parts};
use mcp_session_proto::{Input, ResponseMode, RpcError, RpcRequest, TerminateReason};

use super::{Endpoint, response::respond};
use crate::{
    cluster::forward,
    handler::{
        InitializeRequest,
        initialize::{self, Opening},
        run::{ExchangeHandle, HandlerFuture},
    },
    stream::ReplyBody,
    transport::{self, Rejection, SessionHeader},
};

impl Endpoint {
    pub(super) async fn initialize(
        &self,
        parts: &mut Parts,
        request: &RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        if transport::session_header(&parts.headers)? != SessionHeader::Absent {
            // C-17: a live session refuses, a dead one is unknown.
            let session = Box::pin(self.lookup(parts)).await?;
            session.with(|machine, now| machine.handle_input(now, Input::Initialize))?;
        }
        let (call, handler) = match self.open(parts, request) {
            Err(Rejection::TooManySessions) => {
                let principal = parts.extensions.get().cloned();
                Box::pin(self.registry.with_room(principal.as_ref(), || self.open(parts, request))).await?
            }
            opened => opened?,
        };
        let (session, env) = (call.session.clone(), &self.registry.env);
        if let Some(form) = form {
            session.with(|machine, _| machine.restrict(call.key, form));
        }
        let started =
            call.start(env, session.created(), request.id.clone(), request.method.clone(), handler).await;
        let mut response = respond(started.head().await)?;
        if session.with(|machine, _| machine.is_established()) {
            if let Err(rejection) = session.attach() {
                session.terminate(TerminateReason::Error);
                return Err(rejection);
            }
            if let Some(node) = &env.node {
                Box::pin(forward::keep(node, &session)).await?;
            }
            let id = HeaderValue::from_bytes(&session.id().digits())
                .map_err(|_| Rejection::Internal("the session id is not a valid header value"))?;
            response.headers_mut().insert(transport::SESSION_ID, id);
        }
        Ok(response)
    }

    /// Creates the session and calls the handler. From here on, the client must get an answer.
    fn open(
        &self,
        parts: &mut Parts,
        request: &RpcRequest,
    ) -> Result<(ExchangeHandle, HandlerFuture), Rejection> {
        let params = request.params.as_ref().ok_or_else(|| {
            Rejection::InvalidInitialize(RpcError::invalid_params("`initialize` needs `params`"))
        })?;
        let Opening { version, known, capabilities, client_info } = initialize::read(params)?;
        let principal = parts.extensions.get().cloned();
        let (session, key) = self.registry.create(request.id.clone(), version, known, principal, params)?;
        let initialize = InitializeRequest {
            session_id: Some(session.id()),
            protocol_version: version,
            capabilities,
            client_info,
            headers: mem::take(&mut parts.headers),
            extensions: mem::take(&mut parts.extensions),
        };
        Ok((ExchangeHandle { session, key }, self.handler.initialize(initialize)))
    }
}
