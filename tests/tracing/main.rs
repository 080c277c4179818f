//! What an operator sees: the events and spans of core, which contain no secrets.

mod refusals;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use mcp_session_core::{
    Config, Endpoint, Handler, InitializeResult, Json, ReplyBody, RequestContext, Router, RpcError, Session,
    ShutdownPolicy, Stats,
};
use mcp_session_tokio::TokioRuntime;
use serde_json::json;
use tracing::{Level, subscriber::DefaultGuard};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no test panics in here").clone()).expect("UTF-8")
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics in here").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The log of this thread, from this level on, until the guard is dropped.
fn logged(level: Level) -> (Log, DefaultGuard) {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(log.clone());
    (log, tracing::subscriber::set_default(subscriber.finish()))
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",
    "capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn e_20_f_07_sessions_exchanges_and_phases_are_logged_without_secrets() {
    let (log, _guard) = logged(Level::DEBUG);

    let router = Router::new("logged", "1.0.0").request("wait", |_: RequestContext| async {
        tracing::info!("inside the handler");
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(json!({}))
    });
    let endpoint = Endpoint::new(TokioRuntime::current(), router);
    let id = open(&endpoint).await;
    post(&endpoint, Some(&id), r#"{"jsonrpc":"2.0","id":2,"method":"wait"}"#).await;
    post(&endpoint, Some(&id), "nonsense").await;
    let cancel =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9,"reason":"enough"}}"#;
    post(&endpoint, Some(&id), cancel).await;
    let _ = endpoint.shutdown(ShutdownPolicy::default()).await;

    let log = log.text();
    for expected in [
        "session created",
        "version=2025-11-25",
        "session initialized",
        "request=2 method=\"wait\" outcome=\"result\" elapsed=1s",
        "inside the handler",
        "request rejected status=400 reason=\"not_json\"",
        "client cancelled a request",
        "reason=\"enough\"",
        "shutdown phase=draining sessions=1",
        "shutdown phase=closed sessions=0",
        "session terminated",
        "reason=shutdown age=1s",
    ] {
        assert!(log.contains(expected), "{expected:?} is missing in\n{log}");
    }
    let inside = log.lines().find(|line| line.contains("inside the handler")).expect("it is there");
    assert!(
        inside.contains("exchange{") && inside.contains("request=2"),
        "in the span of its exchange: {inside}"
    );
    assert!(log.contains(&id[..8]) && !log.contains(&id), "the id is a secret: its prefix will do");
}

/// A subscriber that panics in every call once it is armed, like one that writes to a pipe without a reader.
struct Panics(Arc<AtomicBool>);

impl Panics {
    fn shake<T>(&self, otherwise: T) -> T {
        if self.0.load(SeqCst) {
            std::panic::resume_unwind(Box::new("planted: the log cannot be written"));
        }
        otherwise
    }
}

impl tracing::Subscriber for Panics {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        self.shake(tracing::subscriber::Interest::sometimes())
    }

    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        self.shake(true)
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.shake(tracing::span::Id::from_u64(1))
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {
        self.shake(());
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {
        self.shake(());
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.shake(());
    }

    fn enter(&self, _: &tracing::span::Id) {
        self.shake(());
    }

    fn exit(&self, _: &tracing::span::Id) {
        self.shake(());
    }

    fn clone_span(&self, id: &tracing::span::Id) -> tracing::span::Id {
        self.shake(id.clone())
    }

    fn try_close(&self, _: tracing::span::Id) -> bool {
        self.shake(true)
    }
}

