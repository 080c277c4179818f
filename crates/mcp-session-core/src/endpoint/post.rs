//! POST of a request, or of the answer to one of the server's.

use std::{future::Future, time::Instant};

use http::{Response, request::Parts};
use serde::Deserialize;

use super::{
    Endpoint,
    response::{accepted, event, events, json, pong, respond},
};
use crate::{
    call::{ExchangeHandle, FirstPoll},
    contain::{self, Panicked},
    handler::RequestContext,
    proto::{Input, Json, Refusal, ResponseMode, RpcError, RpcRequest, RpcResponse},
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
        check_era(parts, &request)?;
        let session = self.session(parts).await?;
        if request.method == "ping" {
            return ping(&session, &request, form);
        }
        respond(self.admit(session, parts, request, form)?.await.head().await)
    }

    /// Takes the client's answer to a request of the server.
    pub(super) async fn response(
        &self,
        parts: &Parts,
        response: RpcResponse,
    ) -> Result<Response<ReplyBody>, Rejection> {
        let session = self.session(parts).await?;
        self.replied(&session, response)?;
        Ok(accepted())
    }

    /// From here on the request is owed an answer. Not async, so that nobody's future has to have room for the parts.
    fn admit(
        &self,
        session: Session,
        parts: &mut Parts,
        request: RpcRequest,
        form: Option<ResponseMode>,
    ) -> Result<impl Future<Output = FirstPoll>, Rejection> {
        let (key, now) = session.with(|machine, now| {
            let key = match machine.handle_request(now, request.id.clone(), None) {
                Err(Refusal::Draining) if asks_for_a_list(&request.method) => {
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

    /// Begins to work on a request that was admitted.
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
        // A handler may panic before there is a future: that is an answer too.
        let handling = contain::call(|| env.handler.request(cx)).unwrap_or_else(|Panicked| {
            trace::handler_panicked(&method);
            Box::pin(async { Err(RpcError::internal("the handler panicked")) })
        });
        call.start(env, admitted, id, method, handling)
    }
}

/// Whether it is a request that a client may have to make before it can take an answer.
fn asks_for_a_list(method: &str) -> bool {
    matches!(method, "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list")
}

/// Answered by the session itself, in every state, while other requests run (C-14).
fn ping(
    session: &Session,
    request: &RpcRequest,
    form: Option<ResponseMode>,
) -> Result<Response<ReplyBody>, Rejection> {
    session.with(|machine, now| machine.handle_input(now, Input::Ping))?;
    let pong = pong(&request.id);
    Ok(match form {
        Some(ResponseMode::Sse) => events(ReplyBody::batch([event(&pong)].into(), Vec::new())),
        Some(ResponseMode::Json | ResponseMode::Auto) | None => json(pong),
    })
}

/// A request of a revision without sessions, by its envelope or by its header (G-40).
fn check_era(parts: &Parts, request: &RpcRequest) -> Result<(), Rejection> {
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
    // Looked for as text first, by its point, which is rare, and never in base64: almost no request has it, and some
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
                return Err(Rejection::UnsupportedVersion(meta.version));
            }
            Ok(_) | Err(_) => {}
        }
    }
    transport::check_era(&parts.headers)
}
