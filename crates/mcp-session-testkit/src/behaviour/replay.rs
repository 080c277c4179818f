//! Connections that break, and clients that resume with `Last-Event-ID`.

use std::time::Duration;

use fastrand::Rng;
use futures::FutureExt;
use http::StatusCode;
use mcp_session_core::{Buffered, ReplayConfig, ShutdownPhase, ShutdownPolicy};
use serde_json::{Value, json};

use super::fixture::{Client, Fixture, NEVER, PATIENT, Reply, SOON, Work, initialize, notification, request};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    d_30_a_cut_call_goes_on_where_its_client_was,
    d_33_an_answer_waits_for_its_client,
    d_34_the_seam_from_replay_to_live,
    d_12_a_call_outlives_its_connection,
    d_08_d_09_priming_goes_by_the_negotiated_version,
    d_35_without_replay_nothing_is_pretended,
    d_23_a_newer_connection_takes_over,
    d_24_notifications_wait_for_a_connection,
    d_36_what_is_held_for_clients_is_told,
    d_36_what_is_forgotten_is_refused,
    d_36_what_is_forgotten_makes_room,
    d_31_d_37_foreign_and_forged_ids_get_nothing,
    e_25_delete_ends_every_stream,
    d_06_a_client_that_is_sent_away_comes_back,
    s_6_a_shutdown_sends_no_retry,
    s_5_a_client_that_was_sent_away_is_waited_for,
    s_4_a_client_that_came_back_and_left_is_not_waited_for,
    f_26_a_request_waits_for_its_client,
}

/// A call whose client has its priming event.
async fn begin(fixture: &mut Fixture, client: &Client, id: impl Into<Value>) -> (Reply, Work) {
    let started = client.start(&request(id, "work"));
    let work = fixture.work().await;
    let mut reply = started.head().await;
    reply.opened().await;
    (reply, work)
}

/// Makes the handler send some numbered notes.
async fn send(work: &Work, notes: impl IntoIterator<Item = u64>) {
    for n in notes {
        work.cx.notify("notifications/n", Some(&json!({ "n": n }))).await.unwrap();
    }
}

/// Returns the notes of these messages, and whether the last message is the answer to this request.
fn heard(messages: &[Value], id: impl Into<Value>) -> (Vec<u64>, bool) {
    let id = id.into();
    let notes = messages.iter().filter_map(|message| message["params"]["n"].as_u64()).collect();
    let answers: Vec<_> = messages.iter().map(|message| message.get("id") == Some(&id)).collect();
    assert!(answers.iter().filter(|answer| **answer).count() <= 1, "one answer: {messages:?}");
    (notes, answers.last() == Some(&true))
}

/// Breaks the connection. Returns the last event id that the client has seen.
fn cut(reply: Reply) -> String {
    let last = reply.last_event_id().expect("it has seen an id").to_owned();
    drop(reply);
    last
}

/// D-30, D-21: a client that lost its connection gets the events it missed, in order, but none that it has
/// acknowledged.
fn d_30_a_cut_call_goes_on_where_its_client_was(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (mut reply, work) = begin(&mut fixture, &client, 1).await;
        send(&work, 0..5).await;
        for n in 0..3 {
            assert_eq!(reply.message().await.unwrap()["params"]["n"], n);
        }
        let last = cut(reply);
        send(&work, 5..8).await;
        let resumed = client.resume(&last).await;
        assert_eq!((resumed.status, resumed.is_stream()), (StatusCode::OK, true));
        work.finish(json!({ "ok": true }));
        assert_eq!(heard(&resumed.messages().await, 1), ((3..8).collect(), true));
    });
}

