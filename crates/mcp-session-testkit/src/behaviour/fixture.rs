//! The parts of a scenario: an endpoint, a handler that the scenario controls, and clients.

use std::{
    collections::{HashMap, VecDeque},
    panic::resume_unwind,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{pending, poll_fn},
};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::{Body, Frame};
use mcp_session_core::{
    AuthError, Config, Endpoint, Handler, InitializeRequest, InitializeResult, Json, Notification,
    NotificationContext, Principal, ReplyBody, RequestContext, RpcError, Runtime, Session, SessionData,
    SessionId, StreamCut, TerminateReason,
};
use serde_json::{Value, json};

use crate::TestBed;

/// For times that must elapse: short, because a real clock really waits.
pub const SOON: Duration = Duration::from_millis(40);

/// For times that must not elapse, however slow the machine is.
pub const NEVER: Duration = Duration::from_secs(600);

/// An endpoint on the runtime of a [`TestBed`], with a handler that the scenario controls.
#[derive(Debug)]
pub struct Fixture {
    /// The runtime.
    pub runtime: Arc<dyn Runtime>,
    /// The endpoint under test.
    pub endpoint: Endpoint,
    play: Play,
    work: mpsc::UnboundedReceiver<Work>,
    notifications: mpsc::UnboundedReceiver<Notification>,
}

/// What the `terminated` hook does for a session.
#[derive(Debug, Clone, Copy)]
pub enum Hook {
    /// It panics.
    Panics,
    /// It never ends.
    Hangs,
}

/// A request whose handler waits for the scenario. If this value is dropped, the handler hangs and ignores its
/// cancellation.
#[derive(Debug)]
pub struct Work {
    /// The handler's context.
    pub cx: RequestContext,
    answer: oneshot::Sender<Result<Json, RpcError>>,
}

impl Work {
    /// Makes the handler answer with this result.
    pub fn finish(self, result: Value) {
        // If the handler was dropped, nobody needs the answer.
        let _ = self.answer.send(Ok(result.into()));
    }

    /// Makes the handler answer with this error.
    pub fn fail(self, error: RpcError) {
        let _ = self.answer.send(Err(error));
    }

    /// Returns `true` if the handler was dropped.
    pub fn is_dropped(&self) -> bool {
        self.answer.is_canceled()
    }
}

/// The data that the handler attaches to each session.
#[derive(Debug)]
pub struct Attached {
    /// How often a scenario has used the data.
    pub used: AtomicUsize,
    _alive: Arc<()>,
}

#[derive(Debug, Clone)]
struct Play {
    work: mpsc::UnboundedSender<Work>,
    notifications: mpsc::UnboundedSender<Notification>,
    hooks: Arc<Mutex<HashMap<SessionId, Hook>>>,
    ended: Arc<Mutex<Vec<(SessionId, TerminateReason)>>>,
    /// Held by each notification handler that hangs.
    hanging: Arc<()>,
    /// Held by the data of each session.
    attached: Arc<()>,
    /// Whether the handler panics when it creates session data.
    barren: Arc<AtomicBool>,
    /// The sessions whose hook found their data.
    found: Arc<Mutex<Vec<SessionId>>>,
}

impl Handler for Play {
    fn session_data(&self, session: &Session) -> SessionData {
        assert!(!self.barren.load(SeqCst), "planted: the handler panics over the data of {session:?}");
        SessionData::new(Attached { used: AtomicUsize::new(0), _alive: Arc::clone(&self.attached) })
    }

