//! Run with `cargo xtask leaks --bridge --sessions 100000`.
//!
//! Opens, uses and deletes sessions of an rmcp server, without sockets, and counts the bytes of the heap: after a tenth of
//! them, and after all. Exit code 0 means that the heap has not grown by more than 1 %.

use std::{
    future::poll_fn,
    pin::pin,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::{join_all, maybe_done};
use http::{Request, Response, StatusCode};
use http_body::Body;
use mcp_session_core::{Config, Endpoint, ReplyBody};
use mcp_session_rmcp::RmcpHandler;
use mcp_session_tokio::TokioRuntime;
use peak_alloc::PeakAlloc;
use rmcp::{
    Peer, RoleServer, ServerHandler,
    model::{ProgressNotificationParam, ServerCapabilities, ServerConfig},
    service::{NotificationContext, RequestContext},
    tool, tool_handler, tool_router,
};
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Growth up to this is none.
const ALLOWED: f64 = 0.01;

/// The number of clients at a time.
const CLIENTS: u64 = 16;

/// More than the number of unused peers that the bridge has ready for the next calls.
const CALLS_AT_ONCE: usize = 100;

/// How long the last sessions may take to be gone.
const LIMIT: Duration = Duration::from_secs(30);

/// A value per session, which keeps what a session may keep.
struct Server {
    kept: Mutex<Vec<Peer<RoleServer>>>,
    meeting: Arc<Barrier>,
}

#[tool_router]
impl Server {
    #[tool(description = "Answers at once")]
    fn echo(&self) -> String {
        "echo".to_owned()
    }

    #[tool(description = "Reports three steps")]
    async fn steps(&self, context: RequestContext<RoleServer>) -> String {
        for step in 0..3 {
            if let Some(token) = context.meta.get_progress_token() {
                let step = ProgressNotificationParam::new(token, step.into());
                let _ = context.peer.notify_progress(step).await;
            }
        }
        "steps".to_owned()
    }

    #[tool(description = "Keeps its peer until the session ends")]
    fn keep(&self, peer: Peer<RoleServer>) -> String {
        self.kept.lock().expect("a lock").push(peer);
        "kept".to_owned()
    }

    #[tool(description = "Keeps its peer in a task, which ends with the call")]
    fn spawn(&self, context: RequestContext<RoleServer>) -> String {
        tokio::spawn(async move {
            context.ct.cancelled().await;
            let _ = context.peer.notify_tool_list_changed().await;
        });
        "spawned".to_owned()
    }

    #[tool(description = "Works until it is cancelled")]
    async fn wait(&self, context: RequestContext<RoleServer>) -> String {
        context.ct.cancelled().await;
        "cancelled".to_owned()
    }

    #[tool(description = "Answers once there are as many calls as can meet")]
    async fn meet(&self) -> String {
        self.meeting.wait().await;
        "met".to_owned()
    }

    #[tool(description = "Never ends")]
    async fn hang(&self) -> String {
        std::future::pending().await
    }
}

#[tool_handler]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.kept.lock().expect("a lock").push(context.peer);
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let sessions = match (args.next().as_deref(), args.next().map(|count| count.parse::<u64>()), args.next())
    {
        (None, None, None) => 100_000,
        (Some("--sessions"), Some(Ok(count)), None) if count >= 1_000 => count,
        _ => {
            eprintln!("usage: leaks [--sessions N], with N at least 1000");
            return ExitCode::from(2);
        }
    };
    let mut config = Config::default();
    // What hangs is dropped with its session: tables that hold many ending sessions do not become smaller again.
    config.session.terminate.cancel = Duration::ZERO;
    config.session.terminate.finish = Duration::from_millis(1);
    let meeting = Arc::new(Barrier::new(CALLS_AT_ONCE));
    let handler = RmcpHandler::new(move |_| Server { kept: Mutex::default(), meeting: Arc::clone(&meeting) });
    let endpoint = Endpoint::with_config(TokioRuntime::current(), handler, config);
    let endpoint = Arc::new(endpoint.expect("a configuration that can work"));
    let begun = Instant::now();
    run(&endpoint, 0..sessions / 10).await;
    let few = heap(&endpoint).await;
    run(&endpoint, sessions / 10..sessions).await;
    let all = heap(&endpoint).await;
    let growth = all as f64 / few as f64 - 1.0;
    println!(
        "{sessions} sessions: heap {:.1} KB after a tenth, {:.1} KB after all, {:+.2} %, {:.0} s",
        few as f64 / 1e3,
        all as f64 / 1e3,
        growth * 100.0,
        begun.elapsed().as_secs_f64()
    );
    if growth <= ALLOWED { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The bytes of the heap once nothing is left but the unused peers of the bridge, of which there are as many as there may be.
async fn heap(endpoint: &Endpoint) -> usize {
    let mut sessions = Vec::new();
    for _ in 0..CALLS_AT_ONCE {
        sessions.push(open(endpoint).await);
    }
    let meet = call("meet");
    // A peer is given back before its call is answered.
    join_all(sessions.iter().map(async |id| body(post(endpoint, Some(id), &meet).await).await)).await;
    for id in &sessions {
        delete(endpoint, id).await;
    }
    let (begun, mut last) = (Instant::now(), usize::MAX);
    loop {
        let left = endpoint.stats();
        assert!(begun.elapsed() < LIMIT, "{left:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = HEAP.current_usage();
        if left.sessions == 0 && left.exchanges == 0 && now == last {
            return now;
        }
        last = now;
    }
}

async fn run(endpoint: &Arc<Endpoint>, numbers: std::ops::Range<u64>) {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let endpoint = Arc::clone(endpoint);
        let numbers = numbers.clone().skip(client as usize).step_by(CLIENTS as usize);
        clients.spawn(async move {
            for number in numbers {
                session(&endpoint, number).await;
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client does not panic");
    }
}

/// Opens a session, uses it in one of six ways, and deletes it.
async fn session(endpoint: &Endpoint, number: u64) {
    let id = open(endpoint).await;
    match number % 6 {
        0 => wait_until_cancelled(endpoint, &id).await,
        1 => {
            let hang = call("hang");
            let mut hang = pin!(post(endpoint, Some(&id), &hang));
            let _ = futures::poll!(&mut hang); // its client goes away
        }
        other => {
            let tool = ["echo", "steps", "keep", "spawn"][other as usize - 2];
            let answer = body(post(endpoint, Some(&id), &call(tool)).await).await;
            assert!(answer.contains(r#""result""#), "{answer}");
        }
    }
    delete(endpoint, &id).await;
}

async fn open(endpoint: &Endpoint) -> String {
    let client = json!({ "name": "leaks", "version": "0" });
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    let opened = post(endpoint, None, &request(0, "initialize", &params)).await;
    let id = opened.headers()["mcp-session-id"].to_str().expect("text").to_owned();
    body(opened).await;
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(post(endpoint, Some(&id), &initialized).await.status(), StatusCode::ACCEPTED);
    id
}

/// Calls a tool that works until the client cancels it. Waits for other clients before it cancels.
async fn wait_until_cancelled(endpoint: &Endpoint, id: &str) {
    let wait = call("wait");
    let mut wait = pin!(maybe_done(post(endpoint, Some(id), &wait)));
    let _ = futures::poll!(&mut wait);
    tokio::task::yield_now().await;
    let params = json!({ "requestId": 1 });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    assert_eq!(post(endpoint, Some(id), &cancel).await.status(), StatusCode::ACCEPTED);
    wait.as_mut().await;
    body(wait.take_output().expect("it is done")).await;
}

async fn delete(endpoint: &Endpoint, id: &str) {
    let delete =
        Request::delete("/mcp").header("mcp-session-id", id).header("mcp-protocol-version", "2025-11-25");
    let deleted = endpoint.handle(delete.body(String::new()).expect("a request")).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
}

fn call(tool: &str) -> Value {
    request(1, "tools/call", &json!({ "name": tool, "arguments": {}, "_meta": { "progressToken": 1 } }))
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

async fn post(endpoint: &Endpoint, session: Option<&str>, message: &Value) -> Response<ReplyBody> {
    let mut request = Request::post("/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
    }
    endpoint.handle(request.body(message.to_string()).expect("a request")).await
}

async fn body(response: Response<ReplyBody>) -> String {
    let (mut body, mut text) = (Box::pin(response.into_body()), String::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let data = frame.expect("a frame").into_data().unwrap_or_default();
        text.push_str(std::str::from_utf8(&data).expect("text"));
    }
    text
}
