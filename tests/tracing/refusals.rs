//! What the log says of refused requests.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use mcp_session_core::{Config, Endpoint, PeerAddr, RequestContext, Router};
use mcp_session_tokio::TokioRuntime;
use serde_json::json;
use tracing::Level;

use super::{INITIALIZE, logged, open, post};

/// Refusals that an operator can configure are logged as a warning with the setting, at most once a second.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn b_07_e_15_refusals_name_their_setting() {
    let (log, _guard) = logged(Level::WARN);
    let mut config = Config::default();
    config.max_sessions = 1;
    config.body_limit = 300;
    config.session.max_exchanges = 1;
    let router = Router::new("refuses", "1.0.0").request("wait", |_: RequestContext| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok(json!({}))
    });
    let endpoint = Endpoint::with_config(TokioRuntime::current(), router, config).expect("limits that work");
    let session = open(&endpoint).await;
    let foreign = || Request::post("/mcp").header("host", "mcp.example.com").body(String::new()).unwrap();
    let refused = endpoint.handle(foreign()).await;
    let body = refused.into_body().collect().await.expect("whole").to_bytes();
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("mcp.example.com") && body.contains("Config::allowed_hosts"), "{body}");
    for _ in 0..9 {
        endpoint.handle(foreign()).await;
    }
    let page = Request::post("/mcp").header("origin", "https://evil.example.com").body(String::new());
    endpoint.handle(page.unwrap()).await;
    assert_eq!(post(&endpoint, None, INITIALIZE).await.status(), 503);
    assert_eq!(post(&endpoint, Some(&session), &"x".repeat(301)).await.status(), 413);
    let running = post(&endpoint, Some(&session), r#"{"jsonrpc":"2.0","id":1,"method":"wait"}"#).await;
    let refused = post(&endpoint, Some(&session), r#"{"jsonrpc":"2.0","id":2,"method":"wait"}"#).await;
    assert_eq!((running.status().as_u16(), refused.status().as_u16()), (200, 503));
    tokio::time::sleep(Duration::from_secs(2)).await;
    endpoint.handle(foreign()).await;

    let log = log.text();
    for setting in [
        "Config::allowed_hosts",
        "Config::allowed_origins",
        "Config::max_sessions",
        "Config::body_limit",
        "SessionConfig::max_exchanges",
    ] {
        assert!(log.contains(setting), "{setting} is missing in\n{log}");
    }
    let hosts: Vec<_> = log.lines().filter(|line| line.contains("Config::allowed_hosts")).collect();
    assert!(hosts.len() == 2 && hosts[0].contains("mcp.example.com"), "{log}");
    assert!(hosts[1].contains("unreported=9"), "{log}");
}

/// A refusal that no setting would allow is information, with its reason and its peer, at most once a second.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn e_20_refusals_are_logged_with_reason_and_peer_and_nothing_of_headers_and_bodies() {
    let (log, _guard) = logged(Level::INFO);
    let endpoint = Endpoint::new(TokioRuntime::current(), Router::new("refuses", "1.0.0"));
    let session = open(&endpoint).await;
    let request = |session: &str, version: &str, body: &str| {
        let request = Request::post("/mcp")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("authorization", "Bearer hunter2")
            .header("host", "127.0.0.1")
            .header("mcp-session-id", session)
            .header("mcp-protocol-version", version);
        let mut request = request.body(body.to_owned()).expect("a request");
        request.extensions_mut().insert(PeerAddr(([127, 0, 0, 1], 4711).into()));
        endpoint.handle(request)
    };
    for _ in 0..4 {
        assert_eq!(request(&session, "2025-11-25", "{\"hunter2\":").await.status(), 400);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(request(&session, "2025-11-25", "{\"hunter2\":").await.status(), 400);
    assert_eq!(
        request("hunter2", "2025-11-25", r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#).await.status(),
        404
    );
    assert_eq!(request(&session, "hunter2", r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#).await.status(), 400);
    let mut invalid = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize" });
    invalid["params"] = json!({ "protocolVersion": { "hunter2": 1 } });
    assert_eq!(post(&endpoint, None, &invalid.to_string()).await.status(), 400);

    let log = log.text();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("request rejected")).collect();
    let (reasons, unreported) = ("reason=\"not_json\" peer=127.0.0.1:4711", ["unreported=0", "unreported=3"]);
    assert!(lines.iter().all(|line| line.contains(" INFO ")), "{log}");
    for (line, unreported) in lines.iter().zip(unreported) {
        assert!(line.contains(reasons) && line.contains(unreported), "{log}");
    }
    for reason in ["unknown_session", "unsupported_version", "invalid_initialize"] {
        assert!(lines.iter().any(|line| line.contains(reason)), "{reason} is missing in\n{log}");
    }
    assert_eq!(lines.len(), 5, "{log}");
    assert!(!log.contains("hunter2") && !log.contains(&session), "{log}");
}
