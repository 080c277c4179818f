//! POST of a request, or of a response to a request of the server.

use std::{future::Future, time::Instant};

use http::{Response, request::Parts};
use mcp_session_proto::{Input, Json, Refusal, ResponseMode, RpcError, RpcRequest, RpcResponse};
use serde::Deserialize;

use super::{
    Endpoint,
    response::{accepted, event, events, json, pong, respond},
};
use crate::{
    cluster::forward,
    config::Eras,
    contain::{self, Panicked},
    handler::{
        context::RequestContext,
        run::{ExchangeHandle, FirstPoll},
    },
    session::Session,
    stream::ReplyBody,
    trace,
    transport::{self, Rejection},
};

impl Endpoint {
    /// Serves a request other than `initialize`.
    pub(super) async fn request(
        &self,
        parts: &mut Parts,
        request: RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        check_era(parts, &request, self.registry.env.config.eras)?;
        let session = self.session(parts).await?;
        if request.method == "ping" {
            return ping(&session, &request, form);
        }
        respond(self.admit(session, parts, request, form)?.await.head().await)
    }

    /// Accepts the client's response to a request of the server.
    pub(super) async fn response(
        &self,
        parts: &Parts,
        response: RpcResponse,
    ) -> Result<Response<ReplyBody>, Rejection> {
        let session = self.session(parts).await?;
        self.replied(&session, response)?;
        Ok(accepted())
    }

    /// Accepts a reply of the client.
    pub(super) fn replied(&self, session: &Session, response: RpcResponse) -> Result<(), Rejection> {
        match &self.registry.env.node {
            None => Ok(session.with(|machine, now| machine.handle_response(now, response))?),
            Some(node) => forward::response(node, session, response),
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
        let (key, now) = session.with(|machine, now| {
            let key = match machine.handle_request(now, request.id.clone(), None) {
                Err(Refusal::Draining) if request.is_list() => {
                    machine.handle_list(now, request.id.clone(), None)
                }
                admitted => admitted,
            }?;
            if let Some(form) = form {
                machine.restrict(key, form);
            }
            Ok::<_, Refusal>((key, now))
        })?;
        Ok(self.start(ExchangeHandle { session, key }, now, parts, request))
    }

    /// Starts the handler for an admitted request.
    pub(super) fn start(
        &self,
        call: ExchangeHandle,
        admitted: Instant,
        parts: &mut Parts,
        request: RpcRequest,
    ) -> impl Future<Output = FirstPoll> {
        let env = &self.registry.env;
        let (id, method) = (request.id.clone(), request.method.clone());
        let cx = RequestContext::new(call.clone(), request, parts);
        // A handler that panics before it returns a future gets an answer too.
        let handling = contain::call(|| self.handler.request(cx)).unwrap_or_else(|Panicked| {
            trace::handler_panicked(&method);
            Box::pin(async { Err(RpcError::internal("the handler panicked")) })
        });
        call.start(env, admitted, id, method, handling)
    }
}

/// Answers `ping`. The session does this itself, in every state, while other requests run (C-14).
fn ping(
    session: &Session,
    request: &RpcRequest,
    form: Option<ResponseMode>,
) -> Result<Response<ReplyBody>, Rejection> {
    session.with(|machine, now| machine.handle_input(now, Input::Ping))?;
    let pong = pong(&request.id);
    Ok(match form {
        Some(ResponseMode::Sse) => events(ReplyBody::batch([event(&pong)].into(), Vec::new())),
        Some(_) | None => json(pong),
    })
}

/// Refuses a request of a revision without sessions, recognized by its envelope or its header (G-40).
fn check_era(parts: &Parts, request: &RpcRequest, eras: Eras) -> Result<(), Rejection> {
    const KEY: (&str, &str) = ("io", ".modelcontextprotocol/protocolVersion");
    #[derive(Deserialize)]
    struct Params {
        #[serde(rename = "_meta")]
        meta: Meta,
    }
    #[derive(Deserialize)]
    struct Meta {
        #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
        version: String,
    }
    // First searches the text for a `.`, which is rare and never occurs in base64: almost no request has the key, and some
    // are long.
    let is_key = |text: &str, at| text[..at].ends_with(KEY.0) && text[at..].starts_with(KEY.1);
    let has_key = |params: &Json| {
        params.as_bytes().contains(&b'.') && {
            let text = params.as_str();
            text.match_indices('.').any(|(at, _)| is_key(text, at))
        }
    };
    if let Some(params) = request.params.as_ref().filter(|params| has_key(params)) {
        match params.parse::<Params>() {
            Ok(Params { meta }) if transport::is_modern(meta.version.as_bytes()) => {
                return Err(Rejection::UnsupportedVersion(meta.version, eras));
            }
            Ok(_) | Err(_) => {}
        }
    }
    transport::check_era(&parts.headers, eras)
}
