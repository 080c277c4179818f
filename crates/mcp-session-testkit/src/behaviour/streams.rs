//! Standalone streams, many streams at once, and clients that do not read.

use std::pin::pin;

use futures::future::{Either, join_all, select};
use http::StatusCode;
use mcp_session_core::{ReplayConfig, RequestError, SecondStream, SendError};
use serde_json::json;

use super::fixture::{Fixture, Reply, SOON, reply, request, request_with};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    d_17_notifications_on_the_standalone_stream,
    d_43_d_44_what_an_event_says,
    d_22_a_second_standalone_stream,
    d_23_a_client_that_comes_again_is_let_in,
    d_23_two_clients_with_one_session_settle,
    d_42_heartbeats,
    s_11_a_stalled_reader_stalls_nobody_else,
    d_20_many_streams_in_one_session,
    a_full_queue_makes_its_sender_wait,
    events_that_are_ready_share_a_frame,
}

/// D-17, D-24: standalone messages are sent on the GET stream. Without a GET stream, and without replay, they are
/// dropped.
fn d_17_notifications_on_the_standalone_stream(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.session.replay = None);
    bed.block_on(async {
        let client = fixture.client().await;
        let session = client.session();
        session.notify("notifications/dropped", None::<&()>).await.unwrap();
        let mut stream = client.get().await;
        assert_eq!(stream.event().await.unwrap().unwrap(), ":\n\n"); // B-33: open at once
        session.notify("notifications/tools/list_changed", None::<&()>).await.unwrap();
        session.try_notify("notifications/resources/updated", Some(&json!({ "uri": "a://b" }))).unwrap();
        assert_eq!(stream.message().await.unwrap()["method"], "notifications/tools/list_changed");
        assert_eq!(stream.message().await.unwrap()["params"]["uri"], "a://b");
        drop(stream); // D-19: no effect on the session
        session.notify("notifications/dropped", None::<&()>).await.unwrap();
        assert_eq!(client.get().await.status, StatusCode::OK);
    });
}

/// D-43, D-44, D-42, D-08: every event with a message has `event: message`, on every stream. Comments and priming
/// events do not, and no event has `retry` unless an end is announced.
fn d_43_d_44_what_an_event_says(bed: &impl TestBed) {
    for (replay, version) in
        [(true, "2025-11-25"), (true, "2025-06-18"), (false, "2025-11-25"), (true, "2025-03-26")]
    {
        let mut fixture = Fixture::new(bed, |config| {
            config.session.heartbeat = SOON;
            config.session.replay = replay.then(ReplayConfig::default);
        });
        bed.block_on(async {
            let client = fixture.client_of(version).await;
            let mut get = client.get().await;
            client.session().notify("notifications/x", None::<&()>).await.unwrap();
            let token = json!({ "_meta": { "progressToken": 1 } });
            let running = client.start(&request_with(1, "work", token));
            let work = fixture.work().await;
            work.cx.progress(1.0, None, None).await.unwrap();
            let asked = work.cx.request("roots/list", None::<&()>, SOON).await;
            assert_eq!(asked, Err(RequestError::TimedOut)); // and the server cancels it
            let mut post = running.head().await;
            work.finish(json!({}));
            let mut events = Vec::new();
            while let Some(event) = post.event().await {
                events.push(event.unwrap());
            }
            if version == "2025-03-26" {
                let batch = client.post(&json!([request(2, "echo"), request(3, "ping")])).await;
                assert!(batch.is_stream());
                events.push(batch.bytes().await.into());
            }
            while !events.iter().any(|event| find(event, "notifications/x")) {
                events.push(get.event().await.unwrap().unwrap());
            }
            let ping = get.event().await.unwrap().unwrap(); // D-42: a comment after some silence
            assert_eq!(ping, ":\n\n");
            let text = events.iter().map(|event| std::str::from_utf8(event).unwrap()).collect::<String>();
            let mut messages = 0;
            for event in text.split_terminator("\n\n") {
                let lines: Vec<_> = event.lines().collect();
                let message = lines.iter().any(|line| line.starts_with("data: {"));
                let named = lines.iter().filter(|line| **line == "event: message").count();
                assert_eq!(named, usize::from(message), "{event:?}");
                let known = |line: &&str| {
                    ["id: ", "data: "].iter().any(|field| line.starts_with(field))
                        || [":", "event: message"].contains(line)
                };
                assert!(lines.iter().all(known), "{event:?}");
                messages += named;
            }
            let of_the_batch = if version == "2025-03-26" { 2 } else { 0 };
            // On GET one; on POST progress, a request, its cancellation, and the answer.
            assert_eq!(messages, 1 + 4 + of_the_batch, "{text}");
        });
    }
}

fn find(event: &[u8], text: &str) -> bool {
    event.windows(text.len()).any(|window| window == text.as_bytes())
}

