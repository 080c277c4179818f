//! One `subscriptions/listen`: its filter, its messages and its end (G.6).

use futures::FutureExt;
use mcp_session_core::ShutdownPolicy;
use serde_json::{Value, json};

use super::{
    super::fixture::{Fixture, META, Reply},
    refused,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_51_a_filter_that_is_none,
    g_51_a_listener_needs_events,
    g_52_the_acknowledgement_says_what_is_honoured,
    g_53_every_message_has_the_id,
    g_54_only_what_was_asked_for,
    g_54_a_resource_and_what_is_below_it,
    g_55_the_result_and_then_the_end,
    g_57_the_client_closes_the_stream,
    g_59_nothing_was_honoured,
}

/// The id that a message of a subscription carries (G-53).
fn tag(message: &Value) -> Option<&Value> {
    let of = if message.get("result").is_some() { &message["result"] } else { &message["params"] };
    of["_meta"].get(format!("{META}subscriptionId"))
}

/// The methods of the notifications that can be read now.
fn notified(reply: &mut Reply) -> Vec<Value> {
    let mut methods = Vec::new();
    while let Some(message) = reply.message().now_or_never() {
        methods.push(message.expect("the stream is open")["method"].take());
    }
    methods
}

/// G-51, G-59: 400 and -32602, and nothing is open afterwards.
fn g_51_a_filter_that_is_none(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let many: Vec<_> = (0..2000).map(|number| format!("file:///{number}")).collect();
        for filter in [
            Value::Null,
            json!([]),
            json!("all"),
            json!(true),
            json!({ "toolsListChanged": "yes" }),
            json!({ "promptsListChanged": 1 }),
            json!({ "resourcesListChanged": {} }),
            json!({ "resourceSubscriptions": "file:///a" }),
            json!({ "resourceSubscriptions": [1] }),
            json!({ "resourceSubscriptions": { "file:///a": true } }),
            json!({ "resourceSubscriptions": many }),
        ] {
            let message = client.listening("bad", filter);
            let error = refused(&fixture, client.post(&message).await, 400, -32602, &message).await;
            assert!(error["message"].as_str().unwrap().contains("notifications"), "{error}");
        }
        let message = client.call(1, "subscriptions/listen");
        refused(&fixture, client.post(&message).await, 400, -32602, &message).await;
        assert_eq!(fixture.endpoint.stats().subscriptions, 0);
        // What a later revision adds is ignored.
        let later = json!({ "toolsListChanged": true, "tasksListChanged": true, "other": { "a": 1 } });
        let (_listener, honoured) = client.listen(2, later).await;
        assert_eq!(honoured, json!({ "toolsListChanged": true }));
    });
}

/// G-51: JSON has no form for it: a client that accepts nothing else gets 406.
fn g_51_a_listener_needs_events(bed: &impl TestBed) {
    let fixture =
        Fixture::new(bed, |config| config.session.response_mode = mcp_session_core::ResponseMode::Json);
    bed.block_on(async {
        let client = fixture.modern();
        let message = client.listening(1, json!({ "toolsListChanged": true }));
        refused(&fixture, client.accepting("application/json").post(&message).await, 406, -32600, &message)
            .await;
        assert_eq!(fixture.endpoint.stats().subscriptions, 0);
        for accept in ["text/event-stream", "application/json, text/event-stream", "*/*", ""] {
            let (listener, _) = client.accepting(accept).listen(1, json!({ "toolsListChanged": true })).await;
            drop(listener);
        }
    });
}