    /// The client's name decides what happens.
    async fn initialize(&self, request: InitializeRequest) -> Result<InitializeResult, RpcError> {
        match request.client_info.parse::<Value>()?["name"].as_str() {
            Some("refused") => Err(RpcError::internal("not you")),
            Some("lacks a scope") => Err(AuthError::insufficient_scope("sessions").into()),
            Some("panics") => panic!("planted: the handler panics in initialize"),
            Some("hangs") => pending().await,
            _ => Ok(InitializeResult::new("fixture", "1.0.0").capabilities(json!({ "tools": {} }))),
        }
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        match cx.method() {
            "echo" => Ok(cx.raw_params().cloned().unwrap_or_else(|| json!({}).into())),
            "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
                Ok(json!({ "listed": cx.method() }).into())
            }
            "panic" => panic!("planted: the handler panics"),
            "write" => Err(AuthError::insufficient_scope("write").into()),
            "work" => {
                let (answer, answered) = oneshot::channel();
                if self.work.unbounded_send(Work { cx, answer }).is_err() {
                    return Err(RpcError::internal("the scenario is over"));
                }
                match answered.await {
                    Ok(answer) => answer,
                    Err(oneshot::Canceled) => pending().await,
                }
            }
            other => Err(RpcError::method_not_found(other)),
        }
    }

    async fn notification(&self, notification: Notification, _: NotificationContext) {
        match &*notification.method {
            "panic" => panic!("planted: the handler panics over a notification"),
            "hang" => {
                let _hanging = Arc::clone(&self.hanging);
                return pending().await;
            }
            _ => {}
        }
        let _ = self.notifications.unbounded_send(notification); // fails if the scenario is over
    }

    async fn terminated(&self, session: Session, reason: TerminateReason) {
        if session.data::<Attached>().is_some() {
            self.found.lock().unwrap().push(session.id());
        }
        let hook = self.hooks.lock().unwrap().get(&session.id()).copied();
        self.ended.lock().unwrap().push((session.id(), reason));
        match hook {
            None => {}
            // Without the process's panic hook, which takes long to print a backtrace.
            Some(Hook::Panics) => resume_unwind(Box::new("planted: the hook panics")),
            Some(Hook::Hangs) => pending().await,
        }
    }
}

impl Fixture {
    /// Creates an endpoint whose default configuration never times out; `tune` then changes it.
    pub fn new(bed: &impl TestBed, tune: impl FnOnce(&mut Config)) -> Self {
        Self::on(bed.runtime(), |config| {
            tune(config);
            bed.configure(config);
        })
    }

    /// Like [`new`](Self::new), on the scenario's own runtime.
    pub fn on(runtime: Arc<dyn Runtime>, tune: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.body_timeout = NEVER;
        config.hook_timeout = NEVER;
        config.session.idle_timeout = NEVER;
        config.session.initialize_timeout = NEVER;
        config.session.heartbeat = NEVER;
        config.session.ping_interval = NEVER;
        config.session.cancel_grace = NEVER;
        config.session.linger = Duration::ZERO;
        config.session.terminate.cancel = NEVER;
        config.session.terminate.finish = NEVER;
        tune(&mut config);
        let (work_sender, work) = mpsc::unbounded();
        let (notification_sender, notifications) = mpsc::unbounded();
        let play = Play {
            work: work_sender,
            notifications: notification_sender,
            hooks: Arc::default(),
            ended: Arc::default(),
            hanging: Arc::default(),
            attached: Arc::default(),
            barren: Arc::default(),
            found: Arc::default(),
        };
        let endpoint = Endpoint::with_config(Arc::clone(&runtime), play.clone(), config);
        let endpoint = endpoint.expect("limits that work");
        Self { runtime, endpoint, play, work, notifications }
    }

    /// Waits for the next request whose handler waits for the scenario.
    pub async fn work(&mut self) -> Work {
        self.work.next().await.expect("the endpoint holds the other end")
    }

    /// Waits for the next notification that reaches the handler.
    pub async fn notification(&mut self) -> Notification {
        self.notifications.next().await.expect("the endpoint holds the other end")
    }

    /// Makes the hook of this session fail from now on.
    pub fn plant(&self, session: SessionId, hook: Hook) {
        self.play.hooks.lock().unwrap().insert(session, hook);
    }

    /// The sessions for which the hook was called, with its reason.
    pub fn ended(&self) -> Vec<(SessionId, TerminateReason)> {
        self.play.ended.lock().unwrap().clone()
    }

    /// The number of notification handlers that hang.
    pub fn hanging(&self) -> usize {
        // The fixture and the handler hold one each.
        Arc::strong_count(&self.play.hanging) - 2
    }

