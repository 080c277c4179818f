//! The parts of a scenario: an endpoint, a handler that the scenario controls, and clients.

mod book;
mod client;
mod message;
mod modern;
mod reply;

use std::{
    collections::HashMap,
    panic::{Location, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
    future::{pending, poll_fn},
};
use http::StatusCode;
use mcp_session_core::{
    AuthError, Config, Endpoint, ErrorCode, Handler, InitializeRequest, InitializeResult, Json, Notification,
    NotificationContext, RequestContext, RpcError, Runtime, Session, SessionData, SessionId, ShutdownPolicy,
    TerminateReason,
};
use serde_json::{Value, json};

pub use self::{
    book::book,
    client::{Client, SlowBody, Started},
    message::{cancel, initialize, notification, reply, request, request_with},
    modern::{META, MODERN, Modern},
    reply::Reply,
};
use crate::TestBed;

/// For times that must elapse: short, because a real clock really waits.
pub const SOON: Duration = Duration::from_millis(40);

/// For times that must not elapse, however slow the machine is.
pub const NEVER: Duration = Duration::from_secs(600);

/// No phase elapses.
pub const PATIENT: ShutdownPolicy =
    ShutdownPolicy { lame_duck: Duration::ZERO, drain: NEVER, cancel: NEVER, finish: NEVER };

/// Handlers get no time before they are cancelled and little afterwards; readers get as much as they need.
pub const STRICT: ShutdownPolicy =
    ShutdownPolicy { lame_duck: Duration::ZERO, drain: Duration::ZERO, cancel: SOON, finish: NEVER };

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
    /// `None`: it panics.
    answer: oneshot::Sender<Option<Result<Json, RpcError>>>,
}

impl Work {
    /// Makes the handler answer with this result.
    pub fn finish(self, result: Value) {
        // If the handler was dropped, nobody needs the answer.
        let _ = self.answer.send(Some(Ok(result.into())));
    }

    /// Makes the handler answer with this result or error.
    pub fn answer(self, answer: Result<Json, RpcError>) {
        let _ = self.answer.send(Some(answer));
    }

    /// Makes the handler answer with this error.
    pub fn fail(self, error: RpcError) {
        let _ = self.answer.send(Some(Err(error)));
    }

    /// Makes the handler panic.
    pub(in crate::behaviour) fn panic(self) {
        let _ = self.answer.send(None);
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
    fn info(&self) -> InitializeResult {
        InitializeResult::new("fixture", "1.0.0").with_capabilities(json!({
            "tools": { "listChanged": true }, "resources": { "subscribe": true, "listChanged": true },
        }))
    }

    fn session_data(&self, _: &Session) -> SessionData {
        if self.barren.load(SeqCst) {
            planted("the handler panics over the data of a session");
        }
        SessionData::new(Attached { used: AtomicUsize::new(0), _alive: Arc::clone(&self.attached) })
    }

    /// The tool `routed` has arguments that its calls repeat in headers.
    fn tool_schema(&self, tool: &str) -> Option<Json> {
        if tool == "unreadable" {
            planted("the handler panics over the schema of a tool");
        }
        let schema = json!({ "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "count": { "type": "integer", "x-mcp-header": "Count" },
            "plain": { "type": "string" },
            "nested": { "type": "object", "properties": { "dry": { "type": "boolean", "x-mcp-header": "Dry" } } },
        } });
        (tool == "routed").then(|| schema.into())
    }

    /// The client's name decides what happens.
    async fn initialize(&self, request: InitializeRequest) -> Result<InitializeResult, RpcError> {
        match request.client_info.parse::<Value>()?["name"].as_str() {
            Some("refused") => Err(RpcError::internal("not you")),
            Some("lacks a scope") => Err(AuthError::insufficient_scope("sessions").into()),
            Some("panics") => planted("the handler panics in initialize"),
            Some("hangs") => pending().await,
            _ => Ok(self.info()),
        }
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        match cx.method() {
            "echo" => Ok(cx.raw_params().cloned().unwrap_or_else(|| json!({}).into())),
            "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
                Ok(json!({ "listed": cx.method() }).into())
            }
            "panic" => planted("the handler panics"),
            "write" => Err(AuthError::insufficient_scope("write").into()),
            // Ready at its first poll, unless it waits for its client.
            "tools/call" if of_client(&cx, "name") == "book" => Ok(book(&cx).await?.into()),
            "fail" => {
                let params: Value = cx.params()?;
                let code = params["code"].as_i64().unwrap_or_default();
                Err(RpcError::new(ErrorCode(code), "as the client wants it"))
            }
            "resources/read" if !of_client(&cx, "uri").starts_with("file:") => {
                Err(RpcError::method_not_found(cx.method()))
            }
            "work" | "tools/call" | "prompts/get" | "resources/read" => {
                let (answer, answered) = oneshot::channel();
                if self.work.unbounded_send(Work { cx, answer }).is_err() {
                    return Err(RpcError::internal("the scenario is over"));
                }
                match answered.await {
                    Ok(Some(answer)) => answer,
                    Ok(None) => planted("the handler panics later"),
                    Err(oneshot::Canceled) => pending().await,
                }
            }
            other => Err(RpcError::method_not_found(other)),
        }
    }

    async fn notification(&self, notification: Notification, _: NotificationContext) {
        match &*notification.method {
            "panic" => planted("the handler panics over a notification"),
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
            Some(Hook::Panics) => planted("the hook panics"),
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
    ///
    /// # Panics
    ///
    /// If it is not after so many milliseconds as are in [`NEVER`]. In real time, the [`Watchdog`](crate::Watchdog) is
    /// earlier.
    #[track_caller]
    pub fn until(&self, mut state: impl FnMut(&Self) -> bool) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            // Counted: the scenario may move the clock.
            for _ in 0..NEVER.as_millis() {
                if state(self) {
                    return;
                }
                self.runtime.sleep_until(self.runtime.now() + Duration::from_millis(1)).await;
            }
            panic!("{caller}: a state that never comes");
        }
    }

    /// Waits for this long.
    pub async fn elapse(&self, time: Duration) {
        self.runtime.sleep_until(self.runtime.now() + time).await;
    }

    /// Creates a client without a session.
    pub fn stranger(&self) -> Client {
        Client::of(&self.endpoint)
    }

    /// Creates a client of revision 2026-07-28.
    pub fn modern(&self) -> Modern {
        Modern::of(&self.endpoint)
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

/// A text among the params of a request.
fn of_client(cx: &RequestContext, name: &str) -> String {
    let params: Value = cx.params().unwrap_or_default();
    params[name].as_str().unwrap_or_default().to_owned()
}

/// A panic that is meant to be: without the process's panic hook, which prints what no reader of the tests needs.
pub(crate) fn planted(what: &'static str) -> ! {
    resume_unwind(Box::new(what))
}

/// Yields once to other tasks.
pub async fn yield_now() {
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
