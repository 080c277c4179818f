//! Requests without a session in a shutdown, promises S8 to S15: what goes wrong, and what is reported.

use bytes::Bytes;
use futures::{FutureExt, channel::mpsc};
use http::{Method, StatusCode};
use mcp_session_core::{
    CancelReason, Failure, RequestError, SendError, Sessions, ShutdownPhase, ShutdownPolicy, TerminateReason,
};
use serde_json::json;

use super::{
    fixture::{Fixture, NEVER, PATIENT, SOON, STRICT, SlowBody, initialize, reply, request},
    stateless::{MODES, fixture},
    stateless_drain::{begin, begin_stream, exchanges, streams},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    s_8_a_panic_during_a_shutdown,
    s_9_totals_with_and_without_sessions,
    s_10_tightened_and_escalated_without_sessions,
    s_11_an_unread_stream_without_a_session_delays_nobody,
    s_14_a_post_without_a_session_half_arrived,
    s_14_output_without_a_session_after_the_end,
    s_15_observable_without_sessions,
    e_30_a_client_that_leaves_during_a_shutdown,
    a_lame_duck_serves_requests_without_a_session,
    dropping_the_endpoint_cuts_requests_without_a_session,
}

/// S8: handlers that panic while the endpoint drains, when they are cancelled too, are answered, and affect nobody.
fn s_8_a_panic_during_a_shutdown(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (good, good_work) = begin(&mut fixture, &stranger, 1).await;
            let (bad, bad_work) = begin_stream(&mut fixture, &stranger, 1).await;
            let shutdown = fixture.endpoint.shutdown(PATIENT);
            good_work.cx.draining().await;
            bad_work.cx.draining().await;
            bad_work.panic();
            let messages = bad.messages().await;
            assert_eq!((messages.len(), &messages[0]["error"]["code"]), (1, &json!(-32603)));
            assert_eq!(good_work.cx.cancel_reason(), None);
            good_work.finish(json!({}));
            assert_eq!(good.head().await.json().await, reply(1, json!({})));
            let report = shutdown.await;
            assert_eq!((exchanges(&report), report.is_clean()), ([2, 2, 0, 0, 0], true), "{report}");
        });
    }
}

/// S9: the totals count what was live when draining began, whatever its outcome, with and without a session. The report
/// names what did not end cleanly.
fn s_9_totals_with_and_without_sessions(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            stranger.post(&request("before", "echo")).await.answer().await; // over: not in the report
            let (answered, work) = begin(&mut fixture, &stranger, 1).await;
            let (leaving, leaving_work) = begin_stream(&mut fixture, &stranger, 1).await;
            let (synthesized, hangs) = begin_stream(&mut fixture, &stranger, 1).await;
            let (_unread, unread_work) = begin_stream(&mut fixture, &stranger, 1).await;
            let in_session = match sessions {
                Sessions::Optional => {
                    let client = fixture.json_client().await;
                    Some(begin(&mut fixture, &client, 1).await)
                }
                _ => None,
            };
            let with = u64::from(in_session.is_some());
            let live =
                |fixture: &Fixture| (fixture.endpoint.stats().exchanges, fixture.endpoint.stats().sessions);
            fixture.until(|fixture| live(fixture) == (4 + with, with)).await;
            let policy = ShutdownPolicy { cancel: SOON, ..PATIENT };
            let shutdown = fixture.endpoint.shutdown(policy);
            for cx in [&work.cx, &leaving_work.cx, &hangs.cx, &unread_work.cx] {
                cx.draining().await; // it takes part
            }
            work.finish(json!({}));
            answered.head().await.answer().await;
            drop(leaving);
            assert_eq!(leaving_work.cx.cancelled().await, CancelReason::Disconnected);
            leaving_work.finish(json!({}));
            if let Some((running, work)) = in_session {
                work.cx.draining().await;
                work.finish(json!({}));
                running.head().await.answer().await;
            }
            shutdown.escalate();
            assert_eq!(synthesized.messages().await.len(), 1);
            shutdown.tighten(ShutdownPolicy { finish: SOON, ..policy }); // the others have been read
            let report = shutdown.await;
            assert_eq!((report.stateless, report.sessions), (4, with), "{report}");
            assert_eq!(exchanges(&report), [4 + with, 1 + with, 1, 1, 1], "{report}");
            assert_eq!(streams(&report), [3, 2, 1], "{report}");
            let failed: Vec<_> = report.failures.iter().map(|failure| failure.session.as_str()).collect();
            assert_eq!(failed, [Failure::STATELESS], "{report}");
            assert!(!report.is_clean());
            let rest = fixture.endpoint.stats();
            assert_eq!((rest.sessions, rest.exchanges, rest.streams), (0, 0, 0));
            assert_eq!((rest.exchanges_forced, rest.streams_cut), (1, 1));
        });
    }
}