/// S3, S8: a subscriber that panics in every call costs only the log. Sessions open and expire, calls are answered, a
/// handler's panic becomes an answer, heartbeats come, and the shutdown is clean.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn s_3_s_8_a_subscriber_that_panics_costs_the_log_only() {
    let armed = Arc::new(AtomicBool::new(false));
    let _guard = tracing::subscriber::set_default(Panics(Arc::clone(&armed)));
    let router = Router::new("unlogged", "1.0.0")
        .request("echo", |_: RequestContext| async { Ok(json!({})) })
        .request("panic", |_: RequestContext| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if true {
                std::panic::resume_unwind(Box::new("planted: the handler panics"));
            }
            Ok(json!({}))
        })
        .request("wait", |_: RequestContext| async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(json!({}))
        });
    let mut config = Config::default();
    config.session.idle_timeout = Duration::from_secs(100);
    config.session.heartbeat = Duration::from_secs(10);
    let endpoint = Endpoint::with_config(TokioRuntime::current(), router, config).expect("limits that work");
    // Spans from before are affected, too.
    let before = open(&endpoint).await;
    let early = tokio::spawn(call(&endpoint, &before, 1, "wait"));
    until(&endpoint, |stats| stats.exchanges == 1).await;
    armed.store(true, SeqCst);

    let (left, session) = (open(&endpoint).await, open(&endpoint).await);
    assert!(call(&endpoint, &session, 1, "echo").await.contains("\"result\""));
    assert!(call(&endpoint, &session, 2, "panic").await.contains("-32603"));
    let waited = call(&endpoint, &session, 3, "wait").await;
    assert!(waited.contains("\"result\"") && waited.contains("\n:"), "a heartbeat came: {waited}");
    assert!(early.await.expect("the task goes on").contains("\"result\""));
    until(&endpoint, |stats| stats.sessions == 2).await; // the unused one has expired
    assert!(call(&endpoint, &left, 1, "echo").await.contains("no such session"));

    let last = tokio::spawn(call(&endpoint, &session, 4, "wait"));
    until(&endpoint, |stats| stats.exchanges == 1).await;
    let policy = ShutdownPolicy { drain: Duration::from_secs(600), ..ShutdownPolicy::default() };
    let report = endpoint.shutdown(policy).await;
    assert!(report.is_clean() && report.exchanges.answered == 1, "{report}");
    assert!(last.await.expect("the task goes on").contains("\"result\""));
    armed.store(false, SeqCst); // dropping it asks it about its spans
}

/// Waits for a state of the endpoint, on the paused clock.
async fn until(endpoint: &Endpoint, state: impl Fn(&Stats) -> bool) {
    let reached = async {
        while !state(&endpoint.stats()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3600), reached).await.expect("the state is reached");
}

/// Opens and initializes a session.
async fn open(endpoint: &Endpoint) -> String {
    let opened = post(endpoint, None, INITIALIZE).await;
    let id = opened.headers()["mcp-session-id"].to_str().expect("an id").to_owned();
    post(endpoint, Some(&id), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    id
}

/// The complete body of the answer to a call.
fn call(
    endpoint: &Endpoint,
    session: &str,
    id: u32,
    method: &str,
) -> impl Future<Output = String> + Send + use<> {
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": method }).to_string();
    let answer = post(endpoint, Some(session), &body);
    async move {
        let body = answer.await.into_body().collect().await.expect("it is not cut");
        String::from_utf8(body.to_bytes().into()).expect("UTF-8")
    }
}

fn post(
    endpoint: &Endpoint,
    session: Option<&str>,
    body: &str,
) -> impl Future<Output = Response<ReplyBody>> + Send + use<> {
    let request = Request::post("/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    let request = match session {
        Some(id) => request.header("mcp-session-id", id),
        None => request,
    };
    endpoint.handle(request.body(body.to_owned()).expect("a request"))
}

/// At `INFO`, what sessions and requests do is one line a minute, and none while nothing happens.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn s_15_sessions_and_requests_are_summed_up_once_a_minute() {
    let (log, _guard) = logged(Level::INFO);
    let router = Router::new("counts", "1.0.0").request("echo", |_: RequestContext| async { Ok(json!({})) });
    let endpoint = Endpoint::new(TokioRuntime::current(), router);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(log.text(), "", "nothing has happened");
    let minute = async || tokio::time::sleep(Duration::from_secs(61)).await;

    let sessions = [open(&endpoint).await, open(&endpoint).await];
    for id in 1..=3 {
        assert!(call(&endpoint, &sessions[0], id, "echo").await.contains("\"result\""));
    }
    let delete = Request::delete("/mcp").header("mcp-session-id", &sessions[1]).body(String::new());
    assert_eq!(endpoint.handle(delete.expect("a request")).await.status(), 204);
    minute().await;
    // A request without a session counts as well.
    let answer = post(&endpoint, None, r#"{"jsonrpc":"2.0","id":1,"method":"echo"}"#).await;
    assert_eq!(answer.status(), 200);
    minute().await;
    tokio::time::sleep(Duration::from_secs(600)).await;

    let log = log.text();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("in the last minute")).collect();
    assert_eq!(lines.len(), log.lines().count(), "sessions have no lines of their own: {log}");
    let admitted = |line: &str, n: u32| line.contains(&format!("admitted={n} answered={n} "));
    assert!(lines[0].contains("sessions=1 requests=0 streams=0 opened=2 ended=1"), "{log}");
    assert!(admitted(lines[0], 3 + 2), "two of them are `initialize`: {log}");
    assert!(lines[1].contains("opened=0 ended=0") && admitted(lines[1], 1), "{log}");
    assert_eq!(lines.len(), 2, "{log}");
}

