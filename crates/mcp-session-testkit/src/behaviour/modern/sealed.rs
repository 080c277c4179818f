//! `requestState`: sealed, bound to its request, and refused otherwise (G-38, G-67).

use mcp_session_core::{
    ErrorCode, RpcError, StateKeys,
    store::{MemoryStore, Store},
};
use serde_json::{Value, json};

use super::{
    super::fixture::{Fixture, Modern, PATIENT, SOON},
    begin,
};
use crate::{TestBed, suite::scenarios};

scenarios! {
    TestBed;
    g_38_a_state_comes_back_as_it_was,
    g_38_a_state_of_another_caller_or_request,
    g_38_a_state_that_was_changed,
    g_38_a_state_that_has_expired,
    g_38_a_state_of_another_server,
    g_67_nodes_with_one_store_share_a_key,
    g_67_the_keys_rotate,
}

/// The three methods that may have a state, and the member that names what they are about.
const METHODS: [(&str, &str); 3] =
    [("tools/call", "name"), ("prompts/get", "name"), ("resources/read", "uri")];

/// A request about this, with this state.
fn call(client: &Modern, (method, member): (&str, &str), about: &str, state: Option<&str>) -> Value {
    let mut params = json!({ member: about });
    if let Some(state) = state {
        params["requestState"] = state.into();
    }
    client.call_with(1, method, params)
}

/// Lets the handler seal `{"step": 1}` for this request. Returns the sealed state.
async fn seal(fixture: &mut Fixture, client: &Modern, message: &Value) -> String {
    let client = client.to(&fixture.endpoint);
    let (running, work) = begin(fixture, &client, message).await;
    let result = work.cx.input_required([] as [(&str, _); 0], Some(&json!({ "step": 1 })));
    work.answer(result);
    let answer = running.head().await.answer().await;
    answer["result"]["requestState"].as_str().expect("a state").to_owned()
}

/// What the handler of this request reads as its state. An error is what the client gets, in band.
async fn open(fixture: &mut Fixture, client: &Modern, message: &Value) -> Result<Option<Value>, RpcError> {
    let client = client.to(&fixture.endpoint);
    let (running, work) = begin(fixture, &client, message).await;
    let state = work.cx.request_state::<Value>();
    match &state {
        Ok(_) => work.finish(json!({})),
        Err(error) => work.fail(error.clone()),
    }
    let answer = running.head().await.answer().await;
    assert_eq!(answer["error"]["code"].as_i64(), state.as_ref().err().map(|error| error.code.0));
    state
}

/// It is refused.
async fn refused(fixture: &mut Fixture, client: &Modern, message: &Value) -> String {
    let error = open(fixture, client, message).await.expect_err("it is refused");
    assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
    error.message.into_owned()
}

/// G-38: for the three methods, with and without a principal, and more than once until it expires.
fn g_38_a_state_comes_back_as_it_was(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        for method in METHODS {
            for principal in [None, Some("alice"), Some("")] {
                let client = fixture.modern().known_as(principal);
                let state = seal(&mut fixture, &client, &call(&client, method, "file:a", None)).await;
                assert!(!state.contains("step"));
                let message = call(&client, method, "file:a", Some(&state));
                for _ in 0..2 {
                    assert_eq!(open(&mut fixture, &client, &message).await, Ok(Some(json!({ "step": 1 }))));
                }
                // No two are the same.
                assert_ne!(seal(&mut fixture, &client, &call(&client, method, "file:a", None)).await, state);
                let none = call(&client, method, "file:a", None);
                assert_eq!(open(&mut fixture, &client, &none).await, Ok(None));
            }
        }
    });
}

/// G-38: principal, method and name are bound in. The error does not say which of them was wrong.
fn g_38_a_state_of_another_caller_or_request(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let alice = fixture.modern().known_as(Some("alice"));
        let [tool, prompt, resource] = METHODS;
        let state = seal(&mut fixture, &alice, &call(&alice, tool, "file:a", None)).await;
        let mut messages = Vec::new();
        for principal in [None, Some("bob"), Some(""), Some("alice "), Some("Alice")] {
            let other = alice.known_as(principal);
            messages.push(refused(&mut fixture, &other, &call(&other, tool, "file:a", Some(&state))).await);
        }
        for (method, about) in [(tool, "file:b"), (tool, "file:"), (prompt, "file:a"), (resource, "file:a")] {
            messages.push(refused(&mut fixture, &alice, &call(&alice, method, about, Some(&state))).await);
        }
        messages.dedup();
        assert_eq!(messages.len(), 1, "{messages:?}");
        let nobody = alice.known_as(None);
        let state = seal(&mut fixture, &nobody, &call(&nobody, tool, "file:a", None)).await;
        refused(&mut fixture, &alice, &call(&alice, tool, "file:a", Some(&state))).await;
        // What the client says about itself is no part of it (G-06).
        let message = call(
            &nobody.saying("clientInfo", json!({ "name": "other", "version": "2" })),
            tool,
            "file:a",
            Some(&state),
        );
        assert!(open(&mut fixture, &nobody, &message).await.is_ok());
    });
}

