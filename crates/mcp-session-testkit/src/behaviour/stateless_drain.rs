//! Requests without a session in a shutdown, promises S1 to S7: who is admitted and what everybody is answered.

use futures::{FutureExt, future::join_all};
use http::StatusCode;
use mcp_session_core::{
    CancelReason, Sessions, ShutdownPhase, ShutdownPolicy, ShutdownReport, TerminateReason,
};
use serde_json::{Value, json};

use super::{
    fixture::{
        Client, Fixture, NEVER, PATIENT, Reply, SOON, STRICT, Started, Work, cancel, initialize,
        notification, reply, request, request_with,
    },
    stateless::{MODES, fixture},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    s_1_requests_that_begin_during_a_shutdown,
    s_2_draining_without_sessions,
    s_3_hung_handlers_without_sessions_do_not_move_the_ceiling,
    s_4_without_sessions_nothing_in_flight_returns_at_once,
    s_5_exactly_one_answer_json_without_a_session,
    s_5_exactly_one_answer_sse_without_a_session,
    s_5_a_batch_without_a_session_in_a_shutdown,
    s_5_an_obedient_handler_without_a_session,
    s_7_streams_without_a_session_end_before_shutdown_resolves,
}

/// A call that has begun, and its handler.
pub(super) async fn begin(fixture: &mut Fixture, client: &Client, id: impl Into<Value>) -> (Started, Work) {
    let started = client.start(&request_with(id, "work", json!({ "_meta": { "progressToken": 1 } })));
    (started, fixture.work().await)
}

/// A call whose reply is already a stream.
pub(super) async fn begin_stream(
    fixture: &mut Fixture,
    client: &Client,
    id: impl Into<Value>,
) -> (Reply, Work) {
    let (started, work) = begin(fixture, client, id).await;
    work.cx.progress(1.0, None, None).await.unwrap();
    let mut reply = started.head().await;
    assert!(reply.is_stream() && reply.message().await.is_some());
    (reply, work)
}

/// The totals of a report: live requests, and their outcomes.
pub(super) fn exchanges(report: &ShutdownReport) -> [u64; 5] {
    let totals = report.exchanges;
    [totals.total, totals.answered, totals.synthesized, totals.cancelled, totals.forced]
}

pub(super) fn streams(report: &ShutdownReport) -> [u64; 3] {
    [report.streams.total, report.streams.ended, report.streams.cut]
}

/// S1: a request that begins during a shutdown is refused, or answered before the end, never missed.
fn s_1_requests_that_begin_during_a_shutdown(bed: &impl TestBed) {
    for sessions in MODES {
        let fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let burst = |method: &str| -> Vec<_> {
                (0..50)
                    .map(|id| stranger.accepting("text/event-stream").start(&request(id, method)))
                    .collect()
            };
            let (early, hung) = (burst("echo"), burst("work"));
            let shutdown = fixture.endpoint.shutdown(STRICT);
            let (late, late_hung) = (burst("echo"), burst("work"));
            let (mut answered, mut failed) = (0, 0);
            for replies in [early, hung, late, late_hung] {
                for (id, reply) in
                    join_all(replies.into_iter().map(Started::head)).await.into_iter().enumerate()
                {
                    if reply.status == StatusCode::OK {
                        let answer = reply.answer().await;
                        assert_eq!(answer["id"], id);
                        match answer["error"]["code"].as_i64() {
                            None => answered += 1,
                            Some(code) => failed += i64::from(code == -32000),
                        }
                    } else {
                        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
                    }
                }
            }
            let report = shutdown.await;
            assert!(report.is_clean(), "{report}");
            let stats = fixture.endpoint.stats();
            assert_eq!((stats.exchanges, stats.streams), (0, 0));
            assert_eq!(stats.exchanges_answered, answered);
            assert_eq!(stats.exchanges_synthesized, u64::try_from(failed).unwrap());
            assert_eq!(stats.exchanges_admitted, stats.exchanges_answered + stats.exchanges_synthesized);
            assert!(report.stateless >= report.exchanges.synthesized, "{report}");
        });
    }
}

