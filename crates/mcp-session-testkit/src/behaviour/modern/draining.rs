//! A shutdown that is hurried, that meets new requests and clients that leave, and an endpoint that is dropped, without sessions.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, channel::mpsc};
use http::Method;
use mcp_session_core::{CancelReason, ShutdownPhase, ShutdownPolicy, TerminateReason};
use serde_json::json;

use super::{
    super::fixture::{Fixture, MODERN, NEVER, PATIENT, SOON, SlowBody, cancel},
    begin,
    shutdown::{begin_stream, is_draining, tools, totals},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_55_a_listener_gets_its_result_however_short_the_time,
    s_10_a_shutdown_of_calls_is_tightened_and_escalated,
    s_10_the_handle_of_a_shutdown_of_calls_is_dropped,
    s_11_what_is_not_read_delays_nobody,
    s_14_a_request_that_arrives_while_draining,
    g_69_what_a_request_gets_while_draining,
    g_30_a_client_that_leaves_while_draining,
    a_dropped_endpoint_cuts_calls_and_listeners,
}

/// G-55, S5: a shutdown that cancels at once still ends a subscription with its result, not with an error.
fn g_55_a_listener_gets_its_result_however_short_the_time(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (listener, _) = fixture.modern().listen("l", tools()).await;
        let at_once = ShutdownPolicy { drain: Duration::ZERO, cancel: Duration::ZERO, ..PATIENT };
        let shutdown = fixture.endpoint.shutdown(at_once);
        let messages = listener.messages().await;
        assert_eq!((messages.len(), &messages[0]["result"]["resultType"]), (1, &json!("complete")));
        let report = shutdown.await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(totals(&report), [1, 1, 1, 0, 0, 0]);
    });
}

/// S10: a later call joins, and only shortens; an escalation skips to the next phase.
fn s_10_a_shutdown_of_calls_is_tightened_and_escalated(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (listener, _) = client.listen("l", tools()).await;
        let (running, work) = begin(&mut fixture, &client, &client.call(1, "work")).await;
        let first = fixture.endpoint.shutdown(ShutdownPolicy { lame_duck: NEVER, ..PATIENT });
        // A lame duck serves everything.
        assert!(client.post(&client.call(2, "echo")).await.answer().await["result"].is_object());
        let (other, _) = client.listen("m", tools()).await;
        assert_eq!(
            fixture.endpoint.notify("notifications/tools/list_changed", None::<&()>).unwrap().subscriptions,
            2
        );
        let second = fixture.endpoint.shutdown(ShutdownPolicy { lame_duck: NEVER, ..PATIENT });
        second.escalate(); // to the end of the drain
        assert_eq!((listener.messages().await.len(), other.messages().await.len()), (2, 2));
        assert_eq!(work.cx.cancelled().await, CancelReason::Terminated(TerminateReason::Shutdown));
        fixture.until(|_| first.phase() == ShutdownPhase::Cancelling).await; // its timer may be ahead of the task
        first.tighten(ShutdownPolicy { cancel: SOON, ..PATIENT });
        let (one, two, answer) =
            futures::join!(first.wait(), second.wait(), async { running.head().await.answer().await });
        assert_eq!(answer["error"]["code"], -32603);
        assert_eq!(one, two);
        assert_eq!(totals(&one), [3, 3, 2, 1, 0, 0]);
    });
}

/// S10: it goes on without anybody who waits.
fn s_10_the_handle_of_a_shutdown_of_calls_is_dropped(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (listener, _) = fixture.modern().listen(1, tools()).await;
        drop(fixture.endpoint.shutdown(PATIENT));
        assert_eq!(listener.messages().await.len(), 1);
        assert!(fixture.endpoint.closed().await.is_clean());
    });
}

/// S11, S8: listeners and answers that nobody reads are cut at the end of the last phase, and the report says so. Whoever
/// reads has everything long before that.
fn s_11_what_is_not_read_delays_nobody(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (mut unread, _) = client.listen(1, tools()).await;
        let (mut stalled, stalled_work) = begin_stream(&mut fixture, &client, 2).await;
        let (listener, _) = client.listen(3, tools()).await;
        let (reply, work) = begin_stream(&mut fixture, &client, 4).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        assert_eq!(listener.messages().await.len(), 1);
        for work in [stalled_work, work] {
            work.cx.draining().await; // now it is in the report
            work.finish(json!({}));
        }
        assert_eq!(reply.messages().await.last().unwrap()["id"], 4);
        shutdown.tighten(ShutdownPolicy { finish: SOON, ..PATIENT });
        let report = shutdown.await;
        assert_eq!(totals(&report), [4, 4, 2, 0, 0, 2]);
        assert_eq!((report.streams.total, report.streams.ended, report.streams.cut), (4, 2, 2));
        assert!(
            !report.is_clean() && report.failures.iter().any(|failure| failure.session == "stateless"),
            "{report}"
        );
        for reply in [&mut unread, &mut stalled] {
            while let Some(event) = reply.event().await {
                if event.is_err() {
                    break; // cut: not as if it were complete
                }
            }
        }
        assert_eq!(fixture.endpoint.stats().subscriptions, 0);
    });
}

