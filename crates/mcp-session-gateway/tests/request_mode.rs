//! A child for each request, started before it comes.

mod common;

use common::{
    Pids,
    client::{Client, call, gateway},
    runs, until,
};
use mcp_session_gateway::server::config::Mode;
use mcp_session_testkit::TestClient;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_a_child_of_its_own_that_was_ready_before() {
    let pids = Pids::new("per-request");
    let (server, endpoint) = gateway(Mode::Request, &["--pids", pids.path()], |config| config.warm = 2).await;
    until("warm children", || server.stats().children == 2).await;
    let client = Client::open(&endpoint, json!({})).await;
    let mut used = Vec::new();
    for id in 1..=5 {
        until("a warm child", || server.stats().children >= 2).await;
        used.push(client.text(id, "pid", json!({})).await);
    }
    used.sort();
    used.dedup();
    assert_eq!(used.len(), 5);
    until("end of those that were used", || !used.iter().any(|pid| runs(pid.parse().expect("a number"))))
        .await;
    until("warm children", || server.stats().children == 2).await;
    let report = server.close().await;
    assert_eq!((report.children, report.left), (2, 0));
    until("end of all", || !pids.read(7).iter().any(|pid| runs(*pid))).await;
    assert_eq!(server.stats().died, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_either_era_call_concurrently_and_are_asked() {
    let (server, endpoint) = gateway(Mode::Request, &[], |_| {}).await;
    for version in ["2025-11-25", "2026-07-28"] {
        let client = TestClient::builder(&endpoint)
            .version(version)
            .answering("roots", "roots/list", |_| json!({ "roots": [] }))
            .open()
            .await;
        let calls = (0..5).map(|_| client.call_tool("sleep", json!({ "ms": 20 })));
        for answer in futures::future::join_all(calls).await {
            assert_eq!(answer.expect("a result").text(), "slept");
        }
        let answer = client.call_tool("roots", json!({})).await.expect("a result");
        let reply: Value = serde_json::from_str(&answer.text()).expect("the reply");
        assert_eq!(reply["result"], json!({ "roots": [] }), "{version}");
    }
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_dies_fails_its_request_only() {
    let (server, endpoint) = gateway(Mode::Request, &[], |_| {}).await;
    let client = Client::open(&endpoint, json!({})).await;
    let mut reply = client.post(&call(1, "exit", json!({}))).await;
    assert_eq!(reply.message().await.expect("an answer")["error"]["code"], -32603);
    client.text(2, "pid", json!({})).await;
    assert_eq!((server.stats().died, server.stats().calls_lost), (1, 1));
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_children_wait_for_a_place() {
    let (server, endpoint) = gateway(Mode::Request, &[], |config| {
        config.limits.children = 2;
        config.warm = 1;
    })
    .await;
    let client = Client::without_session(&endpoint);
    let calls = (1..=6).map(|id| client.text(id, "sleep", json!({ "ms": 10 })));
    for text in futures::future::join_all(calls).await {
        assert_eq!(text, "slept");
    }
    server.close().await;
}