/// D-22, D-23: a second GET is refused or takes over, depending on the policy. A message goes to exactly one of them.
fn d_22_a_second_standalone_stream(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.session.second_stream = SecondStream::Refuse);
    bed.block_on(async {
        let client = fixture.client().await;
        let first = client.get().await;
        assert_eq!(client.get().await.status, StatusCode::CONFLICT);
        drop(first);
        assert_eq!(client.get().await.status, StatusCode::OK);
    });
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let mut first = client.get().await;
        assert!(first.event().await.is_some());
        let mut second = client.get().await;
        assert!(first.event().await.is_none()); // a clean end
        drop(first);
        client.session().notify("notifications/x", None::<&()>).await.unwrap();
        assert_eq!(second.message().await.unwrap()["method"], "notifications/x");
    });
    // A stream that has stopped reading gives way, even if a second one is refused.
    let fixture = Fixture::new(bed, |config| {
        config.session.heartbeat = SOON;
        config.session.second_stream = SecondStream::Refuse;
    });
    bed.block_on(async {
        let client = fixture.client().await;
        let _stalled = client.get().await;
        let mut second = client.get().await;
        while second.status == StatusCode::CONFLICT {
            fixture.elapse(SOON).await;
            second = client.get().await;
        }
        assert_eq!(second.status, StatusCode::OK);
    });
}

/// D-23: a client behind a proxy that hides its disconnects always gets its stream back: nothing answers pings on its
/// lost connections.
fn d_23_a_client_that_comes_again_is_let_in(bed: &impl TestBed) {
    for version in ["2025-06-18", "2025-11-25"] {
        let fixture = Fixture::new(bed, |_| {});
        bed.block_on(async {
            let client = fixture.client_of(version).await;
            let mut lost = Vec::new();
            for _ in 0..6 {
                let mut stream = client.get().await;
                assert_eq!(stream.status, StatusCode::OK);
                stream.opened().await;
                client.session().try_notify("notifications/x", None::<&()>).unwrap();
                while stream.message().await.unwrap()["method"] != "notifications/x" {}
                lost.push(stream); // the proxy keeps it open
            }
            assert_eq!(fixture.endpoint.stats().streams, 1);
        });
    }
}

/// D-22, D-23: two live clients with the same session do not keep taking its stream from each other: one of them
/// keeps it, and the other is refused.
fn d_23_two_clients_with_one_session_settle(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let (mut holds, mut refused) = (None::<Reply>, None);
        for _ in 0..20 {
            // The client that has the stream reads it, and answers pings, as every client does (C-14).
            let answers = async {
                match &mut holds {
                    None => std::future::pending().await,
                    Some(stream) => {
                        while let Some(message) = stream.message().await {
                            if message["method"] == "ping" {
                                client.post(&reply(message["id"].clone(), json!({}))).await;
                            }
                        }
                        std::future::pending::<()>().await;
                    }
                }
            };
            let newer = match select(pin!(client.get()), pin!(answers)).await {
                Either::Left((newer, _)) => newer,
                Either::Right(((), _)) => unreachable!("it is pending for ever"),
            };
            if newer.status == StatusCode::OK {
                holds = Some(newer);
            } else {
                refused = Some(newer);
                break;
            }
        }
        let refused = refused.expect("they settle");
        assert_eq!(refused.status, StatusCode::CONFLICT);
        let text = refused.json().await["error"]["message"].as_str().unwrap().to_owned();
        assert!(text.contains("another connection"), "{text}");
        // The stream that is held is not affected.
        client.session().notify("notifications/x", None::<&()>).await.unwrap();
        let mut holds = holds.unwrap();
        while holds.message().await.unwrap()["method"] != "notifications/x" {}
    });
}

/// D-42: each period of silence ends with a comment. Comments are no messages.
fn d_42_heartbeats(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.heartbeat = SOON);
    bed.block_on(async {
        let client = fixture.client().await;
        let mut get = client.get().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let mut post = running.head().await;
        get.opened().await;
        post.opened().await;
        for _ in 0..3 {
            assert_eq!(get.event().await.unwrap().unwrap(), ":\n\n");
            assert_eq!(post.event().await.unwrap().unwrap(), ":\n\n");
        }
        work.finish(json!({}));
        assert_eq!(post.answer().await["id"], 1);
    });
}

