//! Shutdown: promises S1 to S15, for one session and for the whole endpoint.

use std::{future::IntoFuture, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, channel::mpsc, future::join_all};
use http::Method;
use mcp_session_core::{
    CancelReason, RequestError, ShutdownPhase, ShutdownPolicy, ShutdownReport, TerminateReason,
};
use serde_json::{Value, json};

use super::fixture::{
    Client, Fixture, Hook, NEVER, PATIENT, Reply, SOON, STRICT, SlowBody, Started, Work, cancel, initialize,
    request, request_with,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    s_1_sessions_born_during_shutdown,
    s_2_never_404_while_draining,
    s_3_hung_handlers_do_not_move_the_ceiling,
    s_4_nothing_in_flight_returns_at_once,
    s_5_exactly_one_answer_json,
    s_5_exactly_one_answer_sse,
    s_5_an_obedient_handler_answers_itself,
    s_5_initialize_is_answered_too,
    s_7_streams_end_before_shutdown_resolves,
    s_8_failures_are_isolated,
    s_9_totals_are_those_of_the_start,
    s_10_idempotent_tightened_and_escalated,
    s_10_dropping_the_handle_changes_nothing,
    s_11_a_client_that_reads_nothing_delays_nobody,
    s_14_a_post_half_arrived,
    s_14_half_a_post_ends_with_the_drain,
    s_14_output_after_the_end,
    s_15_observable_at_any_moment,
    lame_duck_serves_everything,
    replies_cancels_and_delete_arrive_while_draining,
    s_8_hooks_are_waited_for,
    s_10_tightened_in_a_later_phase,
    f_38_the_next_question_of_a_client_is_answered,
    draining_reaches_what_outlives_its_answer,
    terminate_closes_post_and_get_alike,
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
    assert!(reply.message().await.is_some());
    (reply, work)
}

/// The totals of a report: live requests, and their outcomes.
fn exchanges(report: &ShutdownReport) -> [u64; 5] {
    let totals = report.exchanges;
    [totals.total, totals.answered, totals.synthesized, totals.cancelled, totals.forced]
}

fn streams(report: &ShutdownReport) -> [u64; 3] {
    [report.streams.total, report.streams.ended, report.streams.cut]
}

/// S1: a session created during shutdown is refused or terminated, never missed.
fn s_1_sessions_born_during_shutdown(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let stranger = fixture.stranger();
        let early: Vec<_> = (0..50).map(|_| stranger.start(&initialize("2025-11-25", "client"))).collect();
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        let late: Vec<_> = (0..50).map(|_| stranger.start(&initialize("2025-11-25", "client"))).collect();
        let mut born = Vec::new();
        for reply in join_all(early.into_iter().chain(late).map(Started::head)).await {
            match reply.status.as_u16() {
                200 => born.push(reply.session().unwrap()),
                status => assert_eq!(status, 503),
            }
        }
        let report = shutdown.await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(fixture.endpoint.stats().sessions, 0);
        assert_eq!(fixture.ended().len(), born.len());
        for session in born {
            assert_eq!(stranger.with_session(Some(session)).post(&request(1, "echo")).await.status, 404);
        }
    });
}

/// S2, F-37, F-38, B-42: while draining, `initialize` and new requests get 503 and `Retry-After`, and no live id gets
/// 404, not even that of a session without running requests. After Closed all get 404.
fn s_2_never_404_while_draining(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (busy, idle) = (fixture.client().await, fixture.client().await);
        let (running, work) = begin(&mut fixture, &busy, 1).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await; // the busy one was notified
        fixture.until(|fixture| fixture.ended().len() == 1).await; // nothing of the idle one is left inside
        assert_eq!(shutdown.phase(), ShutdownPhase::Draining);
        for reply in [
            fixture.stranger().post(&initialize("2025-11-25", "client")).await,
            busy.post(&request(2, "echo")).await,
            idle.post(&request(2, "echo")).await,
            idle.get().await,
        ] {
            assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
            assert_eq!(reply.header("connection"), "close");
            let error = reply.json().await;
            assert_eq!(error["error"]["data"], json!({ "reason": "shutdown", "retryable": true }));
        }
        assert_eq!(idle.post(&request(3, "ping")).await.status, 200);
        work.finish(json!({ "ok": true }));
        assert_eq!(running.head().await.answer().await["result"]["ok"], true);
        shutdown.await;
        for client in [&busy, &idle] {
            assert_eq!(client.post(&request(4, "ping")).await.status, 404);
        }
        assert_eq!(fixture.stranger().post(&initialize("2025-11-25", "client")).await.status, 503);
    });
}

