//! Clients in web pages.

use mcp_session_core::Cors;
use serde_json::json;

use super::{End, ServeHarness, Server, call};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    b_40_a_page_may_read_the_answers,
}

/// B-40: a browser's preflight, and responses that its page may read, pass the adapter unchanged.
async fn b_40_a_page_may_read_the_answers(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.config.cors = Some(Cors::default()));
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
