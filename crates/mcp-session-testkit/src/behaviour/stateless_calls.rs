//! Requests without a session: who leaves, whose id it is, how many there may be, and what is left of them.

use futures::FutureExt;
use http::StatusCode;
use mcp_session_core::{CancelReason, SendError, Sessions};
use serde_json::{Value, json};

use super::{
    fixture::{
        Client, Fixture, NEVER, Reply, SOON, Work, initialize, notification, reply, request, request_with,
    },
    stateless::{MODES, fixture},
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    e_30_a_client_that_leaves_cancels_its_request,
    e_30_a_handler_that_ignores_it_is_dropped,
    e_30_a_client_that_leaves_its_batch_cancels_all_of_it,
    a_07_equal_ids_of_different_clients,
    s_8_a_panic_answers_only_its_own_request,
    b_42_requests_without_a_session_are_bounded,
    b_42_one_principal_takes_not_every_place,
    b_42_all_of_a_batch_without_a_session_or_nothing,
    e_27_nothing_is_left_of_requests_without_a_session,
    the_smallest_queue_without_a_session,
}

/// Where the client of a request is when it leaves.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    /// It waits for the head, in either form.
    BeforeTheHead,
    /// It waits for the head, and accepts only JSON.
    WaitingForJson,
    /// It reads the stream.
    OnTheStream,
    /// It has read nothing of the stream, on which events wait.
    WithUnreadEvents,
}

const LEAVES: [Leaves; 4] =
    [Leaves::BeforeTheHead, Leaves::WaitingForJson, Leaves::OnTheStream, Leaves::WithUnreadEvents];

impl Leaves {
    /// Starts a call and leaves it. Returns its handler.
    async fn after_it_began(self, fixture: &mut Fixture) -> Work {
        let accept = match self {
            Self::WaitingForJson => "application/json",
            _ => "application/json, text/event-stream",
        };
        let client = fixture.stranger().accepting(accept);
        let message = request_with(1, "work", json!({ "_meta": { "progressToken": 1 } }));
        match self {
            Self::BeforeTheHead | Self::WaitingForJson => {
                let mut post = Box::pin(client.post(&message));
                assert!(post.as_mut().now_or_never().is_none());
                let work = fixture.work().await;
                assert_eq!(work.cx.cancel_reason(), None, "it has not left yet");
                drop(post);
                work
            }
            Self::OnTheStream | Self::WithUnreadEvents => {
                let running = client.start(&message);
                let work = fixture.work().await;
                work.cx.progress(1.0, None, None).await.unwrap();
                let mut stream = running.head().await;
                assert!(stream.is_stream());
                if let Self::OnTheStream = self {
                    assert!(stream.message().await.is_some());
                }
                assert_eq!(work.cx.cancel_reason(), None);
                drop(stream);
                work
            }
        }
    }
}

/// E-30: nobody can ask for the answer again, so a client that leaves cancels its request, wherever it waits: the
/// handler sees why, sends nothing more, and its answer does not count.
fn e_30_a_client_that_leaves_cancels_its_request(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            for (n, leaves) in LEAVES.into_iter().enumerate() {
                let work = leaves.after_it_began(&mut fixture).await;
                assert_eq!(work.cx.cancelled().await, CancelReason::Disconnected, "{leaves:?}");
                let stats = fixture.endpoint.stats();
                assert_eq!((stats.exchanges, stats.streams), (0, 0), "{leaves:?}");
                assert_eq!((stats.exchanges_cancelled, stats.exchanges_orphaned), (n as u64 + 1, 0));
                let late = work.cx.notify("notifications/message", None::<&()>).await;
                assert_eq!(late, Err(SendError::Closed), "{leaves:?}");
                assert_eq!(work.cx.progress(2.0, None, None).await, Err(SendError::Closed), "{leaves:?}");
                work.finish(json!({ "late": true }));
            }
            let report = fixture.endpoint.shutdown(Default::default()).await;
            assert!(report.is_clean() && report.exchanges.total == 0, "{report}");
            let stats = fixture.endpoint.stats();
            assert_eq!((stats.exchanges_cancelled, stats.exchanges_answered), (LEAVES.len() as u64, 0));
        });
    }
}

