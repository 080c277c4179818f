//! What the adapters over hyper do beyond the suite.

use mcp_session_testkit::wire::{End, ServeHarness, Server, run};
use mcp_session_tests::{PoolBed, SmolBed, TokioBed};

/// S7: in a shutdown, a stream ends with its connection. Had its client seen the stream end first, it could have sent a
/// request on a connection that is about to close.
async fn a_connection_ends_with_its_stream(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let (client, listener) = (server.client().await, server.client().await);
    let mut running = client.start(1, "gated").await;
    let mut listening = listener.listen().await;
    server.drain().await;
    assert_eq!(listening.message().await, Err(End::LastChunk));
    assert_eq!(listening.closed().await, End::Closed); // while the other one goes on
    server.open_gate();
    assert_eq!(running.message().await.expect("the answer")["id"], 1);
    assert_eq!(running.message().await, Err(End::LastChunk));
    assert!(server.ended().await.is_clean());
}

#[test]
fn s_7_a_connection_ends_with_its_stream_on_tokio() {
    run(&TokioBed::threads(), a_connection_ends_with_its_stream);
}

#[test]
fn s_7_a_connection_ends_with_its_stream_on_smol() {
    run(&SmolBed::new(), a_connection_ends_with_its_stream);
}

#[test]
fn s_7_a_connection_ends_with_its_stream_on_a_runtime_of_ones_own() {
    run(&PoolBed::new(), a_connection_ends_with_its_stream);
}
