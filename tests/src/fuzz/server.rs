//! [`Server`]: an endpoint in virtual time, and the clients of a script.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    channel::mpsc,
    future::{AbortHandle, Abortable, pending, poll_fn},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;
use mcp_session_core::{
    Config, Cors, Endpoint, Eras, ErrorCode, RequestContext, ResponseMode, Router, RpcError, Runtime,
    SecondStream, Sessions, ShutdownPolicy, ShutdownReport,
};
use mcp_session_testkit::SimRuntime;
use serde_json::{Value, json};

use super::script::{Call, Step};

/// The longest time that a step waits: longer than any default deadline of a client.
const LONGEST: u64 = 3_600_000;

/// A server, and what its clients have sent and got so far.
pub(super) struct Server {
    pub(super) sim: SimRuntime,
    pub(super) endpoint: Endpoint,
    pub(super) sent: Vec<Sent>,
    /// The id of the last session that was opened.
    session: Option<HeaderValue>,
    /// The last event id that a client got.
    event: String,
    policy: ShutdownPolicy,
    pub(super) report: Arc<Mutex<Option<ShutdownReport>>>,
}

/// A request, and what its client got.
pub(super) struct Sent {
    pub(super) body: Bytes,
    pub(super) method: String,
    pub(super) headers: HeaderMap,
    pub(super) got: Arc<Mutex<Got>>,
    pub(super) is_cut: bool,
    credit: Option<mpsc::UnboundedSender<()>>,
    abort: AbortHandle,
}

/// What a client got.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) status: Option<StatusCode>,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// How the body ended: `false` if it was cut.
    pub(super) ended: Option<bool>,
}

