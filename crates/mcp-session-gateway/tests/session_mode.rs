//! A child per session: isolation, fidelity in both directions, and what happens when either side ends (G4, G7).

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    Pids,
    client::{Client, call, endpoint, gateway},
    runs, until,
};
use mcp_session_core::ShutdownPolicy;
use mcp_session_gateway::server::{
    Server,
    config::{HeaderEnv, Mode, ServerConfig},
    state::ServerState,
};
use mcp_session_testkit::TestClient;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn each_session_has_a_child_and_delete_ends_it() {
    let pids = Pids::new("delete");
    let (server, endpoint) = gateway(Mode::Session, &["--pids", pids.path()], |_| {}).await;
    let (one, two) = (Client::open(&endpoint, json!({})).await, Client::open(&endpoint, json!({})).await);
    let pid = one.text(1, "pid", json!({})).await;
    assert_ne!(pid, two.text(1, "pid", json!({})).await);
    assert_eq!(pid, one.text(1, "pid", json!({})).await, "the same id again is another call");
    assert_eq!((server.stats().sessions, server.state()), (2, ServerState::Ready));
    assert_eq!(one.delete().await.as_u16(), 204);
    until("end of the child", || !runs(pid.parse().expect("a number"))).await;
    until("end of all but one", || server.stats().children == 1).await;
    assert_eq!(server.stats().sessions, 1);
    assert_eq!(one.post(&call(2, "pid", json!({}))).await.status.as_u16(), 404);
    two.text(2, "pid", json!({})).await;
    let report = server.close().await;
    assert_eq!((report.children, report.closed, report.left), (1, 1, 0));
    until("end of all", || !pids.read(3).iter().any(|pid| runs(*pid))).await;
    assert_eq!(server.stats().died, 0);
}

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

/// G7: progress is complete, in order, with the client's token, on the stream of its own call, in noise and in pieces.
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

/// G4: running calls get an error that says why, and the id is 404.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_dies_ends_its_session_and_no_other() {
    let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
    let (client, other) =
        (Client::open(&endpoint, json!({})).await, Client::open(&endpoint, json!({})).await);
    let waits = client.clone();
    let waits = tokio::spawn(async move { waits.call(1, "cancels", json!({})).await });
    until("running call", || server.stats().calls == 1).await;
    let exits = client.call(2, "exit", json!({ "code": 7 })).await;
    for answer in [exits, waits.await.expect("it has not panicked")] {
        assert_eq!(answer["error"]["code"], -32603, "{answer}");
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains("server test") && message.contains("exit status: 7"), "{message}");
    }
    until("end of the session", || server.stats().sessions == 1).await;
    assert_eq!(client.post(&call(3, "pid", json!({}))).await.status.as_u16(), 404);
    other.text(1, "pid", json!({})).await;
    Client::open(&endpoint, json!({})).await.text(1, "pid", json!({})).await;
    assert_eq!((server.stats().died, server.stats().calls_lost), (1, 2));
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

/// G7: elicitation, sampling and roots: in a session on the stream of the call, at 2026-07-28 with the answer to it.
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

/// F-24 the other way round: a question that the child takes back is taken back from the client.
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

