//! rmcp servers on core, the same on tokio and on smol.

mod client;
mod server;

use std::{future::Future, sync::Arc, time::Duration};

use client::Client;
use mcp_session_core::{Config, Endpoint, Runtime, ShutdownPolicy};
use mcp_session_rmcp::RmcpHandler;
use mcp_session_smol::SmolRuntime;
use mcp_session_tokio::TokioRuntime;
use serde_json::{Value, json};
use server::Server;

/// One test per runtime for each scenario, with a server that is set up like this.
macro_rules! on_both {
    ($set_up:ident: $($name:ident)*) => {
        mod on_tokio {
            $(#[test] fn $name() { crate::tokio(super::$set_up, super::$name) })*
        }
        mod on_smol {
            $(#[test] fn $name() { crate::smol(super::$set_up, super::$name) })*
        }
    };
}

mod settings;

/// The handler and the configuration of a server, which says to this log what it does.
type SetUp = fn(&Arc<server::Log>) -> (RmcpHandler<Server>, Config);

fn tokio<F: Future<Output = ()>>(set_up: SetUp, scenario: impl Fn(Client, Arc<server::Log>) -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio");
    runtime.block_on(async {
        let (client, log) = serve(TokioRuntime::current(), set_up);
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, scenario(client, log)).await.expect("within 30 seconds");
    });
}

fn smol<F: Future<Output = ()>>(set_up: SetUp, scenario: impl Fn(Client, Arc<server::Log>) -> F) {
    smol::block_on(async {
        let (client, log) = serve(SmolRuntime::global(), set_up);
        let late = async {
            smol::Timer::after(Duration::from_secs(30)).await;
            panic!("not within 30 seconds");
        };
        smol::future::or(scenario(client, log), late).await;
    });
}

fn serve(runtime: impl Runtime, set_up: SetUp) -> (Client, Arc<server::Log>) {
    let log = Arc::<server::Log>::default();
    let (handler, config) = set_up(&log);
    let endpoint = Endpoint::with_config(runtime, handler, config).expect("a configuration that can work");
    (Client::new(endpoint), log)
}

/// A value per session.
fn per_session(log: &Arc<server::Log>) -> RmcpHandler<Server> {
    let log = Arc::clone(log);
    RmcpHandler::new(move |_| Server::new(Arc::clone(&log)))
}

fn defaults(log: &Arc<server::Log>) -> (RmcpHandler<Server>, Config) {
    (per_session(log), Config::default())
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

on_both! { defaults:
    initialize_answers_with_the_servers_info
    a_new_session_does_not_see_the_client_before_it
    tools_are_listed
    a_tool_answers
    an_unknown_tool_is_refused
    bad_arguments_are_refused
    an_unknown_method_is_refused
    concurrent_calls_have_their_progress_in_order_on_their_own_streams
    an_elicitation_goes_over_the_call_that_asks
    sampling_goes_over_the_call_that_asks
    a_tool_asks_with_the_context_of_core
    a_tool_sees_the_headers_the_client_and_the_version
    a_cancel_fires_the_token_and_the_tool_cleans_up
    a_cancel_by_the_client_reaches_on_cancelled
    peers_that_a_session_keeps_are_bounded
    a_panic_is_answered
    a_log_message_comes_before_the_answer
    a_tool_may_spawn_and_sleep
    a_tool_learns_that_the_server_drains_and_how_long_it_has
    a_send_that_the_tool_drops_half_way_comes_before_the_answer
    what_a_tool_has_spawned_is_cancelled_when_the_tool_is_dropped
    the_state_of_a_session_stays_and_is_not_that_of_another
    a_peer_kept_by_a_tool_reaches_the_standalone_stream
    a_peer_kept_by_on_initialized_reaches_the_standalone_stream
    a_peer_kept_by_set_level_reaches_the_standalone_stream
    notifications_of_the_client_reach_the_server
    modern_a_tool_answers_and_sees_the_client_of_its_request
    modern_progress_comes_before_the_answer
    modern_a_kept_peer_reaches_no_other_client
    modern_a_request_to_the_client_is_refused
    modern_a_tool_asks_with_the_context_of_core
    modern_discover_answers
    modern_a_subscription_is_acknowledged_gets_events_and_its_result_on_drain
    modern_a_subscription_is_acknowledged_once_the_server_listens
    a_shutdown_answers_every_running_call
}

async fn initialize_answers_with_the_servers_info(client: Client, _: Arc<server::Log>) {
    let (_, answer) = client.open_with_answer().await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(answer["result"]["serverInfo"]["name"], "bridged");
    assert!(answer["result"]["capabilities"]["tools"].is_object(), "{answer}");
}

async fn a_new_session_does_not_see_the_client_before_it(client: Client, log: Arc<server::Log>) {
    client.modern("tools/list", json!({})).await.all().await;
    client.open().await;
    log.until("opened by tester").await;
}

async fn tools_are_listed(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    let answer = session.request("tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().expect("tools");
    assert!(tools.iter().any(|tool| tool["name"] == "echo" && tool["inputSchema"]["type"] == "object"));
    assert!(answer["result"].get("resultType").is_none(), "a client of 2025 gets no `resultType`: {answer}");
}

async fn a_tool_answers(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    assert_eq!(text(&session.tool("echo", json!({ "message": "hello" })).await), "hello");
}

async fn an_unknown_tool_is_refused(client: Client, _: Arc<server::Log>) {
    let answer = client.open().await.tool("nothing", json!({})).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
}

async fn bad_arguments_are_refused(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    let answer = session.tool("echo", json!({ "message": 7 })).await;
    let refused = answer["error"]["code"] == -32602 || answer["result"]["isError"] == true;
    assert!(refused, "{answer}");
    let answer = session.request("tools/call", json!({ "arguments": {} })).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
}

async fn an_unknown_method_is_refused(client: Client, _: Arc<server::Log>) {
    let answer = client.open().await.request("acme/unknown", json!({})).await;
    assert_eq!(answer["error"]["code"], -32601, "{answer}");
}

async fn concurrent_calls_have_their_progress_in_order_on_their_own_streams(
    client: Client,
    _: Arc<server::Log>,
) {
    let session = client.open().await;
    let call = |token: &'static str| {
        let session = &session;
        async move {
            let params = json!({ "name": "steps", "arguments": {}, "_meta": { "progressToken": token } });
            let messages = session.call("tools/call", params).await.all().await;
            let (answer, progress) = messages.split_last().expect("messages");
            assert_eq!(text(answer), "done");
            let steps: Vec<_> = progress.iter().map(|note| note["params"]["progress"].as_f64()).collect();
            assert_eq!(steps, (1..=10).map(|step| Some(f64::from(step))).collect::<Vec<_>>());
            assert!(progress.iter().all(|note| note["params"]["progressToken"] == token));
        }
    };
    futures::join!(call("a"), call("b"));
}

async fn an_elicitation_goes_over_the_call_that_asks(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    let mut reply = session.call("tools/call", json!({ "name": "ask", "arguments": {} })).await;
    let asked = reply.next().await.expect("a request");
    assert_eq!(asked["method"], "elicitation/create", "{asked}");
    session.respond(&asked, json!({ "action": "accept", "content": { "name": "Ada" } })).await;
    assert_eq!(text(&reply.next().await.expect("the answer")), "accept");
}

async fn a_tool_asks_with_the_context_of_core(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    let mut reply = session.call("tools/call", json!({ "name": "asks_everybody", "arguments": {} })).await;
    let asked = reply.next().await.expect("a request");
    assert_eq!(asked["params"]["message"], "Your name?", "{asked}");
    session.respond(&asked, json!({ "action": "accept", "content": { "name": "Ada" } })).await;
    assert!(text(&reply.next().await.expect("the answer")).contains("Ada"));
}

async fn sampling_goes_over_the_call_that_asks(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    let mut reply = session.call("tools/call", json!({ "name": "sample", "arguments": {} })).await;
    let asked = reply.next().await.expect("a request");
    assert_eq!(asked["method"], "sampling/createMessage", "{asked}");
    let sampled =
        json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "a thought" } });
    session.respond(&asked, sampled).await;
    assert_eq!(text(&reply.next().await.expect("the answer")), "m");
}

