//! [`RmcpHandler`]: an rmcp server as a handler of core.

use std::{
    fmt,
    future::{Ready, pending},
    pin::pin,
    sync::Arc,
};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{Either, join, select},
};
use http::{Extensions, HeaderMap, Request, request::Parts};
use mcp_session_core::{
    CancelReason, Handler, InitializeRequest, InitializeResult, Json, Notification, NotificationContext,
    Principal, RequestContext, RequestId, RpcError, Session, SessionData,
};
use rmcp::{
    ErrorData, ServerHandler, Service,
    model::{
        self, CancelledNotification, CancelledNotificationParam, ClientNotification, ClientRequest,
        GetExtensions, GetMeta, InitializeRequestParams, InitializedNotification, ServerResult,
        SubscriptionFilter,
    },
};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::{
    context::{Inner, Scope},
    link::Target,
    listening::Listening,
    message,
    peer::{Minted, Pool},
    runtime,
    state::State,
};

type Make<S> = Arc<dyn Fn(Scope<'_>) -> Arc<S> + Send + Sync>;

/// An rmcp server as a [`Handler`]: serves a value of `S` per session, or one for all.
///
/// A tool runs inside the future of core: its result is always delivered, also while the server shuts down; a panic is
/// answered with -32603; a cancel fires `ctx.ct`. What reaches tools in `ctx.extensions`, beside what rmcp puts there:
/// core's [`RequestContext`], the [`Principal`], and `http::request::Parts` with the headers and extensions of the HTTP
/// request (its URI is not kept: `/`).
///
/// rmcp needs a tokio context. Inside tokio that is the current one. Elsewhere, one background thread with a tokio runtime
/// is started at the first request, for the whole process; each notification that a tool sends then costs a change of
/// threads. [`RmcpHandler::tokio`] sets another one.
///
/// ```
/// use mcp_session_core::Handler;
/// use mcp_session_rmcp::RmcpHandler;
/// use rmcp::ServerHandler;
/// use std::sync::Arc;
///
/// struct MyServer;
/// impl ServerHandler for MyServer {}
///
/// let per_session = RmcpHandler::new(|_scope| MyServer);
/// let shared = RmcpHandler::shared(Arc::new(MyServer)).without_parts();
/// assert_eq!(per_session.info(), shared.info());
/// assert!(!shared.answers_subscriptions()); // `MyServer` accepts none: core does
/// ```
pub struct RmcpHandler<S> {
    make: Make<S>,
    /// Is asked what the server offers. Serves no client, unless it is the shared one.
    probe: Arc<S>,
    pool: Pool,
    tokio: Option<Handle>,
    parts: bool,
}

impl<S: ServerHandler> RmcpHandler<S> {
    /// Serves a value per session, or per request without a session. `make` is also called once here, for the value that is
    /// asked for the server's name, capabilities and tools.
    pub fn new(make: impl Fn(Scope<'_>) -> S + Send + Sync + 'static) -> Self {
        Self::with(Arc::new(move |scope| Arc::new(make(scope))))
    }

    /// Serves one value to all. An idle session then takes some bytes only.
    pub fn shared(server: Arc<S>) -> Self {
        Self::with(Arc::new(move |_| Arc::clone(&server)))
    }

    fn with(make: Make<S>) -> Self {
        let probe = make(Scope(Inner::Nobody));
        Self { make, probe, pool: Pool::default(), tokio: None, parts: true }
    }

    /// Gives tools no `http::request::Parts`: saves each request a copy of its headers.
    #[must_use]
    pub fn without_parts(mut self) -> Self {
        self.parts = false;
        self
    }

    /// Sets the tokio runtime that rmcp's tasks run on.
    #[must_use]
    pub fn tokio(mut self, handle: Handle) -> Self {
        self.tokio = Some(handle);
        self
    }

    fn context(&self) -> Result<Handle, RpcError> {
        runtime::context(self.tokio.as_ref())
            .map_err(|error| RpcError::internal(format!("no thread for tokio: {error}")))
    }

    /// What reaches the server's code with a message.
    fn extend(&self, extensions: &mut model::Extensions, headers: &HeaderMap, http: &Extensions) {
        if let Some(principal) = http.get::<Principal>() {
            extensions.insert(principal.clone());
        }
        if self.parts {
            extensions.insert(parts(headers, http));
        }
    }

    /// Runs the server's code for a request. When `stop` is ready, it is told, and what `stop` returns runs beside it.
    async fn call<T: Future<Output = ()>>(
        &self,
        service: &impl ServerHandler,
        minted: &Minted,
        id: model::RequestId,
        mut request: ClientRequest,
        extend: impl FnOnce(&mut model::Extensions),
        stop: impl Future<Output = T>,
    ) -> Result<ServerResult, ErrorData> {
        let mut context = rmcp::service::RequestContext::new(id, minted.peer().clone());
        std::mem::swap(&mut context.meta, request.get_meta_mut());
        std::mem::swap(&mut context.extensions, request.extensions_mut());
        extend(&mut context.extensions);
        let ct = context.ct.clone();
        let _ends = ct.clone().drop_guard(); // also if this future is dropped
        let work = pin!(Service::handle_request(service, request, context));
        match select(work, pin!(stop)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((then, work)) => {
                ct.cancel();
                join(work, then).await.0
            }
        }
    }

    /// Calls `on_cancelled`, if it was the client of a session that has cancelled the request.
    async fn cancelled(&self, cx: &RequestContext, state: Option<&State<S>>, why: Option<CancelReason>) {
        let (Some(session), Some(state), Some(CancelReason::Client(reason))) = (cx.session(), state, why)
        else {
            return;
        };
        let params = CancelledNotificationParam::new(Some(request_id(cx.id())), reason);
        let message = ClientNotification::CancelledNotification(CancelledNotification::new(params));
        let _ = self.deliver(Arc::clone(&state.service), message, Some(session)).await;
    }

    /// Delivers a notification of the client, through a peer's loop, and waits until the server's code is done.
    async fn deliver(
        &self,
        service: Arc<S>,
        notification: ClientNotification,
        session: Option<&Session>,
    ) -> Result<(), RpcError> {
        let tokio = self.context()?;
        let target = || session.cloned().map_or(Target::Nothing, Target::Session);
        let mut minted = self.pool.take(&tokio, target());
        if let Some(session) = session {
            minted.peer().set_peer_info(session_info(session)?);
        }
        let (done, is_done) = oneshot::channel();
        let delivery = move |notification, context| {
            async move {
                let _ = Service::handle_notification(&*service, notification, context).await;
                drop(service);
                let _ = done.send(());
            }
            .boxed()
        };
        minted.deliver(notification, Box::new(delivery));
        let _ = is_done.await; // an error: the server's code has panicked
        if let Some(state) = session.and_then(Session::data::<State<S>>) {
            minted.keep_in(&state.kept, target());
        }
        runtime::within(&tokio, minted.release()).await;
        Ok(())
    }
}

impl<S: ServerHandler> Handler for RmcpHandler<S> {
    fn info(&self) -> InitializeResult {
        let info = ServerHandler::get_info(&*self.probe);
        Json::new(&info).and_then(InitializeResult::try_from).unwrap_or_else(|error| {
            InitializeResult::new(&info.server_info.name, &info.server_info.version)
                .with_instructions(format!("the server's info is invalid: {}", error.message))
        })
    }

    async fn initialize(&self, request: InitializeRequest) -> Result<InitializeResult, RpcError> {
        let tokio = self.context()?;
        let service = (self.make)(Scope(Inner::Opening(&request)));
        let version = request.protocol_version.as_str();
        let opening = json!({
            "protocolVersion": version, "capabilities": request.capabilities, "clientInfo": request.client_info,
        });
        let call = message::request("initialize", Some(&Json::from(opening)))?;
        let mut minted = self.pool.take(&tokio, Target::Nothing);
        // A peer that is used again has the info of another client.
        minted.peer().set_peer_info(info(version, &request.capabilities, &request.client_info)?);
        let extend = |extensions: &mut _| self.extend(extensions, &request.headers, &request.extensions);
        let id = model::RequestId::Number(0);
        let answer = self.call(&*service, &minted, id, call, extend, pending::<Ready<()>>());
        let answer = runtime::within(&tokio, answer).await;
        let state = State::new(service);
        minted.keep_in(&state.kept, Target::Nothing);
        runtime::within(&tokio, minted.release()).await;
        request.set_session_data(SessionData::new(state));
        InitializeResult::try_from(message::answer(answer)?)
    }

    fn tool_schema(&self, tool: &str) -> Option<Json> {
        let tool = self.probe.get_tool(tool)?;
        Json::new(&*tool.input_schema).ok()
    }

    fn answers_subscriptions(&self) -> bool {
        let all = SubscriptionFilter::builder()
            .tools_list_changed()
            .prompts_list_changed()
            .resources_list_changed()
            .build();
        self.probe.accepted_subscription_filter(&all).is_some()
    }

    fn session_data(&self, session: &Session) -> SessionData {
        if let Some(state) = session.data::<State<S>>() {
            state.kept.aim(session); // from `initialize`
            return SessionData::none();
        }
        SessionData::new(State::new((self.make)(Scope(Inner::Session(session)))))
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        let request = message::request(cx.method(), cx.raw_params())?;
        let tokio = self.context()?;
        let state = match cx.session() {
            Some(_) => {
                Some(cx.data::<State<S>>().ok_or_else(|| RpcError::internal("the session has ended"))?)
            }
            None => None,
        };
        let service = match &state {
            Some(state) => Arc::clone(&state.service),
            None => (self.make)(Scope(Inner::Request(&cx))),
        };
        let mut minted = self.pool.take(&tokio, Target::Exchange(cx.clone()));
        if let (Some(state), Some(session)) = (&state, cx.session()) {
            minted.keep_in(&state.kept, Target::Session(session.clone()));
        }
        minted.peer().set_peer_info(request_info(&cx)?);
        let extend = |extensions: &mut model::Extensions| {
            self.extend(extensions, cx.headers(), cx.extensions());
            extensions.insert(cx.clone());
        };
        let listens = matches!(request, ClientRequest::SubscriptionsListenRequest(_));
        let stop = async {
            match listens {
                true => match select(pin!(cx.cancelled()), pin!(cx.draining())).await {
                    Either::Left((why, _)) => Some(why),
                    Either::Right(_) => None,
                },
                false => Some(cx.cancelled().await),
            }
        };
        let stop = stop.map(|why| self.cancelled(&cx, state.as_deref(), why));
        let id = request_id(cx.id());
        let answer = async {
            match listens {
                true => {
                    let listening = Listening::new(&service, &minted.shared);
                    self.call(&listening, &minted, id, request, extend, stop).await
                }
                false => self.call(&*service, &minted, id, request, extend, stop).await,
            }
        };
        let answer = runtime::within(&tokio, answer).await;
        runtime::within(&tokio, minted.release()).await;
        message::answer(answer)
    }

    async fn notification(&self, notification: Notification, cx: NotificationContext) {
        let Ok(mut message) = message::notification(&notification.method, notification.params.as_ref())
        else {
            return; // nobody can be told
        };
        self.extend(message.extensions_mut(), cx.headers(), cx.extensions());
        let Some(state) = cx.data::<State<S>>() else { return };
        let _ = self.deliver(Arc::clone(&state.service), message, cx.session()).await;
    }

    async fn initialized(&self, session: Session) {
        let Some(state) = session.data::<State<S>>() else { return };
        let message = ClientNotification::InitializedNotification(InitializedNotification::default());
        let _ = self.deliver(Arc::clone(&state.service), message, Some(&session)).await;
    }
}

impl<S> fmt::Debug for RmcpHandler<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RmcpHandler").field("parts", &self.parts).finish_non_exhaustive()
    }
}

