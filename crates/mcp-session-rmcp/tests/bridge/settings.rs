//! Servers that are not set up by the defaults.

use std::{sync::Arc, time::Duration};

use mcp_session_core::Config;
use mcp_session_rmcp::RmcpHandler;
use serde_json::json;

use crate::{
    client::Client,
    per_session,
    server::{Log, Server},
    smol, text,
};

/// A cancelled tool is dropped at once.
fn without_grace(log: &Arc<Log>) -> (RmcpHandler<Server>, Config) {
    let mut config = Config::default();
    config.session.cancel_grace = Duration::ZERO;
    (per_session(log), config)
}

fn without_parts(log: &Arc<Log>) -> (RmcpHandler<Server>, Config) {
    (per_session(log).without_parts(), Config::default())
}

/// A stream has room for two events.
fn with_little_room(log: &Arc<Log>) -> (RmcpHandler<Server>, Config) {
    let mut config = Config::default();
    (config.session.queue_events, config.session.replay) = (2, None);
    (per_session(log), config)
}

mod dropped_at_once {
    use super::{a_call_that_is_dropped_leaves_its_peer_to_who_has_kept_it, without_grace};
    on_both! { without_grace: a_call_that_is_dropped_leaves_its_peer_to_who_has_kept_it }
}

mod little_room {
    use super::{what_waits_for_room_comes_before_the_answer, with_little_room};
    on_both! { with_little_room: what_waits_for_room_comes_before_the_answer }
}

mod no_parts {
    use super::{tools_see_no_parts, without_parts};
    on_both! { without_parts: tools_see_no_parts }
}

async fn a_call_that_is_dropped_leaves_its_peer_to_who_has_kept_it(client: Client, log: Arc<Log>) {
    let session = client.open().await;
    let mut stream = session.listen().await;
    let params = json!({ "name": "keep_and_hang", "arguments": {} });
    let reply = session.call_with_id(77, "tools/call", params).await;
    log.until("hangs").await;
    session.notify("notifications/cancelled", json!({ "requestId": 77 })).await;
    log.until("cleaned up").await;
    assert!(reply.all().await.is_empty(), "a cancelled call is not answered");
    assert_eq!(text(&session.tool("use_kept", json!({})).await), "sent");
    assert_eq!(stream.next().await.expect("a notification")["method"], "notifications/tools/list_changed");
}

async fn what_waits_for_room_comes_before_the_answer(client: Client, log: Arc<Log>) {
    let session = client.open().await;
    let reply = session.call("tools/call", json!({ "name": "halves", "arguments": {} })).await;
    log.until("has sent halves").await; // and the client has read nothing yet
    let messages = reply.all().await;
    let (answer, notes) = messages.split_last().expect("messages");
    assert_eq!(text(answer), "halves");
    assert_eq!(notes.len(), 10, "{notes:?}");
}

async fn tools_see_no_parts(client: Client, _: Arc<Log>) {
    let session = client.open().await;
    assert_eq!(text(&session.tool("whoami", json!({})).await), "nobody tester 2025-11-25");
}

/// On smol, rmcp runs on the runtime that was set, and not on the one in the background.
#[test]
fn rmcp_runs_on_the_runtime_that_was_set() {
    fn on_ours(log: &Arc<Log>) -> (RmcpHandler<Server>, Config) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("chosen")
            .enable_all()
            .build()
            .expect("tokio");
        let handler = per_session(log).tokio(runtime.handle().clone());
        std::mem::forget(runtime); // until the process ends
        (handler, Config::default())
    }
    async fn scenario(client: Client, _: Arc<Log>) {
        let session = client.open().await;
        assert_eq!(text(&session.tool("thread", json!({})).await), "chosen");
    }
    smol(on_ours, scenario);
}