/// S10: a later call can only tighten the deadlines, in a later phase too; a second signal ends the current phase.
fn s_10_tightened_and_escalated_without_sessions(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (running, work) = begin(&mut fixture, &stranger, 1).await;
            let first = fixture.endpoint.shutdown(ShutdownPolicy { lame_duck: NEVER, ..PATIENT });
            let second =
                fixture.endpoint.shutdown(ShutdownPolicy { drain: NEVER * 2, lame_duck: NEVER, ..PATIENT });
            assert_eq!(first.ceiling(), second.ceiling());
            second.escalate();
            fixture.until(|_| first.phase() == ShutdownPhase::Cancelling).await;
            assert_eq!(work.cx.cancelled().await, CancelReason::Terminated(TerminateReason::Shutdown));
            second.tighten(ShutdownPolicy { cancel: SOON, ..PATIENT });
            let answer = running.head().await.answer().await;
            assert_eq!(answer["error"]["code"], -32000);
            let (one, two) = futures::join!(first.wait(), second.wait());
            assert_eq!((&one, exchanges(&one)), (&two, [1, 0, 1, 0, 0]));
            assert!(one.took < NEVER, "{one}");
        });
    }
    // Tightened while it drains: the deadlines of what is already draining move.
    let mut fixture = fixture(bed, Sessions::Stateless);
    bed.block_on(async {
        let stranger = fixture.stranger();
        let (stream, work) = begin_stream(&mut fixture, &stranger, 1).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        assert_eq!(work.cx.cancel_reason(), None);
        let (report, messages) = futures::join!(fixture.endpoint.shutdown(STRICT).wait(), stream.messages());
        assert_eq!((messages.len(), &report), (1, &shutdown.await));
        assert_eq!((exchanges(&report), report.took < NEVER), ([1, 0, 1, 0, 0], true), "{report}");
    });
}

/// S11: a client that does not read its stream delays neither shutdown nor other clients.
fn s_11_an_unread_stream_without_a_session_delays_nobody(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            config.session.queue_events = 4;
        });
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (mut stalled, stalled_work) = begin_stream(&mut fixture, &stranger, 1).await;
            while stalled_work.cx.notify("notifications/x", None::<&()>).now_or_never().is_some() {}
            let (reply, work) = begin_stream(&mut fixture, &stranger, 2).await;
            let shutdown = fixture.endpoint.shutdown(PATIENT);
            work.cx.draining().await;
            stalled_work.cx.draining().await;
            stalled_work.finish(json!({}));
            work.finish(json!({}));
            assert_eq!(reply.messages().await.last().unwrap()["id"], 2);
            shutdown.tighten(ShutdownPolicy { finish: SOON, ..PATIENT }); // the other has been read
            let report = shutdown.await;
            assert_eq!(exchanges(&report), [2, 1, 0, 0, 1], "{report}");
            assert_eq!((streams(&report), report.failures.len()), ([2, 1, 1], 1), "{report}");
            // Its client sees that the stream was cut.
            let mut last = stalled.event().await;
            while let Some(Ok(_)) = last {
                last = stalled.event().await;
            }
            assert!(last.is_some_and(|event| event.is_err()));
        });
    }
}

/// S14: a POST whose body is incomplete when shutdown begins gets a definite answer: it is refused.
fn s_14_a_post_without_a_session_half_arrived(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (running, work) = begin(&mut fixture, &stranger, 0).await;
            let body = request(1, "echo").to_string();
            let mut halves = Vec::new();
            for _ in 0..2 {
                let (sender, receiver) = mpsc::unbounded();
                sender.unbounded_send(Bytes::copy_from_slice(&body.as_bytes()[..10])).unwrap();
                let http = stranger.request(Method::POST).body(SlowBody(receiver)).unwrap();
                let mut post = Box::pin(stranger.send(http));
                assert!(post.as_mut().now_or_never().is_none());
                halves.push((sender, post));
            }
            let shutdown = fixture.endpoint.shutdown(PATIENT);
            work.cx.draining().await;
            let (after, after_post) = halves.pop().unwrap();
            let (during, during_post) = halves.pop().unwrap();
            during.unbounded_send(Bytes::copy_from_slice(&body.as_bytes()[10..])).unwrap();
            drop(during);
            assert_eq!(during_post.await.status, StatusCode::SERVICE_UNAVAILABLE);
            work.finish(json!({}));
            running.head().await.answer().await;
            let report = shutdown.await;
            assert_eq!(exchanges(&report), [1, 1, 0, 0, 0], "{report}");
            after.unbounded_send(Bytes::copy_from_slice(&body.as_bytes()[10..])).unwrap();
            drop(after);
            assert_eq!(after_post.await.status, StatusCode::SERVICE_UNAVAILABLE);
        });
    }
}