/// G-52, G-54: first of all, the part of the filter that this server can serve; `false` counts as absent.
fn g_52_the_acknowledgement_says_what_is_honoured(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let tools = json!({ "toolsListChanged": true });
        for (filter, honoured) in [
            (tools.clone(), tools.clone()),
            (json!({ "toolsListChanged": true, "resourcesListChanged": false, "resourceSubscriptions": [] }), tools),
            (json!({ "toolsListChanged": false, "promptsListChanged": true }), json!({})), // no prompts here
            (
                json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
                        "resourceSubscriptions": ["file:///a", "file:///b"] }),
                json!({ "toolsListChanged": true, "resourcesListChanged": true,
                        "resourceSubscriptions": ["file:///a", "file:///b"] }),
            ),
            (json!({}), json!({})),
        ] {
            let (listener, acknowledged) = client.listen(1, filter).await;
            assert_eq!(acknowledged, honoured);
            drop(listener);
        }
        // An event that comes while the client does not read yet is behind the acknowledgement.
        let mut reply = client.post(&client.listening(2, json!({ "toolsListChanged": true }))).await;
        fixture.endpoint.notify("notifications/tools/list_changed", None::<&()>).unwrap();
        let order = ["notifications/subscriptions/acknowledged", "notifications/tools/list_changed"];
        assert_eq!(notified(&mut reply), order);
    });
}

/// G-53: equal in type and value to the id of the request. What the author puts into `_meta` is kept.
fn g_53_every_message_has_the_id(bed: &impl TestBed) {
    for id in [json!(1), json!("1"), json!(0), json!("\"quoted\\"), json!(-5), json!("")] {
        let fixture = Fixture::new(bed, |_| {});
        bed.block_on(async {
            let client = fixture.modern();
            let mut reply =
                client.post(&client.listening(id.clone(), json!({ "toolsListChanged": true }))).await;
            for params in [json!({}), json!({ "a": [1] }), json!({ "_meta": { "mine": 1 } })] {
                fixture.endpoint.notify("notifications/tools/list_changed", Some(&params)).unwrap();
            }
            let shutdown = fixture.endpoint.shutdown(ShutdownPolicy::default());
            let messages = reply_messages(&mut reply).await;
            assert_eq!(messages.len(), 5);
            for message in &messages {
                assert_eq!(tag(message), Some(&id), "{message}");
            }
            assert_eq!(messages[2]["params"]["a"], json!([1]));
            assert_eq!(messages[3]["params"]["_meta"]["mine"], 1);
            assert_eq!((&messages[4]["id"], &messages[4]["result"]["resultType"]), (&id, &json!("complete")));
            assert!(shutdown.await.is_clean());
        });
    }
}

async fn reply_messages(reply: &mut Reply) -> Vec<Value> {
    let mut messages = Vec::new();
    while let Some(message) = reply.message().await {
        messages.push(message);
    }
    messages
}

/// G-08, G-54: neither another type nor one that no client can ask for.
fn g_54_only_what_was_asked_for(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern().saying("logLevel", "debug");
        let types = [
            ("toolsListChanged", "notifications/tools/list_changed"),
            ("resourcesListChanged", "notifications/resources/list_changed"),
        ];
        for (field, method) in types {
            let (mut listener, _) = client.listen(1, json!({ field: true })).await;
            for sent in [
                "notifications/tools/list_changed",
                "notifications/prompts/list_changed",
                "notifications/resources/list_changed",
                "notifications/message",
                "notifications/progress",
                "notifications/cancelled",
                "notifications/custom",
            ] {
                let params = json!({ "level": "error", "data": 1, "progressToken": 1, "progress": 1 });
                let told = fixture.endpoint.notify(sent, Some(&params)).unwrap();
                assert_eq!(told.subscriptions, usize::from(sent == method), "{sent}");
            }
            let updated = json!({ "uri": "file:///a" });
            assert_eq!(
                fixture
                    .endpoint
                    .notify("notifications/resources/updated", Some(&updated))
                    .unwrap()
                    .subscriptions,
                0
            );
            assert_eq!(notified(&mut listener), [method]);
            drop(listener);
            fixture.until(|fixture| fixture.endpoint.stats().subscriptions == 0).await;
        }
    });
}