    /// The number of sessions with data.
    pub fn attached(&self) -> usize {
        // The fixture and the handler hold one each.
        Arc::strong_count(&self.play.attached) - 2
    }

    /// The sessions whose hook found their data.
    pub fn found(&self) -> Vec<SessionId> {
        self.play.found.lock().unwrap().clone()
    }

    /// Makes the handler panic when it creates session data, from now on.
    pub fn attach_nothing(&self) {
        self.play.barren.store(true, SeqCst);
    }

    /// Waits until `state` is true. Checks every millisecond, of virtual time in a simulation.
    pub async fn until(&self, mut state: impl FnMut(&Self) -> bool) {
        while !state(self) {
            self.runtime.sleep_until(self.runtime.now() + Duration::from_millis(1)).await;
        }
    }

    /// Waits for this long.
    pub async fn elapse(&self, time: Duration) {
        self.runtime.sleep_until(self.runtime.now() + time).await;
    }

    /// Creates a client without a session.
    pub fn stranger(&self) -> Client {
        let (endpoint, runtime) = (self.endpoint.clone(), Arc::clone(&self.runtime));
        Client {
            endpoint,
            runtime,
            session: None,
            principal: None,
            accept: "application/json, text/event-stream",
        }
    }

    /// Creates a client of the newest version with an initialized session.
    pub async fn client(&self) -> Client {
        self.client_of("2025-11-25").await
    }

    /// Like [`client`](Self::client), with an older version that has no priming events: an answer is JSON if nothing
    /// precedes it, however long it takes.
    pub async fn json_client(&self) -> Client {
        self.client_of("2025-06-18").await
    }

    /// Creates a client with an initialized session of this version.
    pub async fn client_of(&self, version: &str) -> Client {
        let mut client = self.stranger();
        client.initialize(version).await;
        assert_eq!(
            client.post(&notification("notifications/initialized")).await.status,
            StatusCode::ACCEPTED
        );
        client
    }
}

/// A client of the endpoint.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    runtime: Arc<dyn Runtime>,
    session: Option<SessionId>,
    principal: Option<Principal>,
    /// The `Accept` header of its POSTs.
    accept: &'static str,
}

impl Client {
    /// Opens a session, without `notifications/initialized`.
    pub async fn initialize(&mut self, version: &str) -> Value {
        self.initialize_with(&initialize(version, "client")).await
    }

    /// Opens a session with this message.
    pub async fn initialize_with(&mut self, message: &Value) -> Value {
        let reply = self.post(message).await;
        assert_eq!(reply.status, StatusCode::OK);
        self.session = reply.session();
        assert!(self.session.is_some(), "the answer to initialize carries the session id");
        reply.json().await
    }

    /// Returns the same client for another endpoint.
    pub fn at(&self, fixture: &Fixture) -> Self {
        Self { endpoint: fixture.endpoint.clone(), ..self.clone() }
    }

    /// The id of its session.
    pub fn id(&self) -> SessionId {
        self.session.expect("the client has a session")
    }

    /// The server's handle of its session.
    pub fn session(&self) -> Session {
        self.endpoint.manager().get(&self.id()).expect("the session is alive")
    }

    /// Returns the same client with another session.
    pub fn with_session(&self, session: Option<SessionId>) -> Self {
        Self { session, ..self.clone() }
    }

    /// The principal that it acts as.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Returns the same client with another principal, or without one.
    pub fn known_as(&self, principal: Option<&str>) -> Self {
        Self { principal: principal.map(Principal::new), ..self.clone() }
    }

    /// Returns the same client with this `Accept` header for its POSTs; `""` sends none.
    pub fn accepting(&self, accept: &'static str) -> Self {
        Self { accept, ..self.clone() }
    }