async fn a_tool_sees_the_headers_the_client_and_the_version(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    let answer = session.tool("whoami", json!({})).await;
    assert_eq!(text(&answer), "Bearer secret tester 2025-11-25");
}

async fn a_cancel_fires_the_token_and_the_tool_cleans_up(client: Client, log: Arc<server::Log>) {
    let session = client.open().await;
    let reply = session.call_with_id(77, "tools/call", json!({ "name": "wait", "arguments": {} })).await;
    log.until("waits").await;
    session.notify("notifications/cancelled", json!({ "requestId": 77 })).await;
    log.until("cleaned up").await;
    assert!(reply.all().await.is_empty(), "a cancelled call is not answered");
}

async fn a_cancel_by_the_client_reaches_on_cancelled(client: Client, log: Arc<server::Log>) {
    let session = client.open().await;
    let reply = session.call_with_id(77, "tools/call", json!({ "name": "wait", "arguments": {} })).await;
    log.until("waits").await;
    session.notify("notifications/cancelled", json!({ "requestId": 77, "reason": "late" })).await;
    log.until("77 was cancelled: late").await;
    drop(reply);
}

async fn peers_that_a_session_keeps_are_bounded(client: Client, log: Arc<server::Log>) {
    let session = client.open().await;
    let mut stream = session.listen().await;
    for _ in 0..40 {
        session.tool("keep_another", json!({})).await;
    }
    assert_eq!(text(&session.tool("use_all_kept", json!({})).await), "16 of 40");
    for _ in 0..16 {
        let message = stream.next().await.expect("a notification");
        assert_eq!(message["method"], "notifications/tools/list_changed");
    }
    drop(log);
}