/// E-30, F-33: a handler that ignores that its client has left is dropped after the grace period.
fn e_30_a_handler_that_ignores_it_is_dropped(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            config.session.cancel_grace = SOON;
            config.max_stateless_requests = 1;
        });
        bed.block_on(async {
            for leaves in LEAVES {
                let begin = fixture.runtime.now();
                let work = leaves.after_it_began(&mut fixture).await;
                fixture.until(|_| work.is_dropped()).await;
                assert!(fixture.runtime.now() >= begin + SOON, "{leaves:?}");
                // Its place is free once the handler is gone.
                while fixture.stranger().post(&request(1, "echo")).await.status != StatusCode::OK {
                    fixture.elapse(SOON / 8).await;
                }
            }
        });
    }
}

/// E-30, D-12: a client that leaves its batch cancels all of it, whether it waits for JSON or reads the stream.
fn e_30_a_client_that_leaves_its_batch_cancels_all_of_it(bed: &impl TestBed) {
    for (sessions, as_json) in MODES.into_iter().flat_map(|sessions| [(sessions, false), (sessions, true)]) {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let batch = json!([request(1, "work"), request(2, "work"), request(3, "echo")]);
            let works = if as_json {
                let client = fixture.stranger().accepting("application/json");
                let mut post = Box::pin(client.post(&batch));
                assert!(post.as_mut().now_or_never().is_none());
                [fixture.work().await, fixture.work().await]
            } else {
                let client = fixture.stranger().accepting("text/event-stream");
                let mut stream = client.start(&batch).head().await;
                assert_eq!(stream.message().await.unwrap(), reply(3, json!({})));
                [fixture.work().await, fixture.work().await]
            };
            for work in &works {
                assert_eq!(work.cx.cancelled().await, CancelReason::Disconnected, "{as_json}");
            }
            let stats = fixture.endpoint.stats();
            assert_eq!((stats.exchanges, stats.streams), (0, 0));
            works.into_iter().for_each(|work| work.finish(json!({})));
        });
    }
}

/// clients without a session choose their ids without knowing of each other. Equal ids do not collide: each gets
/// its own messages and its own answer.
fn a_07_equal_ids_of_different_clients(bed: &impl TestBed) {
    const CLIENTS: usize = 20;
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let message = request_with(1, "work", json!({ "_meta": { "progressToken": "t" } }));
            let mut running: Vec<(Reply, Work)> = Vec::new();
            for n in 0..CLIENTS {
                let started = fixture.stranger().start(&message);
                let work = fixture.work().await;
                work.cx.progress(n as f64 + 1.0, None, None).await.unwrap();
                running.push((started.head().await, work));
            }
            let in_session = match sessions {
                Sessions::Optional => Some(fixture.client().await),
                _ => None,
            };
            if let Some(client) = &in_session {
                assert_eq!(client.post(&request(1, "echo")).await.answer().await, reply(1, json!({})));
            }
            assert_eq!(fixture.endpoint.stats().exchanges, CLIENTS as u64);
            for (n, (stream, work)) in running.into_iter().enumerate().rev() {
                assert_eq!(work.cx.cancel_reason(), None);
                work.finish(json!({ "n": n }));
                let messages = stream.messages().await;
                assert_eq!(messages.len(), 2, "{messages:?}");
                assert_eq!(messages[0]["params"]["progress"].as_f64(), Some(n as f64 + 1.0));
                assert_eq!(messages[1], reply(1, json!({ "n": n })));
            }
        });
    }
}

