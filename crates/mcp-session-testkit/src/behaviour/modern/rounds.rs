//! One handler for clients of both eras, over several rounds and several nodes (G-50).

use mcp_session_core::StateKeys;
use serde_json::{Value, json};

use super::super::fixture::{Fixture, Modern, reply, request_with};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_50_one_handler_serves_both_eras,
    g_37_each_round_at_another_node,
    g_37_the_client_never_comes_back,
    g_50_a_client_of_the_old_era_without_a_session,
}

#[allow(clippy::needless_pass_by_value)] // written in place
fn accept(content: Value) -> Value {
    json!({ "action": "accept", "content": content })
}

/// The answers to `book`.
fn both() -> (Value, Value) {
    (accept(json!({ "guests": 4 })), accept(json!({ "day": "Monday" })))
}

/// What `book` returns then.
fn booked(result: &Value) {
    assert_eq!(
        (&result["guests"], &result["day"]),
        (&json!({ "guests": 4 }), &json!({ "day": "Monday" })),
        "{result}"
    );
}

/// A round: the request with these answers and the state of the last round. Returns the result.
async fn round(client: &Modern, id: u64, responses: Value, state: Option<Value>) -> Value {
    let mut params = json!({ "name": "book", "inputResponses": responses });
    if let Some(state) = state {
        params["requestState"] = state;
    }
    let mut answer = client.post(&client.call_with(id, "tools/call", params)).await.answer().await;
    assert_eq!(answer["id"], id);
    answer["result"].take()
}

/// The only key that is asked for, and the state.
fn asked(result: &mut Value) -> (String, Option<Value>) {
    assert_eq!(result["resultType"], "input_required", "{result}");
    let keys: Vec<_> = result["inputRequests"].as_object().expect("requests").keys().cloned().collect();
    assert_eq!(keys.len(), 1, "{result}");
    assert!(result["inputRequests"][&keys[0]].get("id").is_none());
    (keys.concat(), result.get_mut("requestState").map(Value::take))
}

/// G-50: `book` asks twice. In a session, it waits; at 2026-07-28 it runs three times, and the answer to the first question
/// travels in the state.
fn g_50_one_handler_serves_both_eras(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let (guests, day) = both();

        let mut legacy = fixture.stranger();
        let mut message = super::super::fixture::initialize("2025-11-25", "client");
        message["params"]["capabilities"] = json!({ "elicitation": {} });
        legacy.initialize_with(&message).await;
        legacy.post(&super::super::fixture::notification("notifications/initialized")).await;
        let mut stream = legacy.post(&request_with(1, "tools/call", json!({ "name": "book" }))).await;
        for (answer, question) in [(&guests, "For how many?"), (&day, "On which day?")] {
            let asked = stream.message().await.unwrap();
            assert_eq!(
                (&asked["method"], &asked["params"]["message"]),
                (&json!("elicitation/create"), &json!(question))
            );
            assert_eq!(legacy.post(&reply(asked["id"].clone(), answer.clone())).await.status, 202);
        }
        let answer = stream.message().await.unwrap();
        booked(&answer["result"]);

        let client = fixture.modern().declaring(json!({ "elicitation": {} }));
        let mut result = round(&client, 1, json!({}), None).await;
        let (key, state) = asked(&mut result);
        assert_eq!((&*key, state), ("guests", None));
        let mut result = round(&client, 2, json!({ "guests": guests }), None).await;
        let (key, state) = asked(&mut result);
        assert_eq!(key, "day");
        booked(&round(&client, 3, json!({ "day": day }), state).await);
        // All at once works, too, and needs no state.
        booked(&round(&client, 4, json!({ "guests": guests, "day": day }), None).await);
        assert_eq!(fixture.endpoint.stats().exchanges, 0);
    });
}

/// G-37, G-67: nodes with the same key.
fn g_37_each_round_at_another_node(bed: &impl TestBed) {
    let keys = || StateKeys::new([[7; 32]]).expect("a key");
    let nodes = [0; 3].map(|_| Fixture::new(bed, |config| config.state_keys = Some(keys())));
    bed.block_on(async {
        let (guests, day) = both();
        let client = nodes[0].modern().declaring(json!({ "elicitation": {} })).known_as(Some("alice"));
        asked(&mut round(&client, 1, json!({}), None).await);
        let client = client.to(&nodes[1].endpoint);
        let mut result = round(&client, 2, json!({ "guests": guests }), None).await;
        let (_, state) = asked(&mut result);
        // A client that forgets an answer is asked again, and what was answered is kept.
        let mut result = round(&client.to(&nodes[0].endpoint), 3, json!({}), state).await;
        let (key, state) = asked(&mut result);
        assert_eq!(key, "day");
        booked(&round(&client.to(&nodes[2].endpoint), 4, json!({ "day": day }), state).await);
    });
}

/// G-37: nothing is kept for a client that was asked.
fn g_37_the_client_never_comes_back(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |config| config.max_stateless_requests = 1);
    bed.block_on(async {
        let client = fixture.modern().declaring(json!({ "elicitation": {} }));
        for id in 0..100 {
            asked(&mut round(&client, id, json!({}), None).await);
        }
        let stats = fixture.endpoint.stats();
        assert_eq!((stats.exchanges, stats.streams, stats.exchanges_answered), (0, 0, 100));
    });
}

/// E-29: nobody can ask it, and the handler is told why.
fn g_50_a_client_of_the_old_era_without_a_session(bed: &impl TestBed) {
    let fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let reply = fixture.stranger().post(&request_with(1, "tools/call", json!({ "name": "book" }))).await;
        let answer = reply.answer().await;
        assert_eq!(answer["error"]["code"], -32603);
        assert!(answer["error"]["message"].as_str().unwrap().contains("session"), "{answer}");
    });
}
