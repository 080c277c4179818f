//! POST of a request, or of a response to a request of the server.

use std::{future::Future, sync::Arc, time::Instant};

use http::{Response, request::Parts};
use mcp_session_proto::{
    Era, Input, ProtocolVersion, Refusal, ResponseMode, RpcError, RpcRequest, RpcResponse,
};

use super::{
    Endpoint, Scope,
    response::{accepted, answer, pong, respond},
};
use crate::{
    cluster::forward,
    contain::{self, Panicked},
    handler::{
        context::RequestContext,
        exchange::ExchangeHandle,
        modern::Modern,
        run::{self, FirstPoll},
    },
    session::Session,
    stream::ReplyBody,
    transport::{self, Address, Rejection},
};

impl Endpoint {
    /// Serves a request other than `initialize`.
    pub(super) async fn request(
        &self,
        parts: &mut Parts,
        request: RpcRequest,
        address: Option<Address>,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        let scope = self.scope(parts, address).await?;
        if request.method == "ping" {
            return ping(&scope, &request, form);
        }
        let first = match scope {
            Scope::Session(session) => self.admit(session, parts, request, form)?.await,
            Scope::Stateless(version) => self.admit_stateless(version, parts, request, form)?.await,
        };
        respond(first.head().await)
    }

    /// Accepts the client's response to a request of the server.
    pub(super) async fn response(
        &self,
        parts: &Parts,
        response: RpcResponse,
    ) -> Result<Response<ReplyBody>, Rejection> {
        transport::check_response(self.0.registry.env.config.eras, &parts.headers)?;
        match self.scope(parts, None).await? {
            Scope::Session(session) => self.replied(&session, response).await?,
            Scope::Stateless(_) => {} // nobody waits for it (B-19)
        }
        Ok(accepted())
    }

    /// Accepts a reply of the client, once the node that waits for it has it.
    pub(super) async fn replied(&self, session: &Session, response: RpcResponse) -> Result<(), Rejection> {
        match &self.0.registry.env.node {
            None => Ok(session.with(|machine, now| machine.handle_response(now, response))?),
            // Boxed, so that it does not enlarge every such future.
            Some(node) => Box::pin(forward::response(node, session, response)).await,
        }
    }

    /// Admits a request: from here on, it must get an answer. Not async, so that no future stores the parts.
    fn admit(
        &self,
        session: Session,
        parts: &mut Parts,
        request: RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<impl Future<Output = FirstPoll>, Rejection> {
        let (key, now, version) = session.with(|machine, now| {
            let key = match machine.handle_request(now, request.id.clone(), None) {
                Err(Refusal::Draining) if request.is_list() => {
                    machine.handle_list(now, request.id.clone(), None)
                }
                admitted => admitted,
            }?;
            if let Some(form) = form {
                machine.restrict(key, form);
            }
            Ok::<_, Refusal>((key, now, machine.version()))
        })?;
        Ok(self.start(ExchangeHandle::Session(session, key), now, version, None, parts, request))
    }

    /// Admits a request without a session (E-26, E-27).
    pub(super) fn admit_stateless(
        &self,
        version: ProtocolVersion,
        parts: &mut Parts,
        request: RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<impl Future<Output = FirstPoll>, Rejection> {
        let mode = form.unwrap_or(self.0.registry.env.session_config.response_mode);
        let principal = parts.extensions.get().cloned();
        let call = self.0.stateless.admit(request.id.clone(), Era::Stateless, mode, principal)?;
        transport::ends_with_client(parts);
        let now = call.now();
        Ok(self.start(ExchangeHandle::Stateless(call), now, version, None, parts, request))
    }

    /// Starts the handler for an admitted request.
    pub(super) fn start(
        &self,
        call: ExchangeHandle,
        admitted: Instant,
        version: ProtocolVersion,
        modern: Option<Arc<Modern>>,
        parts: &mut Parts,
        request: RpcRequest,
    ) -> impl Future<Output = FirstPoll> {
        let env = &self.0.registry.env;
        let (id, method) = (request.id.clone(), request.method.clone());
        let cx = RequestContext::new(call.clone(), version, modern.clone(), request, parts);
        // A handler that panics before it returns a future gets an answer too.
        let handling = contain::call(|| self.0.handler.request(cx)).unwrap_or_else(|Panicked| {
            run::panicked(&call, &id, &method);
            Box::pin(async { Err(RpcError::internal("the handler panicked")) })
        });
        call.start(env, admitted, id, method, handling, modern)
    }
}

/// Answers `ping`, in every state of the session, while other requests run (C-14).
fn ping(
    scope: &Scope,
    request: &RpcRequest,
    form: Option<ResponseMode>,
) -> Result<Response<ReplyBody>, Rejection> {
    if let Scope::Session(session) = scope {
        session.with(|machine, now| machine.handle_input(now, Input::Ping))?;
    }
    Ok(answer(pong(&request.id), form))
}
