//! A child per session: what the client and the child say reaches the other side as it was said, in both directions.

mod common;

use std::time::Duration;

use common::{
    client::{Client, call, gateway},
    until,
};
use mcp_session_core::ShutdownPolicy;
use mcp_session_gateway::server::config::{HeaderEnv, Mode, StderrTo};
use mcp_session_testkit::TestClient;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_client_and_the_child_see_each_other_as_without_a_gateway() {
    let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
    let client = TestClient::new(&endpoint).await;
    let opened = client.server();
    assert_eq!(opened["serverInfo"]["name"], "stdio-child");
    assert_eq!(opened["instructions"], "test-client", "the child was told who the client is");
    let result =
        client.request("tools/call", json!({ "name": "echo", "arguments": { "a\n": [1.50, "ü"] } })).await;
    let result = result.expect("a result");
    assert_eq!(result["structuredContent"]["arguments"], json!({ "a\n": [1.5, "ü"] }));
    let error = client.request("tools/call", json!({ "name": "none" })).await.expect_err("an error");
    assert_eq!((error.code.0, &*error.message), (-32602, "no such tool"));
    assert_eq!(client.request("acme/unknown", json!({})).await.expect_err("an error").code.0, -32601);
    assert_eq!(client.tools().await.expect("tools").len(), 1);
    let seen = client.call_tool("seen", json!({})).await.expect("a result");
    assert_eq!(seen.text(), "notifications/initialized");
    assert!(client.shutdown(ShutdownPolicy::default()).await.is_clean());
    server.close().await;
}