/// S3: one deadline covers all phases. Many hung handlers, hung hooks and stalled readers do not move it.
fn s_3_hung_handlers_do_not_move_the_ceiling(bed: &impl TestBed) {
    const CALLS: usize = 20;
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.json_client().await;
        let _stalled = client.get().await;
        let mut running = Vec::new();
        for id in 0..CALLS {
            running.push(begin(&mut fixture, &client, id).await);
        }
        let other = fixture.client().await;
        fixture.plant(other.id(), Hook::Hangs);
        let policy = ShutdownPolicy { lame_duck: SOON, drain: SOON, cancel: SOON, finish: SOON };
        let shutdown = fixture.endpoint.shutdown(policy);
        assert!(shutdown.ceiling() <= fixture.runtime.now() + policy.ceiling());
        let ceiling = shutdown.ceiling();
        let report = shutdown.clone().await;
        assert!(shutdown.ceiling() <= ceiling);
        assert!(report.took >= SOON * 3); // every phase was used, none twice
        if bed.name() == "sim" {
            assert!(fixture.runtime.now() <= ceiling, "in virtual time the ceiling is exact");
        }
        assert_eq!(streams(&report), [1, 0, 1]);
        let [total, answered, synthesized, cancelled, forced] = exchanges(&report);
        assert_eq!((total, answered, cancelled), (CALLS as u64, 0, 0));
        // On a slow machine, an answer may be read too late for the ceiling. The report says so.
        assert!(synthesized + forced == total && (forced == 0 || bed.name() != "sim"), "{report}");
        for (id, (running, work)) in running.into_iter().enumerate() {
            assert_eq!(running.head().await.answer().await["id"], id);
            fixture.until(|_| work.is_dropped()).await;
        }
    });
}

/// S4: idle streams end first. With nothing in flight shutdown returns at once, whatever its budgets.
fn s_4_nothing_in_flight_returns_at_once(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let report = fixture.endpoint.shutdown(PATIENT).await;
        assert!(report.took < NEVER && report.is_clean());
    });
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (idle, busy) = (fixture.client().await, fixture.json_client().await);
        let mut get = idle.get().await;
        let (running, work) = begin(&mut fixture, &busy, 1).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        assert_eq!(get.message().await, None); // ends while the call still runs
        assert_eq!(shutdown.phase(), ShutdownPhase::Draining);
        work.finish(json!({}));
        running.head().await.answer().await;
        let report = shutdown.await;
        assert!(report.took < NEVER);
        assert_eq!((exchanges(&report), streams(&report)), ([1, 1, 0, 0, 0], [1, 1, 0]));
    });
}

/// S5: a call whose handler hangs gets exactly one answer, as JSON.
fn s_5_exactly_one_answer_json(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.json_client().await;
        let (running, work) = begin(&mut fixture, &client, "json").await;
        let report = fixture.endpoint.shutdown(STRICT).await;
        let reply = running.head().await;
        assert!(!reply.is_stream());
        assert_eq!(reply.header("connection"), "close");
        let answer = reply.answer().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("json"), &json!(-32000)));
        assert_eq!(answer["error"]["data"], json!({ "reason": "shutdown", "retryable": true }));
        assert_eq!(exchanges(&report), [1, 0, 1, 0, 0]);
        fixture.until(|_| work.is_dropped()).await;
    });
}

/// S5: the same on streams: the only answer is the last event, on the right stream.
fn s_5_exactly_one_answer_sse(bed: &impl TestBed) {
    const CALLS: usize = 10;
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (mut replies, mut works) = (Vec::new(), Vec::new());
        for id in 0..CALLS {
            let (reply, work) = begin_stream(&mut fixture, &client, id).await;
            replies.push(reply);
            works.push(work);
        }
        let shutdown = fixture.endpoint.shutdown(STRICT);
        let answers = join_all(replies.into_iter().map(Reply::messages)).await;
        let report = shutdown.await;
        for (id, messages) in answers.into_iter().enumerate() {
            assert_eq!(messages.len(), 1, "{messages:?}");
            assert_eq!((&messages[0]["id"], &messages[0]["error"]["code"]), (&json!(id), &json!(-32000)));
        }
        assert_eq!(exchanges(&report), [CALLS as u64, 0, CALLS as u64, 0, 0]);
        assert_eq!(streams(&report), [CALLS as u64, CALLS as u64, 0]);
        drop(works);
    });
}