fn request_id(id: &RequestId) -> model::RequestId {
    let mut text = Vec::new();
    id.write_json(&mut text);
    serde_json::from_slice(&text)
        .unwrap_or_else(|_| model::RequestId::String(String::from_utf8_lossy(&text).into()))
}

/// The headers and extensions of a request as rmcp's own transport gives them to tools.
fn parts(headers: &HeaderMap, extensions: &Extensions) -> Parts {
    let (mut parts, ()) = Request::post("/").body(()).unwrap_or_default().into_parts();
    parts.headers = headers.clone();
    parts.extensions = extensions.clone();
    parts
}

fn session_info(session: &Session) -> Result<InitializeRequestParams, RpcError> {
    info(session.version().as_str(), session.client_capabilities(), session.client_info())
}

fn request_info(cx: &RequestContext) -> Result<InitializeRequestParams, RpcError> {
    info(cx.protocol_version().as_str(), cx.client_capabilities(), cx.client_info())
}

fn info(version: &str, capabilities: &Json, client: &Json) -> Result<InitializeRequestParams, RpcError> {
    let mut client: Value = client.parse()?;
    for required in ["name", "version"] {
        if !client[required].is_string() {
            client[required] = "".into(); // a request of 2026-07-28 need not say
        }
    }
    let capabilities: Value = capabilities.parse()?;
    let info = json!({ "protocolVersion": version, "capabilities": capabilities, "clientInfo": client });
    serde_json::from_value(info).map_err(|error| RpcError::invalid_params(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body::Body;
    use mcp_session_core::Endpoint;
    use mcp_session_tokio::TokioRuntime;
    use rmcp::{
        RoleServer,
        model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock},
    };

    use super::*;

    /// Its tool drops ten sends after their first polls, and keeps the peer.
    #[derive(Default)]
    struct Hasty(std::sync::Mutex<Option<rmcp::Peer<RoleServer>>>);

    impl ServerHandler for Hasty {
        async fn call_tool(
            &self,
            _: CallToolRequestParams,
            context: rmcp::service::RequestContext<RoleServer>,
        ) -> Result<CallToolResponse, ErrorData> {
            for _ in 0..10 {
                let _ = Box::pin(context.peer.notify_tool_list_changed()).now_or_never();
            }
            *self.0.lock().expect("a lock") = Some(context.peer);
            Ok(CallToolResult::success(vec![ContentBlock::text("done")]).into())
        }
    }

    /// As if the text of a `Peer` had changed: see [`look`](crate::look).
    #[tokio::test]
    async fn without_a_look_what_was_sent_comes_before_the_answer_and_no_peer_is_left() {
        let server = Arc::new(Hasty::default());
        let mut handler = RmcpHandler::shared(Arc::clone(&server));
        handler.pool.is_blind = true;
        let endpoint = Endpoint::new(TokioRuntime::current(), handler);
        let body = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","_meta":{
            "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},
            "io.modelcontextprotocol/clientInfo":{"name":"tester","version":"1"}}}}"#;
        for _ in 0..3 {
            let request = Request::post("/mcp")
                .header("accept", "application/json, text/event-stream")
                .header("content-type", "application/json")
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", "tools/call")
                .header("mcp-name", "x")
                .body(body.to_owned())
                .expect("a request");
            let mut reply = Box::pin(endpoint.handle(request).await.into_body());
            let mut text = String::new();
            while let Some(frame) = poll_fn(|cx| reply.as_mut().poll_frame(cx)).await {
                let data = frame.expect("a frame").into_data().unwrap_or_default();
                text.push_str(std::str::from_utf8(&data).expect("text"));
            }
            let (notes, answer) = text.rsplit_once("data:").expect("events");
            assert_eq!(notes.matches("notifications/tools/list_changed").count(), 10, "{text}");
            assert!(answer.contains("done"), "{text}");
            let kept = server.0.lock().expect("a lock").take().expect("it was kept");
            assert!(kept.notify_tool_list_changed().await.is_err(), "its loop has ended");
        }
    }
}