/// D-33, D-32: the answer to a call that ended while its client was away is kept, and can be fetched repeatedly, with
/// the same ids and bytes each time. Once the answer is acknowledged, only the end is left.
fn d_33_an_answer_waits_for_its_client(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (reply, work) = begin(&mut fixture, &client, 1).await;
        let last = cut(reply);
        send(&work, 0..2).await;
        work.finish(json!({ "ok": true }));
        fixture.until(|fixture| fixture.endpoint.stats().exchanges == 0).await;
        let mut seen = Vec::new();
        for _ in 0..3 {
            let mut resumed = client.resume(&last).await;
            let mut events = Vec::new();
            while let Some(event) = resumed.event().await {
                events.push(event.unwrap());
            }
            assert_eq!(events.len(), 3);
            seen.push(events);
        }
        assert!(seen[0] == seen[1] && seen[1] == seen[2], "D-32: {seen:?}");
        let mut whole = client.resume(&last).await;
        while whole.message().await.is_some() {}
        let mut nothing = client.resume(&cut(whole)).await;
        assert_eq!((nothing.status, nothing.is_stream()), (StatusCode::OK, true));
        assert!(nothing.event().await.is_none());
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.exchanges_answered, stats.streams), (2, 0)); // `initialize` and the call, once
    });
}

/// D-34, D-32: the connection is cut again and again, at any point, while the handler sends as fast as it can. No
/// event is lost or repeated, and the order is kept.
fn d_34_the_seam_from_replay_to_live(bed: &impl TestBed) {
    const NOTES: u64 = 200;
    let mut fixture = Fixture::new(bed, |config| config.session.queue_events = 4);
    bed.block_on(async {
        let client = fixture.client().await;
        let (mut reply, work) = begin(&mut fixture, &client, 1).await;
        let handler = async {
            for n in 0..NOTES {
                send(&work, [n]).await;
                if n % 3 == 0 {
                    fixture.elapse(Duration::from_millis(1)).await;
                }
            }
            work.finish(json!({}));
        };
        let reader = async {
            let (mut all, mut since) = (Vec::new(), 0);
            while let Some(message) = reply.message().await {
                all.push(message);
                since += 1;
                // After 1, 2, ... 7, 1, ... messages. Some messages in transit are lost with the connection.
                if since > all.len() % 7 {
                    since = 0;
                    let last = reply.last_event_id().unwrap().to_owned();
                    drop(reply.message().now_or_never());
                    drop(reply);
                    reply = client.resume(&last).await;
                    assert_eq!(reply.status, StatusCode::OK);
                }
            }
            all
        };
        let ((), all) = futures::join!(handler, reader);
        assert_eq!(heard(&all, 1), ((0..NOTES).collect(), true));
    });
}

/// D-12: a lost connection is no cancellation, whenever it is lost: the handler continues, and its answer counts.
fn d_12_a_call_outlives_its_connection(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (reply, work) = begin(&mut fixture, &client, 1).await;
        let last = cut(reply);
        for _ in 0..3 {
            drop(client.resume(&last).await); // also a resumed connection
        }
        assert_eq!(work.cx.cancel_reason(), None);
        send(&work, 0..2).await;
        assert!(!work.is_dropped());
        work.finish(json!({ "still": "here" }));
        let messages = client.resume(&last).await.messages().await;
        assert_eq!(messages.last().unwrap()["result"]["still"], "here");
        assert_eq!(fixture.endpoint.stats().exchanges_cancelled, 0);
    });
}

/// D-08, D-09, D-10: only sessions that negotiated 2025-11-25 get priming events, whatever the header says; all
/// sessions get ids.
fn d_08_d_09_priming_goes_by_the_negotiated_version(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for (version, header, primed) in [
            ("2025-11-25", "2025-03-26", true),
            ("2025-11-25", "2025-11-25", true),
            ("2025-06-18", "2025-11-25", false),
            ("2025-03-26", "2025-03-26", false),
        ] {
            let client = fixture.client_of(version).await;
            let http = client.request(http::Method::POST).header("mcp-protocol-version", header);
            let sent = client.send(http.body(request(1, "work").to_string()).unwrap());
            let handler = async {
                let work = fixture.work().await;
                send(&work, [7]).await;
                work
            };
            let (mut reply, work) = futures::join!(sent, handler);
            if primed {
                // D-44: without `retry`, because no end is announced
                assert_eq!(reply.event().await.unwrap().unwrap(), "id: 1-0\ndata: \n\n");
            }
            let event = reply.event().await.unwrap().unwrap();
            assert!(event.starts_with(b"id: 1-1\nevent: message\ndata: {"), "{version}: {event:?}");
            drop(reply);
            work.finish(json!({}));
            assert_eq!(heard(&client.resume("1-1").await.messages().await, 1), (vec![], true));
        }
    });
}