    /// A request with all headers that a correct client sends.
    pub fn request(&self, method: Method) -> http::request::Builder {
        let accept = if method == Method::GET { "text/event-stream" } else { self.accept };
        let builder = Request::builder().method(method).uri("/mcp").header("host", "localhost:8000");
        let builder = builder.header("content-type", "application/json");
        let builder = if accept.is_empty() { builder } else { builder.header("accept", accept) };
        let builder = match &self.principal {
            Some(principal) => builder.extension(principal.clone()),
            None => builder,
        };
        match self.session {
            Some(id) => builder.header("mcp-session-id", id.to_string()),
            None => builder,
        }
    }

    /// Sends any request.
    pub async fn send<B>(&self, request: Request<B>) -> Reply
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = self.endpoint.handle(request).await.into_parts();
        yield_now().await; // requests of a real client are separated by a network
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: Box::pin(body),
            events: VecDeque::new(),
            last_event_id: None,
            retry: None,
        }
    }

    /// POSTs a message and waits for the head of the response.
    pub async fn post(&self, message: &Value) -> Reply {
        self.send(self.request(Method::POST).body(message.to_string()).expect("a request")).await
    }

    /// POSTs a message in a separate task, for a head that comes later.
    pub fn start(&self, message: &Value) -> Started {
        let (sender, head) = oneshot::channel();
        let (client, message) = (self.clone(), message.clone());
        self.runtime.spawn(Box::pin(async move {
            let _ = sender.send(client.post(&message).await); // fails if the scenario does not need it any more
        }));
        Started(head)
    }

    /// POSTs this body unchanged.
    pub async fn post_text(&self, body: impl Into<String>) -> Reply {
        self.send(self.request(Method::POST).body(body.into()).expect("a request")).await
    }

    /// GET: the standalone stream.
    pub async fn get(&self) -> Reply {
        self.send(self.request(Method::GET).body(String::new()).expect("a request")).await
    }

    /// GET with `Last-Event-ID`: resumes a stream.
    pub async fn resume(&self, last_event_id: &str) -> Reply {
        let request = self.request(Method::GET).header("last-event-id", last_event_id);
        self.send(request.body(String::new()).expect("a request")).await
    }

    /// DELETE.
    pub async fn delete(&self) -> Reply {
        self.send(self.request(Method::DELETE).body(String::new()).expect("a request")).await
    }
}

/// A POST in progress.
#[derive(Debug)]
pub struct Started(oneshot::Receiver<Reply>);

impl Started {
    /// Waits for the head of the response.
    pub async fn head(self) -> Reply {
        self.0.await.expect("the task of the POST goes on")
    }

    /// Returns the head if it has already arrived.
    pub fn head_now(&mut self) -> Option<Reply> {
        self.0.try_recv().expect("the task of the POST goes on")
    }
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Pin<Box<ReplyBody>>,
    /// Further events of the frame of the last event.
    events: VecDeque<Bytes>,
    last_event_id: Option<String>,
    retry: Option<Duration>,
}

impl Reply {
    /// The session that the response opened.
    pub fn session(&self) -> Option<SessionId> {
        self.headers.get("mcp-session-id")?.to_str().ok()?.parse().ok()
    }

    /// Returns `true` if the response is a stream of events.
    pub fn is_stream(&self) -> bool {
        self.headers.get("content-type").is_some_and(|value| value == "text/event-stream")
    }

    /// The value of a header, or `""`.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the next event as sent; `None` at the end.
    pub async fn event(&mut self) -> Option<Result<Bytes, StreamCut>> {
        if self.events.is_empty() {
            match self.frame().await? {
                Ok(frame) if self.is_stream() => self.events.extend(split_events(frame)),
                other => return Some(other),
            }
        }
        self.events.pop_front().map(Ok)
    }

    /// Returns the next piece of the body; `None` at the end.
    pub async fn frame(&mut self) -> Option<Result<Bytes, StreamCut>> {
        let frame = poll_fn(|cx| self.body.as_mut().poll_frame(cx)).await?;
        Some(frame.map(|frame| frame.into_data().expect("a body has no trailers")))
    }

    /// Returns the next message, without comments and priming events; `None` at the end.
    pub async fn message(&mut self) -> Option<Value> {
        loop {
            let event = self.event().await?.expect("the stream is not cut");
            if let Some(message) = self.receive(&event) {
                return Some(message);
            }
        }
    }

