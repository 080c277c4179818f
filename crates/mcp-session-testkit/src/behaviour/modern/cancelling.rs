//! A client that goes away cancels its request (G-30 to G-32).

use std::pin::pin;

use futures::FutureExt;
use mcp_session_core::{CancelReason, SendError};
use serde_json::json;

use super::{
    super::fixture::{Fixture, SOON, Work},
    begin,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_30_closing_the_stream_cancels,
    g_31_nothing_is_sent_afterwards,
    g_31_a_handler_that_goes_on_is_dropped,
    g_32_leaving_before_the_head_cancels,
    g_32_leaving_in_json_mode_cancels,
    g_30_an_answer_that_is_not_read_to_its_end,
    g_30_one_of_many,
}

/// Waits until the handler is told why it should stop.
async fn cancelled(work: &Work) {
    assert_eq!(work.cx.cancelled().await, CancelReason::Disconnected);
}

/// Nothing is left of any request.
async fn nothing_left(fixture: &Fixture) {
    fixture.until(|fixture| fixture.endpoint.stats().exchanges == 0).await;
    fixture.until(|fixture| fixture.endpoint.stats().streams == 0).await;
}

/// G-30: the opposite of D-12.
fn g_30_closing_the_stream_cancels(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (running, work) = begin(&mut fixture, &client, &client.call(1, "work")).await;
        work.cx.notify("notifications/x", None::<&()>).await.unwrap();
        let mut reply = running.head().await;
        assert!(reply.message().await.is_some());
        assert_eq!(work.cx.cancel_reason(), None);
        drop(reply);
        cancelled(&work).await;
        work.fail(CancelReason::Disconnected.into());
        nothing_left(&fixture).await;
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.exchanges_cancelled, stats.exchanges_answered, stats.streams_cut), (1, 0, 0));
    });
}

/// G-31: neither a notification nor an answer, and the handler is told so.
fn g_31_nothing_is_sent_afterwards(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (running, work) = begin(&mut fixture, &client, &client.call(1, "work")).await;
        work.cx.notify("notifications/x", None::<&()>).await.unwrap();
        drop(running.head().await);
        cancelled(&work).await;
        assert_eq!(work.cx.notify("notifications/x", None::<&()>).await, Err(SendError::Closed));
        work.finish(json!({ "late": true }));
        nothing_left(&fixture).await;
        assert_eq!(fixture.endpoint.stats().exchanges_answered, 0);
        // The client asks again, with another id.
        let again = client.post(&client.call(2, "echo")).await.answer().await;
        assert_eq!(again["id"], 2);
    });
}

/// G-31: a handler that does not stop is dropped after the grace period.
fn g_31_a_handler_that_goes_on_is_dropped(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.session.cancel_grace = SOON);
    bed.block_on(async {
        let client = fixture.modern();
        let (running, work) = begin(&mut fixture, &client, &client.call(1, "work")).await;
        work.cx.notify("notifications/x", None::<&()>).await.unwrap();
        drop(running.head().await);
        fixture.until(|_| work.is_dropped()).await;
        nothing_left(&fixture).await;
    });
}

/// G-32: the head of the response was not decided yet.
fn g_32_leaving_before_the_head_cancels(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let message = client.call(1, "work");
        let work = {
            let mut posting = pin!(client.post(&message));
            assert!(posting.as_mut().now_or_never().is_none());
            fixture.work().await
        };
        cancelled(&work).await;
        drop(work); // hangs
        fixture.until(|fixture| fixture.endpoint.stats().exchanges_cancelled == 1).await;
    });
}

/// G-32: for a client that accepts JSON only, too.
fn g_32_leaving_in_json_mode_cancels(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern().accepting("application/json");
        let message = client.call(1, "work");
        let work = {
            let mut posting = pin!(client.post(&message));
            assert!(posting.as_mut().now_or_never().is_none());
            let work = fixture.work().await;
            work.cx.notify("notifications/x", None::<&()>).await.unwrap(); // dropped
            assert!(posting.as_mut().now_or_never().is_none());
            work
        };
        cancelled(&work).await;
        work.finish(json!({}));
        nothing_left(&fixture).await;
        assert_eq!(fixture.endpoint.stats().exchanges_cancelled, 1);
    });
}

/// G-30: the answer was given, and its client leaves with some of it unread: nothing is left, and nothing was cut.
fn g_30_an_answer_that_is_not_read_to_its_end(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        for in_events in [true, false] {
            let (running, work) = begin(&mut fixture, &client, &client.call(1, "work")).await;
            if in_events {
                work.cx.notify("notifications/x", None::<&()>).await.unwrap();
            }
            work.finish(json!({}));
            drop(running.head().await);
            nothing_left(&fixture).await;
            assert_eq!(fixture.endpoint.stats().streams_cut, 0);
        }
    });
}

/// G-30, G-58: ids are the clients' own: only the request whose stream was closed is cancelled.
fn g_30_one_of_many(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let mut running = Vec::new();
        for _ in 0..10 {
            let (started, work) = begin(&mut fixture, &client, &client.call("same", "work")).await;
            work.cx.notify("notifications/x", None::<&()>).await.unwrap();
            running.push((started.head().await, work));
        }
        let (reply, work) = running.remove(4);
        drop(reply);
        cancelled(&work).await;
        for (reply, work) in running {
            assert_eq!(work.cx.cancel_reason(), None);
            work.finish(json!({ "a": 1 }));
            assert_eq!(reply.answer().await["result"]["a"], 1);
        }
        assert_eq!(fixture.endpoint.stats().exchanges_cancelled, 1);
    });
}
