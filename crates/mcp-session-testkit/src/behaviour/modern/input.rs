//! Handlers that ask the client in the middle of a request (G-35, G-36, G-39).

use futures::join;
use mcp_session_core::{ErrorCode, InputRequest, RequestError};
use serde_json::{Value, json};

use super::{
    super::fixture::{Fixture, Modern, NEVER},
    begin,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_35_several_questions_are_one_result,
    g_35_only_three_methods_may_ask,
    g_35_a_result_of_its_own,
    g_35_after_the_stream_has_begun,
    g_36_only_what_the_client_declares,
    g_37_the_answers_come_with_another_request,
    g_39_answers_that_are_missing_or_surplus,
    input_that_cannot_be_read,
}

/// A client that can be asked everything.
fn able(fixture: &Fixture) -> Modern {
    fixture
        .modern()
        .declaring(json!({ "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} }))
}

fn form() -> Value {
    json!({ "message": "?", "requestedSchema": { "type": "object", "properties": {} } })
}

/// G-35, G-36: everything that a handler has asked for, concurrently, is asked in one result: method and params, no ids.
fn g_35_several_questions_are_one_result(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = able(&fixture);
        for (method, params) in [
            ("tools/call", json!({ "name": "any" })),
            ("prompts/get", json!({ "name": "any" })),
            ("resources/read", json!({ "uri": "file:///a" })),
        ] {
            let (running, work) = begin(&mut fixture, &client, &client.call_with("q", method, params)).await;
            let sample = json!({ "messages": [], "maxTokens": 1 });
            let (form, cx) = (form(), &work.cx);
            let (a, b, c, again) = join!(
                cx.elicit("a", &form, NEVER),
                cx.sample("b", &sample, NEVER),
                cx.roots("c", NEVER),
                cx.elicit("a", &form, NEVER)
            );
            for asked in [&a, &b, &c, &again] {
                assert_eq!(*asked, Err(RequestError::InputRequired));
            }
            work.fail(a.expect_err("it needs input").into());
            let answer = running.head().await.answer().await;
            assert_eq!(
                (&answer["id"], &answer["result"]["resultType"]),
                (&json!("q"), &json!("input_required"))
            );
            assert_eq!(
                answer["result"]["inputRequests"],
                json!({
                    "a": { "method": "elicitation/create", "params": form },
                    "b": { "method": "sampling/createMessage", "params": sample },
                    "c": { "method": "roots/list", "params": {} },
                })
            );
            assert!(answer["result"].get("requestState").is_none(), "{answer}"); // nothing was answered yet
            assert!(answer["result"]["_meta"].is_object(), "A-36");
        }
    });
}

/// G-35: any other method gets an error, however its handler tries.
fn g_35_only_three_methods_may_ask(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = able(&fixture);
        let message = client.call(1, "work");
        let (running, work) = begin(&mut fixture, &client, &message).await;
        let asked = work.cx.elicit("a", &form(), NEVER).await;
        assert_eq!(asked, Err(RequestError::NotHere));
        assert_eq!(work.cx.roots("a", NEVER).await, Err(RequestError::NotHere));
        work.fail(RequestError::NotHere.into());
        assert_eq!(running.head().await.answer().await["error"]["code"], -32603);

        for attempt in 0..3 {
            let (running, work) = begin(&mut fixture, &client, &message).await;
            match attempt {
                0 => work.finish(json!({ "resultType": "input_required", "requestState": "x" })),
                1 => work.fail(RequestError::InputRequired.into()),
                _ => {
                    let result = work.cx.input_required([("a", ask_form())], None::<&()>);
                    assert_eq!(result.as_ref().unwrap_err().code, ErrorCode::INTERNAL_ERROR);
                    work.answer(result);
                }
            }
            assert_eq!(running.head().await.answer().await["error"]["code"], -32603, "{attempt}");
        }

        // A revision without it.
        let legacy = fixture.client().await;
        let _running = legacy.start(&json!({ "jsonrpc": "2.0", "id": 1, "method": "work" }));
        let work = fixture.work().await;
        let result = work.cx.input_required([("a", ask_form())], None::<&()>);
        assert_eq!(result.unwrap_err().code, ErrorCode::INTERNAL_ERROR);
        assert_eq!(work.cx.input_response("a"), Ok(None));
        assert_eq!(work.cx.request_state::<Value>(), Ok(None));
    });
}

