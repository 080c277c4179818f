//! The wire form of the values that a store keeps or sends: how a store on a network writes and reads them.
//!
//! [`Record`], [`Update`], [`Append`], [`Page`], [`PeerMessage`] and their parts implement serde's `Serialize` and
//! `Deserialize`. Any format works that describes itself, such as JSON.
//!
//! ```
//! use mcp_session_core::{ProtocolVersion, SessionId, store::Record};
//!
//! let mut record = Record::new(SessionId::from_bits(7), ProtocolVersion::LATEST_WITH_HANDSHAKE);
//! record.initialized = true;
//! let json = serde_json::to_string(&record)?;
//! let id = "00000000000000000000000000000007";
//! assert_eq!(json, format!(r#"{{"id":"{id}","initialized":true,"v":1,"version":"2025-11-25"}}"#));
//! assert_eq!(serde_json::from_str::<Record>(&json)?, record);
//!
//! // What a newer node writes in addition is ignored, and stays in a record that is written again.
//! let newer = json.replace(r#""v":1"#, r#""tenant":"t1","v":1"#);
//! let read: Record = serde_json::from_str(&newer)?;
//! assert!(read.initialized && serde_json::to_string(&read)? == newer);
//!
//! // Another version is refused.
//! let refused = serde_json::from_str::<Record>(&json.replace(r#""v":1"#, r#""v":2"#));
//! assert!(refused.unwrap_err().to_string().contains("version 2 of the wire form, but this node reads version 1"));
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! # The form
//!
//! A value is a map. Its fields are in the order of their names, so equal values have equal bytes. A field that has its
//! default value is absent: `null`, `false`, 0, an empty list or map, [`Position::START`].
//!
//! | type | fields |
//! |---|---|
//! | [`Record`] | `id`, `version`, `principal`, `capabilities` (a map of flags), `initialize` (JSON text; `{}` if absent), `initialized`, `age`, `unused`, `home`, `members` (a list of node ids and `null`), `heard`, `listener` |
//! | [`Listener`] | `number`, `node`, `settled` |
//! | [`Update`] | `kind`; `heard`: `position`; `used`: `ago`; `listens`: `node`, `number`; `settled`: `number`, `position`; `initialized` |
//! | [`LogId`] | `session`, `stream` |
//! | [`Append`] | those of its [`LogId`], `owner`, `request`, `at`, `events`, `ends` |
//! | [`Page`] | `events` (a list of pairs of position and event), `ended`, `request` |
//! | [`Wakeup`] | `kind`: `grown` or `owner_gone` |
//! | [`PeerRequest`] | `kind`; `posted`: `message`, and of its [`Receipt`] `from` and `number`; `taken`: `number`; `taken_over`: `stream`, `number`; `listens`: `number`; `terminated`: `reason`; `initialized` |
//! | [`PeerMessage`] | `session`, and those of its [`PeerRequest`] |
//!
//! | part | form |
//! |---|---|
//! | [`NodeId`] | a string of 16 lower-case hexadecimal digits. Alone as well: it is the only value without a version |
//! | [`SessionId`](crate::SessionId) | a string of 32 lower-case hexadecimal digits |
//! | [`Position`] | a string as in an event id: `17`, or `2.17` in epoch 2 |
//! | a count | an integer |
//! | a duration | a map of `secs` and `nanos`, as serde's own |
//! | a [`RequestId`], `initialize`, `message` | a string of JSON text, byte for byte |
//! | an event | a string. A list of bytes if it is not UTF-8, which no event of this crate is |
//! | [`TerminateReason`] | its name. A name that this node does not know is read as `error`: the session ends in any case |
//!
//! Ids are strings because they need all 64 or 128 bits, which a number in JavaScript or in a Lua script does not have.
//!
//! # Versions
//!
//! Each value has a field `v` with [`VERSION`]. A change that an older node cannot read raises it; a new field does not.
//! So nodes of several releases can share a store while they are replaced one after the other. The numbers of a new field
//! are integers of 64 bits, because any other number may lose digits when an older node writes the record again: it is
//! refused. A value of another version is an error that names both versions. A new kind of [`Update`] or [`PeerRequest`] is
//! an error at an older node.
//!
//! A store fails with [`Unavailable`](super::Unavailable) if it cannot read a value, because a newer node may. It skips
//! a message that it cannot read.
//!
//! # Errors
//!
//! An error names the field and what it should be. It does not repeat the value, which may be a secret. No input panics.
//!
//! # Time
//!
//! [`Record::age`] and [`Record::unused`] are durations as of the moment of writing. A store keeps the two moments by its
//! own clock, beside the record, and sets both fields when it returns the record: no clock of a node matters.
//!
//! # Secrets
//!
//! The wire form has everything: whole session ids, the name of the principal, the messages of a client. `Debug` has
//! only a prefix of an id, and the number and size of messages (E-20). Log `Debug`, never the wire form.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use self::{
    decode::{Fields, Malformed},
    encode::{Map, Value},
};
use super::{
    Append, Listener, LogId, NodeId, Page, PeerMessage, PeerRequest, Receipt, Record, Update, Wakeup,
};
use crate::principal::Principal;
use mcp_session_proto::{
    ClientCapabilities, EventId, Json, Position, ProtocolVersion, RequestId, TerminateReason,
};

