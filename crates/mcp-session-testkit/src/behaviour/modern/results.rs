//! What answers look like: results, their `_meta` and hints, and errors (A.3, G.7).

use mcp_session_core::{RequestError, RpcError};
use serde_json::{Value, json};

use super::{
    super::fixture::{Fixture, META, MODERN, NEVER, Reply},
    begin,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    a_35_a_36_every_result_has_its_type_and_the_server,
    a_36_the_server_can_be_left_out,
    a_33_codes_that_this_revision_does_not_have,
    g_05_a_capability_is_missing,
    g_47_discover,
    g_62_cache_hints,
    g_64_results_of_extensions,
    g_65_what_a_handler_answers_is_in_band,
    g_66_discover_while_every_handler_hangs,
    g_68_trace_context_passes_through,
}

/// The answer to a call of a handler that answers with this.
async fn answered(fixture: &mut Fixture, accept: &'static str, message: &Value, result: &Value) -> Reply {
    let client = fixture.modern().accepting(accept);
    let (running, work) = begin(fixture, &client, message).await;
    work.finish(result.clone());
    running.head().await
}

const BOTH: &str = "application/json, text/event-stream";
const FORMS: [&str; 3] = [BOTH, "application/json", "text/event-stream"];

/// in JSON and in events, for handlers that are ready at once and those that are not. What a handler says
/// itself is kept.
fn a_35_a_36_every_result_has_its_type_and_the_server(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let info = json!({ "name": "fixture", "version": "1.0.0" });
        let key = format!("{META}serverInfo");
        let message = fixture.modern().call(1, "work");
        for form in FORMS {
            for (result, complete) in [
                (json!({}), json!({ "resultType": "complete", "_meta": { &key: info } })),
                (
                    json!({ "a": [1, { "resultType": "x" }], "_meta": {} }),
                    json!({ "a": [1, { "resultType": "x" }], "resultType": "complete", "_meta": { &key: info } }),
                ),
                (
                    json!({ "resultType": "complete", "_meta": { "mine": { "a": 1 } } }),
                    json!({ "resultType": "complete", "_meta": { "mine": { "a": 1 }, &key: info } }),
                ),
                (
                    json!({ "_meta": { &key: { "name": "another", "version": "2" } } }),
                    json!({ "resultType": "complete", "_meta": { &key: { "name": "another", "version": "2" } } }),
                ),
            ] {
                // The same id each time, which is in order once the request before it is answered.
                let answer = answered(&mut fixture, form, &message, &result).await.answer().await;
                assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": 1, "result": complete }), "{form}");
            }
            let client = fixture.modern().accepting(form);
            let answer = client.post(&client.call("ready", "echo")).await.answer().await;
            assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&json!("ready"), &json!("complete")));
            // `echo` returns the client's own `_meta`, to which the server's is added.
            assert_eq!(answer["result"]["_meta"][&key], info);
            assert_eq!(answer["result"]["_meta"][format!("{META}protocolVersion")], MODERN);
        }
    });
}

/// [`Config::send_server_info`](mcp_session_core::Config::send_server_info).
fn a_36_the_server_can_be_left_out(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.send_server_info = false);
    bed.block_on(async {
        let client = fixture.modern();
        let message = client.call(1, "work");
        let answer = answered(&mut fixture, BOTH, &message, &json!({ "a": 1 })).await.answer().await;
        assert_eq!(answer["result"], json!({ "a": 1, "resultType": "complete" }));
        let discovered = client.post(&client.call(1, "server/discover")).await.answer().await;
        assert!(!discovered.to_string().contains("serverInfo"), "{discovered}");
    });
}

/// codes that were given up are replaced, codes of the specification and of the author are not.
fn a_33_codes_that_this_revision_does_not_have(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        for (code, sent) in [
            (-32002, -32602),
            (-32042, -32603),
            (-32000, -32603),
            (-32001, -32603),
            (-32602, -32602),
            (-32603, -32603),
            (-32600, -32600),
            (-1, -1),
            (404, 404),
        ] {
            let answer =
                client.post(&client.call_with(1, "fail", json!({ "code": code }))).await.answer().await;
            assert_eq!(answer["error"]["code"], sent, "{code}");
            assert_eq!(answer["error"]["message"], "as the client wants it");
        }
        let answer = client.post(&client.call(2, "panic")).await.answer().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(2), &json!(-32603)));
    });
}