/// S5: a handler that stops when it is cancelled may answer itself. Its requests to the client fail with the reason.
fn s_5_an_obedient_handler_answers_itself(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (running, work) = begin(&mut fixture, &client, 1).await;
        let waits = work.cx.clone();
        let asked = async { waits.request("sampling/createMessage", None::<&()>, NEVER).await };
        let handler = async {
            work.cx.draining().await;
            let reason = work.cx.cancelled().await;
            assert_eq!(reason, CancelReason::Terminated(TerminateReason::Shutdown));
            work.fail(reason.into());
        };
        let shutdown = async {
            let policy = ShutdownPolicy { drain: SOON, ..PATIENT };
            fixture.endpoint.shutdown(policy).await
        };
        let reader = async { running.head().await.messages().await };
        let (asked, (), report, messages) = futures::join!(asked, handler, shutdown, reader);
        assert_eq!(asked, Err(RequestError::Terminated(TerminateReason::Shutdown)));
        assert_eq!(exchanges(&report), [1, 1, 0, 0, 0]);
        let methods: Vec<_> =
            messages.iter().map(|message| message["method"].as_str().unwrap_or("answer")).collect();
        assert_eq!(methods, ["sampling/createMessage", "notifications/cancelled", "answer"]); // F-32
        assert_eq!(messages[2]["error"]["data"]["reason"], "shutdown");
    });
}

/// S5, C-20: an `initialize` that hangs gets an answer too, and opens no session.
fn s_5_initialize_is_answered_too(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let running = fixture.stranger().start(&initialize("2025-11-25", "hangs"));
        fixture.until(|fixture| fixture.endpoint.stats().exchanges == 1).await;
        let report = fixture.endpoint.shutdown(STRICT).await;
        let reply = running.head().await;
        assert_eq!((reply.session(), exchanges(&report)), (None, [1, 0, 1, 0, 0]));
        assert_eq!(reply.answer().await["error"]["code"], -32000);
    });
}

/// S7, S9: when shutdown resolves, all POST and GET streams have delivered their last event and ended.
fn s_7_streams_end_before_shutdown_resolves(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let mut get = client.get().await;
        assert!(get.event().await.is_some());
        let (reply, work) = begin_stream(&mut fixture, &client, 1).await;
        let mut shutdown = Box::pin(fixture.endpoint.shutdown(PATIENT).wait());
        work.cx.draining().await;
        assert_eq!(get.message().await, None);
        work.finish(json!({}));
        // Answered but not read yet: shutdown waits for the reader.
        fixture.until(|fixture| fixture.endpoint.stats().phase == ShutdownPhase::Finishing).await;
        assert!(shutdown.as_mut().now_or_never().is_none());
        assert_eq!(reply.messages().await.len(), 1);
        let report = shutdown.await;
        assert_eq!((streams(&report), report.is_clean()), ([2, 2, 0], true));
    });
}

/// S8: one session's hook panics, one's hook hangs, one's reader stalls. All others end cleanly, and the report names
/// these three.
fn s_8_failures_are_isolated(bed: &impl TestBed) {
    const SESSIONS: usize = 100;
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..SESSIONS {
            clients.push(fixture.client().await);
        }
        fixture.plant(clients[10].id(), Hook::Panics);
        fixture.plant(clients[20].id(), Hook::Hangs);
        let _stalled = clients[30].get().await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        fixture.until(|fixture| fixture.ended().len() == SESSIONS - 1).await; // all but the stalled one
        shutdown.tighten(ShutdownPolicy { finish: SOON, ..PATIENT });
        let report = shutdown.await;
        assert_eq!(report.sessions, SESSIONS as u64);
        let mut expected = vec![
            (clients[10].id().prefix(), "the `terminated` hook panicked"),
            (clients[20].id().prefix(), "the `terminated` hook did not end in time"),
            (clients[30].id().prefix(), "its client did not read to the end in time"),
        ];
        expected.sort();
        let failures: Vec<_> = report.failures.iter().map(|f| (f.session.clone(), f.reason)).collect();
        assert_eq!(failures, expected);
        fixture.until(|fixture| fixture.ended().len() == SESSIONS).await;
        assert!(fixture.ended().iter().all(|(_, reason)| *reason == TerminateReason::Shutdown));
    });
}