    /// Waits for the first event, which has no message: a comment or a priming event (B-33, D-08).
    pub async fn opened(&mut self) {
        assert!(self.is_stream());
        let event = self.event().await.expect("it begins with an event").expect("the stream is not cut");
        assert_eq!(self.receive(&event), None);
    }

    /// The last event id that was received, if any.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// The last `retry` that was received.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Reads an event as a client does (WHATWG, D-39). Returns its message, if it has one.
    fn receive(&mut self, event: &[u8]) -> Option<Value> {
        let text = std::str::from_utf8(event).expect("events are UTF-8");
        let (mut message, mut named) = (None, false);
        for line in text.strip_suffix("\n\n").expect("an event is whole").lines() {
            match line.split_once(": ") {
                Some(("id", id)) => self.last_event_id = Some(id.to_owned()),
                Some(("retry", time)) => {
                    self.retry = Some(Duration::from_millis(time.parse().expect("milliseconds")));
                }
                Some(("event", "message")) => named = true,
                Some(("data", "")) => {} // a priming event
                Some(("data", data)) => message = Some(serde_json::from_str(data).expect("data is JSON")),
                Some(_) | None => assert!(line.starts_with(':'), "no field of an event: {line:?}"),
            }
        }
        assert_eq!(named, message.is_some(), "D-43: {text:?}");
        message
    }

    /// Returns all messages up to the end.
    pub async fn messages(mut self) -> Vec<Value> {
        let mut messages = Vec::new();
        while let Some(message) = self.message().await {
            messages.push(message);
        }
        messages
    }

    /// Returns the whole body, and asserts that it is not cut.
    pub async fn bytes(mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(data) = self.event().await {
            body.extend_from_slice(&data.expect("the body is not cut"));
        }
        body
    }

    /// Returns the body as JSON.
    pub async fn json(self) -> Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.bytes().await).expect("the body is JSON")
    }

    /// Returns the only answer, in either form, and asserts that nothing follows it.
    pub async fn answer(self) -> Value {
        assert_eq!(self.status, StatusCode::OK);
        if !self.is_stream() {
            return self.json().await;
        }
        let messages = self.messages().await;
        let answers: Vec<_> =
            messages.iter().filter(|message| message.get("id").is_some_and(|id| !id.is_null())).collect();
        assert_eq!(answers.len(), 1, "exactly one answer: {messages:?}");
        assert_eq!(Some(answers[0]), messages.last(), "nothing follows the answer");
        answers[0].clone()
    }

    /// Returns `true` if nothing can be read now.
    pub fn is_silent(&mut self) -> bool {
        self.event().now_or_never().is_none()
    }
}

/// Splits a frame, which contains only whole events, into its events.
fn split_events(mut frame: Bytes) -> Vec<Bytes> {
    let mut events = Vec::new();
    while !frame.is_empty() {
        let end = frame.windows(2).position(|two| two == b"\n\n").expect("an event is whole") + 2;
        events.push(frame.split_to(end));
    }
    events
}

/// `initialize` with id 0. The client's name decides what the handler does.
pub fn initialize(version: &str, name: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version,
        "capabilities": { "sampling": {}, "roots": {} },
        "clientInfo": { "name": name, "version": "1" },
    } })
}

/// The answer to a request.
pub fn reply(id: impl Into<Value>, result: impl Into<Value>) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "result": result.into() })
}

/// A request without params.
pub fn request(id: impl Into<Value>, method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method })
}

/// A request with params.
#[allow(clippy::needless_pass_by_value)] // a scenario reads better without `&` before each `json!`
pub fn request_with(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params })
}

/// A notification without params.
pub fn notification(method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": method })
}

/// `notifications/cancelled` for a request.
pub fn cancel(id: impl Into<Value>) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id.into(), "reason": "enough" } })
}

/// Yields once to other tasks.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A body that arrives when the scenario sends it.
#[derive(Debug)]
pub struct SlowBody(pub mpsc::UnboundedReceiver<Bytes>);

impl Body for SlowBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_next_unpin(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}
