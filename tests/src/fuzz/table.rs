//! The statuses and codes of refusals: the table of core, written down a second time.

use mcp_session_core::RequestId;
use serde_json::Value;

/// Each pair that core has: those of 2026-07-28, which has no codes of older SDKs, included.
const PAIRS: [(u16, i64); 20] = [
    (400, -32700),
    (400, -32600),
    (400, -32602),
    (400, -32020),
    (400, -32021),
    (400, -32022),
    (401, -32600),
    (403, -32600),
    (404, -32001),
    (404, -32601),
    (404, -32603),
    (405, -32600),
    (406, -32600),
    (408, -32600),
    (409, -32600),
    (413, -32600),
    (415, -32600),
    (500, -32603),
    (503, -32000),
    (503, -32603),
];

/// Checks the body of a refusal. Returns its code.
///
/// # Panics
///
/// If it is not an error of the table, with this id or none. A batch in which no message is valid is refused with an array: one
/// error without an id for each.
pub(super) fn check_refusal(status: u16, body: &[u8], id: Option<&RequestId>) -> i64 {
    let error: Value =
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{status}: {error}: {body:?}"));
    match error {
        Value::Array(errors) => {
            assert!(!errors.is_empty(), "{status}: an empty batch is refused with one error");
            let mut codes = errors.iter().map(|error| check_error(status, error, None));
            assert!(codes.all(|code| code == -32600), "{status}: {errors:?}");
            -32600
        }
        error => check_error(status, &error, id),
    }
}

fn check_error(status: u16, error: &Value, id: Option<&RequestId>) -> i64 {
    let code = error["error"]["code"].as_i64().unwrap_or_else(|| panic!("{status}: {error}"));
    assert!(PAIRS.contains(&(status, code)), "{status} with {code} is not in the table: {error}");
    assert_eq!(error["jsonrpc"], "2.0");
    assert!(error["error"]["message"].is_string(), "{error}");
    let echoed = &error["id"];
    if !echoed.is_null() {
        let echoed = RequestId::from_json(&echoed.to_string());
        assert_eq!(echoed.as_ref(), id, "an error echoes the id of its request: {error}");
    }
    code
}
