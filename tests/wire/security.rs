//! What a middleware says of the caller, what a browser asks, and heads that are too large, through real servers.

use axum::{
    extract::Request,
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use mcp_session_core::{Config, Cors, Endpoint, Principal, RequestContext, Router, ShutdownPolicy};
use mcp_session_tests::wire::{Client, End, Server, call, initialize, initialized, within};
use mcp_session_tokio::{McpService, TokioRuntime, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A layer as a deployer writes it: the credential is verified, and the name that it proves left behind.
async fn authenticated(mut request: Request, next: Next) -> Response {
    let credential = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match credential.and_then(|value| value.strip_prefix("Bearer of-")).map(Principal::new) {
        Some(principal) => request.extensions_mut().insert(principal),
        None => return StatusCode::UNAUTHORIZED.into_response(),
    };
    next.run(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn e_06_e_07_a_principal_from_an_axum_layer_owns_its_session() {
    let router = Router::new("wire", "0.0.0").request("whoami", |cx: RequestContext| async move {
        Ok(json!({ "principal": cx.principal().map(Principal::as_str) }))
    });
    let endpoint = Endpoint::with_config(TokioRuntime::current(), router, Config::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let app = axum::Router::new().route_service("/mcp", McpService::new(endpoint.clone()));
    let app = app.layer(middleware::from_fn(authenticated));
    let server = tokio::spawn(serve(listener, endpoint.clone()).with_service(app).into_future());

    let mut client = Client { addr, session: String::new() };
    let send = |client: Client, method: &'static str, name: &'static str, message: Value| async move {
        let body = message.to_string();
        let token =
            if name.is_empty() { String::new() } else { format!("authorization: Bearer of-{name}\r\n") };
        let head = client.head_with(method, &format!("{token}content-length: {}\r\n", body.len()));
        client.send(&(head + &body)).await.reply().await
    };
    let opened = send(client.clone(), "POST", "alice", initialize()).await;
    client.session = opened.head.get("mcp-session-id").expect("a session id").to_owned();
    assert_eq!(send(client.clone(), "POST", "alice", initialized()).await.head.status, 202);
    let whoami = call(1, "whoami", json!({}));
    let own = send(client.clone(), "POST", "alice", whoami.clone()).await;
    assert_eq!(own.json()["result"], json!({ "principal": "alice" }));

    let unknown = Client { addr, session: "0".repeat(32) };
    for method in ["POST", "GET", "DELETE"] {
        let foreign = send(client.clone(), method, "bob", whoami.clone()).await;
        let never_issued = send(unknown.clone(), method, "bob", whoami.clone()).await;
        assert_eq!((foreign.head.status, never_issued.head.status), (404, 404), "{method}");
        assert_eq!(foreign.body, never_issued.body, "{method}");
        assert_eq!(send(client.clone(), method, "", whoami.clone()).await.head.status, 401, "{method}");
    }
    assert_eq!(send(client.clone(), "DELETE", "alice", json!({})).await.head.status, 204);
    endpoint.shutdown(ShutdownPolicy::default());
    within("the end of the server", server).await.expect("no panic").expect("a report");
}

#[tokio::test(flavor = "multi_thread")]
async fn b_40_a_browser_is_answered_through_the_adapter() {
    let server = Server::with(|setup| setup.config.cors = Some(Cors::default())).await;
    let client = server.client().await;
    let page = "origin: http://localhost:5173\r\n";
    let asks = format!("{page}access-control-request-method: POST\r\n");
    let told = client.send(&client.head_with("OPTIONS", &asks)).await.reply().await;
    assert_eq!((told.head.status, told.end), (204, End::Complete));
    assert_eq!(told.head.get("access-control-allow-origin"), Some("http://localhost:5173"));
    let allowed = told.head.get("access-control-allow-headers").expect("a list");
    assert!(allowed.contains("mcp-session-id") && allowed.contains("mcp-protocol-version"), "{allowed}");

    let body = call(1, "echo", json!({})).to_string();
    let head = client.head_with("POST", &format!("{page}content-length: {}\r\n", body.len()));
    let answer = client.send(&(head + &body)).await.reply().await;
    assert_eq!((answer.head.status, answer.json()["id"].as_u64()), (200, Some(1)));
    assert!(answer.head.get("access-control-expose-headers").expect("a list").contains("mcp-session-id"));
    let mut stream = client.send(&client.head_with("GET", page)).await;
    let head = stream.head().await.expect("an answer");
    assert_eq!(head.get("access-control-allow-origin"), Some("http://localhost:5173"));
    let foreign = client.head_with("OPTIONS", &asks.replace("localhost", "evil.example.com"));
    assert_eq!(client.send(&foreign).await.reply().await.head.status, 403);
    assert!(server.stop().await.is_clean());
}

/// Heads are bounded by the HTTP server of the adapter: 64 KiB, and a hundred fields.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_gets_431_and_harms_nobody() {
    let server = Server::start().await;
    let client = server.client().await;
    let mut listening = client.listen().await;
    let long = format!("x-long: {}\r\n", "x".repeat(80 * 1024));
    let many: String = (0..200).map(|n| format!("x-{n}: x\r\n")).collect();
    for fields in [long, many] {
        let mut connection = client.send(&client.head_with("GET", &fields)).await;
        match connection.head().await {
            Ok(head) => assert_eq!(head.status, 431),
            // The rest of the head was in the way of the answer.
            Err(end) => assert!(matches!(end, End::Closed | End::Reset)),
        }
    }
    assert_eq!(client.ask(&call(1, "echo", json!({}))).await.head.status, 200);
    server.session().notify("notifications/well", None::<&()>).await.expect("space");
    assert_eq!(listening.message().await.expect("a message")["method"], "notifications/well");
    assert!(server.stop().await.is_clean());
}
