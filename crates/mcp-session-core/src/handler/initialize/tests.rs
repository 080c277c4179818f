use serde_json::{Value, json};

use super::*;

fn declared(version: &str, capabilities: &Value) -> ClientCapabilities {
    let info = json!({ "name": "c", "version": "1" });
    let params = json!({ "protocolVersion": version, "capabilities": capabilities, "clientInfo": info });
    read(&params.into()).unwrap().known
}

#[test]
fn c_12_c_13_what_counts_as_declared() {
    let elicitation = |version, modes: Value| {
        let known = declared(version, &json!({ "elicitation": modes }));
        (known.elicitation, known.elicitation_url)
    };
    assert_eq!(elicitation("2025-11-25", json!({})), (true, false)); // empty means form mode
    assert_eq!(elicitation("2025-11-25", json!({ "form": {} })), (true, false));
    assert_eq!(elicitation("2025-11-25", json!({ "url": {} })), (false, true));
    assert_eq!(elicitation("2025-11-25", json!({ "form": {}, "url": {} })), (true, true));
    assert_eq!(elicitation("2025-06-18", json!({ "url": {} })), (true, false)); // this version has no modes
    assert_eq!(elicitation("2025-03-26", json!({})), (false, false)); // this one has no elicitation
    for nothing in [Value::Null, json!(false), json!("yes"), json!([])] {
        let all = json!({ "sampling": nothing, "elicitation": nothing, "roots": nothing, "other": nothing });
        assert_eq!(declared("2025-11-25", &all), ClientCapabilities::default(), "{nothing}");
    }
    let sampling = |version| declared(version, &json!({ "sampling": { "tools": {} }, "roots": {} }));
    assert!(sampling("2025-11-25").sampling_tools && !sampling("2025-06-18").sampling_tools);
    assert!(sampling("2025-03-26").sampling && sampling("2025-03-26").roots);
}