/// G-54: a resource that was named, or one below it; no other with the same beginning.
fn g_54_a_resource_and_what_is_below_it(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let subscribed = ["file:///a", "file:///dir/", "x://one"];
        let (mut listener, _) = client.listen(1, json!({ "resourceSubscriptions": subscribed })).await;
        for (uri, wanted) in [
            ("file:///a", true),
            ("file:///a/b", true),
            ("file:///ab", false),
            ("file:///", false),
            ("file:///dir/x", true),
            ("file:///dir", false),
            ("x://one", true),
            ("x://one/two/three", true),
            ("x://ones", false),
            ("", false),
        ] {
            let told = fixture
                .endpoint
                .notify("notifications/resources/updated", Some(&json!({ "uri": uri })))
                .unwrap();
            assert_eq!(told.subscriptions, usize::from(wanted), "{uri}");
            if wanted {
                let message = listener.message().await.unwrap();
                assert_eq!(message["params"]["uri"], uri);
            }
        }
        for params in [json!({}), json!({ "uri": 1 })] {
            assert_eq!(
                fixture
                    .endpoint
                    .notify("notifications/resources/updated", Some(&params))
                    .unwrap()
                    .subscriptions,
                0
            );
        }
        assert!(listener.is_silent());
    });
}

/// G-55, G-56: the success response to the request, and the end of the body. No `notifications/cancelled`.
fn g_55_the_result_and_then_the_end(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let (mut listener, _) = client.listen("mine", json!({ "toolsListChanged": true })).await;
        let shutdown = fixture.endpoint.shutdown(ShutdownPolicy::default());
        let last = listener.message().await.unwrap();
        assert_eq!(
            last,
            json!({ "jsonrpc": "2.0", "id": "mine", "result": {
            "resultType": "complete",
            "_meta": {
                format!("{META}subscriptionId"): "mine",
                format!("{META}serverInfo"): { "name": "fixture", "version": "1.0.0" },
            },
        } })
        );
        assert_eq!(listener.message().await, None);
        let report = shutdown.await;
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.stateless, report.exchanges.total, report.exchanges.answered), (1, 1, 1));
    });
}

/// G-57: no result, no further message, and everything is free.
fn g_57_the_client_closes_the_stream(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.max_subscriptions = 1);
    bed.block_on(async {
        let client = fixture.modern().known_as(Some("alice"));
        for id in 0..20 {
            let (listener, _) = client.listen(id, json!({ "toolsListChanged": true })).await;
            let stats = fixture.endpoint.stats();
            assert_eq!((stats.subscriptions, stats.exchanges, stats.streams), (1, 1, 1));
            drop(listener);
            fixture.until(|fixture| fixture.endpoint.stats().subscriptions == 0).await;
            let told = fixture.endpoint.notify("notifications/tools/list_changed", None::<&()>).unwrap();
            assert_eq!((told.subscriptions, told.subscriptions_ended), (0, 0));
            let stats = fixture.endpoint.stats();
            assert_eq!((stats.exchanges, stats.streams, stats.streams_cut), (0, 0, 0));
        }
        // Before the head was read.
        drop(client.post(&client.listening(1, json!({ "toolsListChanged": true }))).await);
        fixture.until(|fixture| fixture.endpoint.stats().subscriptions == 0).await;
    });
}

/// G-59, G-60: the acknowledgement, the result, and the end, rather than a connection that is held for nothing.
fn g_59_nothing_was_honoured(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        for filter in [json!({}), json!({ "promptsListChanged": true }), json!({ "toolsListChanged": false })]
        {
            let (mut listener, honoured) = client.listen(4, filter).await;
            assert_eq!(honoured, json!({}));
            let result = listener.message().await.unwrap();
            assert_eq!((&result["id"], tag(&result)), (&json!(4), Some(&json!(4))));
            assert_eq!(listener.message().await, None);
        }
        fixture.until(|fixture| fixture.endpoint.stats().subscriptions == 0).await;
        assert_eq!(fixture.endpoint.stats().streams_cut, 0);
    });
}
