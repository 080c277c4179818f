//! Behaviour of the hyper adapters beyond the suite.

use std::sync::Arc;

use mcp_session_core::{Endpoint, Router, ShutdownPolicy};
use mcp_session_testkit::wire::{Client, End, call, within};
use mcp_session_tokio::{TokioRuntime, serve};
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore};

/// S7: in a shutdown, a stream ends together with its connection. If its client saw the end of the stream first, it
/// could send a request on a connection that is about to close. On a single thread: on several, a connection that is
/// busy on another thread when the shutdown begins may end as late as an idle one.
#[tokio::test]
async fn s_7_a_connection_ends_with_its_stream_while_others_go_on() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let router = Router::new("closing", "0.0.0").request("gated", move |_| {
        let gate = Arc::clone(&gate);
        async move {
            let _passed = gate.acquire().await;
            Ok(json!({}))
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let endpoint = Endpoint::new(TokioRuntime::current(), router);
    let server = tokio::spawn(serve(listener, endpoint.clone()).into_future());

    let (client, other) = (Client::open(addr).await, Client::open(addr).await);
    let mut listening = client.listen().await;
    let mut running = other.post(&call(1, "gated", json!({}))).await;
    running.head().await.expect("an answer that begins");
    endpoint.shutdown(ShutdownPolicy::default());
    assert_eq!(listening.message().await, Err(End::LastChunk));
    assert_eq!(listening.closed().await, End::Closed);
    assert_eq!(endpoint.stats().exchanges, 1, "the other one goes on");
    opened.add_permits(1);
    assert_eq!(running.message().await.expect("the answer")["id"], 1);
    assert_eq!((running.message().await, running.closed().await), (Err(End::LastChunk), End::Closed));
    assert!(within("the end", server).await.expect("no panic").expect("a report").is_clean());
}
