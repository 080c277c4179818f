//! [`Map`]: the fields of a value, to be written in any format.

use std::{borrow::Cow, collections::BTreeMap, fmt::Display, time::Duration};

use mcp_session_proto::Position;
use serde::{Serialize, Serializer};

/// The fields of a value, in the order of their names.
#[derive(Default)]
pub(super) struct Map<'a>(BTreeMap<&'a str, Value<'a>>);

pub(super) enum Value<'a> {
    Null,
    Flag,
    Count(u64),
    Text(Cow<'a, str>),
    /// Written as text if it is UTF-8, else as a list of numbers.
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Map(Map<'a>),
    /// From a newer node, as it was read.
    Unknown(&'a serde_json::Value),
}

impl<'a> Value<'a> {
    pub(super) fn shown(value: impl Display) -> Self {
        Self::Text(value.to_string().into())
    }
}

impl<'a> Map<'a> {
    pub(super) fn put(&mut self, name: &'a str, value: Option<Value<'a>>) {
        if let Some(value) = value {
            self.0.insert(name, value);
        }
    }

    /// A value whose form is what it displays.
    pub(super) fn shown(&mut self, name: &'a str, value: impl Display) {
        self.put(name, Some(Value::shown(value)));
    }

    pub(super) fn flag(&mut self, name: &'a str, flag: bool) {
        self.put(name, flag.then_some(Value::Flag));
    }

    pub(super) fn count(&mut self, name: &'a str, count: u64) {
        self.put(name, (count > 0).then_some(Value::Count(count)));
    }

    pub(super) fn position(&mut self, name: &'a str, position: Position) {
        self.put(name, (position != Position::START).then(|| Value::shown(position)));
    }

    pub(super) fn duration(&mut self, name: &'a str, duration: Duration) {
        self.map(name, |map| {
            map.count("secs", duration.as_secs());
            map.count("nanos", duration.subsec_nanos().into());
        });
    }

    pub(super) fn list(&mut self, name: &'a str, list: Vec<Value<'a>>) {
        self.put(name, (!list.is_empty()).then_some(Value::List(list)));
    }

    pub(super) fn map(&mut self, name: &'a str, write: impl FnOnce(&mut Self)) {
        let mut map = Map::default();
        write(&mut map);
        self.put(name, (!map.0.is_empty()).then_some(Value::Map(map)));
    }

    /// Adds the fields that only a newer node knows.
    pub(super) fn keep(&mut self, unknown: impl IntoIterator<Item = (&'a String, &'a serde_json::Value)>) {
        for (name, value) in unknown {
            match (self.0.get_mut(&**name), value) {
                (Some(Value::Map(known)), serde_json::Value::Object(unknown)) => known.keep(unknown),
                (Some(_), _) => {}
                (None, value) => _ = self.0.insert(name, Value::Unknown(value)),
            }
        }
    }
}

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Flag => serializer.serialize_bool(true),
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => serializer.collect_seq(*bytes),
            },
            Self::List(list) => serializer.collect_seq(list),
            Self::Map(map) => map.serialize(serializer),
            Self::Unknown(value) => value.serialize(serializer),
        }
    }
}