/// D-35: without replay, events have no ids, there is no priming event, and `Last-Event-ID` is ignored.
fn d_35_without_replay_nothing_is_pretended(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.replay = None);
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        send(&work, [0]).await;
        let mut reply = running.head().await;
        assert!(reply.event().await.unwrap().unwrap().starts_with(b"event: message\ndata: {"));
        assert!(!work.cx.close_stream(SOON));
        drop(reply);
        send(&work, [1]).await; // dropped
        work.finish(json!({}));
        let mut get = client.resume("1-0").await;
        assert_eq!(get.status, StatusCode::OK);
        assert_eq!(get.event().await.unwrap().unwrap(), ":\n\n");
        client.session().notify("notifications/x", None::<&()>).await.unwrap();
        assert!(get.event().await.unwrap().unwrap().starts_with(b"event: message\ndata: {"));
        assert!(get.is_silent());
    });
}

/// D-21, D-23: a client that reconnects while the server still believes in its old connection takes its stream over.
/// The older connection ends, and all further events go to the newer one only.
fn d_23_a_newer_connection_takes_over(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (mut older, work) = begin(&mut fixture, &client, 1).await;
        let mut newer = client.resume("1-0").await;
        newer.opened().await;
        assert!(older.event().await.is_none());
        drop(older);
        send(&work, [0]).await;
        assert_eq!(newer.message().await.unwrap()["params"]["n"], 0);

        let mut get = client.get().await;
        get.opened().await;
        let id = get.last_event_id().unwrap().to_owned();
        let mut newer_get = client.resume(&id).await;
        newer_get.opened().await;
        assert!(get.event().await.is_none());
        client.session().notify("notifications/x", None::<&()>).await.unwrap();
        assert_eq!(newer_get.message().await.unwrap()["method"], "notifications/x");
        assert!(newer.is_silent()); // D-17
        work.finish(json!({}));
        assert_eq!(newer.message().await.unwrap()["id"], 1);
        assert!(newer_get.is_silent()); // D-18
    });
}

/// D-24: standalone messages wait for the next GET, and are sent once, also over a plain GET after a cut.
fn d_24_notifications_wait_for_a_connection(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let session = client.session();
        let tell = |n: u64| session.try_notify("notifications/n", Some(&json!({ "n": n }))).unwrap();
        tell(0);
        let mut get = client.get().await;
        assert_eq!(get.message().await.unwrap()["params"]["n"], 0);
        tell(1);
        assert_eq!(get.message().await.unwrap()["params"]["n"], 1);
        drop(get);
        tell(2);
        let mut get = client.get().await;
        assert_eq!(get.message().await.unwrap()["params"]["n"], 2);
        let last = cut(get);
        tell(3);
        let mut get = client.resume(&last).await;
        assert_eq!(get.message().await.unwrap()["params"]["n"], 3);
        tell(4);
        assert_eq!(get.message().await.unwrap()["params"]["n"], 4);
        assert!(get.is_silent());
        drop(get);
        let told = fixture.endpoint.manager().broadcast("notifications/n", Some(&json!({ "n": 5 }))).unwrap();
        assert_eq!((told.taken, told.unheard), (1, 0));
        assert_eq!(client.get().await.message().await.unwrap()["params"]["n"], 5);
    });
}

/// D-36: how much waits for clients, and how much is kept for those that come back, can be seen.
fn d_36_what_is_held_for_clients_is_told(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let manager = fixture.endpoint.manager();
        assert_eq!(manager.buffered(), Buffered::default());
        let client = fixture.client().await;
        let (mut reply, work) = begin(&mut fixture, &client, 1).await;
        send(&work, 0..5).await;
        let unread = manager.buffered();
        assert!(unread.queue_bytes > 0, "{unread:?}");
        for _ in 0..5 {
            reply.message().await.expect("a note");
        }
        let read = manager.buffered();
        assert_eq!(read.queue_bytes, 0, "{read:?}");
        assert!(read.replay_events >= 5 && read.replay_bytes >= unread.queue_bytes, "{read:?}");
        work.finish(json!({}));
        reply.messages().await;
        assert_eq!(client.delete().await.status, StatusCode::NO_CONTENT);
        fixture.until(|fixture| fixture.endpoint.manager().buffered() == Buffered::default()).await;
    });
}

