//! Limits that cannot work are refused, and the smallest valid limits work.

use std::time::Duration;

use mcp_session_core::{Config, Endpoint, Router};
use serde_json::json;

use super::fixture::{Fixture, request};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    limits_that_cannot_work_are_refused,
    the_smallest_limits_work,
}

/// A cap or deadline of zero is refused at construction. The error names the field and the smallest valid value.
fn limits_that_cannot_work_are_refused(bed: &impl TestBed) {
    let refused = |set: fn(&mut Config)| {
        let mut config = Config::default();
        set(&mut config);
        let endpoint = Endpoint::with_config(bed.runtime(), Router::new("limits", "1.0.0"), config);
        endpoint.expect_err("the endpoint would hang").to_string()
    };
    let text = refused(|config| config.session.queue_events = 0);
    assert!(text.contains("`session.queue_events` is 0") && text.contains("works is 1:"), "{text}");
    let text = refused(|config| config.body_timeout = Duration::ZERO);
    assert!(text.contains("`body_timeout` is 0ns") && text.contains("works is 1ms:"), "{text}");
    let text = refused(|config| config.authenticate_timeout = Duration::ZERO);
    assert!(text.contains("`authenticate_timeout` is 0ns") && text.contains("works is 1ms:"), "{text}");
    let text = refused(|config| config.max_sessions = 0);
    assert!(text.contains("`max_sessions` is 0"), "{text}");
}

/// With every cap at its minimum, a call that sends notifications before its answer is still answered, and a GET
/// stream still carries messages.
fn the_smallest_limits_work(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| {
        (config.max_sessions, config.max_sessions_per_principal, config.batch_limit) = (1, 1, 1);
        (config.body_limit, config.bodies_in_flight) = (256, 256);
        let session = &mut config.session;
        (session.queue_events, session.queue_bytes, session.max_exchanges) = (1, 1, 1);
        let replay = session.replay.get_or_insert_default();
        (replay.events, replay.bytes) = (1, 1);
    });
    bed.block_on(async {
        let client = fixture.client().await;
        let mut listening = client.get().await;
        listening.opened().await;
        let running = client.start(&request(1, "work"));
        let work = fixture.work().await;
        let session = client.session();
        let sends = async {
            for _ in 0..3 {
                work.cx.notify("notifications/x", None::<&()>).await.expect("there is space again");
                session.notify("notifications/y", None::<&()>).await.expect("there is space again");
            }
            work.finish(json!({}));
        };
        let called = async { running.head().await.messages().await };
        let listened = async {
            for _ in 0..3 {
                assert_eq!(listening.message().await.expect("it goes on")["method"], "notifications/y");
            }
        };
        let (messages, (), ()) = futures::join!(called, listened, sends);
        assert_eq!((messages.len(), &messages[3]["id"]), (4, &json!(1)), "{messages:?}");
        assert_eq!(client.delete().await.status, 204);
        assert!(listening.message().await.is_none());
        assert_ne!(fixture.client().await.id(), client.id()); // the only place is free again
    });
}
