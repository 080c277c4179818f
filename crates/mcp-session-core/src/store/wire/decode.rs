//! [`Fields`]: the fields of a value, as they were read from any format.

use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;
use mcp_session_proto::Position;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;

use super::VERSION;
use crate::store::{NodeId, record::Unknown};

/// The fields of a value that were not taken yet. They are read whole, because the version may come after other fields.
pub(super) struct Fields(serde_json::Map<String, Value>);

/// Why a value cannot be read. Without the value, which may be a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("version {0} of the wire form, but this node reads version {VERSION}")]
    Version(u64),
    #[error("`{0}` is missing")]
    Missing(Cow<'static, str>),
    #[error("`{0}` is not {1}")]
    Field(Cow<'static, str>, &'static str),
}

impl Malformed {
    pub(super) fn field(name: &'static str, expected: &'static str) -> Self {
        Self::Field(name.into(), expected)
    }

    /// The error of a field of the map `outer`.
    fn within(self, outer: &str) -> Self {
        let path = |name| format!("{outer}.{name}").into();
        match self {
            Self::Version(found) => Self::Version(found),
            Self::Missing(name) => Self::Missing(path(name)),
            Self::Field(name, expected) => Self::Field(path(name), expected),
        }
    }
}

impl Fields {
    /// Checks the version.
    pub(super) fn version(&mut self) -> Result<(), Malformed> {
        match self.number("v", "the version of the wire form")? {
            Some(VERSION) => Ok(()),
            Some(other) => Err(Malformed::Version(other)),
            None => Err(Malformed::Missing("v".into())),
        }
    }

    /// What was not taken: the fields that this node does not know. Each can be written again without a loss.
    pub(super) fn rest(&mut self) -> Result<Unknown, Malformed> {
        match self.0.iter().find(|(_, value)| !is_exact(value)) {
            Some((name, _)) => Err(Malformed::Field(name.clone().into(), EXACT)),
            None => Ok(Unknown::new(std::mem::take(&mut self.0))),
        }
    }

    /// Takes a field. `None` if it is absent or null.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, Malformed> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Malformed::field(name, "a Boolean")),
        }
    }

    pub(super) fn count(&mut self, name: &'static str) -> Result<u64, Malformed> {
        Ok(self.number(name, "a count")?.unwrap_or(0))
    }

    fn number(&mut self, name: &'static str, expected: &'static str) -> Result<Option<u64>, Malformed> {
        let number = self.take(name).map(|value| value.as_u64().ok_or(Malformed::field(name, expected)));
        number.transpose()
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Malformed> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Malformed::field(name, "a string")),
        }
    }

    pub(super) fn required_text(&mut self, name: &'static str) -> Result<String, Malformed> {
        self.text(name)?.ok_or(Malformed::Missing(name.into()))
    }

    /// A string that `parse` accepts.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Malformed> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let parsed = value.as_str().and_then(parse);
        parsed.map(Some).ok_or(Malformed::field(name, expected))
    }

    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Malformed> {
        self.parsed(name, expected, parse)?.ok_or(Malformed::Missing(name.into()))
    }

    pub(super) fn node(&mut self, name: &'static str) -> Result<Option<NodeId>, Malformed> {
        self.parsed(name, "a node id", |node| node.parse().ok())
    }

    pub(super) fn position(&mut self, name: &'static str) -> Result<Position, Malformed> {
        Ok(self.parsed(name, "a position", super::position)?.unwrap_or_default())
    }

    pub(super) fn duration(&mut self, name: &'static str) -> Result<Duration, Malformed> {
        let read = |fields: &mut Self| {
            let (secs, nanos) = (fields.count("secs")?, fields.count("nanos")?);
            let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
            let nanos = nanos.ok_or(Malformed::field("nanos", "less than a second"))?;
            Ok(Duration::new(secs, nanos))
        };
        Ok(self.within(name, read)?.unwrap_or_default())
    }

    pub(super) fn bytes(&mut self, name: &'static str) -> Result<Bytes, Malformed> {
        let value = self.take(name).ok_or(Malformed::Missing(name.into()))?;
        bytes(value).ok_or(Malformed::field(name, "a string"))
    }

    /// A list whose elements `read` accepts.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        read: impl FnMut(Value) -> Option<T>,
    ) -> Result<Vec<T>, Malformed> {
        let list = match self.take(name) {
            None => Some(Vec::new()),
            Some(Value::Array(list)) => list.into_iter().map(read).collect(),
            Some(_) => None,
        };
        list.ok_or(Malformed::field(name, expected))
    }

    /// A map, of which `read` takes the fields that it knows. The others stay.
    pub(super) fn within<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                let mut inner = Self(map);
                let value = read(&mut inner).map_err(|malformed| malformed.within(name))?;
                if !inner.0.is_empty() {
                    self.0.insert(name.into(), Value::Object(inner.0));
                }
                Ok(Some(value))
            }
            Some(_) => Err(Malformed::field(name, "a map")),
        }
    }
}

const EXACT: &str = "a value whose numbers are integers of 64 bits";

/// Other numbers may have been rounded when they were read.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(list) => list.iter().all(is_exact),
        Value::Object(map) => map.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// The bytes of an event or message: a string, or a list of bytes if it is not UTF-8.
pub(super) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Array(list) => {
            list.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect()
        }
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            // The default repeats the text, which may be a secret.
            fn visit_str<E: Error>(self, _: &str) -> Result<Fields, E> {
                Err(E::custom("not a map"))
            }

            // Not through `Value`: of a field that is there twice, it keeps only the last.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = serde_json::Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.insert(name, value).is_some() {
                        return Err(A::Error::custom("a field is there twice"));
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_any(Read) // `deserialize_map` repeats a text in its error
    }
}