/// S8: a handler that panics, at its first poll or later, is answered with -32603. Other requests are not affected.
fn s_8_a_panic_answers_only_its_own_request(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = fixture(bed, sessions);
        bed.block_on(async {
            let running = fixture.stranger().start(&request(1, "work"));
            let work = fixture.work().await;
            for accept in ["application/json", "text/event-stream"] {
                let failed = fixture.stranger().accepting(accept).post(&request(1, "panic")).await;
                let answer = failed.answer().await;
                assert_eq!(
                    (&answer["id"], &answer["error"]["code"]),
                    (&json!(1), &json!(-32603)),
                    "{accept}"
                );
            }
            assert_eq!(work.cx.cancel_reason(), None);
            work.finish(json!({}));
            assert_eq!(running.head().await.json().await, reply(1, json!({})));
            assert_eq!(fixture.endpoint.stats().exchanges, 0);
        });
    }
}

/// Asserts that a request is refused because there are too many.
async fn is_refused(client: &Client, message: &Value) {
    let refused = client.post(message).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"), "{message}");
    let error = refused.json().await;
    assert_eq!(error["id"], message["id"]);
    assert_eq!(error["error"]["data"], json!({ "reason": "overload", "retryable": true }));
}

/// B-42, E-26: requests without a session are bounded. Those beyond it get 503 and `Retry-After`; a place is free again
/// after the answer, and after a client that left. What has a session, and what needs no handler, is not affected.
fn b_42_requests_without_a_session_are_bounded(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            config.max_stateless_requests = 2;
        });
        bed.block_on(async {
            let stranger = fixture.stranger();
            let first = stranger.start(&request(1, "work"));
            let first_work = fixture.work().await;
            let second = stranger.start(&request(2, "work"));
            let second_work = fixture.work().await;
            second_work.cx.notify("notifications/message", None::<&()>).await.unwrap();
            let second = second.head().await;
            for id in 3..6 {
                is_refused(&stranger, &request(id, "work")).await;
            }
            if sessions == Sessions::Stateless {
                is_refused(&stranger, &initialize("2025-11-25", "client")).await;
            } else {
                let client = fixture.client().await;
                assert_eq!(client.post(&request(1, "echo")).await.status, StatusCode::OK);
            }
            assert_eq!(stranger.post(&request(3, "ping")).await.status, StatusCode::OK);
            assert_eq!(stranger.post(&notification("x")).await.status, StatusCode::ACCEPTED);

            first_work.finish(json!({}));
            assert_eq!(first.head().await.json().await, reply(1, json!({})));
            assert_eq!(stranger.post(&request(3, "echo")).await.status, StatusCode::OK);
            let third = stranger.start(&request(3, "work"));
            let third_work = fixture.work().await;
            is_refused(&stranger, &request(4, "work")).await;
            // A client that has left counts until its handler has noticed.
            drop(second);
            second_work.cx.cancelled().await;
            is_refused(&stranger, &request(4, "work")).await;
            second_work.finish(json!({}));
            while stranger.post(&request(4, "echo")).await.status != StatusCode::OK {
                fixture.elapse(SOON / 8).await;
            }
            third_work.finish(json!({}));
            assert_eq!(third.head().await.json().await, reply(3, json!({})));
            // A stream counts until it has been read.
            let mut streams = Vec::new();
            for id in 1..=2 {
                let running = stranger.start(&request(id, "work"));
                let work = fixture.work().await;
                work.cx.notify("notifications/message", None::<&()>).await.unwrap();
                streams.push(running.head().await);
                work.finish(json!({}));
            }
            fixture.until(|fixture| fixture.endpoint.stats().exchanges == 0).await;
            is_refused(&stranger, &request(4, "echo")).await;
            assert_eq!(streams.pop().unwrap().messages().await.len(), 2);
            assert_eq!(stranger.post(&request(4, "echo")).await.status, StatusCode::OK);
        });
    }
}

