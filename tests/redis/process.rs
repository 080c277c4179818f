//! The example `everything` with `--store`, as processes.

use mcp_session_testkit::{
    suite::{Scenario, Suite},
    wire::{Client, Connection, End, call, within},
};
use mcp_session_tests::{Process, RedisServer, free_port};
use serde_json::json;

macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn suite() -> Suite {
            let all = [$(Scenario::new(stringify!($name), |(): &()| {
                tokio::runtime::Runtime::new().expect("a runtime").block_on($name());
            })),+];
            Suite::new("redis_process", all, || ())
        }
    };
}

scenarios! {
    arguments_without_a_redis_are_refused_with_a_reason,
    a_store_that_is_away_makes_the_node_unready_and_is_waited_for,
    a_session_and_its_running_call_move_to_another_node,
}

async fn arguments_without_a_redis_are_refused_with_a_reason() {
    for (args, says) in [
        (["--store", "localhost:6379"], "write redis://"),
        (["--store", "redis://localhost/x"], "write redis://"),
        (["--node", "one"], "--store"),
        (["--store-grace", "1s"], "--store"),
    ] {
        let (status, said) = Process::refused(&args).await;
        assert_eq!(status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
}

/// What the probe says.
async fn probe(node: &Process) -> (u16, String) {
    let mut connection = Connection::open(node.addr).await;
    connection.write("GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it reads");
    let reply = connection.reply().await;
    (reply.head.status, String::from_utf8_lossy(&reply.body).into_owned())
}

async fn until(node: &Process, status: u16) -> String {
    within("the probe", async {
        loop {
            let (said, text) = probe(node).await;
            if said == status {
                return text;
            }
        }
    })
    .await
}

async fn a_store_that_is_away_makes_the_node_unready_and_is_waited_for() {
    let port = free_port();
    let node =
        Process::start("tokio", &["--store", &format!("redis://127.0.0.1:{port}"), "--store-grace", "100ms"])
            .await;
    let (status, text) = probe(&node).await;
    assert_eq!(status, 503);
    assert!(text.starts_with("no store"), "{text}");
    let server = RedisServer::start_at(Some(port), &[]);
    until(&node, 200).await;
    let client = Client::open(node.addr).await;
    server.kill();
    let text = until(&node, 503).await;
    assert!(text.starts_with("no store"), "{text}");
    // What it runs goes on without the store.
    assert_eq!(client.ask(&call(1, "ping", json!({}))).await.head.status, 200);
    let server = server.start_again();
    until(&node, 200).await;
    assert_eq!(client.ask(&call(2, "ping", json!({}))).await.head.status, 200);
    node.signal("TERM").await;
    let (status, report) = node.exited().await;
    assert_eq!(status.code(), Some(0), "{report}");
    drop(server);
}

async fn a_session_and_its_running_call_move_to_another_node() {
    let server = RedisServer::start(&[]);
    let url = server.url();
    let [a, b] = [
        Process::start("tokio", &["--store", &url, "--node", "a"]).await,
        Process::start("smol", &["--store", &url, "--node", "b"]).await,
    ];
    until(&a, 200).await;
    until(&b, 200).await;
    let at_a = Client::open(a.addr).await;
    let at_b = Client { addr: b.addr, ..at_a.clone() };
    assert_eq!(at_b.ask(&call(1, "ping", json!({}))).await.head.status, 200);

    let slow = json!({
        "name": "slow", "arguments": { "steps": 20, "interval_ms": 100 }, "_meta": { "progressToken": 2 },
    });
    let mut stream = at_a.post(&call(2, "tools/call", slow)).await;
    assert_eq!(stream.head().await.expect("an answer").status, 200);
    let mut seen = vec![stream.message().await.expect("progress")];
    a.signal("TERM").await;
    let end = loop {
        match stream.message().await {
            Ok(message) => seen.push(message),
            Err(end) => break end,
        }
    };
    assert_eq!(end, End::LastChunk, "the connection ends properly");
    let mut rest = at_b.resume(stream.last_event_id.as_deref().expect("an id")).await;
    loop {
        match rest.message().await {
            Ok(message) => seen.push(message),
            Err(end) => break assert_eq!(end, End::LastChunk),
        }
    }
    let (status, report) = a.exited().await;
    assert_eq!(status.code(), Some(0), "{report}");
    // Each step once, and the answer.
    let answer = seen.pop().expect("an answer");
    assert!(answer["id"] == 2 && answer["result"].is_object(), "{answer}");
    let steps: Vec<_> = seen.iter().map(|message| message["params"]["progress"].as_f64()).collect();
    let all: Vec<_> = (1..=20).map(|step| Some(f64::from(step))).collect();
    assert_eq!(steps, all);
    b.signal("TERM").await;
    assert_eq!(b.exited().await.0.code(), Some(0));
}
