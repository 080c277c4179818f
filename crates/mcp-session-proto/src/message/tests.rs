use super::*;

fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse(&Bytes::copy_from_slice(text.as_bytes()))
}

fn invalid_id(text: &str) -> Option<RequestId> {
    match parse(text) {
        Err(ParseError::Invalid { id, .. }) => id,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_17_params_are_byte_faithful() {
    let params = "{ \"n\" : 1.50,\n\"u\":\"\\u00e9\" }";
    let body = format!(r#" {{"x":0,"jsonrpc":"2.0","id":"7","method":"m","params":{params}}} "#);
    let Ok(Message::Request(request)) = parse(&body) else { panic!("{body}") };
    assert_eq!(request.params.unwrap().as_str(), params);
    assert_eq!(request.id, "7".into());
}

#[test]
fn methods_are_read_however_they_are_spelled() {
    for (spelled, method) in [
        (r#""tools/call""#, "tools/call"),
        (r#""tools\/call""#, "tools/call"),
        (r#""\u0074ools/call""#, "tools/call"),
        (r#""x/\"y\"""#, "x/\"y\""),
        (r#""""#, ""),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":{spelled}}}"#);
        let Ok(Message::Request(request)) = parse(&body) else { panic!("{body}") };
        assert_eq!(request.method, method);
    }
    for spelled in ["1", "null", "[]", "{}", "true"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":{spelled}}}"#);
        assert!(matches!(parse(&body), Err(ParseError::Invalid { .. })), "{body}");
    }
}

#[test]
fn a_02_a_14_what_is_not_json() {
    for body in ["", " ", "{", "nul", r#"{"jsonrpc":"2.0","id":1,"method":"m"} x"#, "[1,", "'a'"] {
        assert!(matches!(parse(body), Err(ParseError::NotJson(_))), "{body}");
    }
    let latin1 = Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xe9\"}");
    assert!(matches!(Message::parse(&latin1), Err(ParseError::NotJson(_))));
    let ignored = Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"x\":\"\xe9\"}");
    assert!(matches!(Message::parse(&ignored), Err(ParseError::NotJson(_))));
}

#[test]
fn a_01_a_03_a_16_a_12_what_is_not_a_message_echoes_a_legal_id() {
    for (body, id) in [
        ("1", None),
        ("\"x\"", None),
        ("null", None),
        ("{}", None),
        (r#"{"jsonrpc":"1.0","id":3,"method":"m"}"#, Some(3.into())),
        (r#"{"id":3,"method":"m"}"#, Some(3.into())),
        (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, None),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"m"}"#, None),
        (r#"{"jsonrpc":"2.0","id":true,"method":"m"}"#, None),
        (r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#, None),
        (r#"{"jsonrpc":"2.0","id":"a","method":7}"#, Some("a".into())),
        (r#"{"jsonrpc":"2.0","id":"a","method":"m","params":[1]}"#, Some("a".into())),
        (r#"{"jsonrpc":"2.0","id":4,"method":"m","result":{}}"#, Some(4.into())),
        (r#"{"jsonrpc":"2.0","id":4,"result":{},"error":{"code":1,"message":""}}"#, Some(4.into())),
        (r#"{"jsonrpc":"2.0","id":4}"#, Some(4.into())),
        (r#"{"jsonrpc":"2.0","result":{}}"#, None),
        (r#"{"jsonrpc":"2.0","id":4,"error":{"code":"x"}}"#, Some(4.into())),
        (r#"{"jsonrpc":"2.0","id":4,"id":4,"method":"m"}"#, None),
    ] {
        assert_eq!(invalid_id(body), id, "{body}");
    }
    let with_id = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"m"}}"#);
    assert!(parse(&with_id(&"x".repeat(RequestId::MAX_LEN))).is_ok());
    assert_eq!(invalid_id(&with_id(&"x".repeat(RequestId::MAX_LEN + 1))), None);
}

#[test]
fn a_10_responses() {
    let Ok(Message::Response(ok)) = parse(r#"{"jsonrpc":"2.0","id":4,"result":null}"#) else { panic!() };
    assert_eq!(ok, RpcResponse { id: Some(4.into()), outcome: Ok(Json("null".into())) });
    let Ok(Message::Response(err)) =
        parse(r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"no","data":[ 1 ]}}"#)
    else {
        panic!()
    };
    assert_eq!(err.id, None);
    let error = err.outcome.unwrap_err();
    assert_eq!((error.code, &*error.message, error.data.unwrap().as_str()), (ErrorCode(-1), "no", "[ 1 ]"));
}

#[test]
fn a_03_a_10_null_counts_as_absent_except_as_an_id() {
    for (body, id) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":null}"#, Some(1.into())),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","result":null,"error":null}"#, Some(1.into())),
        (r#"{"jsonrpc":"2.0","method":"m","params": null ,"error":null}"#, None),
    ] {
        match (parse(body), id) {
            (Ok(Message::Request(RpcRequest { id, params: None, .. })), Some(expected)) => {
                assert_eq!(id, expected);
            }
            (Ok(Message::Notification(Notification { params: None, .. })), None) => {}
            (other, _) => panic!("{body}: {other:?}"),
        }
    }
    let outcome = |body: &str| match parse(body) {
        Ok(Message::Response(response)) => response.outcome,
        other => panic!("{body}: {other:?}"),
    };
    let rest = r#""jsonrpc":"2.0","id":4"#;
    assert_eq!(outcome(&format!(r#"{{{rest},"result":{{}},"error":null}}"#)), Ok(Json("{}".into())));
    assert_eq!(
        outcome(&format!(r#"{{{rest},"method":null,"params":null,"result":{{}}}}"#)),
        Ok(Json("{}".into()))
    );
    let failed =
        outcome(&format!(r#"{{{rest},"result":null,"error":{{"code":1,"message":"no","data":null}}}}"#));
    assert_eq!(failed, Err(RpcError::new(ErrorCode(1), "no")));
    for body in [
        r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
        r#"{"jsonrpc":null,"id":1,"method":"m"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":null,"error":null}"#,
    ] {
        assert!(matches!(parse(body), Err(ParseError::Invalid { .. })), "{body}");
    }
}

#[test]
fn a_19_nesting_is_bounded() {
    let nested = |depth: usize| {
        let open = "[".repeat(depth - 2);
        let close = "]".repeat(depth - 2);
        format!(r#"{{"jsonrpc":"2.0","method":"[[{{\"[","params":{{"a":{open}{close}}}}}"#)
    };
    assert!(parse(&nested(128)).is_ok());
    assert!(matches!(parse(&nested(129)), Err(ParseError::Invalid { .. })));
    assert!(matches!(parse(&"[".repeat(1_000_000)), Err(ParseError::Invalid { .. })));
}

#[test]
fn results_are_as_long_as_foretold() {
    let result = &Json::from(serde_json::json!({ "k": [] }));
    for id in [0.into(), 9.into(), (-10).into(), i64::MIN.into(), RequestId::Integer(i128::MAX), "x".into()] {
        let message = Outgoing::Result { id: &id, result };
        assert_eq!(message.to_json().len(), message.size_hint(), "{id}");
    }
}

#[test]
fn a_11_a_13_encoding() {
    let error = RpcError::internal("a \"b\"\n").with_data(serde_json::json!({"k": 1}));
    let text = Outgoing::Error { id: None, error: &error }.to_json();
    assert_eq!(
        text,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"a \"b\"\n","data":{"k":1}}}"#
    );
    let ping = Outgoing::Request { id: 5, method: "ping", params: None }.to_json();
    assert_eq!(ping, r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#);
    let params = Json::new(&serde_json::json!({"a": 1})).unwrap();
    let note = Outgoing::Notification { method: "n", params: Some(&params) }.to_json();
    assert_eq!(note, r#"{"jsonrpc":"2.0","method":"n","params":{"a":1}}"#);
}

/// These texts in turn, each changed in one or two places, by these bytes.
pub(super) fn mutated<'a>(texts: &'a [&'a str], bytes: &'a [u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut random = 88_172_645_463_325_252_u64; // xorshift
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    texts.iter().cycle().map(move |text| {
        let mut text = text.as_bytes().to_vec();
        for _ in 0..=next(2) {
            let at = next(text.len());
            match next(3) {
                0 => _ = text.remove(at),
                1 => text[at] = bytes[next(bytes.len())],
                _ => text.insert(at, bytes[next(bytes.len())]),
            }
        }
        text
    })
}
