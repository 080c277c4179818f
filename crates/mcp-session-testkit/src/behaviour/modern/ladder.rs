//! The envelope, versions and methods: what is refused before anything is dispatched, and in which order (G.1, G.3, G-40).

use http::Method;
use serde_json::{Value, json};

use super::{
    super::fixture::{Fixture, META, MODERN},
    refused,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_02_client_info_is_not_required,
    g_03_a_part_of_the_envelope_is_missing_or_invalid,
    g_18_a_version_that_is_not_served,
    g_20_an_envelope_is_missing_and_the_header_is_there,
    g_21_methods_that_are_not_there,
    g_22_every_rejection_has_its_body_and_no_session,
    g_24_a_body_that_is_no_request,
    g_40_the_order_of_the_rungs,
}

/// G-02, G-04: nobody needs `clientInfo`, and nothing is remembered of an earlier request.
fn g_02_client_info_is_not_required(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern().declaring(json!({ "sampling": {} }));
        let _known = client.post(&client.call(1, "echo")).await.answer().await;
        let plain = json!({ "jsonrpc": "2.0", "id": 2, "method": "work", "params": { "_meta": {
            format!("{META}protocolVersion"): MODERN, format!("{META}clientCapabilities"): {},
        } } });
        let running = client.start(&plain);
        let work = fixture.work().await;
        assert_eq!(work.cx.client_info().as_str(), "{}");
        assert_eq!(work.cx.client_capabilities().as_str(), "{}");
        assert_eq!(work.cx.protocol_version().as_str(), MODERN);
        assert!(work.cx.session().is_none() && work.cx.session_id().is_none());
        work.finish(json!({ "a": 1 }));
        let answer = running.head().await.answer().await;
        assert_eq!((&answer["id"], &answer["result"]["a"]), (&json!(2), &json!(1)));
    });
}

/// G-03, G-08, G-22: 400 and -32602, with the id. The message names the key.
fn g_03_a_part_of_the_envelope_is_missing_or_invalid(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let ids = [json!(1), json!("one"), json!(""), json!(-7), json!(0), json!(9_007_199_254_740_991_u64)];
        let mut ids = ids.iter().cycle().cloned();
        let mut bad = Vec::new();
        let capabilities = [Value::Null, json!([]), json!("{}"), json!(1), json!(true)];
        bad.extend(capabilities.map(|value| ("clientCapabilities", value)));
        bad.extend([json!([]), json!("me"), json!(1)].map(|value| ("clientInfo", value)));
        bad.extend(
            [json!("loud"), json!("INFO"), json!(""), json!(1), json!({})].map(|value| ("logLevel", value)),
        );
        bad.extend(
            [json!(20_260_728), json!({}), json!([MODERN]), Value::Null]
                .map(|value| ("protocolVersion", value)),
        );
        for (key, value) in bad {
            let message = client.saying(key, value).call(ids.next(), "echo");
            let reply = client.post_with(&message, &[("mcp-protocol-version", Some(MODERN))]).await;
            let error = refused(&fixture, reply, 400, -32602, &message).await;
            assert!(error["message"].as_str().unwrap().contains(key), "{error}");
        }
        let mut message = client.call(ids.next(), "echo");
        message["params"]["_meta"].as_object_mut().unwrap().remove(&format!("{META}clientCapabilities"));
        let error = refused(&fixture, client.post(&message).await, 400, -32602, &message).await;
        assert!(error["message"].as_str().unwrap().contains("clientCapabilities"), "{error}");

        // Twice the same key: two readers might each take another one.
        let message = client.call(5, "echo");
        let twice = message
            .to_string()
            .replace("\"_meta\":{", &format!("\"_meta\":{{\"{META}protocolVersion\":\"2025-11-25\","));
        let request = client.client.request(Method::POST).header("mcp-protocol-version", MODERN);
        let reply = client.client.send(request.header("mcp-method", "echo").body(twice).unwrap()).await;
        refused(&fixture, reply, 400, -32602, &message).await;
    });
}

/// G-18, G-46: 400 and -32022, with every version that is served, `server/discover` and removed methods included.
fn g_18_a_version_that_is_not_served(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for version in ["2026-07-29", "2099-01-01", "1.0", "draft", "DRAFT-2027", ""] {
            for method in ["echo", "server/discover", "subscriptions/listen", "ping", "no/such/method"] {
                let client = fixture.modern().saying("protocolVersion", version);
                let message = client.call("v", method);
                let error = refused(&fixture, client.post(&message).await, 400, -32022, &message).await;
                assert_eq!(error["data"]["requested"], version);
                let served = ["2025-03-26", "2025-06-18", "2025-11-25", MODERN];
                assert_eq!(error["data"]["supported"], json!(served));
            }
        }
    });
}

/// G-20, G-40: the header says 2026-07-28 or later, and the body has no version: -32602, whatever else is there.
fn g_20_an_envelope_is_missing_and_the_header_is_there(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        for params in [
            json!({}),
            json!({ "_meta": {} }),
            json!({ "_meta": { "progressToken": 1, format!("{META}clientCapabilities"): {} } }),
            json!({ "_meta": [] }),
            json!({ "_meta": null }),
            json!({ "text": format!("{META}protocolVersion") }),
        ] {
            for version in [MODERN, "2027-01-01"] {
                let message = json!({ "jsonrpc": "2.0", "id": 3, "method": "echo", "params": params });
                let reply = client.post_with(&message, &[("mcp-protocol-version", Some(version))]).await;
                refused(&fixture, reply, 400, -32602, &message).await;
            }
        }
        let bare = json!({ "jsonrpc": "2.0", "id": 3, "method": "server/discover" });
        let reply = client.post_with(&bare, &[("mcp-protocol-version", Some(MODERN))]).await;
        refused(&fixture, reply, 400, -32602, &bare).await;
    });
}