/// G-38: each character, a part that is missing, more than there was, and what never was a state.
fn g_38_a_state_that_was_changed(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |_| {});
    bed.block_on(async {
        let client = fixture.modern();
        let state = seal(&mut fixture, &client, &call(&client, METHODS[0], "a", None)).await;
        let mut changed = Vec::new();
        for at in 0..state.len() {
            let mut text = state.clone().into_bytes();
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            changed.push(String::from_utf8(text).expect("ASCII"));
        }
        for end in [0, 1, 20, state.len() / 2, state.len() - 1] {
            changed.push(state[..end].to_owned());
        }
        let long = "A".repeat(100_000);
        changed.extend([
            format!("{state}A"),
            format!("{state}="),
            format!(" {state}"),
            state.repeat(2),
            long,
        ]);
        changed
            .extend(["null", "e30", "{\"step\":1}", "=?base64?e30=?=", "\u{0}", "日本"].map(str::to_owned));
        for text in changed {
            assert_ne!(text, state);
            refused(&mut fixture, &client, &call(&client, METHODS[0], "a", Some(&text))).await;
        }
        assert!(open(&mut fixture, &client, &call(&client, METHODS[0], "a", Some(&state))).await.is_ok());
    });
}

/// G-38: after [`Config::state_ttl`](mcp_session_core::Config::state_ttl), the client has to begin again.
fn g_38_a_state_that_has_expired(bed: &impl TestBed) {
    let mut fixture = Fixture::new(bed, |config| config.state_ttl = SOON);
    bed.block_on(async {
        let client = fixture.modern();
        let state = seal(&mut fixture, &client, &call(&client, METHODS[0], "a", None)).await;
        let message = call(&client, METHODS[0], "a", Some(&state));
        // The clock on the wall may be another one than that of the timers.
        let error = loop {
            match open(&mut fixture, &client, &message).await {
                Ok(opened) => assert_eq!(opened, Some(json!({ "step": 1 }))),
                Err(error) => break error,
            }
            fixture.elapse(SOON / 4).await;
        };
        assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
        assert!(error.message.contains("expired"), "{error}");
        seal(&mut fixture, &client, &call(&client, METHODS[0], "a", None)).await;
    });
}

/// G-38, G-67: without keys of the operator's, each endpoint has its own. One of another operator does not open it either.
fn g_38_a_state_of_another_server(bed: &impl TestBed) {
    let key = |byte| StateKeys::new([[byte; 32]]).expect("a key");
    for keys in [[None, None], [Some(1), None], [None, Some(1)], [Some(1), Some(2)]] {
        let [mut one, mut other] =
            keys.map(|byte| Fixture::new(bed, |config| config.state_keys = byte.map(key)));
        bed.block_on(async {
            let client = one.modern();
            let state = seal(&mut one, &client, &call(&client, METHODS[0], "a", None)).await;
            let message = call(&client, METHODS[0], "a", Some(&state));
            refused(&mut other, &client, &message).await;
            seal(&mut other, &client, &call(&client, METHODS[0], "a", None)).await; // now it has a key in any case
            refused(&mut other, &client, &message).await;
            assert!(open(&mut one, &client, &message).await.is_ok());
        });
    }
}

/// G-67: without keys of the operator's, nodes with one store share a key, also those that start later. Other servers do not
/// have it.
fn g_67_nodes_with_one_store_share_a_key(bed: &impl TestBed) {
    let shared = MemoryStore::new(bed.runtime());
    let node = || Fixture::new(bed, |config| config.store = Some(Store::new(shared.clone())));
    let [mut one, mut other] = [(); 2].map(|()| node());
    bed.block_on(async {
        let client = one.modern();
        let state = seal(&mut one, &client, &call(&client, METHODS[0], "a", None)).await;
        let message = call(&client, METHODS[0], "a", Some(&state));
        assert!(open(&mut other, &client, &message).await.is_ok());
        assert!(one.endpoint.shutdown(PATIENT).await.is_clean());
        assert!(open(&mut node(), &client, &message).await.is_ok());

        let mut stranger = Fixture::new(bed, |config| {
            config.store = Some(Store::new(MemoryStore::new(bed.runtime())));
        });
        refused(&mut stranger, &client, &message).await;
        let mut given = Fixture::new(bed, |config| {
            config.store = Some(Store::new(shared.clone()));
            config.state_keys = Some(StateKeys::new([[1; 32]]).expect("a key"));
        });
        refused(&mut given, &client, &message).await;
    });
}

/// G-67: the first key seals, all of them open: a rolling deploy with a new key opens what the old one sealed.
fn g_67_the_keys_rotate(bed: &impl TestBed) {
    let ring = |bytes: &[u8]| StateKeys::new(bytes.iter().map(|byte| [*byte; 32])).expect("keys");
    let rings: [&[u8]; 4] = [&[1], &[1, 2], &[2, 1], &[2]];
    let mut nodes = rings.map(|bytes| Fixture::new(bed, |config| config.state_keys = Some(ring(bytes))));
    bed.block_on(async {
        for sealing in 0..rings.len() {
            let client = nodes[sealing].modern();
            let state = seal(&mut nodes[sealing], &client, &call(&client, METHODS[0], "a", None)).await;
            let message = call(&client, METHODS[0], "a", Some(&state));
            for opening in 0..rings.len() {
                let opens = rings[opening].contains(&rings[sealing][0]);
                let opened = open(&mut nodes[opening], &client, &message).await;
                assert_eq!(opened.is_ok(), opens, "{:?} at {:?}", rings[sealing], rings[opening]);
            }
        }
    });
}
