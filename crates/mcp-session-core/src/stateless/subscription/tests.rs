use serde_json::json;

use super::*;

fn filter(notifications: &Value) -> Result<Filter, RpcError> {
    Filter::read(Some(&json!({ "notifications": notifications }).into()))
}

fn all() -> Json {
    json!({
        "tools": { "listChanged": true }, "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true },
    })
    .into()
}

fn text(event: &[u8]) -> Value {
    let data = std::str::from_utf8(event).unwrap().strip_prefix("event: message\ndata: ").unwrap();
    serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap()
}

#[test]
fn g_51_a_filter_is_an_object_of_known_kinds() {
    assert_eq!(filter(&json!({})).unwrap(), Filter::default());
    assert!(filter(&json!({ "toolsListChanged": true, "unknown": 1 })).unwrap().tools_list_changed);
    for invalid in [
        json!([]),
        json!("all"),
        json!(null),
        json!(true),
        json!({ "toolsListChanged": 1 }),
        json!({ "resourceSubscriptions": "x" }),
        json!({ "resourceSubscriptions": [1] }),
        json!({ "resourceSubscriptions": vec!["x"; MAX_RESOURCES + 1] }),
        json!({ "resourceSubscriptions": ["x".repeat(MAX_URIS + 1)] }),
    ] {
        let error = filter(&invalid).unwrap_err();
        assert_eq!(error.code.0, -32602);
        assert!(error.message.len() < 200, "nothing of the client's is repeated: {error}");
        assert!(error.message.contains("params.notifications"), "{error}");
    }
    assert_eq!(Filter::read(None).unwrap_err().code.0, -32602);
    assert_eq!(Filter::read(Some(Json::empty())).unwrap_err().code.0, -32602);
}

#[test]
fn g_52_only_what_the_server_declares_is_honoured_and_acknowledged() {
    let wanted = json!({
        "toolsListChanged": true, "promptsListChanged": false, "resourceSubscriptions": ["file:///a"],
    });
    let none = filter(&wanted).unwrap().honoured(Json::empty());
    assert!(none.is_empty());
    for (capabilities, honoured) in [
        (all(), json!({ "toolsListChanged": true, "resourceSubscriptions": ["file:///a"] })),
        (json!({ "tools": { "listChanged": true } }).into(), json!({ "toolsListChanged": true })),
        (json!({ "tools": { "listChanged": false } }).into(), json!({})),
    ] {
        let honours = filter(&wanted).unwrap().honoured(&capabilities);
        let event = Subscription::new(&"s".into(), None, honours).acknowledgement();
        let params = json!({ "notifications": honoured, "_meta": { SUBSCRIPTION_ID: "s" } });
        let method = "notifications/subscriptions/acknowledged";
        assert_eq!(text(&event), json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }
}

#[test]
fn g_53_every_message_has_the_id_with_its_type() {
    let notice = |params: Option<Value>| {
        Notice::new("notifications/tools/list_changed", params.and_then(|p| p.as_object().cloned()))
    };
    let wanted = filter(&json!({ "toolsListChanged": true })).unwrap();
    for (id, expected) in
        [(RequestId::from(7), json!(7)), ("7".into(), json!("7")), ("a\"b".into(), json!("a\"b"))]
    {
        let subscription = Subscription::new(&id, None, wanted.clone());
        let params = text(&subscription.event(&notice(None)).unwrap())["params"].take();
        assert_eq!(params, json!({ "_meta": { SUBSCRIPTION_ID: expected } }));
        let given = json!({ "a": 1, "_meta": { "k": 2 } });
        let params = text(&subscription.event(&notice(Some(given))).unwrap())["params"].take();
        assert_eq!(params, json!({ "a": 1, "_meta": { "k": 2, SUBSCRIPTION_ID: expected } }));
        let end: Value = subscription.end().parse().unwrap();
        assert_eq!(end, json!({ "_meta": { SUBSCRIPTION_ID: expected } }));
    }
}

#[test]
fn g_54_nothing_is_sent_that_was_not_asked_for() {
    let kinds = [
        ("toolsListChanged", "notifications/tools/list_changed"),
        ("promptsListChanged", "notifications/prompts/list_changed"),
        ("resourcesListChanged", "notifications/resources/list_changed"),
    ];
    for (key, _) in kinds {
        let filter = filter(&json!({ key: true })).unwrap();
        for (other, method) in kinds {
            assert_eq!(filter.wants(&Notice::new(method, None)), key == other, "{key} {method}");
        }
        for method in ["notifications/progress", "notifications/message", "notifications/resources/updated"] {
            assert!(!filter.wants(&Notice::new(method, None)), "{key} {method}");
        }
    }
    let filter = filter(&json!({ "resourceSubscriptions": ["file:///a", "db://t/"] })).unwrap();
    for (uri, wanted) in [
        ("file:///a", true),
        ("file:///a/b", true),
        ("file:///ab", false),
        ("db://t/", true),
        ("db://t/1", true),
        ("db://t", false),
        ("file:///", false),
    ] {
        let params = json!({ "uri": uri }).as_object().cloned();
        assert_eq!(filter.wants(&Notice::new("notifications/resources/updated", params)), wanted, "{uri}");
    }
}
