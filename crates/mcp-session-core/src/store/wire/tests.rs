//! The exact form of each value, its version, and what other versions write.

mod random;
mod refused;

use std::{convert::Infallible, fmt::Debug, time::Duration};

use bytes::Bytes;
use mcp_session_proto::{
    ClientCapabilities, Json, Position, ProtocolVersion, RequestId, SessionId, TerminateReason,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use self::refused::{refused, refuses};
use crate::{
    principal::Principal,
    store::{
        Append, Listener, LogId, NodeId, Page, PeerMessage, PeerRequest, Receipt, Record, Update, Wakeup,
    },
};

const ID: &str = "0123456789abcdef0123456789abcdef";

fn id() -> SessionId {
    ID.parse().unwrap()
}

fn position(epoch: u32, seq: u64) -> Position {
    Position { epoch, seq }
}

fn full() -> Record {
    let mut record = Record::new(id(), ProtocolVersion::V2025_06_18);
    record.principal = Some(Principal::new("https://issuer.example#alice"));
    record.capabilities = ClientCapabilities::from_flags(|_| Ok::<_, Infallible>(true)).unwrap();
    // Neither its order, nor its spaces, nor its numbers are changed.
    record.initialize = Json::from_text(r#"{"b": 1.0, "a": 123456789012345678901}"#.into()).unwrap();
    record.initialized = true;
    record.age = Duration::new(90, 5);
    record.unused = Duration::from_millis(1);
    record.home = Some(NodeId(1));
    record.members = vec![Some(NodeId(1)), None, Some(NodeId(u64::MAX))];
    record.heard = position(2, 17);
    record.listener = Listener { number: 3, node: Some(NodeId(1)), settled: 2 };
    record
}

fn append() -> Append {
    let mut append = Append::new(LogId { session: id(), stream: 3 }, NodeId(1), RequestId::from("a\"b"), 7);
    append.events = vec!["data: \u{e9}\n\n".into(), Bytes::from_static(&[0xff, 0])];
    append.ends = true;
    append
}

fn peer(request: PeerRequest) -> PeerMessage {
    PeerMessage::new(id(), request)
}

/// The value has this form, and the form is read as this value.
#[track_caller]
fn pinned<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, form: &str) {
    let form = form.replace("ID", ID);
    assert_eq!(serde_json::to_string(value).unwrap(), form);
    assert_eq!(serde_json::from_str::<T>(&form).unwrap(), *value);
}

#[test]
fn the_form_of_records() {
    pinned(
        &Record::new(id(), ProtocolVersion::LATEST_WITH_HANDSHAKE),
        r#"{"id":"ID","v":1,"version":"2025-11-25"}"#,
    );
    pinned(
        &full(),
        concat!(
            r#"{"age":{"nanos":5,"secs":90},"#,
            r#""capabilities":{"elicitation":true,"elicitation.url":true,"roots":true,"sampling":true,"sampling.tools":true},"#,
            r#""heard":"2.17","home":"0000000000000001","id":"ID","#,
            r#""initialize":"{\"b\": 1.0, \"a\": 123456789012345678901}","initialized":true,"#,
            r#""listener":{"node":"0000000000000001","number":3,"settled":2},"#,
            r#""members":["0000000000000001",null,"ffffffffffffffff"],"#,
            r#""principal":"https://issuer.example#alice","unused":{"nanos":1000000},"v":1,"version":"2025-06-18"}"#,
        ),
    );
    pinned(&NodeId(0x2a), r#""000000000000002a""#);
    pinned(&Listener::default(), r#"{"v":1}"#);
    pinned(
        &Listener { number: 3, node: Some(NodeId(1)), settled: 2 },
        r#"{"node":"0000000000000001","number":3,"settled":2,"v":1}"#,
    );
}

#[test]
fn the_form_of_updates() {
    pinned(&Update::Initialized, r#"{"kind":"initialized","v":1}"#);
    pinned(&Update::Heard(17.into()), r#"{"kind":"heard","position":"17","v":1}"#);
    pinned(&Update::Heard(Position::START), r#"{"kind":"heard","v":1}"#);
    pinned(&Update::Used(Duration::from_secs(5)), r#"{"ago":{"secs":5},"kind":"used","v":1}"#);
    pinned(
        &Update::Listens(NodeId(1), 4),
        r#"{"kind":"listens","node":"0000000000000001","number":4,"v":1}"#,
    );
    pinned(&Update::Settled(4, position(1, 9)), r#"{"kind":"settled","number":4,"position":"1.9","v":1}"#);
}

#[test]
fn the_form_of_logs() {
    pinned(&LogId { session: id(), stream: 3 }, r#"{"session":"ID","stream":3,"v":1}"#);
    pinned(&LogId::shared(id()), r#"{"session":"ID","stream":4294967295,"v":1}"#);
    pinned(
        &append(),
        concat!(
            r#"{"at":7,"ends":true,"events":["data: "#,
            "\u{e9}",
            r#"\n\n",[255,0]],"owner":"0000000000000001","request":"\"a\\\"b\"","session":"ID","stream":3,"v":1}"#,
        ),
    );
    pinned(&Page::default(), r#"{"v":1}"#);
    pinned(
        &Page::new(vec![(1.into(), "a".into()), (position(1, 2), "b".into())], true, Some(7.into())),
        r#"{"ended":true,"events":[["1","a"],["1.2","b"]],"request":"7","v":1}"#,
    );
    pinned(&Wakeup::Grown, r#"{"kind":"grown","v":1}"#);
    pinned(&Wakeup::OwnerGone, r#"{"kind":"owner_gone","v":1}"#);
}

#[test]
fn the_form_of_messages() {
    let posted = PeerRequest::Posted { message: r#"{"id": 1}"#.into(), receipt: None };
    pinned(&posted, r#"{"kind":"posted","message":"{\"id\": 1}","v":1}"#);
    pinned(&peer(posted), r#"{"kind":"posted","message":"{\"id\": 1}","session":"ID","v":1}"#);
    let receipt = Some(Receipt::new(NodeId(0x2a), 7));
    pinned(
        &PeerRequest::Posted { message: "{}".into(), receipt },
        r#"{"from":"000000000000002a","kind":"posted","message":"{}","number":7,"v":1}"#,
    );
    pinned(&peer(PeerRequest::Taken(7)), r#"{"kind":"taken","number":7,"session":"ID","v":1}"#);
    pinned(
        &peer(PeerRequest::TakenOver { stream: 3, number: 7 }),
        r#"{"kind":"taken_over","number":7,"session":"ID","stream":3,"v":1}"#,
    );
    // Of an older node: no connection is older than 0.
    pinned(&PeerRequest::TakenOver { stream: 3, number: 0 }, r#"{"kind":"taken_over","stream":3,"v":1}"#);
    pinned(&peer(PeerRequest::Listens(2)), r#"{"kind":"listens","number":2,"session":"ID","v":1}"#);
    pinned(&peer(PeerRequest::Initialized), r#"{"kind":"initialized","session":"ID","v":1}"#);
    pinned(
        &peer(PeerRequest::Terminated(TerminateReason::ClientDelete)),
        r#"{"kind":"terminated","reason":"client_delete","session":"ID","v":1}"#,
    );
}

#[test]
fn s_12_every_reason_has_a_form_and_an_unknown_one_ends_the_session_too() {
    for reason in TerminateReason::ALL.iter().copied() {
        let form = json!({ "v": 1, "kind": "terminated", "reason": reason.as_str() });
        assert_eq!(PeerRequest::deserialize(form).unwrap(), PeerRequest::Terminated(reason));
    }
    let newer = json!({ "v": 1, "kind": "terminated", "reason": "moved_to_the_moon" });
    assert_eq!(PeerRequest::deserialize(newer).unwrap(), PeerRequest::Terminated(TerminateReason::Error));
}

/// A value of another version is an error that names both versions, wherever the version stands and whatever else is
/// new.
#[test]
fn a_value_of_another_version_is_refused() {
    fn versions<T: Serialize + DeserializeOwned + Debug>(value: &T) {
        for (version, named) in [(json!(2), "2"), (json!(0), "0"), (json!(u64::MAX), "18446744073709551615")]
        {
            let mut form = serde_json::to_value(value).unwrap();
            form["v"] = version;
            let expected = format!("version {named} of the wire form, but this node reads version 1");
            assert_eq!(T::deserialize(&form).unwrap_err().to_string(), expected);
            for (name, field) in form.as_object_mut().unwrap() {
                if name != "v" {
                    *field = json!({ "quite": "different" });
                }
            }
            assert_eq!(T::deserialize(&form).unwrap_err().to_string(), expected);
        }
        let no_version = [json!("1"), json!(1.5), json!(-1), json!({ "v": 1 })];
        refuses(value, "v", &no_version, "`v` is not the version of the wire form");
    }
    versions(&full());
    versions(&full().listener);
    versions(&Update::Initialized);
    versions(&LogId::shared(id()));
    versions(&append());
    versions(&Page::default());
    versions(&Wakeup::Grown);
    versions(&PeerRequest::Initialized);
    versions(&peer(PeerRequest::Initialized));
}

/// Fields of a newer node are ignored. A record that is changed and written again still has them.
#[test]
fn unknown_fields_are_ignored_and_stay_in_a_record() {
    fn ignored<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Value {
        let mut form = serde_json::to_value(value).unwrap();
        form["new"] = json!({ "list": [1, -1, null, "text"], "map": {} });
        form["a_null"] = Value::Null;
        form
    }
    fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
        assert_eq!(T::deserialize(ignored(value)).unwrap(), *value);
    }
    read(&full().listener);
    read(&Update::Used(Duration::MAX));
    read(&LogId::shared(id()));
    read(&append());
    read(&Page::default());
    read(&Wakeup::Grown);
    read(&PeerRequest::Initialized);
    read(&peer(PeerRequest::Initialized));

    let mut newer = ignored(&full());
    newer["capabilities"]["apps"] = json!(true);
    newer["listener"]["since"] = json!({ "secs": 1 });
    let mut record = Record::deserialize(&newer).unwrap();
    assert_eq!(serde_json::to_value(&record).unwrap(), newer);
    record.apply(Update::Settled(9, position(3, 1)));
    record.capabilities = ClientCapabilities::default();
    (newer["listener"]["settled"], newer["heard"]) = (json!(9), json!("3.1"));
    newer["capabilities"] = json!({ "apps": true });
    assert_eq!(serde_json::to_value(&record).unwrap(), newer);
    // Which fields there are is no secret, what they say may be one.
    let shown = format!("{record:?}");
    assert!(shown.contains(r#""new""#) && !shown.contains("text"), "{shown}");
}

/// E-20: `Debug` and errors do not repeat ids and messages.
#[test]
fn e_20_debug_and_errors_have_no_secrets() {
    let mut page = Page::new(vec![(1.into(), "secret".into()), (5.into(), "secret".into())], true, None);
    let mut append = append();
    append.events = vec!["secret".into()];
    let posted = peer(PeerRequest::Posted { message: "secret".into(), receipt: None });
    let shown = format!("{page:?} {append:?} {posted:?} {:?}", full());
    assert!(!shown.contains("secret") && !shown.contains(ID), "{shown}");
    for part in [
        "2 events, 12 bytes",
        "1 event, 6 bytes",
        "Posted(6 bytes, None)",
        "01234567..",
        "seq: 1 }",
        "seq: 5 }",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    page.events.clear();
    assert!(format!("{page:?}").contains("0 events, 0 bytes"));
    let fields = ["id", "version", "home", "members", "heard", "initialize", "age", "listener", "v"];
    for (field, value) in
        fields.into_iter().flat_map(|field| [(field, json!("secret")), (field, json!(["secret"]))])
    {
        let mut form = serde_json::to_value(full()).unwrap();
        form[field] = value;
        let error = Record::deserialize(form).unwrap_err().to_string();
        assert!(error.contains(field) && !error.contains("secret"), "{error}");
    }
    assert!(!refused::<Record>(r#""secret""#).contains("secret"));
    assert!(!refused::<Append>(r#"{"secret":1,"secret":2}"#).contains("secret"));
    assert!(!refused::<NodeId>(r#""secret""#).contains("secret"));
}