/// S9: the totals of the report count what was live when draining began, whatever its outcome.
fn s_9_totals_are_those_of_the_start(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.json_client().await;
        client.post(&request("before", "echo")).await.answer().await; // over: not in the report
        let (answered, work) = begin(&mut fixture, &client, 1).await;
        let (cancelled, _cancelled_work) = begin(&mut fixture, &client, 2).await;
        let (synthesized, _hangs) = begin_stream(&mut fixture, &client, 3).await;
        let (_unread, _unread_work) = begin_stream(&mut fixture, &client, 4).await;
        let deleted = fixture.json_client().await;
        let (gone, _gone_work) = begin(&mut fixture, &deleted, 5).await;
        deleted.delete().await; // already ending, but its call is not answered yet
        let live = fixture.endpoint.stats();
        let policy = ShutdownPolicy { cancel: SOON, ..PATIENT };
        let shutdown = fixture.endpoint.shutdown(policy);
        work.cx.draining().await;
        work.finish(json!({}));
        fixture.until(|fixture| fixture.endpoint.stats().exchanges < live.exchanges).await;
        client.post(&cancel(2)).await;
        shutdown.escalate();
        fixture.until(|_| shutdown.phase() >= ShutdownPhase::Cancelling).await; // by now every session takes part
        for reply in [answered.head().await, cancelled.head().await, gone.head().await, synthesized] {
            if reply.is_stream() {
                reply.messages().await;
            } else {
                reply.answer().await;
            }
        }
        shutdown.tighten(ShutdownPolicy { finish: SOON, ..policy }); // the others have been read
        let report = shutdown.await;
        assert_eq!((report.sessions, live.sessions, live.exchanges), (1, 1, 5));
        assert_eq!(exchanges(&report), [5, 1, 2, 1, 1], "{report}");
        assert_eq!(streams(&report), [2, 1, 1], "{report}");
        assert!(!report.is_clean());
        let rest = fixture.endpoint.stats();
        assert_eq!((rest.sessions, rest.exchanges, rest.streams), (0, 0, 0));
    });
}

/// S10: several calls share one outcome. A later call can only tighten it; a second signal ends the current phase.
fn s_10_idempotent_tightened_and_escalated(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (running, work) = begin(&mut fixture, &client, 1).await;
        let first = fixture.endpoint.shutdown(ShutdownPolicy { lame_duck: NEVER, ..PATIENT });
        let ceiling = first.ceiling();
        let longer = ShutdownPolicy { drain: NEVER * 2, ..PATIENT };
        let second = fixture.endpoint.shutdown(ShutdownPolicy { lame_duck: NEVER, ..longer });
        assert_eq!((first.ceiling(), second.ceiling()), (ceiling, ceiling)); // deadlines are never extended
        assert_eq!(first.phase(), ShutdownPhase::LameDuck);
        second.escalate();
        fixture.until(|_| first.phase() == ShutdownPhase::Cancelling).await;
        assert!(work.cx.cancel_reason().is_some());
        second.escalate();
        let (one, two) = futures::join!(first.wait(), async {
            let answer = running.head().await.answer().await;
            assert_eq!(answer["error"]["code"], -32000);
            second.wait().await
        });
        assert_eq!(one, two);
        let (ceiling, again) = (first.ceiling(), fixture.endpoint.shutdown(PATIENT)); // also afterwards
        assert_eq!((again.ceiling(), again.await), (ceiling, one.clone()));
        assert_eq!(fixture.endpoint.closed().await, one);
        assert_eq!(exchanges(&one), [1, 0, 1, 0, 0]);
    });
}

/// S10: dropping the handle cancels the wait, not the shutdown.
fn s_10_dropping_the_handle_changes_nothing(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let mut get = client.get().await;
        let mut wait = fixture.endpoint.shutdown(PATIENT).wait().boxed();
        assert!(wait.as_mut().now_or_never().is_none());
        drop(wait);
        assert_eq!(get.message().await, None);
        assert!(fixture.endpoint.closed().await.is_clean());
    });
}

