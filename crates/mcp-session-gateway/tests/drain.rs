//! How the program stops: each call gets its result within the grace, after it one error, and nothing is left.

mod common;
mod program;

use std::time::{Duration, Instant};

use common::{Pids, runs, until};
use futures::future::join_all;
use mcp_session_testkit::wire::{Connection, End};
use program::{Ended, Gateway, text, tool};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The sessions of a test, each with a call that takes that long and has begun.
async fn busy(gateway: &Gateway, sessions: u64, ms: u64) -> Vec<(u64, Connection)> {
    let mut running = Vec::new();
    for id in 1..=sessions {
        let client = gateway.client().await;
        running.push((id, client.post(&tool(id, "sleep", &json!({ "ms": ms }))).await));
    }
    let all = format!("mcp_gateway_children_calls{{server=\"stdio_child\"}} {sessions}\n");
    while !String::from_utf8_lossy(&gateway.get("/metrics").await.body).contains(&all) {}
    running
}

/// The one answer of each call, after which its stream and connection have ended.
async fn answers(running: Vec<(u64, Connection)>) -> Vec<Value> {
    let answer = |(id, mut connection): (u64, Connection)| async move {
        let reply = connection.reply().await;
        assert!(matches!(reply.end, End::LastChunk | End::Complete), "{reply:?}");
        assert_eq!(connection.closed().await, End::Closed);
        let messages = if reply.messages().is_empty() { vec![reply.json()] } else { reply.messages() };
        let mut answers = messages.into_iter().filter(|message| message.get("method").is_none());
        let (first, second) = (answers.next().expect("an answer"), answers.next());
        assert!(second.is_none() && first["id"] == id, "{first} {second:?}");
        first
    };
    join_all(running.into_iter().map(answer)).await
}

/// The time of a stop, by its report, in seconds.
fn took(report: &Value) -> f64 {
    report["took_ms"].as_f64().expect("a time") / 1e3
}

fn exchanges(ended: &Ended) -> (Value, Value, Value) {
    let report = ended.report();
    let exchanges = &report["shutdown"]["exchanges"];
    (exchanges["total"].clone(), exchanges["answered"].clone(), exchanges["synthesized"].clone())
}

/// S1: 20 calls of 20 sessions get their results, and no process is left.
async fn results(mode: &str) {
    let pids = Pids::new(&format!("drain-results-{mode}"));
    let gateway = Gateway::start(&["--grace", "20s", "--mode", mode], &["--pids", pids.path()]);
    let running = busy(&gateway, 20, 1_000).await;
    let pids = pids.read(if mode == "shared" { 1 } else { 20 });
    gateway.terminate();
    for answer in answers(running).await {
        assert_eq!(text(&answer), "slept");
    }
    let ended = gateway.ended();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(exchanges(&ended), (json!(20), json!(20), json!(0)), "{ended:?}");
    let report = ended.report();
    let children = &report["children"];
    assert_eq!((&children["closed"], &children["left"]), (&children["children"], &json!(0)), "{report}");
    assert!(pids.iter().all(|pid| !runs(*pid)), "{pids:?}");
    // They sleep on a clock that a busy machine cannot stretch, unless it is stopped: well within the grace.
    assert!(took(&report) < 15.0, "{report}");
}

#[tokio::test]
async fn s_1_with_a_child_per_session_all_calls_get_their_results() {
    results("session").await;
}

#[tokio::test]
async fn s_1_with_a_shared_child_all_calls_get_their_results() {
    results("shared").await;
}

#[tokio::test]
async fn s_1_with_a_child_per_request_all_calls_get_their_results() {
    results("request").await;
}

/// S3: calls that take longer than the grace get one error each, and the exit is in time.
async fn errors(mode: &str) {
    let pids = Pids::new(&format!("drain-errors-{mode}"));
    let gateway = Gateway::start(&["--grace", "500ms", "--mode", mode], &["--pids", pids.path()]);
    let running = busy(&gateway, 20, 40_000).await;
    let pids = pids.read(if mode == "shared" { 1 } else { 20 });
    let begun = Instant::now();
    gateway.terminate();
    for answer in answers(running).await {
        assert!(answer["error"]["code"].is_i64(), "{answer}");
    }
    let ended = gateway.ended();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(exchanges(&ended).0, json!(20), "{ended:?}");
    // 0.5 s and the ladder's 4 s would be in time. The calls would have taken 40.
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(ended.report()["children"]["left"], 0);
    assert!(pids.iter().all(|pid| !runs(*pid)), "{pids:?}");
}

#[tokio::test]
async fn s_3_with_a_child_per_session_late_calls_get_one_error_each() {
    errors("session").await;
}

#[tokio::test]
async fn s_3_with_a_shared_child_late_calls_get_one_error_each() {
    errors("shared").await;
}

#[tokio::test]
async fn s_3_with_a_child_per_request_late_calls_get_one_error_each() {
    errors("request").await;
}

