use http::HeaderValue;
use mcp_session_proto::ErrorCode;
use serde_json::{Value, json};

use super::*;

/// A request and its headers, both right.
fn tools_call() -> (HeaderMap, Value) {
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "add")];
    let params = json!({
        "name": "add",
        "arguments": { "a": 1 },
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "sampling": {} },
            "io.modelcontextprotocol/clientInfo": { "name": "c", "version": "1" },
            "io.modelcontextprotocol/logLevel": "info",
        },
    });
    (map(&headers), params)
}

fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
    let value = |value: &str| HeaderValue::from_bytes(value.as_bytes()).unwrap();
    headers.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
}

fn check_text(method: &'static str, headers: &HeaderMap, params: &str) -> Result<Envelope, Rejection> {
    let params = Json::from_text(params.to_owned().into()).unwrap();
    let request = RpcRequest::new(1.into(), method, Some(params));
    let unchecked = Unchecked::read(&request)?;
    let version = unchecked.version()?.ok_or_else(no_envelope)?;
    unchecked.check(&version, method, headers, Eras::Both)
}

fn check(method: &'static str, headers: &HeaderMap, params: &Value) -> Result<Envelope, Rejection> {
    check_text(method, headers, &params.to_string())
}

/// Code and message of the rejection.
fn refused(result: Result<Envelope, Rejection>) -> (i64, String) {
    let error = result.unwrap_err().to_error();
    (error.code.0, error.message.into_owned())
}

fn set_meta(params: &mut Value, key: &str, value: Value) {
    params["_meta"][format!("io.modelcontextprotocol/{key}")] = value;
}

fn remove_meta(params: &mut Value, key: &str) {
    params["_meta"].as_object_mut().unwrap().remove(&format!("io.modelcontextprotocol/{key}"));
}