/// S11: a client that does not read delays neither shutdown nor other clients.
fn s_11_a_client_that_reads_nothing_delays_nobody(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.queue_events = 4);
    bed.block_on(async {
        let client = fixture.client().await;
        let _stalled_get = client.get().await;
        let (_stalled_post, stalled_work) = begin_stream(&mut fixture, &client, 1).await;
        while stalled_work.cx.notify("notifications/x", None::<&()>).now_or_never().is_some() {}
        let (reply, work) = begin_stream(&mut fixture, &client, 2).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        stalled_work.finish(json!({}));
        work.finish(json!({}));
        assert_eq!(reply.messages().await.last().unwrap()["id"], 2);
        shutdown.tighten(ShutdownPolicy { finish: SOON, ..PATIENT }); // the others have been read
        let report = shutdown.await;
        assert_eq!(exchanges(&report), [2, 1, 0, 0, 1]);
        assert_eq!(streams(&report), [3, 1, 2]);
    });
}

/// S14: a POST whose body is incomplete when shutdown begins gets a definite answer: it is refused, and never with
/// 404 before everything is closed.
fn s_14_a_post_half_arrived(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (running, work) = begin(&mut fixture, &client, 0).await;
        let mut halves = Vec::new();
        for _ in 0..2 {
            let (sender, receiver) = mpsc::unbounded();
            let body = request(1, "echo").to_string();
            sender.unbounded_send(Bytes::copy_from_slice(&body.as_bytes()[..10])).unwrap();
            let (client, http) =
                (client.clone(), client.request(Method::POST).body(SlowBody(receiver)).unwrap());
            let reply = async move { client.send(http).await }.shared_head();
            halves.push((sender, Bytes::copy_from_slice(&body.as_bytes()[10..]), reply));
        }
        for (_, _, reply) in &mut halves {
            assert!(reply.as_mut().now_or_never().is_none());
        }
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        let (after, during) = (halves.pop().unwrap(), halves.pop().unwrap());
        let complete = |(sender, rest, reply): (mpsc::UnboundedSender<Bytes>, Bytes, _)| {
            sender.unbounded_send(rest).unwrap();
            reply
        };
        assert_eq!(complete(during).await.status, 503);
        work.finish(json!({}));
        running.head().await.answer().await;
        shutdown.await;
        assert_eq!(complete(after).await.status, 404);
    });
}

/// S14: while draining, an incomplete POST that makes no progress is refused, with `Connection: close`. One that
/// makes progress is received, as replies are. None outlives the endpoint, whatever the body deadline.
fn s_14_half_a_post_ends_with_the_drain(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (running, work) = begin(&mut fixture, &client, 0).await;
        let post = |body: &'static str| {
            let (sender, receiver) = mpsc::unbounded();
            sender.unbounded_send(Bytes::from_static(body.as_bytes())).unwrap();
            let (client, http) =
                (client.clone(), client.request(Method::POST).body(SlowBody(receiver)).unwrap());
            let (answered, reply) = futures::channel::oneshot::channel();
            fixture.runtime.spawn(Box::pin(async move {
                let _ = answered.send(client.send(http).await); // the scenario may be over
            }));
            (sender, reply)
        };
        let (_open, before) = post("{");
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        let (_open, during) = post("{");
        for reply in [before, during] {
            let reply = reply.await.expect("an answer");
            assert_eq!((reply.status.as_u16(), reply.header("connection")), (503, "close"));
        }
        let (moving, mut cancels) = post(r#"{"jsonrpc":"2.0","method":"#);
        for byte in r#""notifications/cancelled","params":{"requestId":9}}"#.bytes() {
            moving.unbounded_send(vec![byte].into()).unwrap();
            if let Ok(None) = cancels.try_recv() {
                fixture.elapse(Duration::from_millis(10)).await; // in total longer than a body may make no progress
            }
        }
        drop(moving);
        let status = cancels.await.expect("an answer").status.as_u16();
        assert!(status == 202 || bed.name() != "sim", "{status}"); // on a slow machine it may count as stalled
        work.finish(json!({}));
        running.head().await.answer().await;
        shutdown.await;
    });
    // With nothing in flight: at once.
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (_open, receiver) = mpsc::unbounded();
        let mut post = Box::pin(client.send(client.request(Method::POST).body(SlowBody(receiver)).unwrap()));
        assert!(post.as_mut().now_or_never().is_none());
        let report = fixture.endpoint.shutdown(PATIENT).await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(post.await.status, 503);
    });
}