fn ask_form() -> InputRequest {
    InputRequest::elicit(form())
}

/// G-35: requests, a state, or both, but not neither.
fn g_35_a_result_of_its_own(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = able(&fixture);
        let message = client.call_with(1, "tools/call", json!({ "name": "any" }));
        let state = json!({ "step": 1 });
        for (asks, state) in [(true, None), (false, Some(&state)), (true, Some(&state))] {
            let (running, work) = begin(&mut fixture, &client, &message).await;
            let result = work.cx.input_required(asks.then(|| ("a", ask_form())), state);
            work.answer(result);
            let result = running.head().await.answer().await["result"].take();
            assert_eq!(result["resultType"], "input_required");
            assert_eq!(result.get("inputRequests").is_some(), asks);
            assert_eq!(result.get("requestState").is_some_and(Value::is_string), state.is_some());
            assert!(!result.to_string().contains("step"), "sealed: {result}");
        }
        let (_running, work) = begin(&mut fixture, &client, &message).await;
        let neither = work.cx.input_required([] as [(&str, _); 0], None::<&()>);
        assert_eq!(neither.unwrap_err().code, ErrorCode::INTERNAL_ERROR);
        let long = "x".repeat(64 * 1024);
        let too_long = work.cx.input_required([("a", ask_form())], Some(&long));
        assert_eq!(too_long.unwrap_err().code, ErrorCode::INTERNAL_ERROR);
        // A handler that says that it needs input, and has asked for none.
        work.fail(RequestError::InputRequired.into());
        assert_eq!(_running.head().await.answer().await["error"]["code"], -32603);
    });
}

/// G-27, G-35: the result is the last event of the stream.
fn g_35_after_the_stream_has_begun(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = able(&fixture);
        let message = client.call_with(1, "tools/call", json!({ "name": "any" }));
        let (running, work) = begin(&mut fixture, &client, &message).await;
        work.cx.notify("notifications/x", None::<&()>).await.unwrap();
        let asked = work.cx.roots("r", NEVER).await;
        work.fail(asked.unwrap_err().into());
        let messages = running.head().await.messages().await;
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[1]["result"]["inputRequests"]["r"]["method"], "roots/list");
    });
}

/// G-36: of each kind by itself, and not of a kind that an earlier request declared (G-04).
fn g_36_only_what_the_client_declares(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let all = able(&fixture);
        let (_running, first) =
            begin(&mut fixture, &all, &all.call_with(1, "tools/call", json!({ "name": "any" }))).await;
        assert_eq!(first.cx.roots("r", NEVER).await, Err(RequestError::InputRequired));
        for (declared, allowed) in [
            (json!({}), [false, false, false]),
            (json!({ "elicitation": {} }), [true, false, false]),
            (json!({ "sampling": {} }), [false, true, false]),
            (json!({ "roots": {} }), [false, false, true]),
            (json!({ "elicitation": null, "roots": {} }), [false, false, true]),
        ] {
            let client = fixture.modern().declaring(declared.clone());
            let message = client.call_with(1, "tools/call", json!({ "name": "any" }));
            let (_running, work) = begin(&mut fixture, &client, &message).await;
            let sample = json!({ "messages": [], "maxTokens": 1 });
            let asked = [
                work.cx.elicit("a", &form(), NEVER).await,
                work.cx.sample("b", &sample, NEVER).await,
                work.cx.roots("c", NEVER).await,
            ];
            for (asked, allowed) in asked.iter().zip(allowed) {
                match asked {
                    Err(RequestError::InputRequired) => assert!(allowed, "{declared}"),
                    Err(RequestError::MissingCapability(_)) => assert!(!allowed, "{declared}"),
                    other => panic!("{declared}: {other:?}"),
                }
            }
            let own = work.cx.input_required([("c", InputRequest::roots())], None::<&()>);
            assert_eq!(own.is_ok(), allowed[2]);
            if let Err(error) = own {
                assert_eq!(error.code, ErrorCode::MISSING_CLIENT_CAPABILITY);
            }
        }
    });
}

