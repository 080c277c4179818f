//! What the table rests on, without child processes.

use std::time::Duration;

use mcp_session_core::{Endpoint, ShutdownPolicy};
use mcp_session_rmcp::RmcpHandler;
use mcp_session_tokio::{TokioRuntime, bind, serve};
use serde_json::json;

use crate::{
    args::Compare,
    counter::Counter,
    load::{Answers, Load},
};

#[tokio::test]
async fn a_shutdown_through_the_bridge_answers_every_running_call() {
    let args = Compare { sessions: 6, calls: 4, seconds: 1, waits: false };
    let endpoint = Endpoint::new(TokioRuntime::current(), RmcpHandler::new(|_scope| Counter::new()));
    let listener = bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(serve(listener, endpoint.clone()).into_future());
    let mut load = Load::open(address, &args).await.expect("sessions and calls");

    drop(endpoint.shutdown(ShutdownPolicy::default())); // it runs by itself
    let answers = load.answers(Duration::from_secs(60)).await;
    assert_eq!(answers, Answers { results: 4, errors: 0, nothing: 0 });
    let report = server.await.expect("no panic").expect("a report");
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.sessions, 6);
}

#[test]
fn only_a_result_without_is_error_counts_as_a_result() {
    let mut answers = Answers::default();
    answers.count(Some(&json!({ "id": 3, "result": { "content": [] } })));
    answers.count(Some(&json!({ "id": 3, "result": { "content": [], "isError": true } })));
    answers.count(Some(&json!({ "id": 3, "error": { "code": -32603, "message": "stopped" } })));
    answers.count(None);
    assert_eq!(answers, Answers { results: 1, errors: 2, nothing: 1 });
}