#[test]
fn g_01_an_envelope_is_read_unchanged() {
    let (headers, params) = tools_call();
    let envelope = check("tools/call", &headers, &params).unwrap();
    assert_eq!(envelope.version, ProtocolVersion::V2026_07_28);
    assert_eq!(envelope.client_info.unwrap().as_str(), r#"{"name":"c","version":"1"}"#);
    assert_eq!(envelope.capabilities.as_str(), r#"{"sampling":{}}"#);
    assert_eq!(envelope.log_level, Some(LogLevel::Info));
    assert_eq!(envelope.name.as_deref(), Some("add"));
    // With other members, other spacing, and `/` as PHP writes it.
    let text = r#"{ "x" : [ 1 ], "_meta" : { "progressToken" : 7,
        "io.modelcontextprotocol\/protocolVersion" : "2026-07-28",
        "io.modelcontextprotocol\/clientCapabilities" : { } } }"#;
    let headers = map(&[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")]);
    let envelope = check_text("tools/list", &headers, text).unwrap();
    assert_eq!(envelope.capabilities.as_str(), "{ }");
    assert_eq!((envelope.client_info, envelope.log_level, envelope.name), (None, None, None));
}

#[test]
fn g_02_client_info_may_be_absent_but_must_be_an_object() {
    let (headers, mut params) = tools_call();
    for absent in [true, false] {
        if absent {
            remove_meta(&mut params, "clientInfo");
        } else {
            set_meta(&mut params, "clientInfo", Value::Null);
        }
        assert_eq!(check("tools/call", &headers, &params).unwrap().client_info, None);
    }
    for wrong in [json!("c"), json!(1), json!([]), json!(true)] {
        set_meta(&mut params, "clientInfo", wrong);
        let (code, message) = refused(check("tools/call", &headers, &params));
        assert_eq!(code, -32602);
        assert_eq!(
            message,
            "`params._meta` must have `io.modelcontextprotocol/clientInfo`: an object, if it is there"
        );
    }
}

#[test]
fn g_03_capabilities_must_be_an_object() {
    let (headers, mut params) = tools_call();
    set_meta(&mut params, "clientCapabilities", json!({}));
    assert_eq!(check("tools/call", &headers, &params).unwrap().capabilities.as_str(), "{}");
    for wrong in [json!(null), json!("x"), json!([]), json!(1), json!(true)] {
        set_meta(&mut params, "clientCapabilities", wrong);
        assert_eq!(refused(check("tools/call", &headers, &params)).0, -32602);
    }
    remove_meta(&mut params, "clientCapabilities");
    let (code, message) = refused(check("tools/call", &headers, &params));
    assert_eq!(code, -32602);
    assert_eq!(
        message,
        "`params._meta` must have `io.modelcontextprotocol/clientCapabilities`: an object, which may be empty"
    );
}

#[test]
fn g_03_the_version_must_be_a_string() {
    let (headers, mut params) = tools_call();
    for wrong in [json!(null), json!(20_260_728), json!({}), json!(["2026-07-28"])] {
        set_meta(&mut params, "protocolVersion", wrong);
        let (code, message) = refused(check("tools/call", &headers, &params));
        assert_eq!(code, -32602);
        assert_eq!(message, "`params._meta` must have `io.modelcontextprotocol/protocolVersion`: a string");
    }
}

#[test]
fn g_03_a_member_that_occurs_twice_is_refused() {
    let (headers, params) = tools_call();
    let text = params.to_string();
    for (from, to, why) in [
        (r#""name":"add""#, r#""name":"add","name":"remove""#, "`params` is invalid: duplicate field `name`"),
        (r#""arguments""#, r#""_meta":{},"arguments""#, "`params` is invalid: duplicate field `_meta`"),
        (
            r#""io.modelcontextprotocol/protocolVersion""#,
            r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/protocolVersion""#,
            "`params._meta` is invalid: duplicate field `io.modelcontextprotocol/protocolVersion`",
        ),
    ] {
        assert!(text.contains(from));
        let (code, message) = refused(check_text("tools/call", &headers, &text.replacen(from, to, 1)));
        assert_eq!(code, -32602);
        assert!(message.starts_with(why), "{message}");
    }
}

#[test]
fn g_08_a_log_level_must_be_known() {
    let (headers, mut params) = tools_call();
    let names = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    for (name, level) in names.into_iter().zip(LogLevel::ALL) {
        set_meta(&mut params, "logLevel", json!(name));
        assert_eq!(check("tools/call", &headers, &params).unwrap().log_level, Some(level));
        assert_eq!(level.as_str(), name);
    }
    assert!(LogLevel::ALL.is_sorted());
    set_meta(&mut params, "logLevel", Value::Null);
    assert_eq!(check("tools/call", &headers, &params).unwrap().log_level, None);
    for wrong in [json!("INFO"), json!("trace"), json!(""), json!(3), json!({})] {
        set_meta(&mut params, "logLevel", wrong);
        let (code, message) = refused(check("tools/call", &headers, &params));
        assert_eq!(code, -32602);
        assert!(message.contains("io.modelcontextprotocol/logLevel"), "{message}");
    }
}

#[test]
fn g_09_the_name_is_that_of_three_methods() {
    let (mut headers, mut params) = tools_call();
    params["uri"] = json!("file:///a");
    for (method, name) in [
        ("tools/call", Some("add")),
        ("prompts/get", Some("add")),
        ("resources/read", Some("file:///a")),
        ("tools/list", None),
        ("server/discover", None),
        ("resources/templates/list", None),
        ("custom/method", None),
    ] {
        headers.insert(METHOD, HeaderValue::from_static(method));
        headers.remove(NAME);
        if let Some(name) = name {
            headers.insert(NAME, HeaderValue::from_static(name));
        }
        assert_eq!(check(method, &headers, &params).unwrap().name.as_deref(), name, "{method}");
        // A name that nothing asks for is ignored.
        headers.insert(NAME, HeaderValue::from_static(name.unwrap_or("other")));
        assert!(check(method, &headers, &params).is_ok(), "{method}");
    }
}

#[test]
fn g_10_a_required_header_that_is_missing_is_refused() {
    let (headers, params) = tools_call();
    for (name, message) in [
        (
            PROTOCOL_VERSION,
            "the header MCP-Protocol-Version is missing: it must repeat `io.modelcontextprotocol/protocolVersion` of the body",
        ),
        (METHOD, "the header Mcp-Method is missing: it must repeat `method` of the body"),
        (NAME, "the header Mcp-Name is missing: it must repeat `params.name` of the body"),
    ] {
        let mut headers = headers.clone();
        headers.remove(name);
        assert_eq!(refused(check("tools/call", &headers, &params)), (-32020, message.to_owned()));
    }
    let headers = map(&[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "resources/read")]);
    let message = "the header Mcp-Name is missing: it must repeat `params.uri` of the body";
    assert_eq!(refused(check("resources/read", &headers, &params)), (-32020, message.to_owned()));
}

#[test]
fn g_10_g_11_a_header_that_differs_from_the_body_is_refused() {
    let (headers, params) = tools_call();
    for (name, value, message) in [
        (
            METHOD,
            "prompts/get",
            r#"the header Mcp-Method is "prompts/get", but `method` of the body is "tools/call": both must be the same"#,
        ),
        (
            METHOD,
            "TOOLS/CALL",
            r#"the header Mcp-Method is "TOOLS/CALL", but `method` of the body is "tools/call": both must be the same"#,
        ),
        (
            METHOD,
            "",
            r#"the header Mcp-Method is "", but `method` of the body is "tools/call": both must be the same"#,
        ),
        (
            METHOD,
            "=?base64?dG9vbHMvY2FsbA==?=",
            r#"the header Mcp-Method is "=?base64?dG9vbHMvY2FsbA==?=", but `method` of the body is "tools/call": both must be the same"#,
        ),
        (
            NAME,
            "Add",
            r#"the header Mcp-Name is "Add", but `params.name` of the body is "add": both must be the same"#,
        ),
        (
            NAME,
            "",
            r#"the header Mcp-Name is "", but `params.name` of the body is "add": both must be the same"#,
        ),
    ] {
        let mut headers = headers.clone();
        headers.insert(name, HeaderValue::from_static(value));
        assert_eq!(refused(check("tools/call", &headers, &params)), (-32020, message.to_owned()));
    }
    for (name, value) in [
        (PROTOCOL_VERSION, " 2026-07-28\t"),
        (METHOD, "  tools/call"),
        (NAME, "\t add  "),
        (NAME, "=?base64?YWRk?="),
    ] {
        let mut headers = headers.clone();
        headers.insert(name, HeaderValue::from_static(value));
        assert!(check("tools/call", &headers, &params).is_ok(), "{value:?}");
    }
}

#[test]
fn g_10_a_name_that_the_body_lacks_is_refused() {
    let (headers, mut params) = tools_call();
    let message = "the header Mcp-Name must repeat `params.name` of the body, which has no such string";
    for name in [json!(null), json!(1), json!({})] {
        params["name"] = name;
        assert_eq!(refused(check("tools/call", &headers, &params)), (-32020, message.to_owned()));
    }
    params.as_object_mut().unwrap().remove("name");
    assert_eq!(refused(check("tools/call", &headers, &params)), (-32020, message.to_owned()));
}

#[test]
fn b_12_g_10_a_repeated_header_is_refused() {
    let (headers, params) = tools_call();
    for name in [PROTOCOL_VERSION, METHOD, NAME] {
        let mut headers = headers.clone();
        let value = headers[&name].clone();
        headers.append(&name, value);
        let (code, message) = refused(check("tools/call", &headers, &params));
        assert_eq!(code, -32020);
        assert!(message.ends_with("must not be repeated"), "{message}");
    }
}

#[test]
fn g_12_a_name_in_base64_is_decoded_before_it_is_compared() {
    let (mut headers, mut params) = tools_call();
    for (name, value) in [
        ("日本語", "=?base64?5pel5pys6Kqe?="),
        (" add ", "=?base64?IGFkZCA=?="),
        ("", ""),
        ("", "=?base64??="),
        ("=?base64?YWRk", "=?base64?YWRk"),
    ] {
        params["name"] = json!(name);
        headers.insert(NAME, HeaderValue::from_static(value));
        assert_eq!(check("tools/call", &headers, &params).unwrap().name.as_deref(), Some(name));
    }
    params["name"] = json!("=?base64?YWRk?=");
    headers.insert(NAME, HeaderValue::from_static("=?base64?YWRk?="));
    assert_eq!(refused(check("tools/call", &headers, &params)).0, -32020);
    params["name"] = json!("add");
    headers.insert(NAME, HeaderValue::from_static("=?base64?YWR?="));
    assert_eq!(refused(check("tools/call", &headers, &params)).0, -32020);
}

#[test]
fn g_13_a_header_that_is_not_visible_ascii_is_refused() {
    let (headers, mut params) = tools_call();
    params["name"] = json!("é");
    for name in [PROTOCOL_VERSION, METHOD, NAME] {
        let mut headers = headers.clone();
        headers.insert(NAME, HeaderValue::from_static("=?base64?w6k=?="));
        assert!(check("tools/call", &headers, &params).is_ok());
        headers.insert(name, HeaderValue::from_bytes("é".as_bytes()).unwrap());
        let (code, message) = refused(check("tools/call", &headers, &params));
        assert_eq!(code, -32020);
        assert!(message.ends_with("must consist of visible ASCII characters, space and tab"), "{message}");
    }
}

#[test]
fn g_18_g_19_a_header_that_differs_comes_before_an_unknown_version() {
    let (mut headers, mut params) = tools_call();
    // Only one of the two is supported: they differ.
    for (header, body) in
        [("2026-07-28", "2099-01-01"), ("2099-01-01", "2026-07-28"), ("2026-07-28", "garbage")]
    {
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(header));
        set_meta(&mut params, "protocolVersion", json!(body));
        let (code, message) = refused(check("tools/call", &headers, &params));
        assert_eq!(code, -32020);
        assert_eq!(
            message,
            format!(
                "the header MCP-Protocol-Version is {header:?}, but `io.modelcontextprotocol/protocolVersion` of the body is {body:?}: both must be the same"
            )
        );
    }
    // Both say the same.
    for version in ["2099-01-01", "garbage", "v999.0.0", "2025-11-25", "2026-07-29"] {
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version));
        set_meta(&mut params, "protocolVersion", json!(version));
        let rejection = check("tools/call", &headers, &params).unwrap_err();
        assert_eq!(rejection.status(), http::StatusCode::BAD_REQUEST);
        let error = rejection.to_error();
        assert_eq!(error.code, ErrorCode::UNSUPPORTED_PROTOCOL_VERSION);
        let data: Value = error.data.unwrap().parse().unwrap();
        assert_eq!(data["requested"], version);
        assert_eq!(data["supported"], json!(["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]));
    }
}

#[test]
fn g_18_a_long_version_is_not_repeated_in_full() {
    let (mut headers, mut params) = tools_call();
    let version = "9".repeat(5_000);
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_str(&version).unwrap());
    set_meta(&mut params, "protocolVersion", json!(version));
    let error = check("tools/call", &headers, &params).unwrap_err().to_error();
    assert_eq!(error.code.0, -32022);
    assert!(error.message.len() + error.data.unwrap().as_bytes().len() < 400);
}

/// A request with a fault on every rung gets the answer of the first; once that is mended, of the next.
#[test]
fn g_40_the_rungs_are_checked_in_order() {
    let mut headers = map(&[("mcp-protocol-version", "2025-11-25"), ("mcp-method", "x"), ("mcp-name", "x")]);
    let mut params =
        json!({ "name": "add", "_meta": { "io.modelcontextprotocol/protocolVersion": "2099-01-01" } });
    assert_eq!(refused(check("tools/call", &headers, &params)).0, -32602);
    set_meta(&mut params, "clientCapabilities", json!({}));
    let (code, message) = refused(check("tools/call", &headers, &params));
    assert_eq!((code, message.contains("MCP-Protocol-Version")), (-32020, true));
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static("2099-01-01"));
    assert_eq!(refused(check("tools/call", &headers, &params)).0, -32022);
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static("2026-07-28"));
    set_meta(&mut params, "protocolVersion", json!("2026-07-28"));
    let (code, message) = refused(check("tools/call", &headers, &params));
    assert_eq!((code, message.contains("Mcp-Method")), (-32020, true));
    headers.insert(METHOD, HeaderValue::from_static("tools/call"));
    let (code, message) = refused(check("tools/call", &headers, &params));
    assert_eq!((code, message.contains("Mcp-Name")), (-32020, true));
    headers.insert(NAME, HeaderValue::from_static("add"));
    assert!(check("tools/call", &headers, &params).is_ok());
}

#[test]
fn errors_repeat_little_of_what_the_client_sent() {
    let (mut headers, mut params) = tools_call();
    params["name"] = json!("\n\u{1b}".repeat(50_000));
    headers.insert(NAME, HeaderValue::from_str(&"y".repeat(5_000)).unwrap());
    let (code, message) = refused(check("tools/call", &headers, &params));
    assert_eq!(code, -32020);
    assert!(message.len() < 1_000 && !message.contains(['\n', '\u{1b}']), "{message}");
}