/// The version of the wire form that this crate writes and reads.
pub const VERSION: u64 = 1;

/// A value with a wire form.
trait Wire: Sized {
    /// Writes the fields, without the version.
    fn encode<'a>(&'a self, to: &mut Map<'a>);

    /// Takes the fields that it knows.
    fn decode(from: &mut Fields) -> Result<Self, Malformed>;
}

/// Implements serde's traits: the fields of a [`Wire`], and the version.
macro_rules! versioned {
    ($($value:ty),+) => {
        $(
            impl Serialize for $value {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut map = Map::default();
                    self.encode(&mut map);
                    map.count("v", VERSION);
                    map.serialize(serializer)
                }
            }

            impl<'de> Deserialize<'de> for $value {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let mut fields = Fields::deserialize(deserializer)?;
                    fields.version().and_then(|()| Self::decode(&mut fields)).map_err(D::Error::custom)
                }
            }
        )+
    };
}

versioned!(Record, Listener, Update, LogId, Append, Page, Wakeup, PeerRequest, PeerMessage);

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Wire for Record {
    fn encode<'a>(&'a self, to: &mut Map<'a>) {
        let Self {
            id,
            principal,
            version,
            capabilities,
            initialize,
            initialized,
            age,
            unused,
            home,
            members,
            heard,
            listener,
            unknown,
        } = self;
        to.shown("id", id);
        to.put("principal", principal.as_ref().map(|principal| Value::Text(principal.as_str().into())));
        to.put("version", Some(Value::Text(version.as_str().into())));
        to.map("capabilities", |to| capabilities_to(to, *capabilities));
        to.put("initialize", (initialize.as_str() != "{}").then(|| Value::Text(initialize.as_str().into())));
        to.flag("initialized", *initialized);
        to.duration("age", *age);
        to.duration("unused", *unused);
        to.put("home", home.map(Value::shown));
        let member = |member: &Option<NodeId>| member.map_or(Value::Null, Value::shown);
        to.list("members", members.iter().map(member).collect());
        to.position("heard", *heard);
        to.map("listener", |to| listener.encode(to));
        to.keep(unknown.fields());
    }

    fn decode(from: &mut Fields) -> Result<Self, Malformed> {
        let version = |name: &str| ProtocolVersion::parse(name).filter(|version| version.has_handshake());
        let json = |text: String| Json::from_text(text.into()).ok().filter(Json::is_object);
        let mut record = Self::new(
            from.required("id", "a session id", |id| id.parse().ok())?,
            from.required("version", "a protocol version that this node knows", version)?,
        );
        record.principal = from.text("principal")?.map(Principal::new);
        if let Some(capabilities) = from.within("capabilities", capabilities_from)? {
            record.capabilities = capabilities;
        }
        if let Some(text) = from.text("initialize")? {
            record.initialize =
                json(text).ok_or(Malformed::field("initialize", "the text of a JSON object"))?;
        }
        record.initialized = from.flag("initialized")?;
        record.age = from.duration("age")?;
        record.unused = from.duration("unused")?;
        record.home = from.node("home")?;
        record.members = from.list("members", "a list of node ids and `null`", |member| match member {
            serde_json::Value::Null => Some(None),
            member => Some(Some(member.as_str()?.parse().ok()?)),
        })?;
        record.heard = from.position("heard")?;
        record.listener = from.within("listener", Listener::decode)?.unwrap_or_default();
        record.unknown = from.rest()?;
        Ok(record)
    }
}