trait SharedHead: Future<Output = Reply> + Sized {
    fn shared_head<'a>(self) -> std::pin::Pin<Box<dyn Future<Output = Reply> + 'a>>
    where
        Self: 'a,
    {
        Box::pin(self)
    }
}

impl<F: Future<Output = Reply>> SharedHead for F {}

/// S14: messages that a handler sends after the end are dropped and cause no failure.
fn s_14_output_after_the_end(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (reply, work) = begin_stream(&mut fixture, &client, 1).await;
        let cx = work.cx.clone();
        let shutdown = fixture.endpoint.shutdown(STRICT);
        let messages = reply.messages().await;
        assert_eq!((messages.len(), &messages[0]["error"]["code"]), (1, &json!(-32000)));
        let report = shutdown.await;
        work.finish(json!({ "late": true }));
        assert!(cx.notify("notifications/late", None::<&()>).await.is_err());
        assert!(cx.progress(9.0, None, None).await.is_err());
        assert!(cx.request("roots/list", None::<&()>, NEVER).await.is_err());
        assert!(cx.cancel_reason().is_some());
        assert_eq!(exchanges(&report), [1, 0, 1, 0, 0]);
        assert_eq!(fixture.endpoint.stats().exchanges_admitted, 2); // `initialize` and the call
        assert_eq!(fixture.endpoint.stats().exchanges_answered, 1);
    });
}

/// S15: phase and counts are observable at any moment. Readiness ends with the first phase.
fn s_15_observable_at_any_moment(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (reply, work) = begin_stream(&mut fixture, &client, 1).await;
        let stats = fixture.endpoint.stats();
        assert_eq!(
            (stats.phase, stats.sessions, stats.exchanges, stats.streams),
            (ShutdownPhase::Running, 1, 1, 1)
        );
        assert!(fixture.endpoint.is_ready());
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        assert!(!fixture.endpoint.is_ready());
        fixture.until(|fixture| fixture.endpoint.stats().phase == ShutdownPhase::Draining).await;
        assert_eq!(fixture.endpoint.stats().exchanges, 1);
        work.finish(json!({}));
        fixture.until(|fixture| fixture.endpoint.stats().phase == ShutdownPhase::Finishing).await;
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.exchanges, stats.streams), (0, 1));
        reply.messages().await;
        shutdown.await;
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.phase, stats.sessions, stats.streams), (ShutdownPhase::Closed, 0, 0));
    });
}

/// `LameDuck`: not ready, but everything is still served. HTTP/1.1 clients are told to reconnect.
fn lame_duck_serves_everything(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        assert_eq!(client.post(&request(0, "echo")).await.header("connection"), "");
        let shutdown = fixture.endpoint.shutdown(ShutdownPolicy { lame_duck: NEVER, ..PATIENT });
        assert!(!fixture.endpoint.is_ready());
        for reply in [
            client.post(&request(1, "echo")).await,
            fixture.stranger().post(&initialize("2025-11-25", "client")).await,
            client.get().await,
        ] {
            assert_eq!((reply.status.as_u16(), reply.header("connection")), (200, "close"));
        }
        // HTTP/2 has no such header.
        let mut request = client.request(Method::POST).body(request(2, "echo").to_string()).unwrap();
        *request.version_mut() = http::Version::HTTP_2;
        assert_eq!(client.send(request).await.header("connection"), "");
        shutdown.tighten(PATIENT); // ends the lame-duck phase
        assert!(shutdown.await.is_clean());
    });
}

