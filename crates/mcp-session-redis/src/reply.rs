//! [`Reply`]: the answer of a script, read by place.

use bytes::Bytes;
use redis::Value;

use crate::error::Trouble;

/// The list that a script returns.
#[derive(Debug)]
pub(crate) struct Reply(Vec<Value>);

impl Reply {
    pub(crate) fn new(value: Value) -> Result<Self, Trouble> {
        match value {
            Value::Array(values) => Ok(Self(values)),
            _ => Err(Trouble::Unreadable),
        }
    }

    /// The first word: what happened.
    pub(crate) fn what(&self) -> &[u8] {
        self.bytes(0).unwrap_or_default()
    }

    pub(crate) fn bytes(&self, at: usize) -> Option<&[u8]> {
        match self.0.get(at)? {
            Value::BulkString(bytes) => Some(bytes),
            Value::SimpleString(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    pub(crate) fn text(&self, at: usize) -> Option<&str> {
        std::str::from_utf8(self.bytes(at)?).ok()
    }

    /// A number, or the text of one.
    pub(crate) fn number(&self, at: usize) -> Result<u64, Trouble> {
        let number = match self.0.get(at) {
            Some(Value::Int(number)) => u64::try_from(*number).ok(),
            Some(_) => self.text(at).and_then(|text| text.parse().ok()),
            None => None,
        };
        number.ok_or(Trouble::Unreadable)
    }

    /// A list of texts. None if there is none.
    pub(crate) fn list(&mut self, at: usize) -> Vec<Bytes> {
        let Some(Value::Array(values)) = self.0.get_mut(at).map(|value| std::mem::replace(value, Value::Nil))
        else {
            return Vec::new();
        };
        let bytes = values.into_iter().filter_map(|value| match value {
            Value::BulkString(bytes) => Some(Bytes::from(bytes)),
            _ => None,
        });
        bytes.collect()
    }
}
