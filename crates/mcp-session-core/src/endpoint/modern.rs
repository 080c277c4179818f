//! POST of a request of 2026-07-28.

use std::sync::Arc;

use http::request::Parts;
use mcp_session_proto::{Era, Outgoing, ResponseMode, RpcRequest};

use super::{Answer, Endpoint, post::head, response::answer};
use crate::{
    contain::{self, Panicked},
    handler::{exchange::ExchangeHandle, modern::Modern, run::Starting},
    principal::Principal,
    transport::{self, Envelope, Rejection},
};

impl Endpoint {
    /// Serves a request of 2026-07-28 that may ask its client, once the keys are known for it: see [`Endpoint::begin_modern`].
    pub(super) async fn modern(
        &self,
        parts: &mut Parts,
        request: RpcRequest,
        envelope: Envelope,
        form: Option<ResponseMode>,
    ) -> Answer {
        self.0.sealer.ready().await;
        head(self.begin_modern(parts, request, envelope, form)).await
    }

    /// Admits a request of 2026-07-28, whose envelope and headers are valid, and starts its handler. A session that it names is
    /// ignored (G-42). `Err`: it is answered already. Not async, so that no future stores the request.
    #[expect(clippy::result_large_err, reason = "it is moved into the future that waits for it")]
    pub(super) fn begin_modern(
        &self,
        parts: &mut Parts,
        request: RpcRequest,
        envelope: Envelope,
        mut form: Option<ResponseMode>,
    ) -> Result<Starting<'_>, Answer> {
        match &*request.method {
            "server/discover" => {
                self.0.stateless.admits().map_err(Err)?;
                let result = &self.0.stateless.server().discovered;
                return Err(Ok(answer(Outgoing::Result { id: &request.id, result }.to_json(), form)));
            }
            "subscriptions/listen" if self.0.handler.answers_subscriptions() => {
                if form == Some(ResponseMode::Json) {
                    return Err(Err(Rejection::NotAcceptable("text/event-stream"))); // G-51
                }
                form = Some(ResponseMode::Sse);
            }
            "subscriptions/listen" => return Err(self.listen(parts, &request, form)),
            "tools/call" => self.check_params(parts, &request, &envelope).map_err(Err)?,
            method => transport::check_removed(method).map_err(Err)?,
        }
        let mode = form.unwrap_or(self.0.registry.env.session_config.response_mode);
        let principal: Option<Principal> = parts.extensions.get().cloned();
        let call = self.0.stateless.admit(request.id.clone(), Era::Modern, mode, principal.clone());
        let call = call.map_err(Err)?;
        transport::ends_with_client(parts);
        let version = envelope.version;
        let (sealer, shared) = (Arc::clone(&self.0.sealer), self.0.stateless.shared());
        let modern = Arc::new(Modern::new(envelope, principal, sealer, shared));
        let now = call.now();
        let call = ExchangeHandle::Stateless(call);
        Ok(self.start(call, now, version, Some(modern), parts, request))
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
