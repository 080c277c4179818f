use serde_json::{Value, json};

use super::*;

#[test]
fn client_params_are_kept_once_and_within_bounds() {
    let params = |name: &str, more: usize| -> Json {
        let info = json!({ "name": name, "version": "1", "icons": "x".repeat(more) });
        json!({ "protocolVersion": "2025-11-25", "capabilities": { "roots": {} }, "clientInfo": info }).into()
    };
    let clients = Clients::default();
    let [one, same, other] = ["a", "a", "b"].map(|name| clients.get(&params(name, 0)));
    assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
    assert_eq!(one.params, params("a", 0));
    assert_eq!(one.info.parse::<Value>().unwrap()["name"], "a");
    assert_eq!(one.capabilities.as_str(), r#"{"roots":{}}"#);

    let long = clients.get(&params(&"long ".repeat(1_000), KEPT));
    assert!(long.params.as_str().len() < KEPT);
    let info: Value = long.info.parse().unwrap();
    assert_eq!((info["name"].as_str().unwrap().len(), info.get("icons")), (KEPT_NAME, None));
    assert_eq!(long.capabilities.as_str(), r#"{"roots":{}}"#);

    for n in 0..10_000 {
        drop(clients.get(&params(&n.to_string(), 0)));
    }
    assert!(clients.len() < 1_000, "{}", clients.len()); // unused ones are removed
    assert!(Arc::ptr_eq(&one, &clients.get(&params("a", 0))));
}
