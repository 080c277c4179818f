//! What is refused, and with which error.

use std::{fmt::Debug, time::Duration};

use mcp_session_proto::TerminateReason;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{ID, append, full, id, peer};
use crate::store::{
    Append, Listener, LogId, NodeId, Page, PeerMessage, PeerRequest, Receipt, Record, Update, Wakeup,
};

/// The error of a value that is refused.
#[track_caller]
pub(super) fn refused<T: DeserializeOwned + Debug>(form: &str) -> String {
    let error = serde_json::from_str::<T>(&form.replace("ID", ID)).unwrap_err().to_string();
    error.split(" at line").next().unwrap_or_default().to_owned()
}

/// Each of these values in this field is refused with this error.
#[track_caller]
pub(super) fn refuses<T: Serialize + DeserializeOwned + Debug>(
    valid: &T,
    field: &str,
    values: &[Value],
    expected: &str,
) {
    for value in values {
        let mut form = serde_json::to_value(valid).unwrap();
        let (field, inner) =
            field.split_once('/').map_or((field, None), |(field, inner)| (field, Some(inner)));
        match inner {
            Some(inner) => form[field][inner] = value.clone(),
            None => form[field] = value.clone(),
        }
        assert_eq!(T::deserialize(&form).unwrap_err().to_string(), expected, "{value}");
        // Absent, it is something else than this error.
        assert_ne!(refused_or_read::<T>(form, field), expected);
    }
}

fn refused_or_read<T: DeserializeOwned>(mut form: Value, without: &str) -> String {
    form.as_object_mut().and_then(|fields| fields.remove(without));
    T::deserialize(form).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn a_number_that_may_lose_digits_is_refused_in_a_field_that_this_node_does_not_know() {
    let expected = "`newer` is not a value whose numbers are integers of 64 bits";
    let inexact = [json!(0.1), json!([1, 1e300]), json!({"in": {"it": -2.5}})];
    refuses(&full(), "newer", &inexact, expected);
    let digits = r#"{"id":"ID","v":1,"version":"2025-11-25","newer":123456789012345678901234567890}"#;
    assert_eq!(refused::<Record>(digits), expected);
    let inner = r#"{"id":"ID","v":1,"version":"2025-11-25","listener":{"weight":0.30000000000000001}}"#;
    let expected = "`listener` is not a value whose numbers are integers of 64 bits";
    assert_eq!(refused::<Record>(inner), expected);
    for exact in [json!(u64::MAX), json!(i64::MIN), json!([0, {"a": null}])] {
        let mut form = serde_json::to_value(full()).unwrap();
        form["newer"] = exact;
        let read: Record = serde_json::from_value(form.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), form);
    }
}

