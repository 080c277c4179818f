use http::{HeaderName, HeaderValue, StatusCode};
use mcp_session_proto::{Json, ProtocolVersion};
use serde_json::{Value, json};

use super::*;

const ALL: [Eras; 3] = [Eras::Both, Eras::Legacy, Eras::Modern];

fn request(method: &'static str, params: Option<Value>) -> RpcRequest {
    RpcRequest::new(1.into(), method, params.map(Json::from))
}

/// The headers of a request of this method. A version of `-` is none.
fn headers(version: &str, method: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("mcp-method"), HeaderValue::from_static(method));
    if version != "-" {
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_bytes(version.as_bytes()).unwrap());
    }
    headers
}

/// Params with a complete envelope.
fn envelope(version: &str) -> Value {
    json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    } })
}

/// `legacy`, `modern`, or status and code.
fn outcome(eras: Eras, version: &str, method: &'static str, params: Option<Value>) -> String {
    match era_of_request(eras, &headers(version, method), &request(method, params)) {
        Ok(RequestEra::Legacy) => "legacy".into(),
        Ok(RequestEra::Modern(envelope)) => {
            assert_eq!(envelope.version, ProtocolVersion::V2026_07_28);
            "modern".into()
        }
        Err(rejection) => format!("{} {}", rejection.status().as_u16(), rejection.to_error().code.0),
    }
}

fn era_of_request(eras: Eras, headers: &HeaderMap, request: &RpcRequest) -> Result<RequestEra, Rejection> {
    super::era_of_request(eras, headers, VersionHeader::of(headers), request)
}

#[test]
fn g_40_the_era_of_each_request() {
    let bare = || Some(json!({ "cursor": "a.b" }));
    let claim = |version| Some(envelope(version));
    let meta = |meta| Some(json!({ "_meta": meta }));
    let elsewhere = || Some(json!({ "arguments": envelope("2026-07-28") }));
    let hello = || Some(json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {} }));
    let (list, init) = ("tools/list", "initialize");
    for (header, method, params, [both, legacy, modern]) in [
        // Nothing of 2026-07-28.
        ("-", list, None, ["legacy", "legacy", "400 -32020"]),
        ("-", list, bare(), ["legacy", "legacy", "400 -32020"]),
        ("", list, bare(), ["legacy", "legacy", "400 -32020"]),
        ("é", list, bare(), ["legacy", "legacy", "400 -32020"]),
        ("2025-11-25", list, bare(), ["legacy", "legacy", "400 -32022"]),
        ("garbage", list, bare(), ["legacy", "legacy", "400 -32022"]),
        // The key where it is no envelope.
        ("2025-11-25", list, elsewhere(), ["legacy", "legacy", "400 -32022"]),
        ("-", list, elsewhere(), ["legacy", "legacy", "400 -32020"]),
        // Body and header.
        ("2026-07-28", list, claim("2026-07-28"), ["modern", "400 -32600", "modern"]),
        (" 2026-07-28 ", list, claim("2026-07-28"), ["modern", "400 -32600", "modern"]),
        // The body decides first; the header must agree.
        ("-", list, claim("2026-07-28"), ["400 -32020", "400 -32600", "400 -32020"]),
        ("", list, claim("2026-07-28"), ["400 -32020", "400 -32600", "400 -32020"]),
        ("2025-11-25", list, claim("2026-07-28"), ["400 -32020", "400 -32600", "400 -32020"]),
        ("2026-07-28", list, claim("2025-11-25"), ["400 -32020", "400 -32600", "400 -32020"]),
        // An older version in the body is legacy.
        ("-", list, claim("2025-11-25"), ["legacy", "legacy", "400 -32020"]),
        ("2025-11-25", list, claim("2025-11-25"), ["legacy", "legacy", "400 -32022"]),
        ("2024-11-05", list, claim("2024-11-05"), ["legacy", "legacy", "400 -32022"]),
        // An unknown one is modern.
        ("2099-01-01", list, claim("2099-01-01"), ["400 -32022", "400 -32600", "400 -32022"]),
        ("garbage", list, claim("garbage"), ["400 -32022", "legacy", "400 -32022"]),
        ("v999.0.0", list, claim("v999.0.0"), ["400 -32022", "legacy", "400 -32022"]),
        ("2026-07-28", list, claim("garbage"), ["400 -32020", "400 -32600", "400 -32020"]),
        // The header alone.
        ("2026-07-28", list, None, ["400 -32602", "400 -32600", "400 -32602"]),
        ("2026-07-28", list, bare(), ["400 -32602", "400 -32600", "400 -32602"]),
        ("2099-01-01", list, bare(), ["400 -32602", "400 -32600", "400 -32602"]),
        ("2026-07-28", list, elsewhere(), ["400 -32602", "400 -32600", "400 -32602"]),
        ("2026-07-28", list, meta(json!({})), ["400 -32602", "400 -32600", "400 -32602"]),
        ("2026-07-28", list, meta(json!("x")), ["400 -32602", "400 -32600", "400 -32602"]),
        ("2026-07-28", list, meta(json!(null)), ["400 -32602", "400 -32600", "400 -32602"]),
        // `initialize` is legacy without an envelope, whatever its header says, and a method like any other with one.
        ("-", init, hello(), ["legacy", "legacy", "400 -32022"]),
        ("2025-11-25", init, hello(), ["legacy", "legacy", "400 -32022"]),
        ("2026-07-28", init, hello(), ["legacy", "legacy", "400 -32022"]),
        ("2026-07-28", init, claim("2026-07-28"), ["modern", "legacy", "modern"]),
        ("-", init, claim("2026-07-28"), ["400 -32020", "legacy", "400 -32020"]),
        ("-", init, claim("2025-11-25"), ["legacy", "legacy", "400 -32020"]),
    ] {
        for (eras, expected) in ALL.into_iter().zip([both, legacy, modern]) {
            let found = outcome(eras, header, method, params.clone());
            assert_eq!(found, expected, "{eras:?}: {method}, header {header:?}, {params:?}");
        }
    }
}