/// Progress is complete, in order, with the client's token, on the stream of its own call, in noise and in pieces.
#[tokio::test(flavor = "multi_thread")]
async fn progress_comes_in_order_on_the_stream_of_its_call() {
    for switches in [&[][..], &["--noise"], &["--split"]] {
        let (server, endpoint) = gateway(Mode::Session, switches, |_| {}).await;
        let client = Client::open(&endpoint, json!({})).await;
        let read = async |id: u64| {
            let mut reply = client.post(&call(id, "progress", json!({ "steps": 20 }))).await;
            for step in 1..=20 {
                let told = reply.message().await.expect("progress");
                assert_eq!(told["method"], "notifications/progress");
                let expected =
                    json!({ "progressToken": format!("token-{id}"), "progress": step, "total": 20 });
                assert_eq!(told["params"], expected);
            }
            let answer = reply.message().await.expect("an answer");
            assert_eq!(
                (&answer["id"], &answer["result"]["content"][0]["text"]),
                (&json!(id), &json!("done"))
            );
            assert_eq!(reply.message().await, None);
        };
        futures::join!(read(1), read(2), read(3));
        let stats = server.stats();
        assert_eq!((stats.notifications_dropped, stats.lines_dropped > 0), (0, switches == ["--noise"]));
        server.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_pass_in_both_directions_and_more_than_the_limit_is_an_error() {
    let (server, endpoint) = gateway(Mode::Session, &[], |config| config.limits.line = 11 << 20).await;
    let client = Client::open(&endpoint, json!({})).await;
    assert_eq!(client.text(1, "long", json!({ "bytes": 10 << 20 })).await.len(), 10 << 20);
    let long = "y".repeat(5 << 20);
    let answer = client.call(2, "echo", json!({ "long": long })).await;
    assert_eq!(answer["result"]["structuredContent"]["arguments"]["long"], long);
    let answer = client.call(3, "long", json!({ "bytes": 12 << 20 })).await;
    assert_eq!(answer["error"]["code"], -32603);
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("longer than")), "{answer}");
    assert_eq!(client.text(4, "long", json!({ "bytes": 3 })).await, "xxx", "the session goes on");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_and_a_client_that_leaves_reach_the_child() {
    let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
    let client = Client::open(&endpoint, json!({})).await;
    let cancelled = async |count: usize| {
        loop {
            let seen = client.text(90, "seen", json!({})).await;
            if seen.matches("notifications/cancelled").count() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waits = client.clone();
    let waits = tokio::spawn(async move { waits.post(&call(1, "cancels", json!({}))).await.message().await });
    until("running call", || server.stats().calls == 1).await;
    client.notify("notifications/cancelled", json!({ "requestId": 1, "reason": "enough" })).await;
    cancelled(1).await;
    let _ = waits.await.expect("it has not panicked");
    until("end of the call", || server.stats().calls == 0).await;
    server.close().await;
}

/// A request of a client without a session has a child for itself. When that client leaves, the child is told, and ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_session_that_leaves_ends_its_child() {
    let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
    until("end of the first child", || server.stats().children == 0).await;
    let client = Client::without_session(&endpoint);
    let pid = client.text(2, "pid", json!({})).await;
    assert_ne!(pid, client.text(3, "pid", json!({})).await);
    let leaves = client.clone();
    let leaves =
        tokio::spawn(async move { leaves.post(&call(4, "cancels", json!({}))).await.message().await });
    until("running call", || server.stats().calls == 1).await;
    leaves.abort();
    until("end of the call and its child", || (server.stats().calls, server.stats().children) == (0, 0))
        .await;
    server.close().await;
}

/// Elicitation, sampling and roots: in a session on the stream of the call, at 2026-07-28 with the answer to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_asks_the_client_of_either_era() {
    for version in ["2025-11-25", "2026-07-28"] {
        let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
        let client = TestClient::builder(&endpoint)
            .version(version)
            .elicitation(|params| json!({ "action": "accept", "content": { "said": params["message"] } }))
            .answering("sampling", "sampling/createMessage", |_| json!({ "role": "assistant" }))
            .answering("roots", "roots/list", |_| json!({ "roots": [{ "uri": "file:///a" }] }))
            .open()
            .await;
        let reply = async |tool: &str, arguments: Value| -> Value {
            let answer = client.call_tool(tool, arguments).await.expect("a result");
            serde_json::from_str(&answer.text()).expect("the reply")
        };
        let asks =
            json!({ "message": "how many?", "requestedSchema": { "type": "object", "properties": {} } });
        assert_eq!(reply("ask", asks).await["result"]["content"]["said"], "how many?", "{version}");
        let sample = json!({ "messages": [], "maxTokens": 5 });
        assert_eq!(reply("sample", sample).await["result"]["role"], "assistant", "{version}");
        assert_eq!(reply("roots", json!({})).await["result"]["roots"][0]["uri"], "file:///a", "{version}");
        server.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_asks_what_the_client_does_not_have_is_refused() {
    let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
    let client = Client::open(&endpoint, json!({})).await;
    let reply: Value = serde_json::from_str(&client.text(1, "roots", json!({})).await).expect("the reply");
    assert_eq!(reply["error"]["code"], -32601, "{reply}");
    let stateless = Client::without_session(&endpoint);
    let reply: Value = serde_json::from_str(&stateless.text(1, "roots", json!({})).await).expect("the reply");
    assert_eq!(reply["error"]["code"], -32603, "{reply}");
    server.close().await;
}

/// Outside of calls: on the standalone stream, also if the client opens it later.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_outside_of_a_call_goes_onto_the_standalone_stream() {
    let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
    let client = Client::open(&endpoint, json!({ "roots": {} })).await;
    client.call(1, "ask-late", json!({})).await;
    let mut get = client.get().await;
    let asked = get.message().await.expect("a question");
    assert_eq!(asked["method"], "roots/list");
    client.reply(&asked, json!({ "roots": [] })).await;
    let told = get.message().await.expect("what the child got");
    assert_eq!(told["params"]["data"]["result"], json!({ "roots": [] }));
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_of_both_sides_arrive() {
    let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
    let client = Client::open(&endpoint, json!({})).await;
    let mut get = client.get().await;
    client.call(1, "changed", json!({ "uri": "file:///a" })).await;
    let changed = get.message().await.expect("a notification");
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    let updated = get.message().await.expect("a notification");
    assert_eq!(updated["params"]["uri"], "file:///a");
    // A log message is about the newest call.
    let mut reply = client.post(&call(2, "log", json!({}))).await;
    let logged = reply.message().await.expect("a notification");
    assert_eq!(
        (&logged["method"], &logged["params"]["data"]),
        (&json!("notifications/message"), &json!("at work"))
    );
    let mut reply = client.post(&call(3, "joined", json!({}))).await;
    assert_eq!(reply.message().await.expect("a notification")["params"]["data"], "a");
    client.notify("notifications/roots/list_changed", json!({})).await;
    client.notify("notifications/acme", json!({ "x": 1 })).await;
    let seen = client.text(4, "seen", json!({})).await;
    assert_eq!(seen, "notifications/initialized notifications/roots/list_changed notifications/acme");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_open_when_its_call_ends_is_asked_again_elsewhere() {
    let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
    let client = Client::open(&endpoint, json!({ "roots": {} })).await;
    let mut get = client.get().await;
    // `ask-late` asks while `sleep` runs, so on its stream, and `sleep` ends first.
    let mut sleep = client.post(&call(1, "sleep", json!({ "ms": 300 }))).await;
    client.call(2, "ask-late", json!({})).await;
    let asked = sleep.message().await.expect("a question");
    assert_eq!(asked["method"], "roots/list");
    loop {
        let message = sleep.message().await.expect("an answer");
        if message["id"] == 1 {
            break;
        }
        assert_eq!(message["method"], "notifications/cancelled");
    }
    let again = get.message().await.expect("the question");
    assert_eq!(again["method"], "roots/list");
    client.reply(&again, json!({ "roots": [] })).await;
    let told = get.message().await.expect("what the child got");
    assert_eq!(told["params"]["data"]["result"], json!({ "roots": [] }));
    server.close().await;
}

/// A question that the child takes back is taken back from the client.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_the_child_cancels_is_cancelled_at_the_client() {
    let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
    let client = Client::open(&endpoint, json!({ "roots": {} })).await;
    let mut reply = client.post(&call(1, "ask-and-cancel", json!({}))).await;
    let mut seen = Vec::new();
    while let Some(message) = reply.message().await {
        seen.push(message["method"].as_str().unwrap_or("answer").to_owned());
    }
    // The child may have cancelled before the question was on its way.
    assert!(seen == ["answer"] || seen == ["roots/list", "notifications/cancelled", "answer"], "{seen:?}");
    server.close().await;
}

/// A client that does not read delays nobody: what it does not take is dropped beyond a bound, and its answer comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_misses_notifications_and_gets_its_answer() {
    let (server, endpoint) = gateway(Mode::Session, &[], |config| config.limits.backlog = 10_000).await;
    let client = Client::open(&endpoint, json!({})).await;
    let mut reply = client.post(&call(1, "progress", json!({ "steps": 20_000 }))).await;
    until("dropped notifications", || server.stats().notifications_dropped > 0).await;
    client.text(2, "pid", json!({})).await;
    let (mut last, mut count) = (0, 0);
    let answer = loop {
        let message = reply.message().await.expect("an answer");
        let Some(step) = message["params"]["progress"].as_u64() else { break message };
        assert!(step > last, "in order");
        (last, count) = (step, count + 1);
    };
    assert_eq!((&answer["id"], count < 20_000), (&json!(1), true));
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_become_variables_of_the_own_child_only() {
    let (server, endpoint) = gateway(Mode::Session, &[], |config| {
        config.header_env = vec![HeaderEnv::new("x-api-key".parse().expect("a name"), "API_KEY")];
    })
    .await;
    let key = json!({ "name": "API_KEY" });
    let secret = Client::open_with(&endpoint, json!({}), &[("x-api-key", "s3cret"), ("x-other", "o")]).await;
    let secret = secret.expect("a session");
    let other = Client::open(&endpoint, json!({})).await;
    assert_eq!(secret.text(1, "env", key.clone()).await, "s3cret");
    assert_eq!(other.text(1, "env", key).await, "");
    assert!(!format!("{server:?} {:?}", server.config()).contains("s3cret"));
    server.close().await;
}

/// A child that needs a header ends without it. That is the client's fault, and no other client's concern.
#[tokio::test(flavor = "multi_thread")]
async fn clients_without_the_header_bring_about_no_crash_loop() {
    let child = common::example("stdio_child");
    let script = format!("test -n \"$API_KEY\" || exit 4; exec {}", child.display());
    let command = mcp_session_gateway::child::command::CommandLine::new("sh", ["-c", &script]);
    let (server, endpoint) = gateway(Mode::Session, &[], |config| {
        config.command = command;
        config.header_env = vec![HeaderEnv::new("x-api-key".parse().expect("a name"), "API_KEY")];
        config.restart.crash_loop_after = 2;
        config.restart.first_delay = Duration::from_secs(60);
    })
    .await;
    for _ in 0..4 {
        let (_, error) = Client::open_with(&endpoint, json!({}), &[]).await.err().expect("an error");
        assert!(error["message"].as_str().is_some_and(|it| it.contains("exit status: 4")), "{error}");
    }
    assert!(server.state().is_ready());
    let client = Client::open_with(&endpoint, json!({}), &[("x-api-key", "k")]).await.expect("a session");
    assert_eq!(client.text(1, "env", json!({ "name": "API_KEY" })).await, "k");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stderr_goes_to_the_client_if_that_is_configured() {
    let (server, endpoint) = gateway(Mode::Session, &["--stderr"], |config| {
        config.stderr = StderrTo::Client;
    })
    .await;
    let client = Client::open(&endpoint, json!({})).await;
    let mut reply = client.post(&call(1, "cancels", json!({}))).await;
    loop {
        let told = reply.message().await.expect("a notification");
        assert_eq!(
            (&told["method"], &told["params"]["logger"]),
            (&json!("notifications/message"), &json!("stderr"))
        );
        if told["params"]["data"] == "waits to be cancelled" {
            break;
        }
    }
    client.notify("notifications/cancelled", json!({ "requestId": 1 })).await;
    server.close().await;
}
