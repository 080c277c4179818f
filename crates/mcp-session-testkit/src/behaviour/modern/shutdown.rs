//! Shutdown: S1 to S15, for requests without a session (F-42, G-69).

use std::time::Duration;

use futures::{FutureExt, future::join_all};
use mcp_session_core::{CancelReason, ShutdownPhase, ShutdownPolicy, ShutdownReport, TerminateReason};
use serde_json::{Value, json};

use super::{
    super::fixture::{Fixture, Modern, NEVER, PATIENT, Reply, SOON, STRICT, Started, Work, request},
    begin,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    s_1_requests_born_during_shutdown,
    s_3_hung_calls_do_not_move_the_ceiling,
    s_4_open_listeners_end_at_once,
    s_4_listeners_end_before_calls,
    s_5_hung_calls_get_one_error_each,
    s_5_an_obedient_call_answers_itself,
    s_7_every_stream_has_its_end_before_the_report,
    s_9_both_eras_in_one_report,
    s_15_calls_and_listeners_are_counted_at_any_moment,
}

pub(super) fn tools() -> Value {
    json!({ "toolsListChanged": true })
}

/// A call whose response is already a stream.
pub(super) async fn begin_stream(
    fixture: &mut Fixture,
    client: &Modern,
    id: impl Into<Value>,
) -> (Reply, Work) {
    let (started, work) = begin(fixture, client, &client.call(id, "work")).await;
    work.cx.notify("notifications/x", None::<&()>).await.unwrap();
    let mut reply = started.head().await;
    assert!(reply.message().await.is_some());
    (reply, work)
}

/// The totals of a report: requests without a session, live requests, and their outcomes.
pub(super) fn totals(report: &ShutdownReport) -> [u64; 6] {
    let ShutdownReport { stateless, exchanges: all, .. } = report;
    [*stateless, all.total, all.answered, all.synthesized, all.cancelled, all.forced]
}

/// S1: each is answered or refused, and none is missed.
fn s_1_requests_born_during_shutdown(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let start = |id: u64| match id % 2 {
            0 => client.start(&client.call(id, "echo")),
            _ => client.start(&client.listening(id, tools())),
        };
        let early: Vec<_> = (0..50).map(start).collect();
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        let late: Vec<_> = (50..100).map(start).collect();
        let replies = join_all(early.into_iter().chain(late).map(Started::head)).await;
        for (id, reply) in replies.into_iter().enumerate() {
            match reply.status.as_u16() {
                200 => assert_eq!(reply.answer().await["id"], id),
                status => assert_eq!((status, &reply.json().await["id"]), (503, &json!(id))),
            }
        }
        let report = shutdown.await;
        assert!(report.is_clean(), "{report}");
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.exchanges, stats.streams, stats.subscriptions), (0, 0, 0));
    });
}

/// S3: handlers that ignore everything; the report comes within the ceiling, with all of them in it.
fn s_3_hung_calls_do_not_move_the_ceiling(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let mut running = Vec::new();
        for id in 0..20 {
            running.push(begin(&mut fixture, &client, &client.call(id, "work")).await);
        }
        let policy = ShutdownPolicy { lame_duck: Duration::ZERO, drain: SOON, cancel: SOON, finish: NEVER };
        let shutdown = fixture.endpoint.shutdown(policy);
        let (running, works): (Vec<_>, Vec<_>) = running.into_iter().unzip();
        let answers = join_all(running.into_iter().map(async |started| started.head().await.answer().await));
        let (report, answers) = futures::join!(shutdown.wait(), answers);
        for (id, answer) in answers.iter().enumerate() {
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32603)));
        }
        assert_eq!(totals(&report), [20, 20, 0, 20, 0, 0]);
        assert!(report.took >= 2 * SOON && report.took < NEVER, "{report}");
        for work in works {
            fixture.until(|_| work.is_dropped()).await;
        }
    });
}

/// S4, G-55: with nothing but listeners, nothing is waited for.
fn s_4_open_listeners_end_at_once(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let mut listeners = Vec::new();
        for id in 0..50 {
            listeners.push(client.listen(id, tools()).await.0);
        }
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        for (id, messages) in
            join_all(listeners.into_iter().map(Reply::messages)).await.into_iter().enumerate()
        {
            assert_eq!(messages.len(), 1, "the result, and nothing after it: {messages:?}");
            assert_eq!(
                (&messages[0]["id"], &messages[0]["result"]["resultType"]),
                (&json!(id), &json!("complete"))
            );
        }
        let report = shutdown.await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(totals(&report), [50, 50, 50, 0, 0, 0]);
        assert_eq!((report.streams.total, report.streams.ended), (50, 50));
    });
}

/// S4, F-42: listeners end when the drain begins; a call goes on, and gets its answer.
fn s_4_listeners_end_before_calls(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (listener, _) = client.listen("l", tools()).await;
        let (reply, work) = begin_stream(&mut fixture, &client, 1).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        assert_eq!(listener.messages().await.len(), 1);
        work.cx.draining().await;
        assert!(work.cx.is_draining());
        assert_eq!((shutdown.phase(), work.cx.cancel_reason()), (ShutdownPhase::Draining, None));
        work.cx.notify("notifications/y", None::<&()>).await.unwrap();
        work.finish(json!({ "a": 1 }));
        let messages = reply.messages().await;
        assert_eq!(
            (&messages[0]["method"], &messages[1]["result"]["a"]),
            (&json!("notifications/y"), &json!(1))
        );
        let report = shutdown.await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(totals(&report), [2, 2, 2, 0, 0, 0]);
    });
}

