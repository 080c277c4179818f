//! Clients that do not read, and clients that leave.

use std::time::Duration;

use mcp_session_core::{SendError, Session, ShutdownReport};
use serde_json::json;

use super::{Client, Connection, End, SHORT, ServeHarness, Server, Setup, call, large, until};
use crate::suite::scenarios;

scenarios! {
    ServeHarness;
    s_11_an_unread_get_stream_delays_nobody,
    s_11_an_unread_answer_delays_nobody,
    s_11_an_answer_of_which_nothing_is_read_is_cut_in_time,
    s_11_delete_ends_a_session_whose_stream_is_unread,
    d_12_a_client_that_leaves_cancels_nothing_and_leaks_nothing,
    s_9_a_clean_report_means_that_the_client_has_everything,
}

/// A budget that elapses because of a stalled client, and that is enough for all other clients on a slow machine.
pub(super) const FINISH: Duration = Duration::from_secs(1);

/// Here four events fill the queue; the buffers on the way to a client that does not read cannot hold them.
pub(super) fn small_queues(setup: &mut Setup) {
    setup.config.session.queue_events = 4;
    setup.config.session.queue_bytes = usize::MAX;
    setup.policy.finish = FINISH;
}

/// Fills the queue of the session's GET stream, and keeps it full until the session ends.
pub(super) async fn fill(server: &Server, session: &Session) -> tokio::task::JoinHandle<SendError> {
    server.reach_counts(0, 1).await;
    let full = || session.try_notify("notifications/message", Some(large())) == Err(SendError::Full);
    until("a full queue", full).await;
    let session = session.clone();
    tokio::spawn(async move {
        loop {
            if let Err(error) = session.notify("notifications/message", Some(large())).await {
                return error;
            }
        }
    })
}

/// Everything else in this session continues.
async fn goes_on(server: &Server, client: &Client) {
    assert_eq!(client.ask(&call(1, "echo", json!({}))).await.head.status, 200);
    let mut stream = client.start(2, "gated").await;
    server.open_gate();
    assert_eq!(stream.message().await.expect("the answer")["result"], json!({ "done": true }));
    assert_eq!(stream.message().await, Err(End::LastChunk));
}

/// What a client finds when it reads again.
async fn is_cut(mut stalled: Connection) {
    let (_, end) = stalled.rest().await;
    assert!(matches!(end, End::Closed | End::Reset), "{end:?} of a stream that is not complete");
}

pub(super) fn one_cut(report: &ShutdownReport) {
    assert_eq!((report.streams.cut, report.failures.len()), (1, 1), "{report}");
}

/// S11: a GET stream whose client does not read delays neither its session, nor other sessions, nor the shutdown.
async fn s_11_an_unread_get_stream_delays_nobody(harness: &impl ServeHarness) {
    let server = Server::with(harness, small_queues);
    let client = server.client().await;
    let session = server.session();
    let stalled = client.stall(&client.get()).await;
    let filling = fill(&server, &session).await;

    goes_on(&server, &client).await;
    let other = server.client().await;
    let mut listening = other.listen().await;
    goes_on(&server, &other).await;
    let reached = server.endpoint.manager().sessions().into_iter().find(|found| found.id() != session.id());
    reached.expect("the other session").notify("notifications/other", None::<&()>).await.expect("space");
    assert_eq!(listening.message().await.expect("a message")["method"], "notifications/other");

    server.drain().await;
    assert_eq!(listening.message().await, Err(End::LastChunk));
    let report = server.ended().await;
    one_cut(&report);
    assert_eq!((report.sessions, report.streams.ended), (2, 1), "{report}");
    assert_eq!(report.failures[0].session, session.id().prefix());
    assert_eq!(filling.await.expect("no panic"), SendError::Closed);
    is_cut(stalled).await;
}

/// S11: the same for a call that sends more than its client reads.
async fn s_11_an_unread_answer_delays_nobody(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| {
        small_queues(setup);
        (setup.policy.drain, setup.policy.cancel) = (SHORT, SHORT);
    });
    let client = server.client().await;
    let stalled = client.stall(&client.request(&call(7, "flood", json!({})))).await;
    server.reach_counts(1, 1).await;

    goes_on(&server, &client).await;
    goes_on(&server, &server.client().await).await;
    let report = server.stop().await;
    one_cut(&report);
    assert_eq!((report.exchanges.total, report.exchanges.forced), (1, 1), "{report}");
    is_cut(stalled).await;
}

