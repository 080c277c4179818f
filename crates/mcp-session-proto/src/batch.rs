//! [`Batch`]: an array of messages in one POST, which only revision 2025-03-26 has (A.2).

use std::{collections::HashSet, fmt};

use bytes::Bytes;
use serde::{
    Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    id::RequestId,
    message::{Message, ParseError},
    state::Input,
};

/// An array of messages in their original order: requests and notifications, or replies.
///
/// An invalid element does not affect the others: a [`ParseError`] stands in its place (A-29).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch(Vec<Result<Message, ParseError>>);

impl Batch {
    /// Reads an array of one to `limit` messages.
    ///
    /// ```
    /// use mcp_session_proto::{Batch, ParseError};
    ///
    /// let parse = |text: &'static str| Batch::parse(&text.into(), 2);
    /// let ping = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},7]"#;
    /// let elements: Vec<_> = parse(ping)?.into_iter().map(|element| element.is_ok()).collect();
    /// assert_eq!(elements, [true, false]);
    /// assert!(matches!(parse("[]"), Err(ParseError::InvalidBatch(_))));
    /// assert!(matches!(parse("[1,2,3]"), Err(ParseError::InvalidBatch(_))));
    /// # Ok::<(), ParseError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ParseError::NotJson`] if it is not a JSON array. [`ParseError::InvalidBatch`] if it is refused as a whole: empty
    /// (A-28), larger than `limit`, with replies beside other messages (A-22), with `initialize` (A-27), or with two
    /// requests that have the same id (A-29).
    pub fn parse(body: &Bytes, limit: usize) -> Result<Self, ParseError> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let elements = (&mut deserializer)
            .deserialize_seq(UpTo(limit))
            .and_then(|elements| deserializer.end().map(|()| elements))
            .map_err(|error| ParseError::NotJson(error.to_string()))?
            .ok_or(ParseError::InvalidBatch("it has more messages than the server takes"))?;
        let parse = |raw: &RawValue| match Message::parse(&body.slice_ref(raw.get().as_bytes())) {
            Err(ParseError::Batch) => Err(ParseError::Invalid { id: None, reason: "it is an array" }),
            parsed => parsed,
        };
        let batch = Self(elements.into_iter().map(parse).collect());
        match batch.fault() {
            None => Ok(batch),
            Some(fault) => Err(ParseError::InvalidBatch(fault)),
        }
    }

    /// One [`Input`] for each valid message.
    pub fn inputs(&self) -> impl Iterator<Item = Input> {
        self.messages().map(Message::input)
    }

    fn messages(&self) -> impl Iterator<Item = &Message> {
        self.0.iter().flatten()
    }

    fn fault(&self) -> Option<&'static str> {
        let mut ids: HashSet<&RequestId> = HashSet::new();
        let (mut replies, mut others) = (false, false);
        for message in self.messages() {
            match message {
                Message::Request(request) if request.method == "initialize" => {
                    return Some("`initialize` has to come alone");
                }
                Message::Request(request) if !ids.insert(&request.id) => {
                    return Some("two of its requests have the same id");
                }
                Message::Request(_) | Message::Notification(_) => others = true,
                Message::Response(_) => replies = true,
            }
        }
        match (self.0.is_empty(), replies && others) {
            (true, _) => Some("it is empty"),
            (false, true) => Some("it has replies beside requests or notifications"),
            (false, false) => None,
        }
    }
}

impl IntoIterator for Batch {
    type Item = Result<Message, ParseError>;
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Collects up to this many elements; `None` if there are more. A flood of tiny elements takes no memory.
struct UpTo(usize);

impl<'de> Visitor<'de> for UpTo {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.0 {
            match array.next_element()? {
                Some(element) => elements.push(element),
                None => return Ok(Some(elements)),
            }
        }
        let mut more = false;
        while array.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok((!more).then_some(elements))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#;
    const OTHER: &str = r#"{"jsonrpc":"2.0","id":"1","method":"m"}"#;
    const NOTE: &str = r#"{"jsonrpc":"2.0","method":"n"}"#;
    const REPLY: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

    fn parse(elements: &[&str]) -> Result<Batch, ParseError> {
        Batch::parse(&format!(" [{}]\n", elements.join(" , ")).into(), 4)
    }

    #[test]
    fn a_21_elements_keep_their_order_and_their_bytes() {
        let params = r#"{"jsonrpc":"2.0","id":2,"method":"m","params":{ "a" : 1.50 }}"#;
        let batch = parse(&[NOTE, REQUEST, OTHER, params]).unwrap();
        let inputs = [Input::Notification, Input::Request, Input::Request, Input::Request];
        assert!(batch.inputs().eq(inputs));
        let last = batch.into_iter().last().unwrap().unwrap();
        let Message::Request(request) = last else { panic!("{last:?}") };
        assert_eq!(request.params.unwrap().as_str(), r#"{ "a" : 1.50 }"#);
    }

    #[test]
    fn a_22_a_27_a_28_a_29_what_is_refused_as_a_whole() {
        let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#;
        for (elements, wrong) in [
            (&[][..], "empty"),
            (&[REQUEST, REPLY], "replies"),
            (&[REPLY, NOTE], "replies"),
            (&[NOTE, initialize], "initialize"),
            (&[REQUEST, NOTE, REQUEST], "same id"),
            (&[NOTE; 5], "more messages"),
        ] {
            match parse(elements) {
                Err(ParseError::InvalidBatch(reason)) => assert!(reason.contains(wrong), "{reason}"),
                other => panic!("{elements:?}: {other:?}"),
            }
        }
        assert!(parse(&[REPLY, REPLY]).is_ok()); // the session matches two replies with the same id
    }

    #[test]
    fn a_14_what_follows_the_array_is_not_json() {
        for rest in ["x", "]", "[]", "1"] {
            let text = format!("[{NOTE}]{rest}");
            assert!(matches!(Batch::parse(&text.into(), 4), Err(ParseError::NotJson(_))), "{rest}");
        }
    }

    #[test]
    fn a_29_what_is_no_message_does_not_spoil_its_siblings() {
        let batch = parse(&["1", REQUEST, "[]", r#"{"jsonrpc":"2.0"}"#]).unwrap();
        let fine: Vec<_> = batch.into_iter().map(|element| element.is_ok()).collect();
        assert_eq!(fine, [false, true, false, false]);
    }
}