/// D-36, D-37: resuming from events that were dropped, by number, size or age, is refused: a gap is never skipped.
/// All events are dropped with the session.
fn d_36_what_is_forgotten_is_refused(bed: &impl TestBed) {
    let limits: [fn(&mut ReplayConfig); 3] =
        [|replay| replay.events = 3, |replay| replay.bytes = 200, |replay| replay.age = SOON];
    for limit in limits {
        let mut fixture = Fixture::new(bed, |config| limit(config.session.replay.as_mut().unwrap()));
        bed.block_on(async {
            let client = fixture.client().await;
            let (reply, work) = begin(&mut fixture, &client, 1).await;
            let last = cut(reply);
            send(&work, 0..10).await; // sending does not wait for a client that is away
            fixture.elapse(SOON * 2).await;
            work.finish(json!({}));
            let refused = client.resume(&last).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST);
            assert_eq!(refused.json().await["error"]["code"], -32600);
            assert_eq!(client.post(&request(2, "echo")).await.status, StatusCode::OK); // the session lives
        });
    }
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (reply, work) = begin(&mut fixture, &client, 1).await;
        let last = cut(reply);
        work.finish(json!({}));
        assert_eq!(client.resume(&last).await.status, StatusCode::OK);
        client.delete().await;
        assert_eq!(client.resume(&last).await.status, StatusCode::NOT_FOUND); // F-34
    });
}

/// D-36: what is forgotten makes room: later events are kept up to the same limit of bytes.
fn d_36_what_is_forgotten_makes_room(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| {
        config.session.replay = config.session.replay.take().map(|mut replay| {
            replay.bytes = 2_000;
            replay
        });
    });
    bed.block_on(async {
        let client = fixture.client().await;
        for call in 1..4 {
            let (reply, work) = begin(&mut fixture, &client, call).await;
            let last = cut(reply);
            send(&work, 0..5).await;
            let (forgotten, forgetful) = begin(&mut fixture, &client, call + 10).await;
            let first = cut(forgotten);
            work.finish(json!({}));
            let messages = client.resume(&last).await.messages().await;
            assert_eq!(heard(&messages, call), ((0..5).collect(), true));
            send(&forgetful, 0..100).await;
            // The latest ones are there at any moment, also after they were sent again.
            let (stream, _) = first.split_once('-').expect("a stream and a position");
            for n in 100..120 {
                send(&forgetful, n..=n).await;
                let again = client.resume(&format!("{stream}-{}", n - 8)).await;
                assert_eq!(again.status, StatusCode::OK, "{n}");
            }
            forgetful.finish(json!({}));
            assert_eq!(client.resume(&first).await.status, StatusCode::BAD_REQUEST);
        }
    });
}

/// D-31, D-37: a foreign, guessed or malformed event id gets 400 and no event, 1,000 times. It never gets 404, which
/// would make the client drop its session.
fn d_31_d_37_foreign_and_forged_ids_get_nothing(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (client, stranger) = (fixture.client().await, fixture.client().await);
        let (mut ids, mut replies) = (Vec::new(), Vec::new());
        for call in 0..20 {
            let (mut reply, work) = begin(&mut fixture, &client, call).await;
            send(&work, 0..3).await;
            for _ in 0..3 {
                reply.message().await.unwrap();
                ids.push(reply.last_event_id().unwrap().to_owned());
            }
            work.finish(json!({ "secret": true }));
            replies.push(reply.messages().await);
        }
        let (mut mine, mine_work) = begin(&mut fixture, &stranger, "mine").await;
        let mine_id = mine.last_event_id().unwrap().to_owned();
        let mut random = Rng::with_seed(1);
        let mut next = || random.u64(..1 << 31);
        let mut tried = 0;
        while tried < 1_000 {
            let id = match next() % 4 {
                0 => ids[next() as usize % ids.len()].clone(),
                1 => format!("{}-{}", next() % 30, next() % 10),
                2 => format!("{}-{}", next(), u64::MAX - next() % 3),
                _ => format!("{:x}", next()),
            };
            if id == mine_id {
                continue;
            }
            tried += 1;
            let refused = stranger.resume(&id).await;
            assert_eq!((refused.status, refused.is_stream()), (StatusCode::BAD_REQUEST, false), "{id}");
            assert!(refused.json().await["error"]["message"].is_string());
        }
        // None of it has had an effect.
        send(&mine_work, [7]).await;
        assert_eq!(mine.message().await.unwrap()["params"]["n"], 7);
        mine_work.finish(json!({}));
        assert_eq!(mine.answer().await["id"], "mine");
        assert_eq!(client.resume(&ids[0]).await.messages().await.len(), 3);
    });
}

