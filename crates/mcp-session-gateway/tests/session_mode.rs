//! A child per session: when it begins and ends, and the limits.

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
    config::{Mode, ServerConfig},
    state::ServerState,
};
use serde_json::json;

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

/// Running calls get an error that says why, and the id is 404.
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
async fn a_child_that_reads_nothing_does_not_keep_its_callers() {
    let (server, endpoint) = gateway(Mode::Session, &["--deaf"], |config| {
        config.limits.call_timeout = Some(Duration::from_millis(100));
        config.budgets.close = Duration::from_millis(100);
    })
    .await;
    let client = Client::open(&endpoint, json!({})).await;
    let long = "x".repeat(3 << 20);
    for id in 1..=3 {
        let answer = client.call(id, "echo", json!({ "long": long })).await;
        assert!(answer["error"]["message"].as_str().is_some_and(|it| it.contains("too long")), "{answer}");
    }
    assert_eq!(server.close().await.left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_closes_its_stdin_cannot_be_called_and_is_ended() {
    let info =
        r#"{"jsonrpc":"2.0","id":1,"result":{"capabilities":{},"serverInfo":{"name":"x","version":"1"}}}"#;
    let script = format!("read line; echo '{info}'; exec <&-; exec sleep 60");
    let command = mcp_session_gateway::child::command::CommandLine::new("sh", ["-c", &script]);
    let mut config = ServerConfig::new("closes", command);
    config.budgets.close = Duration::from_millis(50);
    let server = Server::new(config);
    server.start().await.expect("it starts");
    let endpoint = endpoint(&server, |_| {});
    let answer = Client::without_session(&endpoint).call(1, "pid", json!({})).await;
    assert!(
        answer["error"]["message"].as_str().is_some_and(|it| it.contains("closed its pipes")),
        "{answer}"
    );
    until("end of all", || server.stats().children == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_closes_its_stdout_is_ended() {
    let pids = Pids::new("closes");
    let script = format!("echo $$ >> {}; exec >&-; exec sleep 60", pids.path());
    let command = mcp_session_gateway::child::command::CommandLine::new("sh", ["-c", &script]);
    let mut config = ServerConfig::new("closes", command);
    config.budgets.close = Duration::from_millis(50);
    let server = Server::new(config);
    let error = server.start().await.expect_err("it says nothing");
    assert!(error.why.contains("closed its pipes"), "{error}");
    until("end of the child", || !runs(pids.read(1)[0])).await;
}

/// What is started for a client that does not come back ends by the session's limits.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_and_an_old_one_lose_their_child() {
    let short = Duration::from_millis(100);
    type Limit = fn(&mut mcp_session_gateway::limits::Limits, Duration);
    let limits: [Limit; 2] = [|limits, time| limits.idle = time, |limits, time| limits.max_life = Some(time)];
    for limit in limits {
        let (server, endpoint) = gateway(Mode::Session, &[], |config| limit(&mut config.limits, short)).await;
        let _used = Client::open(&endpoint, json!({})).await;
        let _unused = Client::half_open(&endpoint, json!({}), &[]).await.expect("a session");
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
    assert_eq!((report.children, report.closed, server.stats().children), (5, 5, 0));
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