#[test]
fn each_malformed_field_of_a_record_is_refused() {
    let no_count = [json!(-1), json!(1.5), json!("1"), json!(true), json!([])];
    let no_node = [json!("1"), json!(1), json!("000000000000000A"), json!("+000000000000001"), json!({})];
    let no_map = [json!(1), json!("1"), json!([1]), json!(true)];
    let id = [json!("x"), json!(7), json!(ID.to_uppercase()), json!(format!("{ID}0")), json!([ID])];
    refuses(&full(), "id", &id, "`id` is not a session id");
    let version = [json!("2099-01-01"), json!(20250618), json!("")];
    refuses(&full(), "version", &version, "`version` is not a protocol version that this node knows");
    refuses(&full(), "principal", &[json!(1), json!({}), json!(["a"])], "`principal` is not a string");
    refuses(&full(), "capabilities", &no_map, "`capabilities` is not a map");
    for flag in ["elicitation", "elicitation.url", "roots", "sampling", "sampling.tools"] {
        let expected = format!("`capabilities.{flag}` is not a Boolean");
        refuses(&full(), &format!("capabilities/{flag}"), &[json!(1), json!("true"), json!({})], &expected);
    }
    refuses(&full(), "initialize", &[json!({}), json!(1)], "`initialize` is not a string");
    let text = [json!(""), json!("{"), json!("[]"), json!("1"), json!("{} {}"), json!("null")];
    refuses(&full(), "initialize", &text, "`initialize` is not the text of a JSON object");
    refuses(&full(), "initialized", &[json!(1), json!("true")], "`initialized` is not a Boolean");
    for time in ["age", "unused"] {
        refuses(&full(), time, &no_map, &format!("`{time}` is not a map"));
        refuses(&full(), &format!("{time}/secs"), &no_count, &format!("`{time}.secs` is not a count"));
        refuses(&full(), &format!("{time}/nanos"), &no_count, &format!("`{time}.nanos` is not a count"));
        let nanos = [json!(1_000_000_000), json!(u64::MAX)];
        refuses(
            &full(),
            &format!("{time}/nanos"),
            &nanos,
            &format!("`{time}.nanos` is not less than a second"),
        );
    }
    refuses(&full(), "home", &no_node, "`home` is not a node id");
    let members = [json!(1), json!([1]), json!({}), json!([null, "x"]), json!([["0000000000000001"]])];
    refuses(&full(), "members", &members, "`members` is not a list of node ids and `null`");
    let heard = [json!(17), json!("x"), json!("0.1"), json!("1.2.3"), json!("-1"), json!("4294967296.1")];
    refuses(&full(), "heard", &heard, "`heard` is not a position");
    refuses(&full(), "listener", &no_map, "`listener` is not a map");
    refuses(&full(), "listener/number", &no_count, "`listener.number` is not a count");
    refuses(&full(), "listener/settled", &no_count, "`listener.settled` is not a count");
    refuses(&full(), "listener/node", &no_node, "`listener.node` is not a node id");
    for (form, expected) in [
        (r#"{"v":1,"version":"2025-11-25"}"#, "`id` is missing"),
        (r#"{"v":1,"id":null,"version":"2025-11-25"}"#, "`id` is missing"),
        (r#"{"v":1,"id":"ID"}"#, "`version` is missing"),
        (r#"{"id":"ID","version":"2025-11-25"}"#, "`v` is missing"),
        (r#"{"v":1,"id":"ID","id":"ID","version":"2025-11-25"}"#, "a field is there twice"),
        (r#""ID""#, "not a map"),
    ] {
        assert_eq!(refused::<Record>(form), expected, "{form}");
    }
    for form in ["", "{", "null", "[]", "7", r#"{"v":1"#, r#"{"v":1,}"#, "\u{0}"] {
        refused::<Record>(form);
    }
    for form in [r#""""#, r#""2a""#, r#""000000000000002A""#, "1", "null", "{}", r#""+00000000000002a""#] {
        refused::<NodeId>(form);
    }
}

#[test]
fn each_malformed_field_of_the_others_is_refused() {
    let no_count = [json!(-1), json!(0.5), json!("1"), json!({})];
    let no_node = [json!("1"), json!(1)];
    let no_position = [json!(1), json!("x"), json!("")];
    let no_session = [json!("x"), json!(1)];
    let no_request =
        [json!(1), json!("x"), json!("1.5"), json!("null"), json!(""), json!(format!("{ID:?}").repeat(40))];

    let listener = Listener { number: 1, node: Some(NodeId(1)), settled: 1 };
    refuses(&listener, "number", &no_count, "`number` is not a count");
    refuses(&listener, "settled", &no_count, "`settled` is not a count");
    refuses(&listener, "node", &no_node, "`node` is not a node id");

    let log = LogId { session: id(), stream: 3 };
    refuses(&log, "session", &no_session, "`session` is not a session id");
    refuses(&log, "stream", &no_count, "`stream` is not a count");

    refuses(&append(), "session", &no_session, "`session` is not a session id");
    refuses(&append(), "stream", &no_count, "`stream` is not a count");
    refuses(&append(), "owner", &no_node, "`owner` is not a node id");
    refuses(&append(), "request", &no_request, "`request` is not the JSON text of a request id");
    refuses(&append(), "at", &no_count, "`at` is not a count");
    refuses(&append(), "ends", &[json!(1)], "`ends` is not a Boolean");
    let events =
        [json!("a"), json!([1]), json!([[256]]), json!([[-1]]), json!([["a"]]), json!({}), json!([null])];
    refuses(&append(), "events", &events, "`events` is not a list of events");

    let page = Page::new(vec![(1.into(), "a".into())], true, Some(7.into()));
    let pairs = [
        json!("a"),
        json!(["1", "a"]),
        json!([["1"]]),
        json!([["1", "a", "b"]]),
        json!([[1, "a"]]),
        json!([["x", "a"]]),
        json!([["1", 2]]),
    ];
    refuses(&page, "events", &pairs, "`events` is not a list of pairs of position and event");
    refuses(&page, "ended", &[json!("true")], "`ended` is not a Boolean");
    refuses(&page, "request", &no_request, "`request` is not the JSON text of a request id");

    refuses(&Update::Heard(1.into()), "position", &no_position, "`position` is not a position");
    refuses(&Update::Used(Duration::MAX), "ago", &[json!(1)], "`ago` is not a map");
    refuses(&Update::Used(Duration::MAX), "ago/secs", &no_count, "`ago.secs` is not a count");
    refuses(&Update::Listens(NodeId(1), 1), "node", &no_node, "`node` is not a node id");
    refuses(&Update::Listens(NodeId(1), 1), "number", &no_count, "`number` is not a count");
    refuses(&Update::Settled(1, 1.into()), "number", &no_count, "`number` is not a count");
    refuses(&Update::Settled(1, 1.into()), "position", &no_position, "`position` is not a position");

    let posted =
        peer(PeerRequest::Posted { message: "{}".into(), receipt: Some(Receipt::new(NodeId(1), 1)) });
    refuses(&posted, "session", &no_session, "`session` is not a session id");
    refuses(
        &posted,
        "message",
        &[json!({}), json!(1), json!(["{}"]), json!([256])],
        "`message` is not a string",
    );
    refuses(
        &peer(PeerRequest::TakenOver { stream: 1, number: 1 }),
        "stream",
        &no_count,
        "`stream` is not a count",
    );
    refuses(&posted, "from", &[json!(1), json!("1")], "`from` is not a node id");
    refuses(&posted, "number", &no_count, "`number` is not a count");
    refuses(&peer(PeerRequest::Taken(1)), "number", &no_count, "`number` is not a count");
    let taken_over = peer(PeerRequest::TakenOver { stream: 1, number: 1 });
    refuses(&taken_over, "number", &no_count, "`number` is not a count");
    refuses(&peer(PeerRequest::Listens(1)), "number", &no_count, "`number` is not a count");
    let ended = peer(PeerRequest::Terminated(TerminateReason::Idle));
    refuses(&ended, "reason", &[json!(1), json!([])], "`reason` is not a string");

    let no_kind = [json!("quiesce"), json!("")];
    refuses(&Update::Initialized, "kind", &no_kind, "`kind` is not a kind of update that this node knows");
    refuses(&Wakeup::Grown, "kind", &no_kind, "`kind` is not a kind of wakeup that this node knows");
    refuses(&posted.request, "kind", &no_kind, "`kind` is not a kind of request that this node knows");
    refuses(&posted, "kind", &no_kind, "`kind` is not a kind of request that this node knows");
    refuses(&posted, "kind", &[json!(1), json!({})], "`kind` is not a string");

    for (missing, expected) in [
        (refused::<LogId>(r#"{"v":1}"#), "session"),
        (refused::<Append>(r#"{"v":1,"session":"ID","request":"1"}"#), "owner"),
        (refused::<Append>(r#"{"v":1,"session":"ID","owner":"0000000000000001"}"#), "request"),
        (refused::<Append>(r#"{"v":1,"owner":"0000000000000001","request":"1"}"#), "session"),
        (refused::<Update>(r#"{"v":1}"#), "kind"),
        (refused::<Update>(r#"{"v":1,"kind":"listens"}"#), "node"),
        (refused::<Wakeup>(r#"{"v":1}"#), "kind"),
        (refused::<PeerRequest>(r#"{"v":1}"#), "kind"),
        (refused::<PeerRequest>(r#"{"v":1,"kind":"posted"}"#), "message"),
        (refused::<PeerRequest>(r#"{"v":1,"kind":"terminated"}"#), "reason"),
        (refused::<PeerMessage>(r#"{"v":1,"kind":"initialized"}"#), "session"),
    ] {
        assert_eq!(missing, format!("`{expected}` is missing"));
    }
}
