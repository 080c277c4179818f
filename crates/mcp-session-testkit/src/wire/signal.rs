//! Signals, the ceiling, and an idle server.

use std::{io::ErrorKind::ConnectionRefused, time::Duration};

use mcp_session_core::ShutdownPhase;
use serde_json::json;
use tokio::{net::TcpStream, time};

use super::{Connection, End, LONG, SHORT, ServeHarness, Server, call, stall::FINISH, within};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    s_10_the_first_signal_begins_and_the_next_ones_escalate,
    s_10_the_last_signal_does_not_wait_for_a_reader,
    s_3_neither_hung_handlers_nor_unread_streams_move_the_ceiling,
    s_4_with_nothing_in_flight_idle_connections_close_and_the_server_ends,
    s_4_an_incomplete_head_gets_no_answer,
    s_7_the_server_ends_with_any_shutdown_of_its_endpoint,
    nobody_listens_after_the_end,
}

/// S10, S5: each signal ends a phase, and a call that is cut short gets one error.
async fn s_10_the_first_signal_begins_and_the_next_ones_escalate(harness: &impl ServeHarness) {
    let server = Server::start(harness); // every phase may take longer than this test
    let mut hanging = server.client().await.start(7, "hang").await;
    assert_eq!(server.endpoint.stats().phase, ShutdownPhase::Running);
    for phase in [ShutdownPhase::Draining, ShutdownPhase::Cancelling, ShutdownPhase::Finishing] {
        server.signal();
        server.reach(phase).await;
    }
    let answer = hanging.message().await.expect("an answer");
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32000)));
    assert_eq!(answer["error"]["data"], json!({ "reason": "shutdown", "retryable": true }));
    assert_eq!(hanging.message().await, Err(End::LastChunk));
    let report = server.ended().await;
    assert!(report.is_clean() && report.exchanges.synthesized == 1, "{report}");
}

/// S10, S11: the fourth signal ends everything, including answers that a client has not read.
async fn s_10_the_last_signal_does_not_wait_for_a_reader(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let mut unread = client.stall(&client.request(&call(1, "flood", json!({})))).await;
    server.reach_counts(1, 1).await;
    for phase in
        [ShutdownPhase::Draining, ShutdownPhase::Cancelling, ShutdownPhase::Finishing, ShutdownPhase::Closed]
    {
        server.signal();
        server.reach(phase).await;
    }
    let report = server.ended().await;
    assert!(report.took < LONG, "{report}");
    assert_eq!(report.streams.cut, 1, "{report}");
    assert_ne!(unread.drained().await, End::LastChunk);
}

/// S3: the phases add up to the ceiling, whatever hangs.
async fn s_3_neither_hung_handlers_nor_unread_streams_move_the_ceiling(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| {
        (setup.policy.drain, setup.policy.cancel, setup.policy.finish) = (SHORT, SHORT, FINISH);
    });
    let mut hanging = Vec::new();
    let mut stalled = Vec::new();
    for id in 1..=5 {
        let client = server.client().await;
        hanging.push((id, client.start(id, "hang").await));
        stalled.push(client.stall(&client.request(&call(100, "flood", json!({})))).await);
        // Incomplete requests.
        stalled.push(client.send("P").await);
        stalled.push(client.send(&(client.head("POST", 100) + "{")).await);
    }
    server.reach_counts(10, 10).await;
    let report = server.stop().await;
    assert_eq!(report.exchanges.synthesized, 5, "{report}");
    assert_eq!((report.exchanges.forced, report.streams.cut), (5, 5), "{report}");
    for (id, mut stream) in hanging {
        assert_eq!(stream.message().await.expect("an answer")["id"], id);
        assert_eq!(stream.message().await, Err(End::LastChunk));
    }
    for mut connection in stalled {
        connection.drained().await;
    }
}

/// S4: idle connections, used or not, are closed cleanly and at once.
async fn s_4_with_nothing_in_flight_idle_connections_close_and_the_server_ends(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let mut unused = Connection::open(client.addr).await;
    let mut kept = Connection::open(client.addr).await;
    kept.write(client.request(&call(1, "echo", json!({})))).await.unwrap();
    assert_eq!(kept.reply().await.head.status, 200);

    let report = server.stop().await; // although every phase may take longer than this test
    assert!(report.is_clean() && report.exchanges.total == 0, "{report}");
    assert_eq!((unused.closed().await, kept.closed().await), (End::Closed, End::Closed));
}

/// S4: connections with an incomplete head, the first or a later one, are closed too: an incomplete head gets no
/// answer.
async fn s_4_an_incomplete_head_gets_no_answer(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    let request = client.request(&call(1, "echo", json!({})));
    let half = &request[..20];
    let mut unused = client.send(half).await;
    let mut kept = client.send(&request).await;
    assert_eq!(kept.reply().await.head.status, 200);
    kept.write(half).await.expect("an open connection");

    let report = server.stop().await; // although every phase may take longer than this test
    assert!(report.is_clean(), "{report}");
    unused.drained().await;
    kept.drained().await;
}

/// S7: the server ends with `Endpoint::shutdown`, whoever calls it, and with the same report.
async fn s_7_the_server_ends_with_any_shutdown_of_its_endpoint(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let mut listening = server.client().await.listen().await;
    let shutdown = server.endpoint.shutdown(Default::default());
    assert_eq!(listening.rest().await.1, End::LastChunk);
    assert_eq!(shutdown.await, server.ended().await);
}

/// While the endpoint drains, the listener is open (`drain`). After the server has ended, it is closed.
async fn nobody_listens_after_the_end(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let client = server.client().await;
    assert!(server.stop().await.is_clean());
    // Another test may have been given the port by now; then this waits until that one has ended.
    let refused = async {
        while TcpStream::connect(client.addr).await.err().map(|error| error.kind()) != Some(ConnectionRefused)
        {
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the port to be closed", refused).await;
}