/// S2, F-37, B-42: while draining, requests without a session get 503 and `Retry-After`; what needs no handler is still
/// accepted. After the end they get 503 too, never 404.
fn s_2_draining_without_sessions(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (running, work) = begin(&mut fixture, &stranger, 1).await;
            let shutdown = fixture.endpoint.shutdown(PATIENT);
            work.cx.draining().await;
            assert!(work.cx.is_draining());
            let refused = [
                request(2, "echo"),
                request(2, "tools/list"),
                initialize("2025-11-25", "client"),
                json!([request(2, "echo"), request(3, "ping")]),
            ];
            for message in &refused {
                let refused = stranger.post(message).await;
                assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"), "{message}");
                assert_eq!(refused.header("connection"), "close");
                let error = refused.json().await;
                assert_eq!(error["id"], message["id"]);
                assert_eq!(error["error"]["data"], json!({ "reason": "shutdown", "retryable": true }));
            }
            for (message, status) in [
                (request(3, "ping"), 200),
                (notification("notifications/initialized"), 202),
                (cancel(1), 202),
                (reply(9, json!({})), 202),
                (json!([reply(9, json!({}))]), 202),
            ] {
                let served = stranger.post(&message).await;
                assert_eq!(
                    (served.status.as_u16(), served.header("connection")),
                    (status, "close"),
                    "{message}"
                );
            }
            for refused in [stranger.get().await, stranger.delete().await] {
                assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "POST"));
            }
            assert_eq!((work.cx.cancel_reason(), shutdown.phase()), (None, ShutdownPhase::Draining));
            work.finish(json!({ "ok": true }));
            let head = running.head().await;
            assert_eq!(head.header("connection"), "close");
            assert_eq!(head.json().await, reply(1, json!({ "ok": true })));
            let report = shutdown.await;
            assert_eq!((exchanges(&report), report.stateless, report.sessions), ([1, 1, 0, 0, 0], 1, 0));
            for message in &refused {
                assert_eq!(stranger.post(message).await.status, StatusCode::SERVICE_UNAVAILABLE, "{message}");
            }
        });
    }
}

/// S3: many hung handlers and an unread stream do not move the ceiling.
fn s_3_hung_handlers_without_sessions_do_not_move_the_ceiling(bed: &impl TestBed) {
    const CALLS: usize = 20;
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (_unread, _unread_work) = begin_stream(&mut fixture, &stranger, "unread").await;
            let mut running = Vec::new();
            for id in 0..CALLS {
                running.push(begin(&mut fixture, &stranger, id).await);
            }
            let policy = ShutdownPolicy { lame_duck: SOON, drain: SOON, cancel: SOON, finish: SOON };
            let shutdown = fixture.endpoint.shutdown(policy);
            let ceiling = shutdown.ceiling();
            let report = shutdown.clone().await;
            assert!(shutdown.ceiling() <= ceiling && report.took >= SOON * 3);
            if bed.name() == "sim" {
                assert!(fixture.runtime.now() <= ceiling, "in virtual time the ceiling is exact");
            }
            assert_eq!((report.stateless, streams(&report)), (CALLS as u64 + 1, [1, 0, 1]), "{report}");
            let [total, answered, synthesized, cancelled, forced] = exchanges(&report);
            assert_eq!((total, answered, cancelled), (CALLS as u64 + 1, 0, 0));
            // On a slow machine, an answer may be read too late for the ceiling. The report says so.
            assert!(synthesized + forced == total && (forced == 1 || bed.name() != "sim"), "{report}");
            for (id, (running, work)) in running.into_iter().enumerate() {
                assert_eq!(running.head().await.answer().await["id"], id);
                fixture.until(|_| work.is_dropped()).await;
            }
        });
    }
}

/// S4: with nothing in flight, shutdown returns at once, whatever its budgets, and with something as soon as that is
/// over.
fn s_4_without_sessions_nothing_in_flight_returns_at_once(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            stranger.post(&request(1, "echo")).await.answer().await;
            let (reply, work) = begin_stream(&mut fixture, &stranger, 2).await;
            let shutdown = fixture.endpoint.shutdown(PATIENT);
            work.cx.draining().await;
            work.finish(json!({}));
            assert_eq!(reply.messages().await.len(), 1);
            let report = shutdown.await;
            assert!(report.took < NEVER && report.is_clean(), "{report}");
            assert_eq!((exchanges(&report), streams(&report)), ([1, 1, 0, 0, 0], [1, 1, 0]));
        });
        let fixture = super::stateless::fixture(bed, sessions);
        bed.block_on(async {
            fixture.stranger().post(&request(1, "echo")).await.answer().await;
            let report = fixture.endpoint.shutdown(PATIENT).await;
            assert!(report.took < NEVER && report.is_clean(), "{report}");
            assert_eq!((report.stateless, report.exchanges.total), (0, 0));
        });
    }
}

/// S5: a call whose handler hangs gets exactly one answer, as JSON.
fn s_5_exactly_one_answer_json_without_a_session(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (running, work) = begin(&mut fixture, &stranger, "json").await;
            let report = fixture.endpoint.shutdown(STRICT).await;
            let reply = running.head().await;
            assert_eq!((reply.is_stream(), reply.header("connection")), (false, "close"));
            let answer = reply.answer().await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("json"), &json!(-32000)));
            assert_eq!(answer["error"]["data"], json!({ "reason": "shutdown", "retryable": true }));
            assert_eq!((exchanges(&report), report.stateless), ([1, 0, 1, 0, 0], 1));
            assert!(report.is_clean(), "{report}");
            fixture.until(|_| work.is_dropped()).await;
        });
    }
    // An `initialize` without sessions too.
    let fixture = fixture(bed, Sessions::Stateless);
    bed.block_on(async {
        let running = fixture.stranger().start(&initialize("2025-11-25", "hangs"));
        fixture.until(|fixture| fixture.endpoint.stats().exchanges == 1).await;
        let report = fixture.endpoint.shutdown(STRICT).await;
        let reply = running.head().await;
        assert_eq!((reply.session(), exchanges(&report), report.stateless), (None, [1, 0, 1, 0, 0], 1));
        assert_eq!(reply.answer().await["error"]["code"], -32000);
    });
}