/// S5, G-69: in JSON and in events: -32603, once, and the end.
fn s_5_hung_calls_get_one_error_each(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (mut replies, mut started, mut works) = (Vec::new(), Vec::new(), Vec::new());
        for id in 0..10 {
            let (reply, work) = begin_stream(&mut fixture, &client, id).await;
            replies.push(reply);
            works.push(work);
            let (running, work) =
                begin(&mut fixture, &client.accepting("application/json"), &client.call(100 + id, "work"))
                    .await;
            started.push(running);
            works.push(work);
        }
        let shutdown = fixture.endpoint.shutdown(STRICT);
        for (id, messages) in join_all(replies.into_iter().map(Reply::messages)).await.into_iter().enumerate()
        {
            assert_eq!(messages.len(), 1, "{messages:?}");
            assert_eq!((&messages[0]["id"], &messages[0]["error"]["code"]), (&json!(id), &json!(-32603)));
        }
        for (id, reply) in join_all(started.into_iter().map(Started::head)).await.into_iter().enumerate() {
            assert_eq!(reply.status, 200);
            let answer = reply.json().await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(100 + id), &json!(-32603)));
        }
        let report = shutdown.await;
        assert_eq!(totals(&report), [20, 20, 0, 20, 0, 0]);
        assert_eq!((report.streams.total, report.streams.ended, report.streams.cut), (10, 10, 0));
        assert!(report.is_clean(), "{report}");
        drop(works);
    });
}

/// S5: a handler that stops when it is cancelled answers itself, with codes of this revision.
fn s_5_an_obedient_call_answers_itself(bed: &impl TestBed) {
    for with_reason in [true, false] {
        let mut fixture = Fixture::new(bed, |_| {});
        bed.block_on(async {
            let client = fixture.modern();
            let (running, work) = begin(&mut fixture, &client, &client.call(1, "work")).await;
            let handler = async {
                let reason = work.cx.cancelled().await;
                assert_eq!(reason, CancelReason::Terminated(TerminateReason::Shutdown));
                if with_reason { work.fail(reason.into()) } else { work.finish(json!({ "partly": true })) }
            };
            let shutdown = fixture.endpoint.shutdown(ShutdownPolicy { drain: SOON, ..PATIENT });
            let (report, (), answer) =
                futures::join!(shutdown.wait(), handler, async { running.head().await.answer().await });
            if with_reason {
                assert_eq!(answer["error"]["code"], -32603);
            } else {
                assert_eq!(answer["result"]["partly"], true);
            }
            assert_eq!(totals(&report), [1, 1, 1, 0, 0, 0]);
        });
    }
}

/// S7: the report comes after the last byte was read, not before.
fn s_7_every_stream_has_its_end_before_the_report(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (mut listener, _) = client.listen("l", tools()).await;
        let (mut reply, work) = begin_stream(&mut fixture, &client, 1).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        let mut wait = shutdown.wait().boxed();
        work.finish(json!({}));
        fixture.until(|fixture| fixture.endpoint.stats().phase == ShutdownPhase::Finishing).await;
        assert!(wait.as_mut().now_or_never().is_none());
        assert!(reply.message().await.is_some());
        assert_eq!(reply.message().await, None);
        fixture.elapse(SOON).await;
        assert!(wait.as_mut().now_or_never().is_none(), "the listener has not been read");
        assert!(listener.message().await.is_some());
        assert_eq!(listener.message().await, None);
        assert!(wait.await.is_clean());
    });
}

/// S9: sessions, requests with and without one, and listeners.
fn s_9_both_eras_in_one_report(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (legacy, modern, stranger) = (fixture.json_client().await, fixture.modern(), fixture.stranger());
        let (listener, _) = modern.listen("l", tools()).await;
        let (new, first) = begin(&mut fixture, &modern, &modern.call(1, "work")).await;
        let old = legacy.start(&request(1, "work"));
        let second = fixture.work().await;
        let alone = stranger.start(&request(1, "work"));
        let third = fixture.work().await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        for work in [first, second, third] {
            work.cx.draining().await;
            work.finish(json!({}));
        }
        listener.messages().await;
        for started in [new, old, alone] {
            assert!(started.head().await.answer().await["result"].is_object());
        }
        let report = shutdown.await;
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.sessions, totals(&report)), (1, [3, 4, 4, 0, 0, 0]));
    });
}

/// The answer of an endpoint that drains (G-69).
pub(super) async fn is_draining(reply: Reply, id: &Value) {
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
    assert_eq!(reply.header("connection"), "close");
    let answer = reply.json().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (id, &json!(-32603)));
    assert_eq!(answer["error"]["data"], json!({ "reason": "shutdown", "retryable": true }));
}

/// S15: gauges of calls and listeners, in every phase.
fn s_15_calls_and_listeners_are_counted_at_any_moment(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let counts = |fixture: &Fixture| {
            let stats = fixture.endpoint.stats();
            [stats.exchanges, stats.streams, stats.subscriptions, stats.sessions]
        };
        assert_eq!(counts(&fixture), [0; 4]);
        let (listener, _) = client.listen(1, tools()).await;
        let (running, work) = begin(&mut fixture, &client, &client.call(2, "work")).await;
        fixture.until(|fixture| counts(fixture) == [2, 1, 1, 0]).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        listener.messages().await;
        fixture.until(|fixture| counts(fixture) == [1, 0, 0, 0]).await;
        assert_eq!(fixture.endpoint.stats().phase, ShutdownPhase::Draining);
        work.finish(json!({}));
        running.head().await.answer().await;
        shutdown.await;
        assert_eq!(counts(&fixture), [0; 4]);
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.exchanges_admitted, stats.exchanges_answered, stats.streams_ended), (2, 2, 1));
    });
}