/// G-05, G-22: 400 and -32021 with an object of capabilities, if the response has not begun; in band otherwise. What an
/// earlier request declared does not count (G-04).
fn g_05_a_capability_is_missing(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let form = json!({ "message": "?", "requestedSchema": { "type": "object", "properties": {} } });
        let url = json!({ "message": "?", "mode": "url", "url": "https://a.example", "elicitationId": "1" });
        for (declared, ask, required) in [
            (json!({}), Some(&form), json!({ "elicitation": {} })),
            (json!({ "sampling": {}, "roots": {} }), Some(&form), json!({ "elicitation": {} })),
            (json!({ "elicitation": {} }), Some(&url), json!({ "elicitation": { "url": {} } })),
            (json!({ "elicitation": {} }), None, json!({ "sampling": {} })),
        ] {
            let client = client.declaring(declared);
            let message = client.call_with("c", "tools/call", json!({ "name": "any" }));
            for form in FORMS {
                let (running, work) = begin(&mut fixture, &client.accepting(form), &message).await;
                let asked = match ask {
                    Some(params) => work.cx.elicit("key", params, NEVER).await,
                    None => work.cx.sample("key", &json!({ "messages": [], "maxTokens": 1 }), NEVER).await,
                };
                let error = asked.expect_err("the client does not declare it");
                assert_eq!(error, RequestError::MissingCapability(required.clone().into()));
                work.fail(error.into());
                let reply = running.head().await;
                let answer = if reply.is_stream() {
                    reply.answer().await // the client accepts nothing else, and the head was sent at once
                } else {
                    assert_eq!(reply.status, 400);
                    reply.json().await
                };
                assert_eq!(answer["error"]["code"], -32021);
                assert_eq!(answer["error"]["data"], json!({ "requiredCapabilities": required }));
                assert_eq!(answer["id"], "c");
            }
        }

        // An author's own, for any method.
        let message = client.saying("traceless", true).call("own", "work");
        let (running, work) = begin(&mut fixture, &client, &message).await;
        work.fail(RpcError::missing_capability(json!({ "roots": {} })));
        let reply = running.head().await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json().await["error"]["data"], json!({ "requiredCapabilities": { "roots": {} } }));

        // The stream has begun: nothing but the error can say it.
        let (running, work) = begin(&mut fixture, &client, &client.call(9, "work")).await;
        work.cx.notify("notifications/x", None::<&()>).await.unwrap();
        work.fail(RpcError::missing_capability(json!({ "roots": {} })));
        assert_eq!(running.head().await.answer().await["error"]["code"], -32021);
    });
}

/// G-46, G-47, A-36: versions, capabilities and hints; who the server is stands in `_meta` only.
fn g_47_discover(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for form in FORMS {
            let client = fixture.modern().accepting(form);
            let reply = client.post(&client.call("d", "server/discover")).await;
            assert_eq!((reply.status.as_u16(), reply.is_stream()), (200, form == FORMS[2]));
            let answer = reply.answer().await;
            assert_eq!(answer["id"], "d");
            assert_eq!(answer["result"], json!({
                "resultType": "complete",
                "supportedVersions": ["2025-03-26", "2025-06-18", "2025-11-25", MODERN],
                "capabilities": {
                    "tools": { "listChanged": true }, "resources": { "subscribe": true, "listChanged": true },
                },
                "ttlMs": 0,
                "cacheScope": "private",
                "_meta": { format!("{META}serverInfo"): { "name": "fixture", "version": "1.0.0" } },
            }));
        }
        assert_eq!(fixture.endpoint.stats().exchanges_admitted, 0);
    });
}

