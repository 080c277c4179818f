//! POST of `initialize`: a new session.

use std::mem;

use http::{HeaderValue, Response, request::Parts};
use mcp_session_proto::{
    Era, ExchangeKey, Input, Json, Refusal, ResponseMode, RpcError, RpcRequest, TerminateReason,
};

use super::{Endpoint, response::respond};
use crate::{
    cluster::forward,
    config::Sessions,
    handler::{
        InitializeRequest,
        exchange::ExchangeHandle,
        initialize::{self, Opening},
        run::HandlerFuture,
    },
    session::Session,
    stream::ReplyBody,
    transport::{self, Rejection, SessionHeader},
};

impl Endpoint {
    pub(super) async fn initialize(
        &self,
        parts: &mut Parts,
        request: RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        let header = transport::session_header(&parts.headers)?;
        match self.0.registry.env.config.sessions {
            Sessions::Stateless => return self.initialize_stateless(parts, &request, form).await,
            _ if header == SessionHeader::Absent => {}
            // C-17: a live session refuses. An unknown id may be the platform's own (E-28); where each request must
            // have an id, it is refused.
            sessions => match Box::pin(self.lookup(header, parts)).await {
                Ok(session) => {
                    let taken = session.with(|machine, now| machine.handle_input(now, Input::Initialize));
                    match taken {
                        Err(Refusal::Gone) if sessions == Sessions::Optional => {}
                        taken => _ = taken?,
                    }
                }
                Err(Rejection::UnknownSession) if sessions == Sessions::Optional => {}
                Err(rejection) => return Err(rejection),
            },
        }
        let ((session, key), handler) = match self.open(parts, &request) {
            Err(Rejection::TooManySessions) => {
                let principal = parts.extensions.get().cloned();
                Box::pin(self.0.registry.with_room(principal.as_ref(), || self.open(parts, &request))).await?
            }
            opened => opened?,
        };
        let env = &self.0.registry.env;
        if let Some(form) = form {
            session.with(|machine, _| machine.restrict(key, form));
        }
        let call = ExchangeHandle::Session(session.clone(), key);
        let (id, method) = (request.id.clone(), request.method.clone());
        let started = call.start(env, session.created(), id, method, handler, None).await;
        let mut response = respond(started.await)?;
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

    /// Answers a client that gets no session. Nothing is kept of it (E-27).
    async fn initialize_stateless(
        &self,
        parts: &mut Parts,
        request: &RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        let Opening { version, capabilities, client_info, .. } = initialize::read(params(request)?)?;
        let env = &self.0.registry.env;
        let mode = form.unwrap_or(env.session_config.response_mode);
        let principal = parts.extensions.get().cloned();
        let call = self.0.stateless.admit(request.id.clone(), Era::Stateless, mode, principal)?;
        transport::ends_with_client(parts);
        let initialize = InitializeRequest {
            session_id: None,
            protocol_version: version,
            capabilities: copy(capabilities),
            client_info: copy(client_info),
            headers: mem::take(&mut parts.headers),
            extensions: mem::take(&mut parts.extensions),
            session: None,
        };
        let handler = self.0.handler.initialize(initialize);
        let (now, id, method) = (call.now(), request.id.clone(), request.method.clone());
        let started = ExchangeHandle::Stateless(call).start(env, now, id, method, handler, None).await;
        respond(started.await)
    }

    /// Creates the session and calls the handler. From here on, the client must get an answer.
    fn open(
        &self,
        parts: &mut Parts,
        request: &RpcRequest,
    ) -> Result<((Session, ExchangeKey), HandlerFuture), Rejection> {
        let params = params(request)?;
        let Opening { version, known, capabilities, client_info } = initialize::read(params)?;
        let principal = parts.extensions.get().cloned();
        let (session, key) = self.0.registry.create(request.id.clone(), version, known, principal, params)?;
        // What the session keeps is shared, unless it was too long and is reduced.
        let kept = |kept: &Json, text: &str| if kept.as_str() == text { kept.clone() } else { copy(text) };
        let initialize = InitializeRequest {
            session_id: Some(session.id()),
            protocol_version: version,
            capabilities: kept(session.client_capabilities(), capabilities),
            client_info: kept(session.client_info(), client_info),
            headers: mem::take(&mut parts.headers),
            extensions: mem::take(&mut parts.extensions),
            session: Some(session.clone()),
        };
        Ok(((session, key), self.0.handler.initialize(initialize)))
    }
}

/// A copy for the handler, which may keep it, without the buffer of the request.
fn copy(object: &str) -> Json {
    Json::spliced(object.to_owned())
}

fn params(request: &RpcRequest) -> Result<&Json, Rejection> {
    request
        .params
        .as_ref()
        .ok_or_else(|| Rejection::InvalidInitialize(RpcError::invalid_params("`initialize` needs `params`")))
}