/// A panic is logged with its session and its request, that of a hook with its session.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn s_8_panics_are_logged_with_session_and_request() {
    struct Panics;

    impl Handler for Panics {
        fn info(&self) -> InitializeResult {
            InitializeResult::new("panics", "1.0.0")
        }

        async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
            if cx.method() == "later" {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            planted()
        }

        async fn initialized(&self, _: Session) {
            planted()
        }
    }

    fn planted() -> ! {
        std::panic::resume_unwind(Box::new("planted"))
    }

    let (log, _guard) = logged(Level::INFO);
    let endpoint = Endpoint::new(TokioRuntime::current(), Panics);
    let session = open(&endpoint).await;
    for (id, method) in [(7, "now"), (8, "later")] {
        assert!(call(&endpoint, &session, id, method).await.contains("-32603"));
    }
    let alone = post(&endpoint, None, r#"{"jsonrpc":"2.0","id":"nine","method":"alone"}"#).await;
    assert_eq!(alone.status(), 200);
    let log = log.text();
    let prefix = &session[..8];
    for expected in [
        format!("ERROR mcp_session_core: handler panicked session={prefix}.. method=\"initialized\""),
        format!("handler panicked session={prefix}.. request=7 method=\"now\""),
        format!("handler panicked session={prefix}.. request=8 method=\"later\""),
        "handler panicked request=\"nine\" method=\"alone\"".to_owned(),
    ] {
        assert!(log.contains(&expected), "{expected:?} is missing in\n{log}");
    }
    assert!(!log.contains(&session), "{log}");
}

/// Text from clients stays on one line of the log, at every level: line breaks, escapes and control characters are
/// never logged raw.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn e_20_what_clients_say_is_escaped_in_the_log() {
    let (log, _guard) = logged(Level::TRACE);
    let boom = |_: RequestContext| async {
        if true {
            std::panic::resume_unwind(Box::new("planted"));
        }
        Ok(json!({}))
    };
    let evil = "a\nINFO forged\r\u{1b}[31mred\u{9b}31m\u{2028}\u{7f}\0";
    let endpoint = Endpoint::new(TokioRuntime::current(), Router::new("x", "1").request(evil, boom));
    let session = open(&endpoint).await;
    let messages = [
        json!({ "jsonrpc": "2.0", "id": evil, "method": evil }),
        json!({ "jsonrpc": "2.0", "id": "id", "method": format!("{evil}unknown") }),
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": evil, "reason": evil } }),
        json!({ "jsonrpc": "2.0", "method": evil }),
    ];
    for message in &messages {
        post(&endpoint, Some(&session), &message.to_string()).await;
    }
    for (name, value) in [("host", "evil.example.com"), ("origin", "x\ty"), ("mcp-protocol-version", "1\t2")]
    {
        let request = Request::post("/mcp")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-session-id", &session)
            .header(name, value);
        endpoint.handle(request.body(messages[0].to_string()).unwrap()).await;
    }
    let log = log.text();
    assert!(
        log.contains("forged") && log.contains("request rejected") && log.contains("handler panicked"),
        "{log}"
    );
    assert!(
        log.lines().all(|line| line.contains("mcp_session_core: ") || line.contains("mcp_session_core::")),
        "{log}"
    );
    let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{2028}');
    assert!(!log.contains(raw), "{log:?}");
}

/// A handler that blocks its thread is logged with its name, at its first poll and at a later one.
#[tokio::test(flavor = "current_thread")]
async fn a_handler_that_blocks_its_thread_is_told_of() {
    let (log, _guard) = logged(Level::WARN);
    let block = || std::thread::sleep(Duration::from_millis(150));
    let router = Router::new("blocks", "1.0.0")
        .request("first", move |_: RequestContext| async move {
            block();
            Ok(json!({}))
        })
        .request("suspends", move |_: RequestContext| async move {
            block();
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(json!({}))
        })
        .request("later", move |_: RequestContext| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            block();
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(json!({}))
        });
    let endpoint = Endpoint::new(TokioRuntime::current(), router);
    let session = open(&endpoint).await;
    for (id, method) in (2..).zip(["first", "suspends", "later"]) {
        assert!(call(&endpoint, &session, id, method).await.contains("\"result\""));
        let log = log.text();
        let request = format!("session={}.. request={id} method=\"{method}\"", &session[..8]);
        let named = log.lines().any(|line| line.contains("blocked its thread") && line.contains(&request));
        assert!(named, "{method} is missing in\n{log}");
    }
}