impl Sent {
    pub(super) fn got(&self) -> Got {
        lock(&self.got).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub(super) fn new(options: &[&str]) -> Self {
        let has = |option| options.contains(&option);
        let mut config = Config::default();
        config.eras = match () {
            () if has("legacy") => Eras::Legacy,
            () if has("modern") => Eras::Modern,
            () => Eras::Both,
        };
        config.sessions = match () {
            () if has("stateful") => Sessions::Stateful,
            () if has("stateless") => Sessions::Stateless,
            () => Sessions::Optional,
        };
        config.session.response_mode = match () {
            () if has("json") => ResponseMode::Json,
            () if has("sse") => ResponseMode::Sse,
            () => ResponseMode::Auto,
        };
        config.cors = has("cors").then(Cors::default);
        config.standalone_streams = !has("noget");
        config.client_delete = !has("nodelete");
        if has("noreplay") {
            config.session.replay = None;
        }
        if has("refuse") {
            config.session.second_stream = SecondStream::Refuse;
        }
        if has("small") {
            config.max_sessions = 1;
            config.max_stateless_requests = 1;
            config.max_subscriptions = 1;
            config.body_limit = 512;
            config.bodies_in_flight = 512;
            config.batch_limit = 2;
            config.session.queue_events = 2;
            config.session.queue_bytes = 256;
            config.session.max_exchanges = 1;
        }
        let sim = SimRuntime::new(1).with_poll_limit(1_000_000);
        let endpoint = Endpoint::with_config(sim.clone(), router(), config).expect("its limits can work");
        let policy = ShutdownPolicy::default();
        let (sent, session, event, report) = (Vec::new(), None, String::new(), Arc::default());
        Self { sim, endpoint, sent, session, event, policy, report }
    }

    /// Performs a step, and runs everything that can run without time passing.
    pub(super) fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Open(version) => self.open(version),
            Step::Request(call) => self.call(call),
            Step::Read(frames) => {
                for sent in &self.sent {
                    if let Some(credit) = &sent.credit {
                        (0..*frames.min(&8)).for_each(|_| _ = credit.unbounded_send(()));
                    }
                }
            }
            Step::Cut(number) => {
                if let Some(sent) = usize::try_from(*number).ok().and_then(|at| self.sent.get_mut(at)) {
                    sent.abort.abort();
                    sent.is_cut |= lock(&sent.got).ended.is_none();
                }
            }
            Step::Wait(time) => self.sim.advance(Duration::from_millis((*time).min(LONGEST))),
            Step::Notify(method) => _ = self.endpoint.notify(method, Some(&json!({ "uri": "a://b" }))),
            Step::Stop(drain) => {
                let drain = Duration::from_millis(*drain).min(self.policy.drain);
                drop(self.endpoint.shutdown(ShutdownPolicy { drain, ..self.policy }));
            }
        }
        self.sim.run_until_stalled();
        self.remember();
    }

    /// Stops the server, lets everybody read to the end, and drops the endpoint.
    ///
    /// # Panics
    ///
    /// If the shutdown or a response does not end in time, or something is left of them.
    pub(super) fn finish(&mut self) {
        self.sent.iter_mut().for_each(|sent| sent.credit = None);
        let (shutdown, report) = (self.endpoint.shutdown(self.policy), Arc::clone(&self.report));
        self.sim.spawn(async move { *lock(&report) = Some(shutdown.await) }.boxed());
        self.sim.advance(self.policy.ceiling() + Duration::from_secs(1));
        assert!(lock(&self.report).is_some(), "the shutdown ends by its ceiling (S3)");
        for (at, sent) in self.sent.iter().enumerate().filter(|(_, sent)| !sent.is_cut) {
            assert!(
                lock(&sent.got).ended.is_some(),
                "the response to request {at} has no end: {:?}",
                sent.got()
            );
        }
    }

    /// Sends a request with its headers as they are.
    pub(super) fn send(&mut self, request: Request<Bytes>, is_slow: bool) {
        let (endpoint, got) = (self.endpoint.clone(), Arc::<Mutex<Got>>::default());
        let (body, headers) = (request.body().clone(), request.headers().clone());
        let method = request.method().to_string();
        let (credit, mut credits) = mpsc::unbounded();
        let (task_got, credit) = (Arc::clone(&got), is_slow.then_some(credit));
        let client = async move {
            let response = endpoint.handle(request.map(Full::new)).await;
            drop(endpoint);
            let (head, body) = response.into_parts();
            {
                let mut got = lock(&task_got);
                (got.status, got.headers) = (Some(head.status), head.headers);
            }
            let mut body = pin!(body);
            let ended = loop {
                credits.next().await; // at once without a sender
                match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                    None => break true,
                    Some(Err(_)) => break false,
                    Some(Ok(frame)) => {
                        lock(&task_got)
                            .body
                            .extend_from_slice(&frame.into_data().expect("a body has no trailers"));
                    }
                }
            };
            lock(&task_got).ended = Some(ended);
        };
        let (abort, registration) = AbortHandle::new_pair();
        self.sim.spawn(Abortable::new(client, registration).map(drop).boxed());
        self.sent.push(Sent { body, method, headers, got, is_cut: false, credit, abort });
    }

    fn call(&mut self, call: &Call<'_>) {
        let usual = |headers: &mut HeaderMap, name: &'static str, value: &'static str| {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        };
        let mut headers = HeaderMap::new();
        let method = match call.method {
            "post" | "modern" => {
                usual(&mut headers, "content-type", "application/json");
                usual(&mut headers, "accept", "application/json, text/event-stream");
                "POST"
            }
            "get" => {
                usual(&mut headers, "accept", "text/event-stream");
                "GET"
            }
            "delete" => "DELETE",
            other => other,
        };
        if matches!(call.method, "post" | "get" | "delete") {
            headers.extend(self.session.clone().map(|id| (HeaderName::from_static("mcp-session-id"), id)));
        }
        if call.method == "modern" {
            usual(&mut headers, "mcp-protocol-version", "2026-07-28");
            let message: Value = serde_json::from_slice(call.body).unwrap_or_default();
            let params = &message["params"];
            let name = params["name"].as_str().or(params["uri"].as_str());
            for (header, value) in [("mcp-method", message["method"].as_str()), ("mcp-name", name)] {
                if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                    headers.insert(HeaderName::from_static(header), value);
                }
            }
        }
        for name in call.headers.keys() {
            headers.remove(name);
            for value in call.headers.get_all(name) {
                headers.append(name.clone(), self.filled_in(value));
            }
        }
        let mut request = Request::new(Bytes::copy_from_slice(call.body));
        let (Ok(method), Ok(target)) = (method.parse(), call.target.parse()) else { return };
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, target, headers);
        request.extensions_mut().insert(self.sim.clone());
        *request.version_mut() = if call.is_old { Version::HTTP_10 } else { Version::HTTP_11 };
        self.send(request, call.is_slow);
    }

    /// A header in which `{session}` and `{event}` stand for what a client has got.
    fn filled_in(&self, value: &HeaderValue) -> HeaderValue {
        match value.as_bytes() {
            b"{session}" => self.session.clone().unwrap_or_else(|| value.clone()),
            b"{event}" => HeaderValue::from_str(&self.event).expect("an event id is ASCII (D-28)"),
            _ => value.clone(),
        }
    }

    fn open(&mut self, version: &str) {
        let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version,
            "capabilities": { "sampling": {}, "roots": {}, "elicitation": {} },
            "clientInfo": { "name": "fuzz", "version": "1" },
        } });
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        for message in [initialize, initialized] {
            let body = message.to_string();
            self.call(&Call {
                method: "post",
                target: "/mcp",
                is_slow: false,
                is_old: false,
                headers: HeaderMap::new(),
                body: body.as_bytes(),
            });
            self.sim.run_until_stalled();
            self.remember();
        }
    }

    /// Takes over the last session and event that a client has got.
    fn remember(&mut self) {
        for sent in &self.sent {
            let got = lock(&sent.got);
            if let Some(id) = got.headers.get("mcp-session-id") {
                self.session = Some(id.clone());
            }
        }
        let text = |got: &Got| String::from_utf8_lossy(&got.body).into_owned();
        let ids = self.sent.iter().rev().filter_map(|sent| {
            let body = text(&lock(&sent.got));
            body.lines().rev().find_map(|line| line.strip_prefix("id: ")).map(str::to_owned)
        });
        if let Some(event) = { ids }.next() {
            self.event = event;
        }
    }
}