/// S14: messages that a handler sends after the end are dropped and cause no failure.
fn s_14_output_without_a_session_after_the_end(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (reply, work) = begin_stream(&mut fixture, &stranger, 1).await;
            let cx = work.cx.clone();
            let shutdown = fixture.endpoint.shutdown(STRICT);
            let messages = reply.messages().await;
            assert_eq!((messages.len(), &messages[0]["error"]["code"]), (1, &json!(-32000)));
            let report = shutdown.await;
            work.finish(json!({ "late": true }));
            assert_eq!(cx.notify("notifications/late", None::<&()>).await, Err(SendError::Closed));
            assert_eq!(cx.progress(9.0, None, None).await, Err(SendError::Closed));
            let asked = cx.request("roots/list", None::<&()>, NEVER).await;
            assert_eq!(asked, Err(RequestError::NoSession));
            assert!(cx.cancel_reason().is_some() && cx.is_draining());
            assert_eq!(exchanges(&report), [1, 0, 1, 0, 0]);
            let stats = fixture.endpoint.stats();
            assert_eq!((stats.exchanges_admitted, stats.exchanges_answered), (1, 0));
        });
    }
}

/// S15: phase and counts are observable at any moment.
fn s_15_observable_without_sessions(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let counts = |fixture: &Fixture| {
                let stats = fixture.endpoint.stats();
                (stats.phase, stats.sessions, stats.exchanges, stats.streams)
            };
            let stranger = fixture.stranger();
            assert_eq!(counts(&fixture), (ShutdownPhase::Running, 0, 0, 0));
            let (running, silent) = begin(&mut fixture, &stranger, 1).await;
            fixture.until(|fixture| counts(fixture) == (ShutdownPhase::Running, 0, 1, 0)).await;
            let (reply, work) = begin_stream(&mut fixture, &stranger, 1).await;
            assert_eq!(counts(&fixture), (ShutdownPhase::Running, 0, 2, 1));
            assert!(fixture.endpoint.is_ready());
            let shutdown = fixture.endpoint.shutdown(PATIENT);
            assert!(!fixture.endpoint.is_ready());
            work.cx.draining().await;
            silent.cx.draining().await;
            assert_eq!(counts(&fixture), (ShutdownPhase::Draining, 0, 2, 1));
            silent.finish(json!({}));
            running.head().await.answer().await;
            assert_eq!(counts(&fixture), (ShutdownPhase::Draining, 0, 1, 1));
            work.finish(json!({}));
            fixture.until(|fixture| counts(fixture) == (ShutdownPhase::Finishing, 0, 0, 1)).await;
            reply.messages().await;
            shutdown.await;
            assert_eq!(counts(&fixture), (ShutdownPhase::Closed, 0, 0, 0));
        });
    }
}

/// E-30: a client that leaves while the endpoint drains ends the wait for its request, even if the handler hangs.
fn e_30_a_client_that_leaves_during_a_shutdown(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (stream, work) = begin_stream(&mut fixture, &stranger, 1).await;
            let message = request(1, "work");
            let mut waits = Box::pin(stranger.post(&message));
            assert!(waits.as_mut().now_or_never().is_none());
            let json_work = fixture.work().await;
            let shutdown = fixture.endpoint.shutdown(PATIENT);
            work.cx.draining().await;
            json_work.cx.draining().await;
            drop((stream, waits));
            let report = shutdown.await;
            for work in [&work, &json_work] {
                assert_eq!(work.cx.cancelled().await, CancelReason::Disconnected);
            }
            assert!(report.took < NEVER && report.is_clean(), "{report}");
            assert_eq!((exchanges(&report), streams(&report)), ([2, 0, 0, 2, 0], [1, 1, 0]));
        });
    }
}

/// `LameDuck`: not ready, but everything is still served, with `Connection: close`.
fn a_lame_duck_serves_requests_without_a_session(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            assert_eq!(stranger.post(&request(0, "echo")).await.header("connection"), "");
            let shutdown = fixture.endpoint.shutdown(ShutdownPolicy { lame_duck: NEVER, ..PATIENT });
            assert!(!fixture.endpoint.is_ready());
            for message in [request(1, "echo"), request(2, "ping"), initialize("2025-11-25", "client")] {
                let served = stranger.post(&message).await;
                assert_eq!(
                    (served.status.as_u16(), served.header("connection")),
                    (200, "close"),
                    "{message}"
                );
            }
            let (running, work) = begin(&mut fixture, &stranger, 3).await;
            assert!(!work.cx.is_draining());
            shutdown.tighten(PATIENT); // ends the lame-duck phase
            work.cx.draining().await;
            work.finish(json!({}));
            assert_eq!(running.head().await.json().await, reply(3, json!({})));
            let report = shutdown.await;
            assert!(report.is_clean() && report.stateless == 1, "{report}");
        });
    }
}

/// When the last handle of the endpoint is dropped, streams without a session are cut.
fn dropping_the_endpoint_cuts_requests_without_a_session(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let stranger = fixture.stranger();
            let (mut stream, work) = begin_stream(&mut fixture, &stranger, 1).await;
            let Fixture { endpoint, runtime, .. } = fixture;
            drop((stranger, endpoint));
            let mut last = stream.event().await;
            while let Some(Ok(_)) = last {
                last = stream.event().await;
            }
            assert!(last.is_some_and(|event| event.is_err()), "it is cut");
            assert!(work.cx.cancel_reason().is_some());
            drop(runtime);
        });
    }
}