/// E-25, F-29, F-34: DELETE ends every stream cleanly, on every connection: POST streams, the GET stream, a resumed
/// one, and one whose client is away. Before that each call gets its one answer. Afterwards all requests get 404.
fn e_25_delete_ends_every_stream(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.terminate.cancel = SOON);
    bed.block_on(async {
        let client = fixture.client().await;
        let mut get = client.get().await;
        get.opened().await;
        let (post, _hangs) = begin(&mut fixture, &client, 1).await;
        let (reply, _hangs_too) = begin(&mut fixture, &client, 2).await;
        let mut resumed = client.resume(&cut(reply)).await;
        resumed.opened().await;
        let (reply, work) = begin(&mut fixture, &client, 3).await;
        let away = cut(reply);
        work.finish(json!({}));
        assert_eq!(client.delete().await.status, StatusCode::NO_CONTENT);
        let (get, post, resumed) = futures::join!(get.messages(), post.messages(), resumed.messages());
        assert_eq!(get, [] as [Value; 0]);
        for (messages, id) in [(post, 1), (resumed, 2)] {
            assert_eq!((messages.len(), &messages[0]["id"]), (1, &json!(id)));
            assert_eq!(messages[0]["error"]["data"]["reason"], "client_delete");
        }
        fixture.until(|fixture| fixture.endpoint.stats().streams == 0).await;
        assert_eq!(fixture.endpoint.stats().streams_cut, 0);
        for reply in [client.resume(&away).await, client.get().await, client.delete().await] {
            assert_eq!(reply.status, StatusCode::NOT_FOUND);
        }
        assert_eq!(client.post(&notification("notifications/x")).await.status, StatusCode::NOT_FOUND);
    });
}

/// D-06, D-07, SEP-1699: a handler sends its client away with `retry`. Messages sent meanwhile are kept, and so is
/// the answer.
fn d_06_a_client_that_is_sent_away_comes_back(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (mut reply, work) = begin(&mut fixture, &client, 1).await;
        send(&work, [0]).await;
        assert_eq!(reply.message().await.unwrap()["params"]["n"], 0);
        assert_eq!(reply.retry(), None); // D-44: before an end is announced
        assert!(work.cx.close_stream(Duration::from_millis(250)));
        send(&work, [1]).await;
        assert_eq!(reply.message().await, None);
        assert_eq!(reply.retry(), Some(Duration::from_millis(250)));
        let last = cut(reply);
        assert_eq!(work.cx.cancel_reason(), None);
        let mut again = client.resume(&last).await;
        assert_eq!(again.message().await.unwrap()["params"]["n"], 1);
        assert!(work.cx.close_stream(Duration::ZERO)); // it may do so repeatedly
        assert_eq!(again.message().await, None);
        let last = cut(again);
        work.finish(json!({ "ok": true }));
        fixture.until(|fixture| fixture.endpoint.stats().exchanges == 0).await;
        let messages = client.resume(&last).await.messages().await;
        assert_eq!(heard(&messages, 1), (vec![], true));
        // D-05: clients of older versions are not sent away.
        let older = fixture.json_client().await;
        let running = older.start(&request(1, "work"));
        let work = fixture.work().await;
        assert!(!work.cx.close_stream(SOON));
        work.finish(json!({}));
        assert!(!running.head().await.is_stream());
    });
}