/// S11: an answer of which the client reads nothing ends with its connection in time, also without a shutdown, and is
/// counted. A stream without events is no stall.
async fn s_11_an_answer_of_which_nothing_is_read_is_cut_in_time(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| setup.serve = |serve| serve.with_stall_timeout(SHORT));
    let client = server.client().await;
    let mut listening = client.listen().await;
    // Slightly less than the maximum size of a body, and more than the buffers on the way can hold.
    let echo = call(1, "echo", json!({ "text": "x".repeat(3 << 20) }));
    let unread = client.stall(&client.request(&echo)).await;
    until("the end of the answer", || server.endpoint.stats().responses_stalled == 1).await;
    is_cut(unread).await;
    assert_eq!(client.ask(&call(2, "echo", json!({}))).await.head.status, 200);
    server.drain().await;
    assert_eq!(listening.message().await, Err(End::LastChunk));
    let report = server.ended().await;
    assert_eq!((report.streams.cut, report.connections_cut), (0, 0), "{report}");
}

/// S11, E-24: an unread stream does not keep its session from ending.
async fn s_11_delete_ends_a_session_whose_stream_is_unread(harness: &impl ServeHarness) {
    let server = Server::with(harness, |setup| {
        small_queues(setup);
        setup.config.session.terminate.finish = SHORT;
    });
    let client = server.client().await;
    let stalled = client.stall(&client.get()).await;
    let filling = fill(&server, &server.session()).await;

    let delete = client.head_with("DELETE", "");
    assert_eq!(client.send(&delete).await.reply().await.head.status, 204);
    assert_eq!(client.send(&delete).await.reply().await.head.status, 404);
    assert_eq!(filling.await.expect("no panic"), SendError::Closed);
    server.reach_counts(0, 0).await;
    assert_eq!(server.endpoint.stats().streams_cut, 1);
    is_cut(stalled).await;
    let report = server.stop().await;
    assert_eq!((report.sessions, report.streams.total), (0, 0), "{report}");
}

/// D-12: a connection that is gone ends its stream and nothing else, whether or not there is something to write.
async fn d_12_a_client_that_leaves_cancels_nothing_and_leaks_nothing(harness: &impl ServeHarness) {
    let server = Server::start(harness);
    let (client, other) = (server.client().await, server.client().await);
    let mut listening = client.listen().await;
    let mut kept = other.start(1, "gated").await;
    let streaming = client.start(1, "gated").await;
    let silent = client.post(&call(2, "quiet", json!({}))).await;
    server.reach_counts(3, 4).await;

    drop((streaming, silent));
    server.reach_counts(3, 2).await; // its streams are gone, its calls are not
    assert_eq!(client.ask(&call(3, "ping", json!({}))).await.head.status, 200);
    assert_eq!(client.ask(&call(1, "echo", json!({}))).await.head.status, 400, "the id is still in flight");
    server.open_gate();
    assert_eq!(kept.message().await.expect("the answer")["id"], 1);
    assert_eq!(kept.message().await, Err(End::LastChunk));
    server.reach_counts(0, 1).await;
    let all_answered = || {
        let stats = server.endpoint.stats();
        stats.exchanges_answered == stats.exchanges_admitted
    };
    until("the delivery of all replies", all_answered).await;

    for session in server.endpoint.manager().sessions() {
        session.notify("notifications/still", None::<&()>).await.expect("space");
    }
    assert_eq!(listening.message().await.expect("a message")["method"], "notifications/still");
    drop(listening);
    server.reach_counts(0, 0).await;
    let again = client.listen().await;
    server.reach_counts(0, 1).await;
    drop(again);
    server.reach_counts(0, 0).await;
    let report = server.stop().await;
    assert!(report.is_clean() && report.sessions == 2, "{report}");
}

/// S9: bytes that have left the session may still be in the HTTP server's buffer if the client does not read. The
/// connection is then cut, and the report says so.
async fn s_9_a_clean_report_means_that_the_client_has_everything(harness: &impl ServeHarness) {
    let backlog = async |pieces: usize| {
        let server = Server::with(harness, |setup| {
            setup.policy.finish = SHORT;
            setup.config.session.queue_events = 10_000;
            setup.config.session.queue_bytes = usize::MAX;
        });
        let client = server.client().await;
        let mut stalled = client.stall(&client.get()).await;
        server.reach_counts(0, 1).await;
        let piece = json!({ "level": "info", "data": "x".repeat(24_000) });
        for _ in 0..pieces {
            server
                .session()
                .notify("notifications/message", Some(&piece))
                .await
                .expect("the queue has space");
        }
        let report = server.stop().await;
        let (_, end) = stalled.rest().await;
        // The reverse does not hold: on a slow machine the last bytes may leave when time is up.
        assert!(!report.is_clean() || end == End::LastChunk, "{pieces} pieces: {end:?}\n{report}");
        report
    };
    // From sizes that fit into the kernel's buffers to sizes that fit nowhere.
    let mut kinds = [0; 3];
    for pieces in (1..40).step_by(3) {
        let report = backlog(pieces).await;
        kinds[if report.is_clean() { 0 } else { 1 + usize::from(report.streams.cut > 0) }] += 1;
    }
    assert!(kinds[0] > 0 && kinds[2] > 0, "both ends were reached: {kinds:?}");
}
