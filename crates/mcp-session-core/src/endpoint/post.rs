//! POST of a request, or of a response to a request of the server.

use std::{
    future::{Future, ready},
    sync::Arc,
    time::Instant,
};

use futures::{FutureExt, future::Either};
use http::{Response, request::Parts};
use mcp_session_proto::{
    Era, Input, ProtocolVersion, Refusal, ResponseMode, RpcError, RpcRequest, RpcResponse,
};

use super::{
    Answer, Endpoint, Scope,
    response::{accepted, answer, pong, respond},
};
use crate::{
    cluster::forward,
    contain::{self, Panicked},
    handler::{
        context::RequestContext,
        exchange::ExchangeHandle,
        modern::Modern,
        run::{self, Starting},
    },
    session::Session,
    stream::ReplyBody,
    transport::{self, Address, Rejection},
};

impl Endpoint {
    /// Serves a request other than `initialize`, of a session that must be looked for in a store.
    pub(super) async fn request(
        &self,
        parts: &mut Parts,
        request: RpcRequest,
        address: Option<Address>,
        form: Option<ResponseMode>,
    ) -> Answer {
        let scope = self.scope(parts, address).await?;
        head(self.begin(scope, parts, request, form)).await
    }

    /// Admits a request other than `initialize`, and starts its handler. `Err`: it is answered already. Not async, so that no future
    /// stores the request.
    #[expect(clippy::result_large_err, reason = "it is moved into the future that waits for it")]
    pub(super) fn begin(
        &self,
        scope: Scope,
        parts: &mut Parts,
        request: RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<Starting<'_>, Answer> {
        if request.method == "ping" {
            return Err(ping(&scope, &request, form));
        }
        let admitted = match scope {
            Scope::Session(session) => admit(session, &request, form),
            Scope::Stateless(version) => self.admit_stateless(version, parts, &request, form),
        };
        let Admitted { call, at, version } = admitted.map_err(Err)?;
        Ok(self.start(call, at, version, None, parts, request))
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

    /// Admits a request without a session (E-26, E-27).
    fn admit_stateless(
        &self,
        version: ProtocolVersion,
        parts: &Parts,
        request: &RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<Admitted, Rejection> {
        let mode = form.unwrap_or(self.0.registry.env.session_config.response_mode);
        let principal = parts.extensions.get().cloned();
        let call = self.0.stateless.admit(request.id.clone(), Era::Stateless, mode, principal)?;
        transport::ends_with_client(parts);
        Ok(Admitted { at: call.now(), call: ExchangeHandle::Stateless(call), version })
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
    ) -> Starting<'_> {
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

/// Waits for the head of the response to a request that was started, unless it is answered already. Of combinators, because
/// an async block stores each future twice that it gets and awaits.
pub(super) fn head(started: Result<Starting<'_>, Answer>) -> impl Future<Output = Answer> {
    started.map_or_else(
        |answer| Either::Right(ready(answer)),
        |first| Either::Left(first.then(|first| first.map(respond))),
    )
}

/// A request that was admitted: it must get an answer.
struct Admitted {
    call: ExchangeHandle,
    at: Instant,
    version: ProtocolVersion,
}

/// Admits a request of a session.
fn admit(session: Session, request: &RpcRequest, form: Option<ResponseMode>) -> Result<Admitted, Rejection> {
    let (key, at, version) = session.with(|machine, now| {
        let key = match machine.handle_request(now, request.id.clone(), None) {
            Err(Refusal::Draining) if request.is_list() => machine.handle_list(now, request.id.clone(), None),
            admitted => admitted,
        }?;
        if let Some(form) = form {
            machine.restrict(key, form);
        }
        Ok::<_, Refusal>((key, now, machine.version()))
    })?;
    Ok(Admitted { call: ExchangeHandle::Session(session, key), at, version })
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
