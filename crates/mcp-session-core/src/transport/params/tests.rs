use http::HeaderValue;
use serde_json::{Value, json};

use super::*;

fn check(schema: &Value, arguments: &str, headers: &[(&str, &str)]) -> Result<(), Rejection> {
    check_json(&Json::from(schema.clone()), arguments, headers)
}

fn check_json(schema: &Json, arguments: &str, headers: &[(&str, &str)]) -> Result<(), Rejection> {
    let params = format!(r#"{{"name":"t","arguments":{arguments}}}"#);
    let params = Some(Json::from_text(params.into()).unwrap());
    let request = RpcRequest::new(1.into(), "tools/call", params);
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    check_params(&map, &request, schema)
}

fn one(kind: &str) -> Value {
    json!({ "type": "object", "properties": { "p": { "type": kind, "x-mcp-header": "P" }, "q": { "type": "string" } } })
}

/// The message of the rejection, which is a [`Rejection::HeaderMismatch`].
fn refused(result: Result<(), Rejection>) -> String {
    let rejection = result.unwrap_err();
    assert!(matches!(rejection, Rejection::HeaderMismatch(_)), "{rejection:?}");
    let error = rejection.to_error();
    assert_eq!((rejection.status().as_u16(), error.code.0), (400, -32020));
    error.message.into_owned()
}

#[test]
fn g_14_strings_are_compared_as_they_are() {
    for (argument, header, same) in [
        (r#""us-west1""#, "us-west1", true),
        (r#""us-west1""#, "  us-west1 ", true),
        (r#""us west 1""#, "us west 1", true),
        (r#""\u0041""#, "A", true),
        (r#""""#, "", true),
        (r#""Hello""#, "=?base64?SGVsbG8=?=", true),
        (r#""日本語""#, "=?base64?5pel5pys6Kqe?=", true),
        (r#"" us-west1""#, "=?base64?IHVzLXdlc3Qx?=", true),
        (r#""SGVsbG8=""#, "SGVsbG8=", true),
        (r#""=?base64?SGVsbG8=""#, "=?base64?SGVsbG8=", true),
        (r#""us-west1""#, "US-WEST1", false),
        (r#""us-west1""#, "us-west2", false),
        (r#""us-west1""#, "", false),
        (r#""""#, "x", false),
        (r#"" us-west1""#, "us-west1", false),
        (r#""Hello""#, "=?base64?SGVsbG8?=", false),
        (r#""Hello""#, "=?base64?SGVs!!!bG8=?=", false),
        (r#""Hello""#, "=?BASE64?SGVsbG8=?=", false),
        (r#""é""#, "é", false),
        (r#""\ud800""#, "", false),
        // Text, not a number.
        (r#""42""#, "42", true),
        (r#""42""#, "42.0", false),
    ] {
        let checked = check(&one("string"), &format!(r#"{{"p":{argument}}}"#), &[("mcp-param-p", header)]);
        assert_eq!(checked.is_ok(), same, "{argument} {header}");
        if !same {
            refused(checked);
        }
    }
}

#[test]
fn g_14_integers_are_compared_as_numbers() {
    for (argument, header, same) in [
        ("42", "42", true),
        ("42", "42.0", true),
        ("42.0", "42", true),
        ("42.00", "42.0", true),
        ("4.2e1", "42", true),
        ("-7", "-7", true),
        ("0", "-0", true),
        ("42", "=?base64?NDI=?=", true),
        ("0.1", "0.10", true),
        ("9007199254740991", "9007199254740991", true),
        ("9007199254740991", "9007199254740991.0", true),
        ("42", "43", false),
        ("42", "-42", false),
        ("42", "42.5", false),
        ("42", "", false),
        ("42", "forty-two", false),
        ("42", "0x2a", false),
        ("42", "NaN", false),
        ("42", "42.", false),
        ("42", "+42", false),
        ("42", "042", false),
        ("42", "4 2", false),
        ("42", "\"42\"", false),
        ("42", "=?base64?IDQyIA==?=", false), // whitespace inside
        ("1", "true", false),
        ("9007199254740993", "9007199254740992", false),
        ("9007199254740993", "9007199254740992.0", false),
        ("18446744073709551616", "18446744073709551617", false),
    ] {
        let checked = check(&one("integer"), &format!(r#"{{"p":{argument}}}"#), &[("mcp-param-p", header)]);
        assert_eq!(checked.is_ok(), same, "{argument} {header}");
        if !same {
            refused(checked);
        }
    }
}

#[test]
fn g_14_booleans_are_true_or_false() {
    for (argument, header, same) in [
        ("true", "true", true),
        ("false", "false", true),
        ("true", "false", false),
        ("true", "True", false),
        ("true", "1", false),
        ("false", "", false),
    ] {
        let checked = check(&one("boolean"), &format!(r#"{{"p":{argument}}}"#), &[("mcp-param-p", header)]);
        assert_eq!(checked.is_ok(), same, "{argument} {header}");
    }
}

#[test]
fn g_14_an_argument_and_its_header_are_both_there_or_both_absent() {
    let schema = one("string");
    for absent in ["{}", r#"{"p":null}"#, r#"{"q":"x"}"#, "null", "[]"] {
        assert_eq!(check(&schema, absent, &[]), Ok(()), "{absent}");
        assert_eq!(
            refused(check(&schema, absent, &[("mcp-param-p", "x")])),
            "the header Mcp-Param-P must be absent, as is `params.arguments.p` of the body"
        );
    }
    assert_eq!(
        refused(check(&schema, r#"{"p":"x"}"#, &[])),
        "the header Mcp-Param-P is missing: it must repeat `params.arguments.p` of the body"
    );
    assert_eq!(
        refused(check(&schema, r#"{"p":"x"}"#, &[("mcp-param-p", "y")])),
        r#"the header Mcp-Param-P is "y", but `params.arguments.p` of the body is "x": both must be the same"#
    );
    // Without params or arguments at all.
    let request = |params| RpcRequest::new(1.into(), "tools/call", params);
    let none = HeaderMap::new();
    assert_eq!(check_params(&none, &request(None), &schema.clone().into()), Ok(()));
    let params = Json::from(json!({ "name": "t" }));
    assert_eq!(check_params(&none, &request(Some(params)), &schema.into()), Ok(()));
}

#[test]
fn g_14_nested_properties_have_headers_too() {
    let schema = json!({ "type": "object", "properties": { "to": { "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" },
        "zone": { "type": "object", "properties": { "n": { "type": "integer", "x-mcp-header": "Zone" } } },
    } } } });
    let arguments = r#"{"to":{"region":"eu","zone":{"n":3}}}"#;
    let both = [("mcp-param-region", "eu"), ("mcp-param-zone", "3")];
    assert_eq!(check(&schema, arguments, &both), Ok(()));
    assert_eq!(
        refused(check(&schema, arguments, &both[..1])),
        "the header Mcp-Param-Zone is missing: it must repeat `params.arguments.to.zone.n` of the body"
    );
    refused(check(&schema, arguments, &[("mcp-param-region", "us"), ("mcp-param-zone", "3")]));
    for absent in ["{}", r#"{"to":null}"#, r#"{"to":"eu"}"#, r#"{"to":{"zone":{}}}"#, r#"{"region":"eu"}"#] {
        assert_eq!(check(&schema, absent, &[]), Ok(()), "{absent}");
        refused(check(&schema, absent, &both[..1]));
    }
}

#[test]
fn g_14_names_of_headers_have_no_case() {
    let schema = json!({ "properties": { "tenant_id": { "type": "string", "x-mcp-header": "TenantId" } } });
    for name in ["mcp-param-tenantid", "Mcp-Param-TenantId", "MCP-PARAM-TENANTID"] {
        assert_eq!(check(&schema, r#"{"tenant_id":"acme"}"#, &[(name, "acme")]), Ok(()));
        refused(check(&schema, r#"{"tenant_id":"acme"}"#, &[(name, "evil")]));
    }
    // An argument may have the name of a standard header.
    let schema = json!({ "properties": { "m": { "type": "string", "x-mcp-header": "Method" } } });
    assert_eq!(
        check(&schema, r#"{"m":"x"}"#, &[("mcp-param-method", "x"), ("mcp-method", "tools/call")]),
        Ok(())
    );
}

#[test]
fn g_15_unknown_headers_are_ignored() {
    let unknown = [("mcp-param-other", "x"), ("mcp-param-q", "y"), ("mcp-param-", "z")];
    assert_eq!(check(&one("string"), r#"{"q":"x"}"#, &unknown), Ok(()));
    assert_eq!(check(&json!({ "type": "object" }), r#"{"other":"y"}"#, &unknown), Ok(()));
    assert_eq!(check(&json!(true), r#"{"other":"y"}"#, &unknown), Ok(()));
}

#[test]
fn g_14_b_12_what_two_readers_might_read_differently_is_refused() {
    let schema = one("string");
    assert_eq!(
        refused(check(&schema, r#"{"p":"x"}"#, &[("mcp-param-p", "x"), ("mcp-param-p", "x")])),
        "the header Mcp-Param-P must not be repeated"
    );
    assert_eq!(
        refused(check(&schema, r#"{"p":"x","\u0070":"y"}"#, &[("mcp-param-p", "x")])),
        "`params.arguments.p` must not occur twice in the body"
    );
    let twice = check(&schema, r#"{"p":"x"},"arguments":{"p":"y"}"#, &[("mcp-param-p", "x")]);
    assert!(matches!(twice, Err(Rejection::InvalidEnvelope(_))), "{twice:?}");
}

#[test]
fn g_14_an_argument_that_no_header_can_repeat_is_refused() {
    for argument in [r#"{"a":1}"#, "[1]"] {
        let arguments = format!(r#"{{"p":{argument}}}"#);
        let message =
            "`params.arguments.p` must be a string, an integer or a boolean, to be repeated in Mcp-Param-P";
        assert_eq!(refused(check(&one("string"), &arguments, &[("mcp-param-p", argument)])), message);
        refused(check(&one("string"), &arguments, &[]));
    }
}

/// Clients do not list tools with such a schema.
#[test]
fn g_14_annotations_that_are_invalid_have_no_effect() {
    for annotation in [
        json!(""),
        json!("My Region"),
        json!("Region:1"),
        json!("Région"),
        json!("R\n"),
        json!(1),
        json!(null),
    ] {
        let schema = json!({ "properties": { "p": { "type": "string", "x-mcp-header": annotation } } });
        assert_eq!(check(&schema, r#"{"p":"x"}"#, &[]), Ok(()), "{annotation}");
    }
    let annotated = json!({ "type": "string", "x-mcp-header": "P" });
    for schema in [
        json!({ "x-mcp-header": "P" }),
        json!({ "items": annotated }),
        json!({ "oneOf": [{ "properties": { "p": annotated } }] }),
        json!({ "properties": { "p": { "items": annotated } } }),
        json!({ "properties": { "p": { "$ref": "#/$defs/p" } }, "$defs": { "p": annotated } }),
        json!({ "properties": [annotated] }),
        json!({ "properties": { "p": true, "x-mcp-header": "P" } }),
    ] {
        assert_eq!(check(&schema, r#"{"p":"x"}"#, &[]), Ok(()), "{schema}");
    }
}

#[test]
fn g_14_a_schema_is_followed_as_deep_as_a_message_may_nest() {
    let header = [("mcp-param-a", "x")];
    for (depth, is_read) in [(1, true), (100, true), (200, false), (500, false)] {
        let open = r#"{"properties":{"a":"#.repeat(depth);
        let schema = open + r#"{"x-mcp-header":"A"}"# + &"}}".repeat(depth);
        let checked = check_json(&Json::from_text(schema.into()).unwrap(), "{}", &header);
        assert_eq!(checked.is_err(), is_read, "{depth}");
    }
}
