//! One child for all clients: their ids and progress tokens stay apart, and a new child takes over.

mod common;

use std::time::Duration;

use common::{
    client::{Client, call, gateway, request},
    until,
};
use mcp_session_core::ErrorCode;
use mcp_session_gateway::server::{
    config::{Mode, Restart},
    state::ServerState,
};
use mcp_session_testkit::TestClient;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_the_same_ids_and_tokens_get_their_own_answers() {
    let (server, endpoint) = gateway(Mode::Shared, &[], |_| {}).await;
    let clients = [Client::open(&endpoint, json!({})).await, Client::open(&endpoint, json!({})).await];
    let pids = [clients[0].text(9, "pid", json!({})).await, clients[1].text(9, "pid", json!({})).await];
    assert_eq!(pids[0], pids[1]);
    let read = async |client: &Client, steps: u64| {
        let mut reply = client.post(&call(1, "progress", json!({ "steps": steps }))).await;
        for step in 1..=steps {
            let told = reply.message().await.expect("progress");
            assert_eq!(
                told["params"],
                json!({ "progressToken": "token-1", "progress": step, "total": steps })
            );
        }
        assert_eq!(reply.message().await.expect("an answer")["id"], 1);
    };
    futures::join!(read(&clients[0], 7), read(&clients[1], 9));
    assert_eq!((server.stats().children, server.stats().sessions), (1, 2));
    // A session that ends leaves the child.
    assert_eq!(clients[0].delete().await.as_u16(), 204);
    assert_eq!(clients[1].text(2, "pid", json!({})).await, pids[1]);
    assert_eq!(server.stats().sessions, 1);
    assert_eq!(server.close().await.closed, 1);
}

/// A cancel names the request of its own client.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_the_call_of_its_own_client_only() {
    let (server, endpoint) = gateway(Mode::Shared, &[], |_| {}).await;
    let (one, two) = (Client::open(&endpoint, json!({})).await, Client::open(&endpoint, json!({})).await);
    let start = |client: &Client| {
        let client = client.clone();
        tokio::spawn(async move { client.post(&call(1, "cancels", json!({}))).await.message().await })
    };
    let (_one_waits, two_waits) = (start(&one), start(&two));
    until("running calls", || server.stats().calls == 2).await;
    one.notify("notifications/cancelled", json!({ "requestId": 1 })).await;
    until("end of one", || server.stats().calls == 1).await;
    let seen = two.text(2, "seen", json!({})).await;
    assert_eq!(seen.matches("cancelled").count(), 1, "{seen}");
    assert!(!two_waits.is_finished());
    two.notify("notifications/cancelled", json!({ "requestId": 1 })).await;
    until("end of both", || server.stats().calls == 0).await;
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_asked_only_if_it_must_be_the_one() {
    let (server, endpoint) = gateway(Mode::Shared, &[], |_| {}).await;
    let asked = TestClient::builder(&endpoint)
        .answering("roots", "roots/list", |_| json!({ "roots": [] }))
        .open()
        .await;
    let reply = async || -> Value {
        let answer = asked.call_tool("roots", json!({})).await.expect("a result");
        serde_json::from_str(&answer.text()).expect("the reply")
    };
    assert_eq!(reply().await["result"], json!({ "roots": [] }));
    let other = Client::open(&endpoint, json!({})).await;
    let waits = other.clone();
    let waits = tokio::spawn(async move { waits.post(&call(1, "cancels", json!({}))).await.message().await });
    until("running call", || server.stats().calls == 1).await;
    let refused = reply().await;
    assert!(refused["error"]["message"].as_str().is_some_and(|it| it.contains("shared")), "{refused}");
    other.notify("notifications/cancelled", json!({ "requestId": 1 })).await;
    let _ = waits.await;
    server.close().await;
}