/// B-42, E-15: of the requests without a session, of both eras, one principal has a share: at its end it gets 503, and
/// everybody else is served. Requests of nobody have the whole.
fn b_42_one_principal_takes_not_every_place(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            (config.max_stateless_requests, config.max_stateless_requests_per_principal) = (5, 2);
        });
        bed.block_on(async {
            let [alice, bob, nobody] =
                [Some("alice"), Some("bob"), None].map(|name| fixture.stranger().known_as(name));
            let modern = fixture.modern().known_as(Some("alice"));
            let mut running = Vec::new();
            for id in 1..=2 {
                running.push((alice.start(&request(id, "work")), fixture.work().await));
            }
            for id in 3..6 {
                is_refused(&alice, &request(id, "work")).await;
            }
            let refused = modern.post(&modern.call(6, "echo")).await;
            assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
            if sessions == Sessions::Stateless {
                is_refused(&alice, &initialize("2025-11-25", "client")).await;
            }
            // What needs no place is served, and so are others; a batch takes as many places as it has requests, or none.
            assert_eq!(alice.post(&request(3, "ping")).await.status, StatusCode::OK);
            for client in [&bob, &nobody] {
                assert_eq!(client.post(&request(3, "echo")).await.status, StatusCode::OK);
            }
            let three = json!([request(1, "echo"), request(2, "echo"), request(3, "echo")]);
            assert_eq!(bob.post(&three).await.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(nobody.post(&three).await.status, StatusCode::OK);
            // The places of all are fewer than the shares of all.
            for client in [&bob, &bob, &nobody] {
                running.push((client.start(&request(3, "work")), fixture.work().await));
            }
            for client in [&bob, &nobody, &fixture.stranger().known_as(Some("carol"))] {
                is_refused(client, &request(4, "work")).await;
            }
            // Each gets back what it had, by an answer and by leaving, and no more.
            let (first, work) = running.remove(0);
            work.finish(json!({}));
            assert_eq!(first.head().await.json().await, reply(1, json!({})));
            assert!(modern.post(&modern.call(6, "echo")).await.answer().await["result"].is_object());
            let (second, work) = running.remove(0);
            work.cx.notify("notifications/message", None::<&()>).await.unwrap();
            drop(second.head().await);
            work.cx.cancelled().await;
            work.finish(json!({}));
            let two = json!([request(1, "echo"), request(2, "echo")]);
            while alice.post(&two).await.status != StatusCode::OK {
                fixture.elapse(SOON / 8).await;
            }
            is_refused(&bob, &request(4, "work")).await;
            assert_eq!(alice.post(&three).await.status, StatusCode::SERVICE_UNAVAILABLE);
            for (client, work) in running {
                work.finish(json!({}));
                assert_eq!(client.head().await.status, StatusCode::OK);
            }
            fixture.until(|fixture| fixture.endpoint.stats().exchanges == 0).await;
        });
    }
}

/// A-21, B-42: a batch for which there is no room is refused as a whole, and takes no place.
fn b_42_all_of_a_batch_without_a_session_or_nothing(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            config.max_stateless_requests = 3;
        });
        bed.block_on(async {
            let stranger = fixture.stranger();
            let running = stranger.start(&request(1, "work"));
            let work = fixture.work().await;
            assert_eq!(fixture.endpoint.stats().exchanges, 1, "it is counted at its admission (S15)");
            let before = fixture.endpoint.stats();
            for _ in 0..5 {
                let batch = json!([request(1, "work"), request(2, "work"), request(3, "work")]);
                let refused = stranger.post(&batch).await;
                assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
            }
            let after = fixture.endpoint.stats();
            assert_eq!((after.exchanges, after.exchanges_admitted), (1, before.exchanges_admitted));
            assert_eq!(after.exchanges_answered + after.exchanges_cancelled, 0);
            let client = stranger.accepting("application/json");
            let both = client.post(&json!([request(1, "echo"), request(2, "echo")])).await;
            assert_eq!(both.json().await.as_array().map(Vec::len), Some(2));
            work.finish(json!({}));
            assert_eq!(running.head().await.json().await, reply(1, json!({})));
            let report = fixture.endpoint.shutdown(Default::default()).await;
            assert!(report.is_clean() && report.stateless == 0, "{report}");
        });
    }
}

