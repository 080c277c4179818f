use serde_json::json;

use super::*;

const INFO: &str = r#""io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}"#;

fn server(capabilities: Value) -> Server {
    let info = json!({ "name": "s", "version": "1" }).into();
    Server::new(ProtocolVersion::ALL, &capabilities.into(), Some(&info), Map::new())
}

fn complete(method: &str, result: &str) -> Result<String, RpcError> {
    let capabilities = json!({ "extensions": { "x": {} } }).into();
    let answered = Answered { method, capabilities: &capabilities };
    let result = Json::from_text(result.to_owned().into()).unwrap();
    let completed = server(json!({})).complete(Some(answered), Ok(result)).into_answer();
    completed.map(|result| result.as_str().to_owned())
}

#[test]
fn a_35_a_36_a_result_gets_what_it_lacks() {
    for (result, completed) in [
        ("{}", format!(r#"{{"resultType":"complete","_meta":{{{INFO}}}}}"#)),
        (r#" { "a":1}"#, format!(r#" {{"resultType":"complete","_meta":{{{INFO}}}, "a":1}}"#)),
        (r#"{"_meta":{}}"#, format!(r#"{{"resultType":"complete","_meta":{{{INFO}}}}}"#)),
        (
            r#"{"a":{"_meta":1},"_meta": {"k":2},"b":3}"#,
            format!(r#"{{"resultType":"complete","a":{{"_meta":1}},"_meta": {{{INFO},"k":2}},"b":3}}"#),
        ),
        (
            r#"{"resultType":"complete","x":"\"}"}"#,
            format!(r#"{{"_meta":{{{INFO}}},"resultType":"complete","x":"\"}}"}}"#),
        ),
        (
            r#"{"resultType":"complete","_meta":{"k":2}}"#,
            format!(r#"{{"resultType":"complete","_meta":{{{INFO},"k":2}}}}"#),
        ),
        (
            r#"{"resultType":null,"_meta":null,"a":null}"#,
            format!(r#"{{"resultType":"complete","_meta":{{{INFO}}},"a":null}}"#), // the others are as they were
        ),
        (r#"{"_meta":[]}"#, r#"{"resultType":"complete","_meta":[]}"#.to_owned()),
    ] {
        assert_eq!(complete("tools/call", result).unwrap(), completed, "{result}");
        let whole = complete("tools/call", &completed).unwrap();
        assert_eq!(whole, completed, "completing it again changes nothing");
    }
    let plain = Server::new(ProtocolVersion::ALL, Json::empty(), None, Map::new());
    let answered = Answered { method: "tools/call", capabilities: Json::empty() };
    let result = plain.complete(Some(answered), Ok(Json::empty().clone())).into_answer().unwrap();
    assert_eq!(result.as_str(), r#"{"resultType":"complete"}"#);
}

#[test]
fn g_62_lists_and_reads_get_cache_hints_and_nothing_else_does() {
    for method in
        ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"]
    {
        let hints: Value = serde_json::from_str(&complete(method, "{}").unwrap()).unwrap();
        assert_eq!((&hints["ttlMs"], &hints["cacheScope"]), (&json!(0), &json!("private")), "{method}");
        let nulls: Value =
            serde_json::from_str(&complete(method, r#"{"ttlMs":null,"cacheScope":null}"#).unwrap()).unwrap();
        assert_eq!((&nulls["ttlMs"], &nulls["cacheScope"]), (&json!(0), &json!("private")), "{method}");
        let given = complete(method, r#"{"ttlMs":5,"cacheScope":"public"}"#).unwrap();
        assert_eq!((given.matches("ttlMs").count(), given.matches("cacheScope").count()), (1, 1));
    }
    assert!(!complete("tools/call", "{}").unwrap().contains("ttlMs"));
    let asks = complete("resources/read", r#"{"resultType":"input_required","inputRequests":{}}"#).unwrap();
    assert!(!asks.contains("ttlMs"), "{asks}");
}

#[test]
fn g_35_g_64_result_types_that_this_request_cannot_have_are_errors() {
    let asks = r#"{"resultType":"input_required","requestState":"s"}"#;
    for method in ["tools/call", "prompts/get", "resources/read"] {
        assert!(complete(method, asks).is_ok());
    }
    for method in ["tools/list", "completion/complete", "made/up"] {
        assert_eq!(complete(method, asks).unwrap_err().code, ErrorCode::INTERNAL_ERROR, "{method}");
    }
    let task = r#"{"resultType":"task"}"#;
    assert_eq!(complete("tools/call", task).unwrap_err().code, ErrorCode::INTERNAL_ERROR);
    let server = server(json!({ "extensions": { "x/tasks": {} } }));
    for extensions in [true, false] {
        let capabilities =
            if extensions { json!({ "extensions": { "x/tasks": {} } }) } else { json!({}) }.into();
        let answered = Answered { method: "tools/call", capabilities: &capabilities };
        let result = server.complete(Some(answered), Ok(Json::from_text(task.into()).unwrap())).answer;
        assert_eq!(result.is_ok(), extensions, "the client has to declare one as well");
    }
}

#[test]
fn a_32_a_33_codes_that_the_revision_gave_up_are_replaced() {
    let complete = |code| {
        let answered = Answered { method: "tools/call", capabilities: Json::empty() };
        let error = Err(RpcError::new(ErrorCode(code), "why").with_data(json!({ "uri": "x" })));
        server(json!({})).complete(Some(answered), error).answer.unwrap_err()
    };
    for (before, after) in [
        (-32002, -32602),
        (-32042, -32603),
        (-32000, -32603),
        (-32001, -32603),
        (-32602, -32602),
        (7, 7),
        (-32050, -32603),
    ] {
        let error = complete(before);
        assert_eq!((error.code.0, &*error.message), (after, "why"));
        assert!(error.data.is_some());
    }
}

#[test]
fn g_46_g_47_discovery_names_versions_and_capabilities() {
    let capabilities = json!({ "tools": { "listChanged": true } });
    let discovered: Value = server(capabilities.clone()).discovered.parse().unwrap();
    let versions = json!(["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]);
    assert_eq!(discovered["supportedVersions"], versions);
    assert_eq!(discovered["capabilities"], capabilities);
    assert_eq!(discovered["resultType"], "complete");
    assert_eq!((&discovered["ttlMs"], &discovered["cacheScope"]), (&json!(0), &json!("private")));
    assert_eq!(discovered["_meta"][SERVER_INFO]["name"], "s");
    assert!(discovered.get("serverInfo").is_none());
}