/// What the server does: each tool is one way to answer.
fn router() -> Router {
    let capabilities =
        json!({ "tools": {}, "logging": {}, "resources": { "subscribe": true }, "prompts": {} });
    let list = |name: &'static str| move |_: RequestContext| async move { Ok(json!({ name: [] })) };
    Router::new("fuzz", "0")
        .capabilities(capabilities)
        .request("tools/list", list("tools"))
        .request("resources/list", list("resources"))
        .request("prompts/get", |cx| async move { Ok(json!({ "description": cx.id().to_string() })) })
        .request("tools/call", tool)
        .notification("notifications/progress", |_, _| async {})
}

async fn tool(cx: RequestContext) -> Result<Value, RpcError> {
    let params: Value = cx.params()?;
    let arguments = &params["arguments"];
    let number = arguments["n"].as_u64().unwrap_or(1).min(LONGEST);
    let runtime = cx.extensions().get::<SimRuntime>().cloned();
    match params["name"].as_str().unwrap_or_default() {
        "echo" => Ok(json!({ "content": [], "structuredContent": params })),
        "never" => pending().await,
        "patient" => {
            cx.cancelled().await;
            Ok(json!({ "content": [] }))
        }
        "drained" => {
            cx.draining().await;
            Ok(json!({ "content": [] }))
        }
        "notes" => {
            for at in 0..number.min(10) {
                let _ = cx.progress(at as f64, Some(number as f64), None).await;
                let data = json!({ "level": "info", "data": arguments });
                let _ = cx.notify("notifications/message", Some(&data)).await;
            }
            Ok(json!({ "content": [] }))
        }
        "ask" => {
            let answer = cx.request("roots/list", None::<&Value>, Duration::from_millis(number)).await;
            Ok(json!({ "content": [], "structuredContent": { "answer": answer.ok() } }))
        }
        "close" => {
            cx.close_stream(Duration::from_millis(number));
            cx.cancelled().await;
            Ok(json!({ "content": [] }))
        }
        "end" => {
            if let Some(session) = cx.session() {
                drop(session.terminate(mcp_session_core::TerminateReason::Error));
            }
            Ok(json!({ "content": [] }))
        }
        "fail" => {
            Err(RpcError::new(ErrorCode(arguments["code"].as_i64().unwrap_or(-1)), "it fails")
                .with_data(params))
        }
        "later" => {
            if let Some(runtime) = runtime {
                runtime.sleep_until(runtime.now() + Duration::from_millis(number)).await;
            }
            Ok(json!({ "content": [] }))
        }
        _ => Err(RpcError::invalid_params("no such tool")),
    }
}