/// While draining, replies to requests of the server arrive and let handlers finish; cancels and DELETE work.
fn replies_cancels_and_delete_arrive_while_draining(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (asking, deleting) = (fixture.json_client().await, fixture.client().await);
        let (asked, ask_work) = begin(&mut fixture, &asking, 1).await;
        let (cancelled, cancel_work) = begin(&mut fixture, &asking, 2).await;
        let (deleted, delete_work) = begin(&mut fixture, &deleting, 3).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        ask_work.cx.draining().await;
        delete_work.cx.draining().await;

        let handler = async {
            let text = ask_work.cx.request("sampling/createMessage", None::<&()>, NEVER).await.unwrap();
            ask_work.finish(json!({ "sampled": text }));
        };
        let client_side = async {
            let mut reply = asked.head().await;
            let id = reply.message().await.unwrap()["id"].clone();
            let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "text": "hi" } });
            assert_eq!(asking.post(&answer).await.status, 202);
            reply.answer().await
        };
        let ((), answer) = futures::join!(handler, client_side);
        assert_eq!(answer["result"]["sampled"]["text"], "hi");

        assert_eq!(asking.post(&cancel(2)).await.status, 202);
        assert_eq!(cancel_work.cx.cancelled().await, CancelReason::Client(Some("enough".into())));
        assert_eq!(cancelled.head().await.answer().await["error"]["code"], -32800);
        cancel_work.finish(json!({}));

        assert_eq!(deleting.delete().await.status, 204);
        assert_eq!(deleting.post(&request(4, "ping")).await.status, 404); // its own client deleted it
        delete_work.finish(json!({ "in": "time" }));
        assert_eq!(deleted.head().await.answer().await["result"]["in"], "time");
        let report = shutdown.await;
        assert_eq!(exchanges(&report), [3, 2, 0, 1, 0]);
        assert!(report.is_clean(), "{report}");
    });
}

/// S8, S12: a shutdown waits for hooks, including those that began before it, and does not report a hook that had no
/// time.
fn s_8_hooks_are_waited_for(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        fixture.plant(client.id(), Hook::Hangs);
        client.delete().await;
        fixture.until(|fixture| fixture.ended().len() == 1).await;
        let report = fixture.endpoint.shutdown(ShutdownPolicy { finish: SOON, ..PATIENT }).await;
        assert!(report.took >= SOON, "{report}");
        assert_eq!(report.failures[0].reason, "the `terminated` hook did not end in time");
        assert_eq!((report.sessions, report.failures.len()), (0, 1)); // it was no longer a live session
    });
}

/// S10: tightening applies from the current phase on. A phase that is over gets no budget again.
fn s_10_tightened_in_a_later_phase(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (running, _hangs) = begin(&mut fixture, &client, 1).await;
        let shutdown = fixture.endpoint.shutdown(ShutdownPolicy { drain: Duration::ZERO, ..PATIENT });
        fixture.until(|_| shutdown.phase() == ShutdownPhase::Cancelling).await;
        shutdown.tighten(ShutdownPolicy { cancel: SOON, ..PATIENT });
        assert!(shutdown.ceiling() <= fixture.runtime.now() + SOON + PATIENT.finish);
        assert_eq!(running.head().await.answer().await["error"]["code"], -32000);
        assert!(shutdown.await.took < NEVER);
    });
    // Given before that phase: its handlers are answered for in the shorter time, and nothing is cut.
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (running, hangs) = begin(&mut fixture, &client, 1).await;
        let alone = fixture.stranger().start(&request(2, "work"));
        let hangs_alone = fixture.work().await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        hangs.cx.draining().await;
        shutdown.tighten(ShutdownPolicy { cancel: SOON, ..PATIENT });
        shutdown.escalate(); // to `Cancelling`
        for running in [running, alone] {
            assert_eq!(running.head().await.answer().await["error"]["code"], -32000);
        }
        let report = shutdown.await;
        assert!(report.is_clean() && report.took < NEVER, "{report}");
        assert_eq!(exchanges(&report), [2, 0, 2, 0, 0]);
        drop((hangs, hangs_alone));
    });
    // A budget for a later phase applies when that phase begins, even if it begins early.
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let _stalled = client.get().await;
        let (running, work) = begin(&mut fixture, &client, 1).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        shutdown.tighten(ShutdownPolicy { finish: SOON, ..PATIENT });
        work.finish(json!({}));
        let (mut reply, mut late) = (running.head().await, false);
        while let Some(event) = reply.event().await {
            late |= event.is_err();
        }
        assert!(!late || bed.name() != "sim"); // on a slow machine, it may be read too late
        let report = shutdown.await;
        assert!(report.took < NEVER && report.streams.cut == 1 + u64::from(late), "{report}");
    });
}