/// S5: the same on streams, with equal ids: the only answer is the last event before the end.
fn s_5_exactly_one_answer_sse_without_a_session(bed: &impl TestBed) {
    const CALLS: u64 = 10;
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (mut replies, mut works) = (Vec::new(), Vec::new());
            for id in 0..CALLS {
                let (reply, work) = begin_stream(&mut fixture, &stranger, id / 2).await;
                replies.push(reply);
                works.push(work);
            }
            let shutdown = fixture.endpoint.shutdown(STRICT);
            let answers = join_all(replies.into_iter().map(Reply::messages)).await;
            let report = shutdown.await;
            for (id, messages) in answers.into_iter().enumerate() {
                assert_eq!(messages.len(), 1, "{messages:?}");
                let (told, code) = (&messages[0]["id"], &messages[0]["error"]["code"]);
                assert_eq!((told, code), (&json!(id / 2), &json!(-32000)));
            }
            assert_eq!((exchanges(&report), report.stateless), ([CALLS, 0, CALLS, 0, 0], CALLS));
            assert_eq!((streams(&report), report.is_clean()), ([CALLS, CALLS, 0], true));
            for work in works {
                fixture.until(|_| work.is_dropped()).await;
            }
        });
    }
}

/// S5: each request of a batch is answered once, on the stream of the batch, and then it ends.
fn s_5_a_batch_without_a_session_in_a_shutdown(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger().accepting("text/event-stream");
            let batch = json!([request(1, "work"), request(2, "work"), request(3, "echo")]);
            let mut response = stranger.start(&batch).head().await;
            assert_eq!(response.message().await.unwrap(), reply(3, json!({})));
            let (one, two) = (fixture.work().await, fixture.work().await);
            let (first, hangs) = if one.cx.id() == &1.into() { (one, two) } else { (two, one) };
            let shutdown = fixture.endpoint.shutdown(ShutdownPolicy { drain: NEVER, ..STRICT });
            first.cx.draining().await;
            hangs.cx.draining().await;
            first.finish(json!({}));
            assert_eq!(response.message().await.unwrap(), reply(1, json!({})));
            shutdown.escalate();
            let rest = response.messages().await;
            assert_eq!(
                (rest.len(), &rest[0]["id"], &rest[0]["error"]["code"]),
                (1, &json!(2), &json!(-32000))
            );
            let report = shutdown.await;
            assert_eq!((exchanges(&report), report.stateless), ([2, 1, 1, 0, 0], 2), "{report}");
            fixture.until(|_| hangs.is_dropped()).await;
        });
    }
}

/// S5: a handler that stops when it is cancelled may answer itself.
fn s_5_an_obedient_handler_without_a_session(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (running, work) = begin(&mut fixture, &stranger, 1).await;
            let handler = async {
                work.cx.draining().await;
                let reason = work.cx.cancelled().await;
                assert_eq!(reason, CancelReason::Terminated(TerminateReason::Shutdown));
                work.cx.notify("notifications/message", None::<&()>).await.expect("there is time for it");
                work.fail(reason.into());
            };
            let shutdown = fixture.endpoint.shutdown(ShutdownPolicy { drain: SOON, ..PATIENT });
            let reader = async { running.head().await.messages().await };
            let ((), report, messages) = futures::join!(handler, shutdown.wait(), reader);
            assert_eq!((exchanges(&report), report.is_clean()), ([1, 1, 0, 0, 0], true));
            assert_eq!((messages.len(), &messages[1]["error"]["data"]["reason"]), (2, &json!("shutdown")));
        });
    }
}

/// S7, S9: when shutdown resolves, every stream has delivered its last event and ended.
fn s_7_streams_without_a_session_end_before_shutdown_resolves(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (reply, work) = begin_stream(&mut fixture, &stranger, 1).await;
            let mut shutdown = Box::pin(fixture.endpoint.shutdown(PATIENT).wait());
            work.cx.draining().await;
            work.finish(json!({}));
            // Answered but not read yet: shutdown waits for the reader.
            fixture.until(|fixture| fixture.endpoint.stats().phase == ShutdownPhase::Finishing).await;
            assert!(shutdown.as_mut().now_or_never().is_none());
            assert_eq!(reply.messages().await.len(), 1);
            let report = shutdown.await;
            assert_eq!((streams(&report), report.is_clean()), ([1, 1, 0], true));
        });
    }
}