/// The names of the capabilities, with what each stands for.
fn capabilities_to(to: &mut Map<'_>, capabilities: ClientCapabilities) {
    for (name, declared) in capabilities.to_flags() {
        to.flag(name, declared);
    }
}

fn capabilities_from(from: &mut Fields) -> Result<ClientCapabilities, Malformed> {
    ClientCapabilities::from_flags(|name| from.flag(name))
}

impl Wire for Listener {
    fn encode<'a>(&'a self, to: &mut Map<'a>) {
        let Self { number, node, settled } = self;
        to.count("number", *number);
        to.put("node", node.map(Value::shown));
        to.count("settled", *settled);
    }

    fn decode(from: &mut Fields) -> Result<Self, Malformed> {
        Ok(Self { number: from.count("number")?, node: from.node("node")?, settled: from.count("settled")? })
    }
}

impl Wire for Update {
    fn encode<'a>(&'a self, to: &mut Map<'a>) {
        let kind = match self {
            Self::Initialized => "initialized",
            Self::Heard(position) => {
                to.position("position", *position);
                "heard"
            }
            Self::Used(ago) => {
                to.duration("ago", *ago);
                "used"
            }
            Self::Listens(node, number) => {
                to.shown("node", node);
                to.count("number", *number);
                "listens"
            }
            Self::Settled(number, position) => {
                to.count("number", *number);
                to.position("position", *position);
                "settled"
            }
        };
        to.put("kind", Some(Value::Text(kind.into())));
    }

    fn decode(from: &mut Fields) -> Result<Self, Malformed> {
        Ok(match &*from.required_text("kind")? {
            "initialized" => Self::Initialized,
            "heard" => Self::Heard(from.position("position")?),
            "used" => Self::Used(from.duration("ago")?),
            "listens" => {
                let node = from.required("node", "a node id", |node| node.parse().ok())?;
                Self::Listens(node, from.count("number")?)
            }
            "settled" => Self::Settled(from.count("number")?, from.position("position")?),
            _ => return Err(Malformed::field("kind", "a kind of update that this node knows")),
        })
    }
}

impl Wire for LogId {
    fn encode<'a>(&'a self, to: &mut Map<'a>) {
        let Self { session, stream } = self;
        to.shown("session", session);
        to.count("stream", *stream);
    }

    fn decode(from: &mut Fields) -> Result<Self, Malformed> {
        let session = from.required("session", "a session id", |id| id.parse().ok())?;
        Ok(Self { session, stream: from.count("stream")? })
    }
}

impl Wire for Append {
    fn encode<'a>(&'a self, to: &mut Map<'a>) {
        let Self { log, owner, request, at, events, ends } = self;
        log.encode(to);
        to.shown("owner", owner);
        to.put("request", Some(request_to(request)));
        to.count("at", *at);
        to.list("events", events.iter().map(|event| Value::Bytes(event)).collect());
        to.flag("ends", *ends);
    }

    fn decode(from: &mut Fields) -> Result<Self, Malformed> {
        Ok(Self {
            log: LogId::decode(from)?,
            owner: from.required("owner", "a node id", |node| node.parse().ok())?,
            request: from.required("request", REQUEST, RequestId::from_json)?,
            at: from.count("at")?,
            events: from.list("events", "a list of events", decode::bytes)?,
            ends: from.flag("ends")?,
        })
    }
}