/// S14, G-69: half of it had arrived; it is complete while the endpoint drains.
fn s_14_a_request_that_arrives_while_draining(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (running, work) = begin(&mut fixture, &client, &client.call(0, "work")).await;
        let (sender, receiver) = mpsc::unbounded();
        let body = client.call(1, "echo").to_string();
        sender.unbounded_send(Bytes::copy_from_slice(&body.as_bytes()[..10])).unwrap();
        let post = client.client.request(Method::POST).header("mcp-protocol-version", MODERN);
        let post = client.client.send(post.header("mcp-method", "echo").body(SlowBody(receiver)).unwrap());
        let mut post = Box::pin(post);
        assert!(post.as_mut().now_or_never().is_none());
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        sender.unbounded_send(Bytes::copy_from_slice(&body.as_bytes()[10..])).unwrap();
        drop(sender);
        is_draining(post.await, &json!(1)).await;
        work.finish(json!({}));
        running.head().await.answer().await;
        assert!(shutdown.await.is_clean());
    });
}

/// G-69, S2: 503 for requests, listeners and `server/discover`, while draining and afterwards. What is wrong with a request
/// is still said first.
fn g_69_what_a_request_gets_while_draining(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (running, work) = begin(&mut fixture, &client, &client.call(0, "work")).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        let messages = [
            client.call("c", "echo"),
            client.call("d", "server/discover"),
            client.listening("l", tools()),
            client.listening("m", json!({})),
            client.call("n", "tools/list"),
        ];
        for message in &messages {
            is_draining(client.post(message).await, &message["id"]).await;
        }
        assert_eq!(client.post(&client.call(1, "ping")).await.status, 404);
        assert_eq!(client.post_with(&messages[0], &[("mcp-method", None)]).await.status, 400);
        assert_eq!(client.post(&client.listening(1, json!([]))).await.status, 400);
        let cancel = cancel(0);
        let dropped = client.post_with(&cancel, &[("mcp-protocol-version", Some(MODERN))]).await;
        assert_eq!(dropped.status, 202);
        work.finish(json!({}));
        running.head().await.answer().await;
        let report = shutdown.await;
        assert_eq!(totals(&report), [1, 1, 1, 0, 0, 0]);
        for message in &messages {
            is_draining(client.post(message).await, &message["id"]).await;
        }
    });
}

/// G-30, S9: it is cancelled, and the shutdown does not wait for it.
fn g_30_a_client_that_leaves_while_draining(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.cancel_grace = SOON);
    bed.block_on(async {
        let client = fixture.modern();
        let (reply, work) = begin_stream(&mut fixture, &client, 1).await;
        let (mut listener, _) = client.listen(2, tools()).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        // Requests are counted in the order in which they came, and a listener ends when it is: then both are.
        assert_eq!(listener.message().await.expect("its result")["id"], 2);
        assert!(work.cx.is_draining());
        drop((reply, listener));
        assert_eq!(work.cx.cancelled().await, CancelReason::Disconnected);
        drop(work); // hangs
        let report = shutdown.await;
        assert_eq!([report.stateless, report.exchanges.total, report.exchanges.cancelled], [2, 2, 1]);
        assert!(report.is_clean(), "{report}");
    });
}

/// The last handle is dropped without a shutdown: nothing ends as if it were complete.
fn a_dropped_endpoint_cuts_calls_and_listeners(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (mut listener, _) = client.listen(1, tools()).await;
        let (mut reply, work) = begin_stream(&mut fixture, &client, 2).await;
        let Fixture { endpoint, runtime, .. } = fixture;
        drop((client, endpoint));
        assert_eq!(work.cx.cancelled().await, CancelReason::Terminated(TerminateReason::Shutdown));
        for stream in [&mut listener, &mut reply] {
            let cut = loop {
                match stream.event().await {
                    Some(Ok(_)) => {}
                    end => break end,
                }
            };
            assert!(matches!(cut, Some(Err(_))), "cut");
        }
        drop(runtime);
    });
}