/// G-21, G-48: 404 and -32601, for a method that the handler does not have and for those that this revision has removed.
fn g_21_methods_that_are_not_there(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        for method in
            ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"]
        {
            let message = client.call("gone", method);
            let error = refused(&fixture, client.post(&message).await, 404, -32601, &message).await;
            assert!(error["message"].as_str().unwrap().contains(method), "{error}");
        }
        assert_eq!(fixture.endpoint.stats().sessions, 0);

        // The handler says so itself.
        let message = client.call("none", "no/such/method");
        for form in ["application/json, text/event-stream", "application/json"] {
            let reply = client.accepting(form).post(&message).await;
            assert_eq!(reply.status, 404);
            let answer = reply.json().await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("none"), &json!(-32601)));
        }
        let legacy =
            fixture.stranger().post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "no/such/method" })).await;
        assert_eq!(legacy.answer().await["error"]["code"], -32601); // with 200
    });
}

/// G-49, G-42: a rejection has a JSON-RPC body, and no session header, even if a session is named.
fn g_22_every_rejection_has_its_body_and_no_session(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let mut client = fixture.modern();
        client.client = fixture.client().await;
        let message = client.call(1, "echo");
        for (changes, code) in
            [(("mcp-method", None), -32020), (("mcp-protocol-version", Some("2025-11-25")), -32020)]
        {
            refused(&fixture, client.post_with(&message, &[changes]).await, 400, code, &message).await;
        }
        let ping = client.call(2, "ping");
        refused(&fixture, client.post(&ping).await, 404, -32601, &ping).await;
    });
}

/// G-24, A-30, A-37: malformed JSON, arrays and responses are refused by what they are. An envelope in a batch changes
/// nothing.
fn g_24_a_body_that_is_no_request(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let headers = [("mcp-protocol-version", Some(MODERN)), ("mcp-method", Some("echo"))];
        let batch = json!([client.call(1, "echo"), client.call(2, "echo")]);
        let response = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
        let error = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "" } });
        for message in [batch, json!([client.call(1, "echo")]), json!([]), response, error] {
            let reply = client.post_with(&message, &headers).await;
            refused(&fixture, reply, 400, -32600, &json!({ "id": null })).await;
        }
        let request = client.client.request(Method::POST).header("mcp-protocol-version", MODERN);
        let reply = client.client.send(request.body("{\"jsonrpc\"".to_owned()).unwrap()).await;
        refused(&fixture, reply, 400, -32700, &json!({ "id": null })).await;
        let request = client.client.request(Method::POST).header("origin", "https://evil.example");
        let reply = client.client.send(request.body(client.call(1, "echo").to_string()).unwrap()).await;
        assert_eq!(reply.status, 403);
    });
}

/// G-19, G-20, G-40: the first rung that fails is the answer. Each request here fails that rung and all later ones.
fn g_40_the_order_of_the_rungs(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let none = client.saying("clientCapabilities", Value::Null).saying("protocolVersion", "1999-13-99x");
        let other = client.saying("protocolVersion", "2099-01-01");
        let routed = json!({ "name": "routed", "arguments": { "region": "eu" } });
        let removed = client.call(1, "ping");
        let wrong = ("mcp-method", Some("wrong"));
        for (what, message, changes, status, code) in [
            (
                "the envelope",
                none.call(1, "ping"),
                vec![("mcp-protocol-version", Some("x")), wrong],
                400,
                -32602,
            ),
            (
                "both versions",
                other.call(1, "ping"),
                vec![("mcp-protocol-version", Some(MODERN)), wrong],
                400,
                -32020,
            ),
            (
                "both versions",
                client.call(1, "ping"),
                vec![("mcp-protocol-version", Some("2099-01-01")), wrong],
                400,
                -32020,
            ),
            ("no header", other.call(1, "ping"), vec![("mcp-protocol-version", None), wrong], 400, -32020),
            ("the version", other.call(1, "ping"), vec![wrong], 400, -32022),
            ("the method's header", removed.clone(), vec![wrong], 400, -32020),
            ("the method", removed, vec![], 404, -32601),
            (
                "the name",
                client.call_with(1, "tools/call", routed.clone()),
                vec![("mcp-name", Some("x"))],
                400,
                -32020,
            ),
            ("the arguments", client.call_with(1, "tools/call", routed), vec![], 400, -32020),
        ] {
            let reply = client.post_with(&message, &changes).await;
            let error = refused(&fixture, reply, status, code, &message).await;
            assert!(error["message"].is_string(), "{what}");
        }
        // What comes before the body comes before all of that.
        let message = none.call(1, "ping");
        assert_eq!(client.accepting("text/html").post(&message).await.status, 406);
        assert_eq!(client.post_with(&message, &[("content-type", Some("text/plain"))]).await.status, 415);
        assert_eq!(client.post_with(&message, &[("host", Some("evil.example"))]).await.status, 403);
        assert_eq!(client.post_to(Method::PUT, &message, &[]).await.status, 405);
    });
}