impl Wire for Page {
    fn encode<'a>(&'a self, to: &mut Map<'a>) {
        let Self { events, ended, request } = self;
        let pair =
            |(at, event): &'a (Position, Bytes)| Value::List(vec![Value::shown(at), Value::Bytes(event)]);
        to.list("events", events.iter().map(pair).collect());
        to.flag("ended", *ended);
        to.put("request", request.as_ref().map(request_to));
    }

    fn decode(from: &mut Fields) -> Result<Self, Malformed> {
        let pair = |pair: serde_json::Value| match pair {
            serde_json::Value::Array(pair) => {
                let [at, event] = <[_; 2]>::try_from(pair).ok()?;
                Some((position(at.as_str()?)?, decode::bytes(event)?))
            }
            _ => None,
        };
        Ok(Self {
            events: from.list("events", "a list of pairs of position and event", pair)?,
            ended: from.flag("ended")?,
            request: from.parsed("request", REQUEST, RequestId::from_json)?,
        })
    }
}

impl Wire for Wakeup {
    fn encode<'a>(&'a self, to: &mut Map<'a>) {
        let kind = match self {
            Self::Grown => "grown",
            Self::OwnerGone => "owner_gone",
        };
        to.put("kind", Some(Value::Text(kind.into())));
    }

    fn decode(from: &mut Fields) -> Result<Self, Malformed> {
        Ok(match &*from.required_text("kind")? {
            "grown" => Self::Grown,
            "owner_gone" => Self::OwnerGone,
            _ => return Err(Malformed::field("kind", "a kind of wakeup that this node knows")),
        })
    }
}

impl Wire for PeerRequest {
    fn encode<'a>(&'a self, to: &mut Map<'a>) {
        let kind = match self {
            Self::Posted { message, receipt } => {
                to.put("message", Some(Value::Bytes(message)));
                to.put("from", receipt.map(|receipt| Value::shown(receipt.node)));
                to.count("number", receipt.map_or(0, |receipt| receipt.number));
                "posted"
            }
            Self::Taken(number) => {
                to.count("number", *number);
                "taken"
            }
            Self::TakenOver { stream, number } => {
                to.count("stream", *stream);
                to.count("number", *number);
                "taken_over"
            }
            Self::Listens(number) => {
                to.count("number", *number);
                "listens"
            }
            Self::Initialized => "initialized",
            Self::Terminated(reason) => {
                to.put("reason", Some(Value::Text(reason.as_str().into())));
                "terminated"
            }
        };
        to.put("kind", Some(Value::Text(kind.into())));
    }

    fn decode(from: &mut Fields) -> Result<Self, Malformed> {
        Ok(match &*from.required_text("kind")? {
            "posted" => {
                let (message, node, number) =
                    (from.bytes("message")?, from.node("from")?, from.count("number")?);
                Self::Posted { message, receipt: node.map(|node| Receipt { node, number }) }
            }
            "taken" => Self::Taken(from.count("number")?),
            "taken_over" => Self::TakenOver { stream: from.count("stream")?, number: from.count("number")? },
            "listens" => Self::Listens(from.count("number")?),
            "initialized" => Self::Initialized,
            "terminated" => Self::Terminated(reason(&from.required_text("reason")?)),
            _ => return Err(Malformed::field("kind", "a kind of request that this node knows")),
        })
    }
}

impl Wire for PeerMessage {
    fn encode<'a>(&'a self, to: &mut Map<'a>) {
        let Self { session, request } = self;
        to.shown("session", session);
        request.encode(to);
    }

    fn decode(from: &mut Fields) -> Result<Self, Malformed> {
        let session = from.required("session", "a session id", |id| id.parse().ok())?;
        Ok(Self { session, request: PeerRequest::decode(from)? })
    }
}

const REQUEST: &str = "the JSON text of a request id";

fn request_to(request: &RequestId) -> Value<'static> {
    let mut text = Vec::new();
    request.write_json(&mut text);
    Value::Text(String::from_utf8_lossy(&text).into_owned().into()) // JSON is UTF-8
}

/// Reads a position as it is in an event id.
fn position(text: &str) -> Option<Position> {
    EventId::parse(&format!("0-{text}")).map(|id| id.position)
}

/// The reason with this name. [`TerminateReason::Error`] for a name from a newer node: that the session ends matters more.
fn reason(name: &str) -> TerminateReason {
    let known = TerminateReason::ALL.iter().find(|reason| reason.as_str() == name);
    known.copied().unwrap_or(TerminateReason::Error)
}