#[tokio::test]
async fn children_that_ignore_everything_are_killed() {
    let pids = Pids::new("drain-stubborn");
    let options = ["--close-timeout", "50ms", "--terminate-timeout", "50ms"];
    let switches = ["--ignore-eof", "--ignore-term", "--grandchild", "--pids", pids.path()];
    let gateway = Gateway::start(&options, &switches);
    for _ in 0..3 {
        gateway.client().await;
    }
    let pids = pids.read(8);
    let ended = gateway.stop();
    assert!(ended.status.success(), "{ended:?}");
    let report = ended.report();
    let children = &report["children"];
    // The first child, which showed what the server is, may be among them.
    assert!(children["killed"].as_u64() >= Some(3), "{report}");
    assert_eq!((&children["killed"], &children["left"]), (&children["children"], &json!(0)), "{report}");
    until("an end of all of them", || pids.iter().all(|pid| !runs(*pid))).await;
}

#[tokio::test]
async fn s_10_a_second_signal_ends_everything_at_once() {
    let options = ["--grace", "60s", "--close-timeout", "60s", "--terminate-timeout", "60s"];
    let gateway = Gateway::start(&options, &["--ignore-eof", "--ignore-term"]);
    let running = busy(&gateway, 3, 40_000).await;
    gateway.terminate();
    until("a drain", || gateway.log().contains("phase=draining")).await;
    // Within a second it would count as the same stop; so it is sent until it counts.
    let hurries = async {
        while !gateway.log().contains("a second signal") {
            gateway.terminate();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (answers, ()) = futures::future::join(answers(running), hurries).await;
    assert!(answers.iter().all(|answer| answer["error"]["code"].is_i64()), "{answers:?}");
    let ended = gateway.ended();
    assert!(ended.status.success(), "{ended:?}");
    let report = ended.report();
    assert_eq!((&report["hurried"], &report["children"]["left"]), (&json!(true), &json!(0)), "{report}");
}

/// S11: a client that does not read holds up neither the exit nor the end of the children.
#[tokio::test]
async fn s_11_an_answer_that_nobody_reads_delays_no_exit() {
    let gateway = Gateway::start(&["--grace", "500ms"], &[]);
    let client = gateway.client().await;
    let mut stalled = Connection::narrow(gateway.addr()).await;
    let long = tool(1, "long", &json!({ "bytes": 8 << 20 }));
    stalled.write(client.request(&long)).await.expect("an open connection");
    stalled.head().await.expect("an answer that begins");
    let begun = Instant::now();
    let ended = gateway.stop();
    assert!(ended.status.success(), "{ended:?}");
    // 0.5 s, 0.1 s and 2 s in which it could have read would be in time.
    assert!(begun.elapsed() < Duration::from_secs(20));
    let report = ended.report();
    assert_eq!(report["children"]["left"], 0, "{report}");
    let (cut, forced) = (&report["shutdown"]["streams"]["cut"], &report["shutdown"]["connections_cut"]);
    assert!(cut.as_u64() > Some(0) || forced.as_u64() > Some(0), "it is said: {report}");
}

#[tokio::test]
async fn a_terminal_that_is_closed_and_ctrl_c_are_a_stop_as_sigterm_is() {
    for signal in [Signal::HUP, Signal::INT] {
        let gateway = Gateway::start(&[], &[]);
        let running = busy(&gateway, 1, 300).await;
        gateway.signal(signal);
        assert_eq!(text(&answers(running).await[0]), "slept");
        let ended = gateway.ended();
        assert!(ended.status.success(), "{ended:?}");
    }
}

#[tokio::test]
async fn a_lame_duck_serves_while_it_is_not_ready() {
    let gateway = Gateway::start(&["--lame-duck", "1s"], &[]);
    let client = gateway.client().await;
    gateway.terminate();
    while gateway.get("/readyz").await.head.status == 200 {}
    let answer = client.ask(&tool(1, "sleep", &json!({ "ms": 1 }))).await;
    assert_eq!(answer.head.status, 200);
    let ended = gateway.ended();
    assert!(ended.status.success(), "{ended:?}");
    assert!(took(&ended.report()) >= 1.0);
}

#[tokio::test]
async fn a_signal_while_it_starts_ends_it() {
    let args = ["--bind", "127.0.0.1:0", "--", "sh", "-c", "exec sleep 60"];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-session-gateway"));
    let process = command.args(args).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut process = process.spawn().expect("it starts");
    let pid = Pid::from_child(&process);
    let mut status = None;
    until("an end", || {
        let _ = kill_process(pid, Signal::TERM); // before and after it listens
        status = process.try_wait().expect("a status");
        status.is_some()
    })
    .await;
    assert!(!status.expect("an end").success());
}

#[tokio::test]
async fn the_report_is_a_table_for_a_reader() {
    let child = common::example("stdio_child");
    let gateway = Gateway::with(["--bind", "127.0.0.1:0", "--", child.to_str().unwrap()], 1);
    gateway.client().await;
    let ended = gateway.stop();
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("stopped") && lines[0].ends_with("nothing is left"), "{ended:?}");
    let last = lines.last().unwrap();
    assert!(last.starts_with("children") && last.ends_with("terminated 0, killed 0, left 0"), "{ended:?}");
}
