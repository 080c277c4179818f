//! The example `everything` as a separate process, on each of its runtimes, with real signals.

use std::time::Duration;

use futures::future::join_all;
use mcp_session_testkit::{
    suite::{Scenario, Suite},
    wire::{Client, Connection, End, call, initialize, within},
};
use mcp_session_tests::Process;
use serde_json::{Value, json};
use tokio::time;

/// Scenarios that take the name of a runtime.
macro_rules! listed {
    ($($name:ident),+ $(,)?) => {
        vec![$(Scenario::new(stringify!($name), |runtime: &&'static str| block_on($name(runtime)))),+]
    };
}

/// The suites of the runtimes, named as for `--runtime`, and the test that needs none.
pub(crate) fn suites() -> Vec<Suite> {
    let on = |name, runtime: &'static str| Suite::new(name, scenarios(), move || runtime);
    vec![
        on("process::on_smol", "smol"),
        on("process::on_tokio", "tokio"),
        #[cfg(feature = "async-std")]
        on("process::on_async_std", "async-std"),
        Suite::new("process", listed!(arguments_that_mean_nothing_are_refused_with_a_reason), || ""),
    ]
}

fn scenarios() -> Vec<Scenario<&'static str>> {
    listed![
        sigterm_with_time_enough_loses_nothing,
        sigterm_with_too_little_time_answers_every_call_with_one_error,
        further_signals_escalate_and_the_probe_says_no,
        two_signals_of_one_stop_do_not_escalate,
        a_burst_of_clients_waits_in_the_backlog,
        an_answer_that_nobody_reads_is_cut_and_the_exit_code_is_1,
        an_address_that_is_taken_is_refused_with_a_reason,
    ]
}

fn block_on(scenario: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(scenario);
}

const SESSIONS: usize = 1000;
const SLOW: u64 = 200;
const HANG: u64 = 10;

/// Slightly longer than the window in which signals count as the same stop.
const ONE_STOP: Duration = Duration::from_millis(1_100);

/// More steps than any test waits for.
const ENDLESS: u32 = 1_000_000;

/// Calls a tool. With a progress token, the answer becomes a stream at the first progress; otherwise it is JSON.
async fn tool(client: &Client, id: u64, name: &str, steps: u32, token: bool) -> Connection {
    let mut params = json!({ "name": name, "arguments": {} });
    if name == "slow" {
        params["arguments"] = json!({ "steps": steps, "interval_ms": 100 });
    }
    if token {
        params["_meta"] = json!({ "progressToken": id });
    }
    client.post(&call(id, "tools/call", params)).await
}

/// Sessions, each with a GET stream.
async fn sessions(server: &Process) -> (Vec<Client>, Vec<Connection>) {
    let clients = join_all((0..SESSIONS).map(|_| Client::open(server.addr))).await;
    let streams = join_all(clients.iter().map(Client::listen)).await;
    (clients, streams)
}

/// Waits until this many calls of `slow` and `hang` are running.
async fn active(client: &Client, calls: u64) {
    let calls = calls.to_string();
    let running = async {
        loop {
            let reply = client.ask(&call(0, "tools/call", json!({ "name": "active" }))).await.json();
            if reply["result"]["content"][0]["text"] == calls {
                return;
            }
        }
    };
    within("the start of the calls", running).await;
}

/// Reads exactly one answer with this id, with only progress before it and nothing after it.
async fn answer(id: u64, mut call: Connection) -> Value {
    let reply = call.reply().await;
    assert_eq!(reply.head.status, 200);
    let answer = if reply.head.get("content-type") == Some("application/json") {
        assert_eq!(reply.end, End::Complete);
        reply.json()
    } else {
        assert_eq!(reply.end, End::LastChunk);
        let mut messages = reply.messages();
        let answer = messages.pop().expect("an answer");
        assert!(messages.iter().all(|message| message["method"] == "notifications/progress"), "{messages:?}");
        answer
    };
    assert_eq!(answer["id"], id, "{answer}");
    answer
}

async fn all_stopped(calls: Vec<(u64, Connection)>) {
    for (id, call) in calls {
        let answer = answer(id, call).await;
        assert_eq!(answer["error"]["code"], -32000, "{answer}");
        assert_eq!(answer["error"]["data"], json!({ "reason": "shutdown", "retryable": true }), "{answer}");
    }
}

async fn all_end(streams: Vec<Connection>) {
    for mut stream in streams {
        assert_eq!(stream.rest().await.1, End::LastChunk);
    }
}

async fn sigterm_with_time_enough_loses_nothing(runtime: &str) {
    let server = Process::start(runtime, &["--grace", "60s"]).await;
    let (clients, streams) = sessions(&server).await;
    let calls = (1..=SLOW).zip(&clients); // in one burst
    let calls = calls.map(|(id, client)| async move { (id, tool(client, id, "slow", 20, true).await) });
    let mut calls = join_all(calls).await;
    for (id, call) in &mut calls {
        assert_eq!(call.head().await.expect("progress").status, 200, "of call {id}");
    }
    server.signal("TERM").await;

    for (id, mut call) in calls {
        let answer = loop {
            match call.message().await.expect("an answer") {
                progress if progress["method"] == "notifications/progress" => {}
                answer => break answer,
            }
        };
        assert_eq!((&answer["id"], &answer["error"]), (&json!(id), &Value::Null), "{answer}");
        assert_eq!(call.message().await, Err(End::LastChunk));
    }
    all_end(streams).await;
    let (status, report) = server.exited().await;
    assert_eq!(status.code(), Some(0), "{report}");
    assert_eq!((&report["sessions"], &report["streams"]["cut"]), (&json!(SESSIONS), &json!(0)), "{report}");
    assert_eq!(report["exchanges"]["answered"], report["exchanges"]["total"], "{report}");
}

async fn sigterm_with_too_little_time_answers_every_call_with_one_error(runtime: &str) {
    // The budget is enough for calls that stop, on any machine. A signal ends it for calls that hang.
    let server = Process::start(runtime, &["--grace", "200ms", "--cancel", "60s", "--finish", "60s"]).await;
    let (clients, streams) = sessions(&server).await;
    let mut calls = Vec::new();
    for (id, client) in (1..=SLOW + HANG).zip(&clients) {
        let name = if id <= SLOW { "slow" } else { "hang" };
        calls.push((id, tool(client, id, name, ENDLESS, id % 2 == 0).await));
    }
    active(&clients[0], SLOW + HANG).await;
    server.signal("TERM").await;

    let hanging = calls.split_off(SLOW as usize);
    all_stopped(calls).await;
    time::sleep(ONE_STOP).await; // before that, it would count as the same stop
    server.signal("TERM").await;
    all_stopped(hanging).await;
    all_end(streams).await;
    let (status, report) = server.exited().await;
    assert_eq!(status.code(), Some(0), "nothing was forced: {report}");
    let exchanges = &report["exchanges"];
    assert_eq!(
        (&exchanges["total"], &exchanges["synthesized"]),
        (&json!(SLOW + HANG), &json!(HANG)),
        "{report}"
    );
}

async fn further_signals_escalate_and_the_probe_says_no(runtime: &str) {
    let server = Process::start(runtime, &["--grace", "60s", "--cancel", "60s", "--finish", "60s"]).await;
    let client = Client::open(server.addr).await;
    let probe = "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(client.send(probe).await.reply().await.head.status, 200);
    let (slow, hang) =
        (tool(&client, 1, "slow", ENDLESS, true).await, tool(&client, 2, "hang", 0, false).await);
    active(&client, 2).await;

    server.signal("TERM").await;
    let refused = async { while client.send(probe).await.reply().await.head.status != 503 {} };
    within("the probe to say no", refused).await;
    let nobody = Client { session: String::new(), ..client.clone() };
    let reply = nobody.ask(&initialize()).await;
    assert_eq!((reply.head.status, reply.head.get("retry-after")), (503, Some("1")));
    assert_eq!(client.ask(&call(3, "ping", json!({}))).await.head.status, 200);

    time::sleep(ONE_STOP).await; // before that, it would count as the same stop
    server.signal("INT").await; // calls are cancelled, and the slow one stops
    assert_eq!(answer(1, slow).await["error"]["data"]["reason"], "shutdown");
    server.signal("TERM").await; // the other one gets a synthesized error
    assert_eq!(answer(2, hang).await["error"]["data"]["reason"], "shutdown");
    let (status, report) = server.exited().await;
    assert_eq!((status.code(), &report["exchanges"]["synthesized"]), (Some(0), &json!(1)), "{report}");
}

/// S10: a wrapper forwards a signal that its process group already got, or a cgroup and a `preStop` hook both send
/// one.
async fn two_signals_of_one_stop_do_not_escalate(runtime: &str) {
    for [first, second] in [["TERM", "TERM"], ["INT", "TERM"]] {
        let server = Process::start(runtime, &["--grace", "60s"]).await;
        let client = Client::open(server.addr).await;
        let slow = tool(&client, 1, "slow", 15, true).await;
        active(&client, 1).await;
        server.signal(first).await;
        server.signal(second).await;
        let answer = answer(1, slow).await;
        assert_eq!(answer["error"], Value::Null, "{answer}");
        let (status, report) = server.exited().await;
        assert_eq!((status.code(), &report["exchanges"]["answered"]), (Some(0), &json!(1)), "{report}");
    }
}

/// When a server is replaced, its clients connect to the next one at once. The backlog has room for them, however
/// long accepting takes: here the server is stopped meanwhile. A client without room would wait until the server
/// continues.
async fn a_burst_of_clients_waits_in_the_backlog(runtime: &str) {
    const CLIENTS: usize = 600; // several times the backlog of `TcpListener::bind`
    let server = Process::start(runtime, &[]).await;
    server.signal("STOP").await;
    let nobody = Client { addr: server.addr, session: String::new() };
    let request = nobody.request(&initialize());
    let mut connections = join_all((0..CLIENTS).map(|_| nobody.send(&request))).await;
    server.signal("CONT").await;
    for connection in &mut connections {
        assert_eq!(connection.reply().await.head.status, 200);
    }
    server.signal("TERM").await;
    let (status, report) = server.exited().await;
    assert_eq!((status.code(), &report["sessions"]), (Some(0), &json!(CLIENTS)), "{report}");
}

async fn an_answer_that_nobody_reads_is_cut_and_the_exit_code_is_1(runtime: &str) {
    let server = Process::start(runtime, &["--grace", "60s", "--cancel", "60s", "--finish", "200ms"]).await;
    let client = Client::open(server.addr).await;
    // More than the buffers on the way can hold, and less than the maximum size of a body.
    let arguments = json!({ "message": "x".repeat(3 << 20) });
    let echo = call(1, "tools/call", json!({ "name": "echo", "arguments": arguments }));
    let mut unread = client.stall(&client.request(&echo)).await;
    server.signal("TERM").await;
    let (status, report) = server.exited().await;
    assert_eq!((status.code(), &report["connections_cut"]), (Some(1), &json!(1)), "{report}");
    let (_, end) = unread.rest().await;
    assert!(matches!(end, End::Closed | End::Reset), "{end:?} of an answer that is not complete");
}

async fn an_address_that_is_taken_is_refused_with_a_reason(runtime: &str) {
    let taken = Process::start(runtime, &[]).await;
    let address = taken.addr.to_string();
    let (status, said) = Process::refused(&["--runtime", runtime, "--bind", &address]).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&address), "{said}");
}

async fn arguments_that_mean_nothing_are_refused_with_a_reason(_: &str) {
    for (args, says) in [
        (["--bind", "nowhere"], "such as 127.0.0.1:8000"),
        (["--grace", "15"], "such as 15s"),
        (["--report", "xml"], "json"),
        (["--runtime", "none"], "tokio"),
        (["--allow-origin", "example.com"], "https://"),
    ] {
        let (status, said) = Process::refused(&args).await;
        assert_eq!(status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
}