#[test]
fn g_20_a_header_without_an_envelope_is_invalid_params_and_says_what_is_missing() {
    let refused = era_of_request(
        Eras::Both,
        &headers("2026-07-28", "server/discover"),
        &request("server/discover", None),
    );
    let message = "`params._meta` must have `io.modelcontextprotocol/protocolVersion`: the same version as the header MCP-Protocol-Version";
    assert_eq!(refused, Err(Rejection::InvalidEnvelope(message.into())));
}

#[test]
fn g_43_initialize_is_told_the_served_versions() {
    for (params, requested) in [
        (Some(json!({ "protocolVersion": "2025-11-25" })), "2025-11-25"),
        (Some(json!({ "protocolVersion": 1 })), ""),
        (None, ""),
    ] {
        let refused =
            era_of_request(Eras::Modern, &HeaderMap::new(), &request("initialize", params)).unwrap_err();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let error = refused.to_error();
        assert_eq!(error.code.0, -32022);
        let data: Value = error.data.unwrap().parse().unwrap();
        assert_eq!(data, json!({ "supported": ["2026-07-28"], "requested": requested }));
    }
}

#[test]
fn g_46_g_49_the_supported_versions_are_those_of_the_eras() {
    let unknown = "2099-01-01";
    for (eras, code, supported) in [
        (Eras::Both, -32022, json!(["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"])),
        (Eras::Modern, -32022, json!(["2026-07-28"])),
        (Eras::Legacy, -32600, json!(["2025-03-26", "2025-06-18", "2025-11-25"])),
    ] {
        let request = request("server/discover", Some(envelope(unknown)));
        let refused = era_of_request(eras, &headers(unknown, "server/discover"), &request);
        let error = refused.unwrap_err().to_error();
        assert_eq!(error.code.0, code);
        let data: Value = error.data.unwrap().parse().unwrap();
        assert_eq!(data, json!({ "supported": supported, "requested": unknown }));
    }
}

#[test]
fn g_40_a_key_is_found_however_its_slash_is_written() {
    let found = |text: &'static str| {
        let params = Json::from_text(text.into()).unwrap();
        has_version(&RpcRequest::new(1.into(), "tools/call", Some(params)))
    };
    for text in [
        r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
        r#"{"_meta":{"io.modelcontextprotocol\/protocolVersion":"2026-07-28"}}"#,
        r#"{"a":"1.0","b":"io.modelcontextprotocol","_meta":{"io.modelcontextprotocol/protocolVersion":1}}"#,
        r#"{"_meta":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
    ] {
        assert!(found(text), "{text}");
    }
    for text in [
        "{}",
        r#"{"a":"1.0"}"#,
        r#"{"_meta":{"io.modelcontextprotocol/related-task":{}}}"#,
        r#"{"_meta":{"com.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
        r#"{"_meta":{"iomodelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
        r#"{"_meta":{},"_meta":{}}"#,
        r#"{"a":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
    ] {
        assert!(!found(text), "{text}");
    }
}

