//! POST of a request of 2026-07-28.

use std::sync::Arc;

use http::{Response, request::Parts};
use mcp_session_proto::{Era, Outgoing, ResponseMode, RpcRequest};

use super::{
    Endpoint,
    response::{answer, respond},
};
use crate::{
    contain::{self, Panicked},
    handler::{exchange::ExchangeHandle, modern::Modern},
    principal::Principal,
    stream::ReplyBody,
    transport::{self, Envelope, Rejection},
};

impl Endpoint {
    /// Serves a request of 2026-07-28, whose envelope and headers are valid. A session that it names is ignored (G-42).
    pub(super) async fn modern(
        &self,
        parts: &mut Parts,
        request: RpcRequest,
        envelope: Envelope,
        mut form: Option<ResponseMode>,
    ) -> Result<Response<ReplyBody>, Rejection> {
        match &*request.method {
            "server/discover" => {
                self.0.stateless.admits()?;
                let result = &self.0.stateless.server().discovered;
                return Ok(answer(Outgoing::Result { id: &request.id, result }.to_json(), form));
            }
            "subscriptions/listen" if self.0.handler.answers_subscriptions() => {
                if form == Some(ResponseMode::Json) {
                    return Err(Rejection::NotAcceptable("text/event-stream")); // G-51
                }
                form = Some(ResponseMode::Sse);
            }
            "subscriptions/listen" => return self.listen(parts, &request, form),
            "tools/call" => self.check_params(parts, &request, &envelope)?,
            method => transport::check_removed(method)?,
        }
        self.0.sealer.ready().await;
        let mode = form.unwrap_or(self.0.registry.env.session_config.response_mode);
        let principal: Option<Principal> = parts.extensions.get().cloned();
        let call = self.0.stateless.admit(request.id.clone(), Era::Modern, mode, principal.clone())?;
        transport::ends_with_client(parts);
        let version = envelope.version;
        let (sealer, shared) = (Arc::clone(&self.0.sealer), self.0.stateless.shared());
        let modern = Arc::new(Modern::new(envelope, principal, sealer, shared));
        let now = call.now();
        let call = ExchangeHandle::Stateless(call);
        respond(self.start(call, now, version, Some(modern), parts, request).await.head().await)
    }

    /// Checks the headers that repeat arguments of a tool (G-14).
    fn check_params(
        &self,
        parts: &Parts,
        request: &RpcRequest,
        envelope: &Envelope,
    ) -> Result<(), Rejection> {
        let Some(tool) = &envelope.name else { return Ok(()) };
        let schema = contain::call(|| self.0.handler.tool_schema(tool))
            .map_err(|Panicked| Rejection::Internal("the schema of the tool could not be read"))?;
        schema.map_or(Ok(()), |schema| transport::check_params(&parts.headers, request, &schema))
    }
}