/// Some clients, such as the Python client, must list the tools before they can accept a result. So list requests are
/// served while calls of the session run and for a moment after the last answer. If no answer was sent meanwhile, the
/// shutdown does not wait (S4).
fn f_38_the_next_question_of_a_client_is_answered(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.linger = NEVER);
    bed.block_on(async {
        let (client, idle) = (fixture.client().await, fixture.client().await);
        let (reply, work) = begin_stream(&mut fixture, &client, 1).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        fixture.until(|fixture| fixture.ended().len() == 1).await; // nothing of the idle one is left inside
        let lists = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];
        for method in lists {
            let listed = client.post(&request(method, method)).await.answer().await;
            assert_eq!((&listed["id"], &listed["result"]["listed"]), (&json!(method), &json!(method)));
            assert_eq!(idle.post(&request(1, method)).await.status, 503);
        }
        assert_eq!(client.post(&request(2, "echo")).await.status, 503);
        work.finish(json!({}));
        assert_eq!(reply.messages().await.len(), 1);
        let listed = client.post(&request(3, "tools/list")).await;
        assert_eq!((listed.status.as_u16(), listed.header("connection")), (200, "close"));
        assert_eq!(listed.answer().await["result"]["listed"], "tools/list");
        assert_eq!(client.post(&request(4, "echo")).await.status, 503);
        assert_eq!(shutdown.phase(), ShutdownPhase::Draining);
        shutdown.escalate(); // ends the phase
        let report = shutdown.await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(exchanges(&report), [6, 6, 0, 0, 0]);
    });
    // The moment passes by itself; and if no answer was sent, there is nothing to wait for.
    for linger in [SOON, NEVER] {
        let mut fixture = Fixture::new(bed, |config| config.session.linger = linger);
        bed.block_on(async {
            let client = fixture.client().await;
            let (running, work) = begin(&mut fixture, &client, 1).await;
            let shutdown = fixture.endpoint.shutdown(PATIENT);
            work.cx.draining().await;
            let begin = fixture.runtime.now();
            if linger == SOON {
                work.finish(json!({}));
                running.head().await.answer().await;
            } else {
                client.post(&cancel(1)).await;
                running.head().await.messages().await;
                drop(work);
                shutdown.tighten(ShutdownPolicy { finish: SOON, ..PATIENT }); // its handler ignores the cancellation
            }
            let report = shutdown.await;
            assert!(report.took < NEVER, "{report}");
            assert!(linger != SOON || fixture.runtime.now() >= begin + SOON);
        });
    }
}

/// Code of a handler that runs on after the answer still learns of the shutdown.
fn draining_reaches_what_outlives_its_answer(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (running, work) = begin(&mut fixture, &client, 1).await;
        let (sender, told) = futures::channel::oneshot::channel();
        let cx = work.cx.clone();
        fixture.runtime.spawn(Box::pin(async move {
            cx.draining().await;
            let _ = sender.send(()); // fails if the scenario has failed
        }));
        work.finish(json!({}));
        running.head().await.answer().await;
        fixture.endpoint.shutdown(PATIENT).await;
        told.await.unwrap();
    });
}

/// Terminating a session closes all of its streams, POST and GET alike, and no others. Doing it twice has no further
/// effect.
fn terminate_closes_post_and_get_alike(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.terminate.cancel = SOON);
    bed.block_on(async {
        let (client, other) = (fixture.client().await, fixture.client().await);
        let (mut get, mut other_get) = (client.get().await, other.get().await);
        let (post, _hangs) = begin_stream(&mut fixture, &client, 1).await;
        let session = client.session();
        let both = futures::future::join(
            session.terminate(TerminateReason::Evicted).into_future(),
            session.terminate(TerminateReason::Evicted).into_future(),
        );
        let (reasons, messages, end) = futures::join!(both, post.messages(), get.message());
        assert_eq!(reasons, (TerminateReason::Evicted, TerminateReason::Evicted));
        assert_eq!((messages.len(), &messages[0]["error"]["data"]["reason"]), (1, &json!("evicted")));
        assert_eq!(end, None);
        assert!(other_get.event().await.is_some());
        assert!(other_get.is_silent());
        assert_eq!(other.post(&request(1, "echo")).await.status, 200);
        fixture.until(|fixture| fixture.ended() == [(client.id(), TerminateReason::Evicted)]).await;
    });
}