/// S11: if a GET stream is not read and its queue is full, other streams of the session, other sessions and
/// termination are not affected.
fn s_11_a_stalled_reader_stalls_nobody_else(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| {
        config.session.queue_events = 4;
        config.session.terminate.finish = SOON;
    });
    bed.block_on(async {
        let (client, other) = (fixture.client().await, fixture.client().await);
        let stalled = client.get().await;
        let session = client.session();
        while session.try_notify("notifications/x", None::<&()>) != Err(SendError::Full) {}

        let running = client.start(&request_with(1, "work", json!({ "_meta": { "progressToken": 1 } })));
        let work = fixture.work().await;
        work.cx.progress(1.0, None, None).await.unwrap();
        work.finish(json!({}));
        assert_eq!(running.head().await.answer().await["id"], 1);
        assert_eq!(client.post(&request(2, "echo")).await.status, 200);
        assert_eq!(other.post(&request(2, "echo")).await.status, 200);

        assert_eq!(client.delete().await.status, 204);
        fixture.until(|fixture| fixture.endpoint.stats().streams == 0).await;
        assert_eq!(fixture.endpoint.stats().streams_cut, 1);
        let mut stalled = stalled;
        assert!(stalled.event().await.unwrap().is_err()); // a cut, not a clean end
        assert_eq!(other.post(&request(3, "echo")).await.status, 200);
    });
}

/// D-20: many calls of one session stream at once, each on its own stream.
fn d_20_many_streams_in_one_session(bed: &impl TestBed) {
    const CALLS: usize = 50;
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running: Vec<_> = (0..CALLS)
            .map(|n| client.start(&request_with(n, "work", json!({ "_meta": { "progressToken": n } }))))
            .collect();
        let mut works = Vec::new();
        for _ in 0..CALLS {
            works.push(fixture.work().await);
        }
        join_all(works.iter().map(|work| work.cx.progress(1.0, None, None))).await;
        works.reverse();
        for work in works {
            let id = work.cx.id().to_string();
            work.finish(json!({ "id": id }));
        }
        for (n, running) in running.into_iter().enumerate() {
            let messages = running.head().await.messages().await;
            assert_eq!(messages.len(), 2);
            assert_eq!(messages[0]["params"]["progressToken"], n);
            assert_eq!(messages[1]["result"]["id"], n.to_string());
        }
        assert_eq!(fixture.endpoint.stats().exchanges, 0);
    });
}

/// Back-pressure applies to the sender: it waits while its queue is full, and no message is lost.
fn a_full_queue_makes_its_sender_wait(bed: &impl TestBed) {
    const EVENTS: usize = 100;
    let mut fixture = Fixture::new(bed, |config| config.session.queue_events = 4);
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let sender = async {
            for n in 0..EVENTS {
                work.cx.notify("notifications/n", Some(&json!({ "n": n }))).await.unwrap();
            }
            work.finish(json!({})); // the answer never waits
        };
        let reader = async { running.head().await.messages().await };
        let ((), messages) = futures::join!(sender, reader);
        let numbers: Vec<_> = messages.iter().filter_map(|m| m["params"]["n"].as_u64()).collect();
        assert_eq!(numbers, (0..EVENTS as u64).collect::<Vec<_>>());
        assert_eq!(messages.last().unwrap()["id"], 1);
    });
}

/// Events that are ready together are sent together, whole and in order. A long event is a frame of its own, behind its id.
fn events_that_are_ready_share_a_frame(bed: &impl TestBed) {
    for replay in [None, Some(ReplayConfig::default())] {
        let fixture = Fixture::new(bed, |config| config.session.replay = replay);
        bed.block_on(async {
            let client = fixture.client().await;
            let (session, mut stream) = (client.session(), client.get().await);
            let long = "x".repeat(20_000);
            for n in 0..100 {
                session.notify("notifications/n", Some(&json!({ "n": n }))).await.unwrap();
            }
            session.notify("notifications/long", Some(&json!({ "long": long }))).await.unwrap();
            session.notify("notifications/n", Some(&json!({ "n": 100 }))).await.unwrap();
            let first = stream.frame().await.unwrap().unwrap();
            let first = std::str::from_utf8(&first).unwrap();
            let numbers: Vec<_> = (0..100).map(|n| first.find(&format!("\"n\":{n}}}")).unwrap()).collect();
            assert!(numbers.is_sorted() && !first.contains("long") && !first.contains("\"n\":100}"));
            let (events, id) = first.rsplit_once("\n\n").unwrap();
            assert!(events.starts_with(if replay.is_none() { ":\n\n" } else { "id: " }), "{events}");
            assert_eq!(
                (id.starts_with("id: "), id.ends_with('\n')),
                (replay.is_some(), replay.is_some()),
                "{id}"
            );
            let second = stream.frame().await.unwrap().unwrap();
            let second = std::str::from_utf8(&second).unwrap();
            assert!(second.starts_with("event: message\n") && second.ends_with("\n\n"), "whole events");
            assert!(second.contains(&long) && second.matches("\n\n").count() == 1);
            assert_eq!(stream.message().await.unwrap()["params"]["n"], 100);
            assert!(stream.is_silent());
        });
    }
}