/// What a call logs is for its own client.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_message_reaches_its_client_or_nobody() {
    let (server, endpoint) = gateway(Mode::Shared, &[], |_| {}).await;
    let (one, two) = (Client::open(&endpoint, json!({})).await, Client::open(&endpoint, json!({})).await);
    let mut reply = one.post(&call(1, "log", json!({}))).await;
    assert_eq!(reply.message().await.expect("a notification")["params"]["data"], "at work");
    let waits = two.clone();
    let waits = tokio::spawn(async move {
        let mut reply = waits.post(&call(1, "cancels", json!({}))).await;
        reply.message().await
    });
    until("running call", || server.stats().calls == 1).await;
    let mut reply = one.post(&call(2, "log", json!({}))).await;
    assert_eq!(reply.message().await.expect("an answer")["id"], 2, "nobody knows whose it was");
    assert_eq!(server.stats().notifications_dropped, 1);
    two.notify("notifications/cancelled", json!({ "requestId": 1 })).await;
    assert_eq!(waits.await.expect("it has not panicked").and_then(|it| it.get("method").cloned()), None);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_reach_every_client_and_updates_those_that_subscribed() {
    let (server, endpoint) = gateway(Mode::Shared, &[], |_| {}).await;
    let clients = [TestClient::new(&endpoint).await, TestClient::new(&endpoint).await];
    let modern = TestClient::builder(&endpoint).version("2026-07-28").open().await;
    clients[0].subscribe("file:///a").await.expect("subscribed");
    modern.subscribe("file:///a").await.expect("subscribed");
    clients[1].call_tool("changed", json!({ "uri": "file:///a" })).await.expect("a result");
    for client in &clients {
        client.notification("notifications/tools/list_changed").await;
    }
    for client in [&clients[0], &modern] {
        assert_eq!(client.notification("notifications/resources/updated").await["uri"], "file:///a");
    }
    assert!(clients[1].notifications("notifications/resources/updated").is_empty());
    server.close().await;
}

/// Running calls get an error at once, the sessions live on, and the next child is there within a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_dies_is_followed_by_another_with_the_same_beginning() {
    let (server, endpoint) = gateway(Mode::Shared, &[], |_| {}).await;
    let client = Client::open(&endpoint, json!({})).await;
    let subscribe = json!({ "uri": "file:///a" });
    let mut subscribed = client.post(&request(1, "resources/subscribe", subscribe)).await;
    assert!(subscribed.message().await.expect("an answer").get("result").is_some());
    let pid = client.text(2, "pid", json!({})).await;
    let answer = client.call(3, "exit", json!({ "code": 7 })).await;
    assert!(answer["error"]["message"].as_str().is_some_and(|it| it.contains("exit status: 7")), "{answer}");
    // It waits for the next child.
    let next = client.text(4, "pid", json!({})).await;
    assert_ne!(next, pid);
    assert_eq!((server.state(), server.stats().died, server.stats().spawned), (ServerState::Ready, 1, 2));
    // The subscription is told again: the update reaches the client.
    let mut get = client.get().await;
    client.call(5, "changed", json!({ "uri": "file:///a" })).await;
    loop {
        let told = get.message().await.expect("a notification");
        if told["method"] == "notifications/resources/updated" {
            break;
        }
    }
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_dies_again_and_again_is_a_crash_loop() {
    let (server, endpoint) = gateway(Mode::Shared, &[], |config| {
        config.restart.crash_loop_after = 3;
        config.restart.first_delay = Duration::from_millis(1);
        config.restart.max_delay = Duration::from_millis(500);
    })
    .await;
    let client = Client::open(&endpoint, json!({})).await;
    let mut id = 0;
    until("crash loop", || {
        matches!(server.state(), ServerState::CrashLoop { .. }) || {
            id += 1;
            let (client, id) = (client.clone(), id);
            tokio::spawn(async move { client.post(&call(id, "exit", json!({}))).await.message().await });
            false
        }
    })
    .await;
    // It is started again nevertheless, later.
    let died = server.stats().died;
    until("next child", || server.state() == ServerState::Ready || server.stats().died > died).await;
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_not_started_again_if_that_is_the_policy() {
    for (restart, code, again) in
        [(Restart::Never, 7, false), (Restart::OnFailure, 0, false), (Restart::OnFailure, 7, true)]
    {
        let (server, endpoint) = gateway(Mode::Shared, &[], |config| config.restart.restart = restart).await;
        let client = Client::open(&endpoint, json!({})).await;
        client.call(1, "exit", json!({ "code": code })).await;
        let answer = client.call(2, "pid", json!({})).await;
        assert_eq!(answer.get("result").is_some(), again, "{restart:?} {code}: {answer}");
        if !again {
            assert_eq!(answer["error"]["code"], ErrorCode::INTERNAL_ERROR.0);
            assert!(!server.state().is_ready());
        }
        server.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_session_share_the_child_too() {
    let (server, endpoint) = gateway(Mode::Shared, &[], |_| {}).await;
    let pid = Client::without_session(&endpoint).text(1, "pid", json!({})).await;
    let modern = TestClient::builder(&endpoint).version("2026-07-28").open().await;
    let server_info = &modern.server()["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(server_info["name"], "stdio-child", "{}", modern.server());
    assert_eq!(modern.call_tool("pid", json!({})).await.expect("a result").text(), pid);
    assert_eq!(server.stats().children, 1);
    server.close().await;
}