/// G-37: the second request stands alone: the answers are in it, and the handler begins again.
fn g_37_the_answers_come_with_another_request(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = able(&fixture);
        let responses = json!({ "a": { "action": "accept", "content": { "x": 1 } }, "r": { "roots": [] } });
        let params = json!({ "name": "any", "inputResponses": responses });
        let (running, work) = begin(&mut fixture, &client, &client.call_with(2, "tools/call", params)).await;
        let answer: Value = work.cx.elicit("a", &form(), NEVER).await.unwrap().parse().unwrap();
        assert_eq!(answer, responses["a"]);
        // Read, not asked: nothing needs to be declared for it.
        let plain = fixture.modern();
        let response = work.cx.input_response("r").unwrap().map(|json| json.parse::<Value>().unwrap());
        assert_eq!(response, Some(json!({ "roots": [] })));
        assert_eq!(work.cx.input_response("none"), Ok(None));
        work.finish(json!({ "a": 1 }));
        assert_eq!(running.head().await.answer().await["result"]["resultType"], "complete");
        let message = plain.call_with(
            3,
            "tools/call",
            json!({ "name": "any", "inputResponses": { "r": { "roots": [] } } }),
        );
        let (_running, work) = begin(&mut fixture, &plain, &message).await;
        assert!(work.cx.roots("r", NEVER).await.is_ok());
    });
}

/// G-39: what is missing, or no object, is asked again; what nobody asked for is ignored.
fn g_39_answers_that_are_missing_or_surplus(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = able(&fixture);
        for bad in [json!(null), json!("accept"), json!([]), json!(1), json!(true)] {
            let responses = json!({ "a": bad, "stray": { "action": "accept" }, "b": { "roots": [] } });
            let params = json!({ "name": "any", "inputResponses": responses });
            let (running, work) =
                begin(&mut fixture, &client, &client.call_with(2, "tools/call", params)).await;
            let (a, b) = (work.cx.elicit("a", &form(), NEVER).await, work.cx.roots("b", NEVER).await);
            assert_eq!((a, b.is_ok()), (Err(RequestError::InputRequired), true), "{bad}");
            work.fail(RequestError::InputRequired.into());
            let result = running.head().await.answer().await["result"].take();
            let asked: Vec<_> = result["inputRequests"].as_object().unwrap().keys().collect();
            assert_eq!(asked, ["a"]);
            assert!(result["requestState"].is_string(), "it carries the answer to b: {result}");
        }
    });
}

/// -32602 in band: these parts of the params are the handler's.
fn input_that_cannot_be_read(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = able(&fixture);
        for (member, value) in [
            ("inputResponses", json!([])),
            ("inputResponses", json!("x")),
            ("inputResponses", json!(1)),
            ("requestState", json!(1)),
            ("requestState", json!({})),
            ("requestState", json!("")),
            ("requestState", json!("no state of this server")),
        ] {
            let params = json!({ "name": "any", member: value });
            let (running, work) =
                begin(&mut fixture, &client, &client.call_with(2, "tools/call", params)).await;
            let asked = work.cx.elicit("a", &form(), NEVER).await.unwrap_err();
            let RequestError::Invalid(error) = &asked else { panic!("{member}: {value}: {asked:?}") };
            assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
            assert!(error.message.contains(member), "{error}");
            assert_eq!(work.cx.input_response("a").unwrap_err().code, ErrorCode::INVALID_PARAMS);
            assert_eq!(work.cx.request_state::<Value>().unwrap_err().code, ErrorCode::INVALID_PARAMS);
            work.fail(asked.into());
            let answer = running.head().await.answer().await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(2), &json!(-32602)));
        }
        // `null` is absent.
        let params = json!({ "name": "any", "inputResponses": null, "requestState": null });
        let (_running, work) = begin(&mut fixture, &client, &client.call_with(2, "tools/call", params)).await;
        assert_eq!(work.cx.roots("r", NEVER).await, Err(RequestError::InputRequired));
    });
}