/// S6, F-29: kept events are lost with this endpoint. So its shutdown ends streams without `retry`, and sends no
/// client away.
fn s_6_a_shutdown_sends_no_retry(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let mut get = client.get().await;
        get.opened().await;
        let (post, work) = begin(&mut fixture, &client, 1).await;
        let last = post.last_event_id().unwrap().to_owned();
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        assert!(get.event().await.is_none());
        assert!(!work.cx.close_stream(SOON));
        drop(post);
        // A connection that breaks now can be resumed (F-37), as long as the session exists.
        let mut post = client.resume(&last).await;
        post.opened().await;
        work.finish(json!({ "in": "time" }));
        let message = post.message().await.unwrap();
        assert_eq!(message["result"]["in"], "time");
        assert!(post.event().await.is_none() && post.retry().is_none());
        let report = shutdown.await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(client.resume(&last).await.status, StatusCode::NOT_FOUND);
        let refused = fixture.stranger().post(&initialize("2025-11-25", "client")).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    });
}

/// S5, S4: a shutdown waits, within its budget, for a client that was sent away, but not for one that left by itself.
fn s_5_a_client_that_was_sent_away_is_waited_for(bed: &impl TestBed) {
    for returns in [true, false] {
        let mut fixture = Fixture::new(bed, |_| {});
        bed.block_on(async {
            let client = fixture.client().await;
            let (reply, left) = begin(&mut fixture, &client, "left").await;
            drop(reply);
            let (mut reply, away) = begin(&mut fixture, &client, "away").await;
            assert!(away.cx.close_stream(SOON));
            assert_eq!(reply.message().await, None);
            let last = cut(reply);
            let finish = if returns { NEVER } else { SOON };
            let shutdown = fixture.endpoint.shutdown(ShutdownPolicy { finish, ..PATIENT });
            left.cx.draining().await;
            left.finish(json!({}));
            away.finish(json!({}));
            fixture.until(|_| shutdown.phase() >= ShutdownPhase::Finishing).await;
            if returns {
                let messages = client.resume(&last).await.messages().await;
                assert_eq!(heard(&messages, "away"), (vec![], true));
            }
            let report = shutdown.await;
            assert_eq!(report.exchanges.answered, if returns { 2 } else { 1 }, "{report}");
            assert_eq!((report.exchanges.forced, report.is_clean()), (u64::from(!returns), returns));
        });
    }
}

/// S4: a client that was sent away, came back, and then left by itself is waited for no more.
fn s_4_a_client_that_came_back_and_left_is_not_waited_for(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (mut reply, work) = begin(&mut fixture, &client, 1).await;
        assert!(work.cx.close_stream(SOON));
        assert_eq!(reply.message().await, None);
        let last = cut(reply);
        let back = client.resume(&last).await;
        assert_eq!(back.status, StatusCode::OK);
        drop(back);
        fixture.until(|fixture| fixture.endpoint.stats().streams == 0).await;
        let shutdown = fixture.endpoint.shutdown(PATIENT);
        work.cx.draining().await;
        work.finish(json!({}));
        let report = shutdown.await;
        assert_eq!((report.exchanges.answered, report.exchanges.forced), (1, 0), "{report}");
        assert!(report.phases.finishing < Duration::from_secs(60), "it would be waited for 300 s: {report}");
        assert!(report.is_clean(), "{report}");
    });
}

/// F-26: a request to a client that is away reaches it when it returns, and its reply is accepted.
fn f_26_a_request_waits_for_its_client(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (reply, work) = begin(&mut fixture, &client, 1).await;
        let last = cut(reply);
        let asking = work.cx.request("roots/list", None::<&()>, NEVER);
        let client_side = async {
            let mut resumed = client.resume(&last).await;
            let asked = resumed.message().await.unwrap();
            assert_eq!(asked["method"], "roots/list");
            let reply = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "roots": [] } });
            drop(resumed); // and away again: a reply needs no stream
            assert_eq!(client.post(&reply).await.status, StatusCode::ACCEPTED);
        };
        let (asked, ()) = futures::join!(asking, client_side);
        assert_eq!(asked.unwrap().as_str(), r#"{"roots":[]}"#);
        work.finish(json!({}));
        let messages = client.resume(&last).await.messages().await;
        assert_eq!(heard(&messages[1..], 1), (vec![], true));
    });
}