/// E-27: after many requests of every kind, nothing of them is left: no session, no request, no stream and no place.
fn e_27_nothing_is_left_of_requests_without_a_session(bed: &impl TestBed) {
    const ROUNDS: u64 = 50;
    for sessions in MODES {
        let mut fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            config.max_stateless_requests = 2;
        });
        bed.block_on(async {
            let stranger = fixture.stranger();
            for _ in 0..ROUNDS {
                for (message, status) in [
                    (request(1, "echo"), 200),
                    (request(1, "ping"), 200),
                    (request(1, "panic"), 200),
                    (request(1, "no/such/method"), 200),
                    (request(1, "write"), 403), // by its handler
                    (json!([request(1, "echo"), request(2, "ping"), request(3, "panic")]), 200),
                    (notification("hang"), 202),
                    (json!({ "jsonrpc": "2.0", "id": 9 }), 400),
                ] {
                    let answered = stranger.post(&message).await;
                    assert_eq!(answered.status.as_u16(), status, "{message}");
                    let _ = answered.bytes().await;
                }
                if sessions == Sessions::Stateless {
                    for name in ["client", "refused"] {
                        assert_eq!(
                            stranger.post(&initialize("2025-11-25", name)).await.status,
                            StatusCode::OK
                        );
                    }
                }
                let running = stranger.start(&request(1, "work"));
                let work = fixture.work().await;
                work.cx.notify("notifications/message", None::<&()>).await.unwrap();
                work.finish(json!({}));
                assert_eq!(running.head().await.messages().await.len(), 2);
                for leaves in LEAVES {
                    let work = leaves.after_it_began(&mut fixture).await;
                    work.cx.cancelled().await;
                    work.finish(json!({}));
                    // Both places are free once its handler is gone.
                    let both = json!([request(1, "echo"), request(2, "echo")]);
                    while stranger.post(&both).await.status != StatusCode::OK {
                        fixture.elapse(SOON / 8).await;
                    }
                }
            }
            let stats = fixture.endpoint.stats();
            assert_eq!(
                (stats.sessions, stats.sessions_created, stats.exchanges, stats.streams),
                (0, 0, 0, 0)
            );
            assert_eq!(stats.exchanges_cancelled, LEAVES.len() as u64 * ROUNDS);
            assert_eq!(stats.exchanges_admitted, stats.exchanges_answered + stats.exchanges_cancelled);
            assert_eq!((stats.exchanges_forced, stats.streams_cut, fixture.hanging()), (0, 0, 0));
            // All places are free.
            let running = [stranger.start(&request(1, "work")), stranger.start(&request(2, "work"))];
            for work in [fixture.work().await, fixture.work().await] {
                work.finish(json!({}));
            }
            for running in running {
                assert_eq!(running.head().await.status, StatusCode::OK);
            }
            let report = fixture.endpoint.shutdown(Default::default()).await;
            assert!(report.is_clean() && report.took < NEVER, "{report}");
            assert_eq!((report.sessions, report.stateless, report.exchanges.total), (0, 0, 0));
        });
    }
}

/// D-14: with the smallest queue, a handler waits for its reader, and everything arrives in order.
fn the_smallest_queue_without_a_session(bed: &impl TestBed) {
    for sessions in MODES {
        let mut fixture = Fixture::new(bed, |config| {
            config.sessions = sessions;
            (config.max_stateless_requests, config.batch_limit) = (1, 1);
            (config.session.queue_events, config.session.queue_bytes) = (1, 1);
        });
        bed.block_on(async {
            let running = fixture.stranger().start(&request(1, "work"));
            let work = fixture.work().await;
            let sends = async {
                for n in 0..10 {
                    let params = json!({ "n": n });
                    work.cx.notify("notifications/x", Some(&params)).await.expect("there is space again");
                }
                work.finish(json!({}));
            };
            let (messages, ()) = futures::join!(async { running.head().await.messages().await }, sends);
            assert_eq!(messages.len(), 11, "{messages:?}");
            assert!((0..10).all(|n| messages[n]["params"]["n"] == n), "{messages:?}");
            assert_eq!(messages[10], reply(1, json!({})));
        });
    }
}
