//! The headers that repeat the body (G.2).

use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::{
    super::fixture::{Fixture, MODERN},
    begin, refused,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_10_headers_and_body_disagree,
    g_11_names_without_case_and_values_without_the_space_around_them,
    g_12_names_in_base64,
    g_13_characters_that_no_header_has,
    g_14_arguments_in_headers,
    g_14_a_schema_that_cannot_be_read,
    g_15_headers_of_no_argument_are_ignored,
}

const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// G-09, G-10, G-20: a header is missing, empty, repeated, or says something else: 400 and -32020. Nothing is executed.
fn g_10_headers_and_body_disagree(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let tool = client.call_with("t", "tools/call", json!({ "name": "book" }));
        let prompt = client.call_with("p", "prompts/get", json!({ "name": "greet" }));
        let resource = client.call_with("r", "resources/read", json!({ "uri": "file:///a" }));
        let echo = client.call("e", "echo");
        for message in [&echo, &tool, &prompt, &resource] {
            for (name, values) in [
                (VERSION, &[None, Some(""), Some("2025-11-25"), Some("2026-07-29"), Some("x")][..]),
                (METHOD, &[None, Some(""), Some("ping"), Some("TOOLS/CALL"), Some("Echo"), Some("echo2")]),
            ] {
                for value in values {
                    let reply = client.post_with(message, &[(name, *value)]).await;
                    refused(&fixture, reply, 400, -32020, message).await;
                }
            }
        }
        for message in [&tool, &prompt, &resource] {
            for value in [None, Some(""), Some("other"), Some("BOOK"), Some("Greet"), Some("file:///A")] {
                let reply = client.post_with(message, &[(NAME, value)]).await;
                refused(&fixture, reply, 400, -32020, message).await;
            }
        }
        // A name in the header only: the body is not what a proxy took it for.
        for params in [json!({}), json!({ "name": 1 }), json!({ "name": null }), json!({ "uri": "book" })] {
            let message = client.call_with(1, "tools/call", params);
            refused(
                &fixture,
                client.post_with(&message, &[(NAME, Some("book"))]).await,
                400,
                -32020,
                &message,
            )
            .await;
            refused(&fixture, client.post(&message).await, 400, -32020, &message).await;
        }
        for name in [VERSION, METHOD, NAME] {
            let request = client.client.request(Method::POST);
            let all = [(VERSION, MODERN), (METHOD, "tools/call"), (NAME, "book")];
            let request = all.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let twice = all.iter().find(|(header, _)| *header == name).map_or("", |(_, value)| value);
            let reply = client.client.send(request.header(name, twice).body(tool.to_string()).unwrap()).await;
            refused(&fixture, reply, 400, -32020, &tool).await;
        }
        // Other methods have no name.
        let reply = client.post_with(&echo, &[(NAME, Some("whatever"))]).await;
        assert!(reply.answer().await["result"].is_object());
    });
}

/// G-11: the names of headers have no case, and whitespace around a value does not belong to it (RFC 9110, 5.5).
fn g_11_names_without_case_and_values_without_the_space_around_them(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let message = client.call_with(1, "tools/call", json!({ "name": "a tool" }));
        let padded = [(VERSION, " 2026-07-28"), (METHOD, "\ttools/call \t"), (NAME, "  a tool  ")];
        let mut request = client.client.request(Method::POST).body(message.to_string()).unwrap();
        for (name, value) in padded {
            let name = name.to_ascii_uppercase().parse::<http::HeaderName>().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let (reply, ()) = futures::join!(client.client.send(request), async {
            fixture.work().await.finish(json!({ "a": 1 }));
        });
        assert_eq!(reply.answer().await["result"]["a"], 1);
    });
}

/// G-12: a name between the markers is decoded first; without both of them, it is literal. What cannot be decoded is -32020.
fn g_12_names_in_base64(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        for (name, encoded) in [
            ("café", "=?base64?Y2Fmw6k=?="),
            ("日本", "=?base64?5pel5pys?="),
            ("", "=?base64??="),
            (" spaces ", "=?base64?IHNwYWNlcyA=?="),
            ("=?base64?Ym9vaw==?=", "=?base64?PT9iYXNlNjQ/WW05dmF3PT0/PQ==?="),
            ("line\nbreak", "=?base64?bGluZQpicmVhaw==?="),
        ] {
            let message = client.call_with(1, "tools/call", json!({ "name": name }));
            let changes = [(NAME, Some(encoded))];
            let (reply, ()) = futures::join!(client.post_with(&message, &changes), async {
                fixture.work().await.finish(json!({ "a": 1 }));
            });
            assert_eq!(reply.answer().await["result"]["a"], 1, "{name:?}");
        }
        for literal in
            ["=?base64?Ym9vaw==", "=?BASE64?Ym9vaw==?=", "=?Base64?Ym9vaw==?=", "?base64?Ym9vaw==?="]
        {
            let message = client.call_with(1, "tools/call", json!({ "name": literal }));
            let changes = [(NAME, Some(literal))];
            let (reply, ()) = futures::join!(client.post_with(&message, &changes), async {
                fixture.work().await.finish(json!({ "a": 1 }));
            });
            assert_eq!(reply.answer().await["result"]["a"], 1, "{literal:?}");
        }
    });
    // In another fixture: nothing is dispatched.
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let message = client.call_with(1, "tools/call", json!({ "name": "café" }));
        for value in [
            "=?base64?!!!?=",
            "=?base64?Y2Fmw6k?=", // no padding
            "=?base64?Y2Fm w6k=?=",
            "=?base64?Y2Fm6Q==?=", // Latin-1
            "=?base64?Y2FmZQ==?=", // another name
        ] {
            let reply = client.post_with(&message, &[(NAME, Some(value))]).await;
            refused(&fixture, reply, 400, -32020, &message).await;
        }
        // The method is never encoded.
        let message = client.call(1, "echo");
        let reply = client.post_with(&message, &[(METHOD, Some("=?base64?ZWNobw==?="))]).await;
        refused(&fixture, reply, 400, -32020, &message).await;
    });
}

