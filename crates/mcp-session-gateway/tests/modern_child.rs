//! A child of 2026-07-28, behind clients of both eras.

mod common;

use common::{
    client::{Client, call, gateway, request},
    until,
};
use mcp_session_gateway::server::config::Mode;
use mcp_session_testkit::TestClient;
use serde_json::{Value, json};

const MODES: [Mode; 3] = [Mode::Session, Mode::Shared, Mode::Request];

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_either_era_call_it_and_are_asked_by_it() {
    for mode in MODES {
        let (server, endpoint) = gateway(mode, &["--modern"], |_| {}).await;
        for version in ["2025-11-25", "2026-07-28"] {
            let client = TestClient::builder(&endpoint)
                .version(version)
                .elicitation(|params| json!({ "action": "accept", "content": { "said": params["message"] } }))
                .answering("sampling", "sampling/createMessage", |_| json!({ "role": "assistant" }))
                .answering("roots", "roots/list", |_| json!({ "roots": [] }))
                .open()
                .await;
            let opened = client.server();
            let info = match version {
                "2025-11-25" => &opened["serverInfo"],
                _ => &opened["_meta"]["io.modelcontextprotocol/serverInfo"],
            };
            assert_eq!(info, &json!({ "name": "stdio-child", "version": "2.0.0" }));
            let echo = client.request("tools/call", json!({ "name": "echo", "arguments": { "a": 1 } })).await;
            assert_eq!(echo.expect("a result")["structuredContent"]["arguments"], json!({ "a": 1 }));
            let reply = async |tool: &str, arguments: Value| -> Value {
                let answer = client.call_tool(tool, arguments).await.expect("a result");
                serde_json::from_str(&answer.text()).expect("the reply")
            };
            let asks =
                json!({ "message": "how many?", "requestedSchema": { "type": "object", "properties": {} } });
            let said = reply("ask", asks).await;
            assert_eq!(said["result"]["content"]["said"], "how many?", "{version} {mode:?}");
            assert_eq!(said["state"], "state of the child");
            let sample = json!({ "messages": [], "maxTokens": 5 });
            assert_eq!(reply("sample", sample).await["result"]["role"], "assistant");
            assert_eq!(reply("roots", json!({})).await["result"]["roots"], json!([]));
            client.call_tool("progress", json!({ "steps": 3 })).await.expect("a result");
            let progress = client.notifications("notifications/progress");
            let steps: Vec<_> = progress.iter().map(|told| told["progress"].clone()).collect();
            assert_eq!(steps, [json!(1), json!(2), json!(3)]);
        }
        server.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_an_older_revision_gets_results_and_notifications_of_its_own() {
    for mode in [Mode::Session, Mode::Shared] {
        let (server, endpoint) = gateway(mode, &["--modern"], |_| {}).await;
        let client = Client::open(&endpoint, json!({})).await;
        let mut get = client.get().await;
        let answer = client.call(1, "echo", json!({})).await;
        assert_eq!(answer["result"].get("resultType"), None, "{answer}");
        let meta = &answer["result"]["structuredContent"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "raw", "the child knows who it is");
        let ok = async |id: u64, method: &str, params: Value| {
            let answer = client.post(&request(id, method, params)).await.message().await.expect("an answer");
            assert_eq!(answer["result"], json!({}), "{answer}");
        };
        ok(2, "logging/setLevel", json!({ "level": "warning" })).await;
        assert_eq!(client.text(3, "level", json!({})).await, "\"warning\"");
        ok(4, "resources/subscribe", json!({ "uri": "file:///a" })).await;
        let (mut updated, mut listed) = (0, 0);
        while updated == 0 || listed == 0 {
            // The subscription to lists may begin later.
            client.call(5, "changed", json!({ "uri": "file:///a" })).await;
            loop {
                let told = get.message().await.expect("a notification");
                assert_eq!(told["params"].get("_meta"), None, "{told}");
                match told["method"].as_str() {
                    Some("notifications/tools/list_changed") => listed += 1,
                    Some("notifications/resources/updated") => break updated += 1,
                    _ => panic!("{told}"),
                }
            }
        }
        ok(6, "resources/unsubscribe", json!({ "uri": "file:///a" })).await;
        assert!(!client.text(7, "seen", json!({})).await.contains("initialized"));
        server.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_it() {
    let (server, endpoint) = gateway(Mode::Session, &["--modern"], |_| {}).await;
    let client = Client::open(&endpoint, json!({})).await;
    let waits = client.clone();
    let waits = tokio::spawn(async move { waits.post(&call(1, "cancels", json!({}))).await.message().await });
    until("running call", || server.stats().calls == 1).await;
    client.notify("notifications/cancelled", json!({ "requestId": 1 })).await;
    until("end of the call", || server.stats().calls == 0).await;
    let _ = waits.await;
    assert!(client.text(2, "seen", json!({})).await.contains("notifications/cancelled"));
    server.close().await;
}
