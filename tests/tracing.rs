//! What an operator sees: the events and spans of core, and the secrets that are not among them.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Request;
use mcp_session_core::{Endpoint, RequestContext, Router, ShutdownPolicy};
use mcp_session_tokio::TokioRuntime;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn e_20_f_07_sessions_exchanges_and_phases_are_logged_without_secrets() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let router = Router::new("logged", "1.0.0").request("wait", |_: RequestContext| async {
        tracing::info!("inside the handler");
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(json!({}))
    });
    let endpoint = Endpoint::new(TokioRuntime::current(), router);
    let post = |session: Option<&str>, body: &str| {
        let request = Request::post("/mcp")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        let request = match session {
            Some(id) => request.header("mcp-session-id", id),
            None => request,
        };
        endpoint.handle(request.body(body.to_owned()).expect("a request"))
    };
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",
        "capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let opened = post(None, initialize).await;
    let id = opened.headers()["mcp-session-id"].to_str().expect("an id").to_owned();
    post(Some(&id), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    post(Some(&id), r#"{"jsonrpc":"2.0","id":2,"method":"wait"}"#).await;
    post(Some(&id), "nonsense").await;
    let cancel =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9,"reason":"enough"}}"#;
    post(Some(&id), cancel).await;
    let _ = endpoint.shutdown(ShutdownPolicy::default()).await;

    let log = String::from_utf8(log.0.lock().expect("no test panics in here").clone()).expect("UTF-8");
    for expected in [
        "session created",
        "version=2025-11-25",
        "session initialized",
        "request=2 method=\"wait\" outcome=\"result\" elapsed=1s",
        "inside the handler",
        "request rejected status=400",
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