async fn a_panic_is_answered(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    let answer = session.tool("panics", json!({})).await;
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    assert_eq!(text(&session.tool("echo", json!({ "message": "still here" })).await), "still here");
}

async fn a_log_message_comes_before_the_answer(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    let messages = session.call("tools/call", json!({ "name": "logs", "arguments": {} })).await.all().await;
    assert_eq!(messages[0]["method"], "notifications/message");
    assert_eq!(messages[0]["params"]["data"], "working");
    assert_eq!(text(&messages[1]), "logged");
}

async fn a_tool_may_spawn_and_sleep(client: Client, _: Arc<server::Log>) {
    assert_eq!(text(&client.open().await.tool("sleeps", json!({})).await), "slept");
}

async fn a_tool_learns_that_the_server_drains_and_how_long_it_has(client: Client, log: Arc<server::Log>) {
    let session = client.open().await;
    let reply = session.call("tools/call", json!({ "name": "drains", "arguments": {} })).await;
    log.until("waits for the drain").await;
    let shutdown = client.endpoint.shutdown(ShutdownPolicy::default());
    let messages = reply.all().await;
    assert_eq!(text(messages.last().expect("an answer")), "drained, with time left");
    assert!(shutdown.await.is_clean());
}

async fn a_send_that_the_tool_drops_half_way_comes_before_the_answer(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    for _ in 0..20 {
        let messages =
            session.call("tools/call", json!({ "name": "half", "arguments": {} })).await.all().await;
        let methods: Vec<_> = messages.iter().map(|message| message["method"].clone()).collect();
        assert_eq!(methods, ["notifications/tools/list_changed".into(), Value::Null], "{messages:?}");
    }
}

async fn what_a_tool_has_spawned_is_cancelled_when_the_tool_is_dropped(
    client: Client,
    log: Arc<server::Log>,
) {
    let session = client.open().await;
    let reply = session.call("tools/call", json!({ "name": "stubborn", "arguments": {} })).await;
    log.until("is stubborn").await;
    let mut policy = ShutdownPolicy::default();
    (policy.drain, policy.cancel) = (Duration::ZERO, Duration::ZERO);
    let shutdown = client.endpoint.shutdown(policy);
    let messages = reply.all().await;
    assert!(messages.last().is_some_and(|answer| answer["error"].is_object()), "{messages:?}");
    log.until("the spawned part ends").await;
    shutdown.await;
}

async fn the_state_of_a_session_stays_and_is_not_that_of_another(client: Client, _: Arc<server::Log>) {
    let (one, other) = (client.open().await, client.open().await);
    for count in ["1", "2", "3"] {
        assert_eq!(text(&one.tool("count", json!({})).await), count);
    }
    assert_eq!(text(&other.tool("count", json!({})).await), "1");
}

async fn a_peer_kept_by_a_tool_reaches_the_standalone_stream(client: Client, log: Arc<server::Log>) {
    let session = client.open().await;
    let mut stream = session.listen().await;
    session.tool("keep", json!({})).await;
    assert_eq!(text(&session.tool("use_kept", json!({})).await), "sent");
    assert_eq!(stream.next().await.expect("a notification")["method"], "notifications/tools/list_changed");
    drop(log);
}

async fn a_peer_kept_by_on_initialized_reaches_the_standalone_stream(client: Client, log: Arc<server::Log>) {
    let session = client.open().await;
    log.until("initialized by tester").await;
    let mut stream = session.listen().await;
    log.until("kept").await;
    assert_eq!(text(&session.tool("use_kept", json!({})).await), "sent");
    assert_eq!(stream.next().await.expect("a notification")["method"], "notifications/tools/list_changed");
}

async fn a_peer_kept_by_set_level_reaches_the_standalone_stream(client: Client, _: Arc<server::Log>) {
    let session = client.open().await;
    let mut stream = session.listen().await;
    session.request("logging/setLevel", json!({ "level": "info" })).await;
    assert_eq!(text(&session.tool("use_kept", json!({})).await), "sent");
    assert_eq!(stream.next().await.expect("a notification")["method"], "notifications/tools/list_changed");
}

async fn notifications_of_the_client_reach_the_server(client: Client, log: Arc<server::Log>) {
    let session = client.open().await;
    log.until("initialized by tester").await;
    session.notify("notifications/roots/list_changed", json!({})).await;
    log.until("roots changed, Bearer secret").await;
    session.notify("notifications/acme", json!({ "x": 1 })).await;
    log.until("custom notifications/acme").await;
}