/// G-13: a value with other characters than visible ASCII, space and tab is refused, even if its bytes are those of the
/// body.
fn g_13_characters_that_no_header_has(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let message = client.call_with(1, "tools/call", json!({ "name": "café" }));
        for (name, value) in [(NAME, "café"), (METHOD, "tools/cäll"), (VERSION, "2026-07-28\u{a0}")] {
            let changes = [(NAME, Some("=?base64?Y2Fmw6k=?=")), (name, Some(value))];
            let reply = client.post_with(&message, &changes).await;
            refused(&fixture, reply, 400, -32020, &message).await;
        }
    });
}

/// G-14: what the schema annotates is repeated in headers, at any depth, and only if it is there.
fn g_14_arguments_in_headers(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let call = |arguments: Value| {
            client.call_with("a", "tools/call", json!({ "name": "routed", "arguments": arguments }))
        };
        let (region, count, dry) = ("mcp-param-region", "mcp-param-count", "mcp-param-dry");
        for (arguments, headers) in [
            (json!({ "region": "eu" }), vec![]),
            (json!({ "region": "eu" }), vec![(region, "EU")]),
            (json!({ "region": "eu" }), vec![(region, "=?base64?!?=")]),
            (json!({ "region": null }), vec![(region, "null")]),
            (json!({}), vec![(region, "eu")]),
            (json!({ "region": { "a": 1 } }), vec![(region, "x")]),
            (json!({ "count": 42 }), vec![(count, "43")]),
            (json!({ "count": 42 }), vec![(count, "forty-two")]),
            (json!({ "nested": { "dry": true } }), vec![]),
            (json!({ "nested": { "dry": true } }), vec![(dry, "True")]),
            (json!({ "region": "eu", "count": 1 }), vec![(region, "eu")]),
        ] {
            let message = call(arguments);
            let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, Some(value))).collect();
            refused(&fixture, client.post_with(&message, &headers).await, 400, -32020, &message).await;
        }
    });
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        for (arguments, headers) in [
            (json!({}), vec![]),
            (json!({ "region": null, "count": null, "plain": "x" }), vec![]),
            (json!({ "region": "eu" }), vec![("Mcp-Param-Region", "eu")]),
            (json!({ "region": "日本" }), vec![("mcp-param-region", "=?base64?5pel5pys?=")]),
            (json!({ "count": 42 }), vec![("mcp-param-count", "42.0")]),
            (json!({ "count": -3 }), vec![("mcp-param-count", " -3 ")]),
            (json!({ "nested": { "dry": false } }), vec![("mcp-param-dry", "false")]),
        ] {
            let params = json!({ "name": "routed", "arguments": arguments });
            let message = client.call_with("a", "tools/call", params);
            let mut request = client.client.request(Method::POST).header(VERSION, MODERN);
            request = request.header(METHOD, "tools/call").header(NAME, "routed");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let (reply, ()) =
                futures::join!(client.client.send(request.body(message.to_string()).unwrap()), async {
                    fixture.work().await.finish(json!({ "a": 1 }));
                });
            assert_eq!(reply.answer().await["result"]["a"], 1, "{message}");
        }
    });
}

/// A panic over a schema concerns its own call only.
fn g_14_a_schema_that_cannot_be_read(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let message = client.call_with(1, "tools/call", json!({ "name": "unreadable" }));
        refused(&fixture, client.post(&message).await, 500, -32603, &message).await;
        assert_eq!(client.post(&client.call(2, "echo")).await.status, 200);
    });
}

/// G-15: `Mcp-Param-*` that no argument asks for.
fn g_15_headers_of_no_argument_are_ignored(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        for name in ["routed", "another"] {
            let message =
                client.call_with(1, "tools/call", json!({ "name": name, "arguments": { "plain": "x" } }));
            let stray = [("mcp-param-plain", Some("y")), ("mcp-param-other", Some("=?base64?!?="))];
            let (reply, ()) = futures::join!(client.post_with(&message, &stray), async {
                fixture.work().await.finish(json!({ "a": 1 }));
            });
            assert_eq!(reply.answer().await["result"]["a"], 1);
        }
        let message = client.call_with(1, "prompts/get", json!({ "name": "routed" }));
        let (running, work) = begin(&mut fixture, &client, &message).await;
        work.finish(json!({ "a": 1 }));
        assert_eq!(running.head().await.answer().await["result"]["a"], 1);
    });
}