/// G-62: on the complete results of six methods, unless the handler gives its own.
fn g_62_cache_hints(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let hints = |answer: &Value| {
            (answer["result"].get("ttlMs").cloned(), answer["result"].get("cacheScope").cloned())
        };
        for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
            let answer = client.post(&client.call(1, method)).await.answer().await;
            assert_eq!(answer["result"]["listed"], method);
            assert_eq!(hints(&answer), (Some(json!(0)), Some(json!("private"))), "{method}");
            // A legacy client gets neither.
            let legacy =
                fixture.stranger().post(&json!({ "jsonrpc": "2.0", "id": 1, "method": method })).await;
            let legacy = legacy.answer().await;
            assert_eq!(legacy["result"], json!({ "listed": method }));
        }
        let read = client.call_with(1, "resources/read", json!({ "uri": "file:///a" }));
        for (result, ttl, scope) in [
            (json!({ "contents": [] }), 0, "private"),
            (json!({ "ttlMs": 60_000 }), 60_000, "private"),
            (json!({ "cacheScope": "public" }), 0, "public"),
            (json!({ "ttlMs": 5, "cacheScope": "public" }), 5, "public"),
        ] {
            let answer = answered(&mut fixture, BOTH, &read, &result).await.answer().await;
            assert_eq!(hints(&answer), (Some(json!(ttl)), Some(json!(scope))));
        }
        let tool = client.call_with(1, "tools/call", json!({ "name": "any" }));
        for (message, result) in [
            (&tool, json!({ "content": [] })),
            (&client.call(1, "work"), json!({})),
            (&read, json!({ "resultType": "input_required", "requestState": "x" })),
        ] {
            let answer = answered(&mut fixture, BOTH, message, &result).await.answer().await;
            assert_eq!(hints(&answer), (None, None), "{answer}");
        }
    });
}

/// G-64, A-35: a result type of an extension that the server does not advertise is not sent, whatever the client declares.
fn g_64_results_of_extensions(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for capabilities in [json!({}), json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } })] {
            let client = fixture.modern().declaring(capabilities);
            let message = client.call_with(1, "tools/call", json!({ "name": "any" }));
            for result_type in [json!("task"), json!(""), json!("Complete"), json!(1), json!({})] {
                let result = json!({ "resultType": result_type });
                let answer = answered(&mut fixture, BOTH, &message, &result).await.answer().await;
                assert_eq!(answer["error"]["code"], -32603, "{answer}");
            }
        }
    });
}

/// G-23, G-65: 200, also for -32602: clients take a 400 for an old server.
fn g_65_what_a_handler_answers_is_in_band(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        for code in [-32602, -32603, -32600, -32020, -32022, 42] {
            let message = client.call_with(1, "fail", json!({ "code": code }));
            for form in FORMS {
                let reply = client.accepting(form).post(&message).await;
                assert_eq!(reply.status, 200, "{code}");
                assert!(reply.answer().await["error"]["message"].is_string());
            }
            let (running, work) = begin(&mut fixture, &client, &client.call(2, "work")).await;
            work.fail(RpcError::invalid_params("no such tool"));
            let answer = running.head().await.answer().await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(2), &json!(-32602)));
        }
    });
}

/// G-66: at once, with as many requests as there may be, and all of their handlers hang.
fn g_66_discover_while_every_handler_hangs(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.max_stateless_requests = 8);
    bed.block_on(async {
        let client = fixture.modern();
        let mut running = Vec::new();
        for id in 0..8 {
            running.push(client.start(&client.call(id, "work")));
            drop(fixture.work().await); // hangs
        }
        let full = client.post(&client.call(9, "echo")).await;
        assert_eq!((full.status.as_u16(), full.header("retry-after")), (503, "1"));
        let refused = full.json().await;
        assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(9), &json!(-32603)));
        let discovered = client.post(&client.call(10, "server/discover")).await;
        assert!(discovered.answer().await["result"]["supportedVersions"].is_array());
        fixture.until(|fixture| fixture.endpoint.stats().exchanges == 8).await;
    });
}

/// G-68: the handler gets what the client sent, and the server adds nothing and takes nothing.
fn g_68_trace_context_passes_through(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let trace = json!({
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "baggage": "userId=alice,isProduction=false",
        });
        let message = client.call_with(1, "work", json!({ "_meta": trace }));
        let (running, work) = begin(&mut fixture, &client, &message).await;
        let params: Value = work.cx.params().unwrap();
        for name in ["traceparent", "tracestate", "baggage"] {
            assert_eq!(params["_meta"][name], trace[name]);
        }
        work.finish(json!({ "_meta": trace }));
        let answer = running.head().await.answer().await;
        assert_eq!(answer["result"]["_meta"]["traceparent"], trace["traceparent"]);
    });
}