#[tokio::test(flavor = "multi_thread")]
async fn stderr_goes_to_the_client_if_that_is_configured() {
    let (server, endpoint) = gateway(Mode::Session, &["--stderr"], |config| {
        config.stderr = mcp_session_gateway::server::config::StderrTo::Client;
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

/// What is started for a client that does not come back ends by the session's limits.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_and_an_old_one_lose_their_child() {
    let short = Duration::from_millis(100);
    type Limit = fn(&mut mcp_session_gateway::limits::Limits, Duration);
    let limits: [Limit; 2] = [|limits, time| limits.idle = time, |limits, time| limits.max_life = Some(time)];
    for limit in limits {
        let (server, endpoint) = gateway(Mode::Session, &[], |config| limit(&mut config.limits, short)).await;
        let _clients = [Client::open(&endpoint, json!({})).await, Client::open(&endpoint, json!({})).await];
        until("end of all children", || (server.stats().children, server.stats().sessions) == (0, 0)).await;
        assert_eq!((server.stats().died, server.stats().killed), (0, 0));
        server.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_refuse_with_503_and_a_place_that_is_free_again_is_given() {
    let (server, endpoint) = gateway(Mode::Session, &[], |config| {
        config.limits.children = 1;
        config.limits.in_flight = 1;
    })
    .await;
    let client = Client::open(&endpoint, json!({})).await;
    assert_eq!(server.state(), ServerState::AtLimit);
    let (status, error) = Client::open_with(&endpoint, json!({}), &[]).await.err().expect("refused");
    assert_eq!(status.as_u16(), 503, "{error}");
    let waits = client.clone();
    let waits = tokio::spawn(async move { waits.call(1, "sleep", json!({ "ms": 300 })).await });
    until("running call", || server.stats().calls == 1).await;
    let refused = client.call(2, "pid", json!({})).await;
    assert!(
        refused["error"]["message"].as_str().is_some_and(|it| it.contains("too many calls")),
        "{refused}"
    );
    waits.await.expect("it has not panicked");
    assert_eq!(client.delete().await.as_u16(), 204);
    Client::open(&endpoint, json!({})).await.text(1, "pid", json!({})).await;
    assert_eq!(server.stats().refused, 2);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_cancelled_and_answered() {
    let (server, endpoint) =
        gateway(Mode::Session, &[], |config| config.limits.call_timeout = Some(Duration::from_millis(50)))
            .await;
    let client = Client::open(&endpoint, json!({})).await;
    let answer = client.call(1, "cancels", json!({})).await;
    assert!(answer["error"]["message"].as_str().is_some_and(|it| it.contains("too long")), "{answer}");
    assert!(client.text(2, "seen", json!({})).await.contains("notifications/cancelled"));
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_do_not_start_are_a_crash_loop_until_one_does() {
    let flag = Pids::new("crash-loop");
    let child = common::example("stdio_child");
    let script = format!("test -e {} && exit 3; exec {}", flag.path(), child.display());
    let mut config = ServerConfig::new(
        "flaky",
        mcp_session_gateway::child::command::CommandLine::new("sh", ["-c", &script]),
    );
    config.restart.crash_loop_after = 3;
    config.restart.first_delay = Duration::from_millis(1);
    config.restart.max_delay = Duration::from_millis(300);
    let server = Server::new(config);
    server.start().await.expect("it starts");
    let endpoint = endpoint(&server, |_| {});
    std::fs::write(flag.path(), "").expect("written");
    loop {
        let (_, error) = Client::open_with(&endpoint, json!({}), &[]).await.err().expect("an error");
        let message = error["message"].as_str().expect("a message").to_owned();
        if let ServerState::CrashLoop { failures, .. } = server.state() {
            assert!(failures >= 3 && message.contains("server flaky"), "{failures} {message}");
            break;
        }
        assert!(message.contains("exit status: 3"), "{message}");
    }
    std::fs::remove_file(flag.path()).expect("removed");
    until("next attempt", || server.state() == ServerState::Ready).await;
    Client::open(&endpoint, json!({})).await.text(1, "pid", json!({})).await;
    assert_eq!(server.state(), ServerState::Ready);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_does_not_answer_initialize_is_ended_and_the_client_gets_an_error() {
    let pids = Pids::new("silent");
    let mut config = ServerConfig::new("silent", common::stdio_child(&["--silent", "--pids", pids.path()]));
    config.limits.init_timeout = Duration::from_millis(200);
    let server = Server::new(config);
    let error = server.start().await.expect_err("no answer");
    assert!(error.why.contains("no answer to `initialize`"), "{error}");
    until("end of the child", || !runs(pids.read(1)[0])).await;
    assert_eq!((server.state(), server.stats().failed), (ServerState::Starting, 1));
}

/// Running calls are answered within the grace; only then the children end.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_answers_running_calls_before_children_end() {
    let (server, endpoint) = gateway(Mode::Session, &[], |_| {}).await;
    let calls: Vec<_> = futures::future::join_all((0..5).map(|_| Client::open(&endpoint, json!({}))))
        .await
        .into_iter()
        .map(|client| tokio::spawn(async move { client.text(1, "sleep", json!({ "ms": 300 })).await }))
        .collect();
    until("running calls", || server.stats().calls == 5).await;
    server.drain();
    assert_eq!(server.state(), ServerState::Draining);
    let report = endpoint.shutdown(ShutdownPolicy::default()).await;
    assert!(report.is_clean(), "{report}");
    let report = server.close().await;
    for call in calls {
        assert_eq!(call.await.expect("it has not panicked"), "slept");
    }
    assert_eq!((report.left, report.killed, server.stats().children), (0, 0, 0));
    assert_eq!(server.stats().died, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn close_ends_stubborn_children_at_the_same_time_and_in_a_hurry_at_once() {
    let pids = Pids::new("stubborn");
    let switches = ["--ignore-term", "--ignore-eof", "--grandchild", "--pids", pids.path()];
    let (server, endpoint) = gateway(Mode::Session, &switches, |config| {
        config.budgets.close = Duration::from_secs(60);
        config.budgets.terminate = Duration::from_secs(60);
    })
    .await;
    let clients = futures::future::join_all((0..4).map(|_| Client::open(&endpoint, json!({})))).await;
    let all = Arc::new(pids.read(10));
    server.hurry();
    let report = server.close().await;
    assert!(report.killed >= 4 && report.left == 0, "{report:?}");
    until("end of all", || !all.iter().any(|pid| runs(*pid))).await;
    let (_, error) = Client::open_with(&endpoint, json!({}), &[]).await.err().expect("it is closed");
    assert!(error["message"].as_str().is_some_and(|it| it.contains("closed")), "{error}");
    drop(clients);
}