#[test]
fn g_16_notifications_go_by_their_version_header() {
    for (version, [both, legacy, modern]) in [
        ("-", [Ok(false), Ok(false), Err(-32020)]),
        ("", [Ok(false), Ok(false), Err(-32020)]),
        ("é", [Ok(false), Ok(false), Err(-32020)]),
        ("2025-11-25", [Ok(false), Ok(false), Err(-32022)]),
        ("garbage", [Ok(false), Ok(false), Err(-32022)]),
        ("2026-07-28", [Ok(true), Err(-32600), Ok(true)]),
        (" 2026-07-28", [Ok(true), Ok(false), Ok(true)]),
        ("2099-01-01", [Err(-32022), Err(-32600), Err(-32022)]),
    ] {
        for (eras, expected) in ALL.into_iter().zip([both, legacy, modern]) {
            let found = is_modern_notification(eras, &headers(version, "notifications/cancelled"));
            let found = found.map_err(|rejection| rejection.to_error().code.0);
            assert_eq!(found, expected, "{eras:?}: {version:?}");
        }
    }
    let mut repeated = headers("2026-07-28", "notifications/cancelled");
    repeated.append(PROTOCOL_VERSION, HeaderValue::from_static("2026-07-28"));
    let refused = is_modern_notification(Eras::Both, &repeated).unwrap_err();
    assert_eq!(refused.to_error().code.0, -32020);
}

#[test]
fn a_30_a_31_a_37_g_44_what_is_no_request_goes_by_its_version_header() {
    let legacy = ["-", "", "2025-03-26", "2025-11-25", "garbage"];
    for version in legacy {
        let headers = headers(version, "x");
        for eras in [Eras::Both, Eras::Legacy] {
            assert_eq!(check_response(eras, &headers), Ok(()), "{eras:?}: {version:?}");
            assert_eq!(check_batch(eras, &headers), Ok(()), "{eras:?}: {version:?}");
            assert_eq!(check_get_or_delete(eras, &headers), Ok(()), "{eras:?}: {version:?}");
        }
        assert_eq!(check_response(Eras::Modern, &headers), Err(Rejection::NotARequest));
        assert_eq!(check_batch(Eras::Modern, &headers), Err(Rejection::NotARequest));
    }
    for version in ["2026-07-28", "2099-01-01"] {
        let headers = headers(version, "x");
        for eras in [Eras::Both, Eras::Modern] {
            assert_eq!(check_response(eras, &headers), Err(Rejection::NotARequest), "{eras:?}: {version}");
            assert_eq!(check_batch(eras, &headers), Err(Rejection::NotARequest), "{eras:?}: {version}");
            let refused = check_get_or_delete(eras, &headers);
            assert_eq!(refused, Err(Rejection::MethodNotAllowed("POST")), "{eras:?}: {version}");
        }
        // The session, if there is one, refuses the version (B-26), and a dead one comes first (E-11).
        assert_eq!(check_response(Eras::Legacy, &headers), Ok(()));
        assert_eq!(check_get_or_delete(Eras::Legacy, &headers), Ok(()));
        let refused = Rejection::UnsupportedVersion(version.to_owned(), Eras::Legacy);
        assert_eq!(check_batch(Eras::Legacy, &headers), Err(refused));
    }
    assert_eq!(Rejection::NotARequest.to_error().code.0, -32600);
    assert_eq!(Rejection::MethodNotAllowed("POST").status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn g_21_removed_methods_do_not_exist() {
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"] {
        let refused = check_removed(method).unwrap_err();
        assert_eq!(refused.status(), StatusCode::NOT_FOUND);
        assert_eq!(refused.to_error().code.0, -32601);
        assert!(refused.to_error().message.contains(method));
    }
    for method in ["server/discover", "tools/call", "subscriptions/listen", "resources/read", "custom"] {
        assert_eq!(check_removed(method), Ok(()));
    }
}
