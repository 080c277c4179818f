//! What the targets compare with finds what it should: a check that cannot fail would be none.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    json::{Members, compact, depth, is_json},
    table::check_refusal,
    whatwg::Decoder,
};

/// Whether a check fails.
pub(super) fn fails(check: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(check)).is_err()
}

#[test]
fn events_are_decoded_by_the_rules_of_the_whatwg() {
    let stream = "\u{feff}: comment\ndata: a\ndata:b\nid: 7\n\nevent: x\rdata\r\r\nid: a\0b\r\ndata: c\n\nretry: 5\n\nretry: x\ndata: \nid\n\ndata: cut";
    for size in 1..stream.len() {
        let mut decoder = Decoder::default();
        stream.as_bytes().chunks(size).for_each(|piece| decoder.push(piece));
        let events: Vec<_> = decoder.events.iter().map(|it| (&*it.kind, &*it.data, &*it.id)).collect();
        assert_eq!(
            events,
            [("message", "a\nb", "7"), ("x", "", "7"), ("message", "c", "7"), ("message", "", "")]
        );
        assert_eq!((decoder.retry, decoder.is_within_event()), (Some(5), true));
    }
}

#[test]
fn json_is_read_outside_strings_only() {
    let text = r#"{ "a [\" " : [ 1 , {} ], "a [\" " : "\\" }"#;
    assert_eq!(compact(text), r#"{"a [\" ":[1,{}],"a [\" ":"\\"}"#);
    assert_eq!(depth(text), 3);
    assert!(is_json(text.as_bytes()) && !is_json(b"{} x") && !is_json(b"\"\xff\""));
    let members = Members::of(text).expect("an object");
    assert!(members.repeats(&["a [\" "]) && !members.repeats(&["b"]));
    assert_eq!(members.get("a [\" "), Some("[ 1 , {} ]"));
    assert!(Members::of("[]").is_none());
}

#[test]
fn a_refusal_is_in_the_table_and_has_the_id_of_its_request() {
    let body = |code: i64, id: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"no"}}}}"#).into_bytes()
    };
    assert_eq!(check_refusal(400, &body(-32600, "7"), Some(&7.into())), -32600);
    assert_eq!(check_refusal(404, &body(-32001, "null"), None), -32001);
    assert!(fails(|| _ = check_refusal(400, &body(-32001, "7"), Some(&7.into()))), "no such pair");
    let several = |errors: &[Vec<u8>]| [b"[", &errors.join(&b","[..])[..], b"]"].concat();
    let invalid = || body(-32600, "null");
    assert_eq!(check_refusal(400, &several(&[invalid(), invalid()]), None), -32600);
    assert!(fails(|| _ = check_refusal(400, &several(&[]), None)), "nothing is refused");
    assert!(
        fails(|| _ = check_refusal(400, &several(&[invalid(), body(-32602, "null")]), None)),
        "another code"
    );
    assert!(
        fails(|| _ = check_refusal(413, &several(&[body(-32600, "7")]), Some(&7.into()))),
        "an id of a sibling"
    );
    assert!(fails(|| _ = check_refusal(400, &body(-32600, "8"), Some(&7.into()))), "another id");
    assert!(fails(|| _ = check_refusal(400, &body(-32600, "8"), None)), "an id of nobody");
    assert!(fails(|| _ = check_refusal(400, b"no", None)), "no JSON");
}