async fn modern_a_tool_answers_and_sees_the_client_of_its_request(client: Client, _: Arc<server::Log>) {
    let answer = client.modern("tools/call", json!({ "name": "whoami", "arguments": {} })).await;
    let answer = answer.all().await.pop().expect("an answer");
    assert_eq!(text(&answer), "Bearer secret modern 2026-07-28");
    assert_eq!(answer["result"]["resultType"], "complete");
}

async fn modern_progress_comes_before_the_answer(client: Client, _: Arc<server::Log>) {
    let params = json!({ "name": "steps", "arguments": {}, "_meta": { "progressToken": "t" } });
    let messages = client.modern("tools/call", params).await.all().await;
    assert_eq!(messages.len(), 11, "{messages:?}");
    assert_eq!(text(&messages[10]), "done");
}

async fn modern_a_kept_peer_reaches_no_other_client(client: Client, log: Arc<server::Log>) {
    let kept =
        client.modern("tools/call", json!({ "name": "keep_for_all", "arguments": {} })).await.all().await;
    assert_eq!(text(&kept[0]), "kept");
    let messages = client.modern("tools/call", json!({ "name": "use_kept_for_all", "arguments": {} })).await;
    let messages = messages.all().await;
    assert_eq!(messages.len(), 1, "no notification on the stream of another: {messages:?}");
    assert_eq!(text(&messages[0]), "failed");
    drop(log);
}

async fn modern_a_request_to_the_client_is_refused(client: Client, _: Arc<server::Log>) {
    let messages = client.modern("tools/call", json!({ "name": "ask", "arguments": {} })).await.all().await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(text(&messages[0]).contains("not allowed"), "{messages:?}");
}

async fn modern_a_tool_asks_with_the_context_of_core(client: Client, _: Arc<server::Log>) {
    let mut params = json!({ "name": "asks_everybody", "arguments": {} });
    let asked = client.modern("tools/call", params.clone()).await.all().await.pop().expect("an answer");
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let question = &asked["result"]["inputRequests"]["name"];
    assert_eq!(question["params"]["message"], "Your name?", "{asked}");
    params["inputResponses"] = json!({ "name": { "action": "accept", "content": { "name": "Ada" } } });
    if let Some(state) = asked["result"].get("requestState") {
        params["requestState"] = state.clone();
    }
    let answer = client.modern("tools/call", params).await.all().await.pop().expect("an answer");
    assert!(text(&answer).contains("Ada"), "{answer}");
}

async fn modern_discover_answers(client: Client, _: Arc<server::Log>) {
    let answer = client.modern("server/discover", json!({})).await.all().await.pop().expect("an answer");
    assert_eq!(
        answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "bridged",
        "{answer}"
    );
    assert!(answer["result"]["capabilities"]["tools"].is_object());
}

async fn modern_a_subscription_is_acknowledged_gets_events_and_its_result_on_drain(
    client: Client,
    log: Arc<server::Log>,
) {
    let params = json!({ "notifications": { "toolsListChanged": true } });
    let mut stream = client.modern("subscriptions/listen", params).await;
    let acknowledged = stream.next().await.expect("an acknowledgement");
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(acknowledged["params"]["notifications"]["toolsListChanged"], true);
    let event = stream.next().await.expect("an event");
    assert_eq!(event["method"], "notifications/tools/list_changed");
    let shutdown = client.endpoint.shutdown(ShutdownPolicy::default());
    let result = stream.next().await.expect("the result");
    assert!(result["result"].is_object(), "{result}");
    assert!(shutdown.await.is_clean());
    drop(log);
}

async fn modern_a_subscription_is_acknowledged_once_the_server_listens(
    client: Client,
    log: Arc<server::Log>,
) {
    for listening in 1..=20 {
        let params = json!({ "notifications": { "toolsListChanged": true } });
        let mut stream = client.modern("subscriptions/listen", params).await;
        let acknowledged = stream.next().await.expect("an acknowledgement");
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(log.count("listens"), listening, "what happens from now on is heard");
        drop(stream);
    }
}

async fn a_shutdown_answers_every_running_call(client: Client, log: Arc<server::Log>) {
    let mut replies = Vec::new();
    for _ in 0..20 {
        let session = client.open().await;
        replies.push(session.call("tools/call", json!({ "name": "slow", "arguments": {} })).await);
    }
    log.until_count("runs", 20).await;
    let shutdown = client.endpoint.shutdown(ShutdownPolicy::default());
    log.say("finish");
    for reply in replies {
        assert_eq!(text(reply.all().await.last().expect("an answer")), "finished");
    }
    assert!(shutdown.await.is_clean());
}
