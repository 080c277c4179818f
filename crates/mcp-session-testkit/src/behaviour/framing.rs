//! What counts as a message, and the answers to everything else (A.1).

use std::collections::BTreeSet;

use futures::channel::mpsc;
use http::{Method, StatusCode};
use mcp_session_core::{CancelReason, ErrorCode, RequestError, RpcError};
use serde_json::{Value, json};

use super::fixture::{Fixture, NEVER, SlowBody, initialize, notification, request, request_with};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    a_01_a_02_json_rpc_2_in_utf_8,
    a_09_b_17_nothing_is_replied_to_a_notification,
    a_03_null_counts_as_absent,
    a_11_a_15_the_five_codes,
    a_20_nothing_is_added_to_a_result,
}

/// A-01, A-02: only messages with exactly `"jsonrpc":"2.0"` are valid, and only UTF-8 is valid JSON.
fn a_01_a_02_json_rpc_2_in_utf_8(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        for version in
            ["", r#""jsonrpc":"1.0","#, r#""jsonrpc":2.0,"#, r#""jsonrpc":"2.0 ","#, r#""JSONRPC":"2.0","#]
        {
            let refused = client.post_text(format!(r#"{{{version}"id":1,"method":"echo"}}"#)).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{version}");
            assert_eq!(refused.json().await["error"]["code"], -32600, "{version}");
        }
        let (sender, body) = mpsc::unbounded();
        sender.unbounded_send(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xe9cho\"}"[..].into()).unwrap();
        drop(sender);
        let refused = client.send(client.request(Method::POST).body(SlowBody(body)).unwrap()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.json().await["error"]["code"], -32700);
        assert_eq!(
            client.post_text(r#"{"jsonrpc":"2.0","id":1,"method":"echo"}"#).await.status,
            StatusCode::OK
        );
    });
}

/// A-09, B-17: notifications never get a reply: not if they are unknown, if their handler panics, if they look like a
/// request, or if they are meaningless.
fn a_09_b_17_nothing_is_replied_to_a_notification(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let mut get = client.get().await;
        assert!(get.event().await.is_some());
        let admitted = fixture.endpoint.stats().exchanges_admitted;
        for method in
            ["notifications/unknown", "panic", "ping", "echo", "initialize", "notifications/cancelled"]
        {
            let accepted = client.post(&notification(method)).await;
            assert_eq!(accepted.status, StatusCode::ACCEPTED, "{method}");
            assert!(accepted.bytes().await.is_empty(), "{method}");
        }
        assert!(get.is_silent());
        assert_eq!(fixture.endpoint.stats().exchanges_admitted, admitted);
    });
}

/// A-03, A-10, A-04: `null` counts as absent in requests, notifications and replies and in their parts, except as an
/// id.
fn a_03_null_counts_as_absent(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let with_nulls = json!({ "jsonrpc": "2.0", "id": 1, "method": "echo", "params": null, "result": null, "error": null });
        assert_eq!(client.post(&with_nulls).await.json().await["result"], json!({}));
        let told = json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed", "params": null });
        assert_eq!(client.post(&told).await.status, StatusCode::ACCEPTED);
        assert_eq!(fixture.notification().await.params, None);
        for params in [json!({ "_meta": null }), json!({ "_meta": { "progressToken": null } })] {
            let running = client.start(&request_with(2, "work", params));
            let work = fixture.work().await;
            assert!(!work.cx.wants_progress());
            assert_eq!(work.cx.progress(1.0, None, None).await, Ok(()));
            let client_side = async {
                let mut stream = running.head().await;
                for reply in [
                    json!({ "method": null, "params": null, "result": { "a": 1 }, "error": null }),
                    json!({ "result": null, "error": { "code": 7, "message": "no", "data": null } }),
                ] {
                    let id = stream.message().await.unwrap()["id"].clone();
                    let mut message = json!({ "jsonrpc": "2.0", "id": id });
                    message.as_object_mut().unwrap().extend(reply.as_object().unwrap().clone());
                    assert_eq!(client.post(&message).await.status, StatusCode::ACCEPTED, "{message}");
                }
                assert_eq!(stream.message().await, None); // cancelled
            };
            let server_side = async {
                let asked = work.cx.request("roots/list", None::<&()>, NEVER).await;
                assert_eq!(asked.unwrap().as_str(), r#"{"a":1}"#);
                let asked = work.cx.request("roots/list", None::<&()>, NEVER).await;
                assert_eq!(asked, Err(RequestError::Client(RpcError::new(ErrorCode(7), "no"))));
                let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                    "params": { "requestId": 2, "reason": null, "_meta": null } });
                assert_eq!(client.post(&cancel).await.status, StatusCode::ACCEPTED);
                assert_eq!(work.cx.cancelled().await, CancelReason::Client(None));
            };
            futures::join!(client_side, server_side);
        }
        for message in [
            json!({ "jsonrpc": "2.0", "id": null, "method": "echo" }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": null }),
            json!({ "jsonrpc": null, "id": 1, "method": "echo" }),
        ] {
            assert_eq!(client.post(&message).await.status, StatusCode::BAD_REQUEST, "{message}");
        }
    });
}

/// A-15, A-11: each of the five JSON-RPC codes is used for its case, with an integer code and a message.
fn a_11_a_15_the_five_codes(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.client().await;
        let running = client.start(&request_with(1, "work", json!({ "n": "not a number" })));
        let work = fixture.work().await;
        let invalid = work.cx.params::<std::collections::BTreeMap<String, u32>>().unwrap_err();
        work.fail(invalid);
        for (answer, code) in [
            (client.post_text("{]").await.json().await, -32700),
            (client.post_text(r#"{"jsonrpc":"2.0","id":1}"#).await.json().await, -32600),
            (client.post(&request(2, "no/such/method")).await.json().await, -32601),
            (running.head().await.answer().await, -32602),
            (client.post(&request(3, "panic")).await.json().await, -32603),
        ] {
            assert_eq!(answer["error"]["code"], code, "{answer}");
            assert!(answer["error"]["message"].is_string() && answer.get("result").is_none(), "{answer}");
            assert_eq!(answer["jsonrpc"], "2.0");
        }
    });
}

/// A-20: results of the handler are sent unchanged: core adds no member, and no key in `_meta`.
fn a_20_nothing_is_added_to_a_result(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let mut client = fixture.stranger();
        let opened = client.initialize_with(&initialize("2025-11-25", "client")).await;
        let members: BTreeSet<_> = opened["result"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(["capabilities", "protocolVersion", "serverInfo"]));
        let result =
            json!({ "_meta": { "example.com/a": 1 }, "content": [{ "type": "text", "text": "é\n" }] });
        let running = client.start(&request(1, "work"));
        fixture.work().await.finish(result.clone());
        assert_eq!(
            running.head().await.answer().await,
            json!({ "jsonrpc": "2.0", "id": 1, "result": result })
        );
        let running = client.start(&request(2, "work"));
        let error = RpcError::internal("no").with_data(json!({ "any": [1, null] }));
        fixture.work().await.fail(error);
        let error = json!({ "code": -32603, "message": "no", "data": { "any": [1, null] } });
        assert_eq!(running.head().await.answer().await, json!({ "jsonrpc": "2.0", "id": 2, "error": error }));
        assert_eq!(
            client.post(&request(3, "ping")).await.json().await["result"],
            Value::Object(Default::default())
        );
    });
}
