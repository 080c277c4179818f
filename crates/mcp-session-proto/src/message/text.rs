//! [`Text`]: a message as it is sent, a long one in pieces.

use bytes::{Bytes, BytesMut};

/// The text of a message: one piece, or several, so that a long result is not copied to stand between what comes before and
/// after it. Cheap to clone.
///
/// ```
/// # use bytes::Bytes;
/// # use mcp_session_proto::Text;
/// let mut text = Text::from(Bytes::from_static(b"{}"));
/// assert_eq!((text.len(), text.pop()), (2, Some(Bytes::from_static(b"{}"))));
/// assert_eq!((text.is_empty(), text.pop()), (true, None));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Text {
    first: Bytes,
    /// The others, the last one first. None is empty.
    rest: Vec<Bytes>,
}

impl Text {
    /// The text of these pieces.
    pub(super) fn of_pieces(pieces: impl DoubleEndedIterator<Item = Bytes>) -> Self {
        let mut rest: Vec<_> = pieces.filter(|piece| !piece.is_empty()).rev().collect();
        Self { first: rest.pop().unwrap_or_default(), rest }
    }

    /// Takes the next piece, which is not empty.
    pub fn pop(&mut self) -> Option<Bytes> {
        if self.first.is_empty() {
            return None;
        }
        Some(std::mem::replace(&mut self.first, self.rest.pop().unwrap_or_default()))
    }

    /// The number of bytes that are left.
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether no piece is left.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

impl From<Bytes> for Text {
    fn from(text: Bytes) -> Self {
        Self { first: text, rest: Vec::new() }
    }
}

/// Joins the pieces. One piece is not copied.
impl From<Text> for Bytes {
    fn from(mut text: Text) -> Self {
        if text.rest.is_empty() {
            return text.first;
        }
        let mut all = BytesMut::with_capacity(text.len());
        while let Some(piece) = text.pop() {
            all.extend_from_slice(&piece);
        }
        all.freeze()
    }
}

/// Texts are compared as a whole, not piece by piece.
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        Self::len(self) == Self::len(other) && Bytes::from(self.clone()) == Bytes::from(other.clone())
    }
}

impl Eq for Text {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::{Insertions, Json, Outgoing};

    #[test]
    fn a_long_result_is_not_copied_and_its_message_is_the_same() {
        let id = "call".into();
        for length in [0, 1, 32_000, 33_000, 100_000] {
            let result = Json::from(json!({ "text": "m".repeat(length), "more": 1 }));
            let insertions = Insertions([(1, r#""a":1,"#.into()), (1, "".into())]);
            let after = result.as_str().len() - 1;
            let both = Insertions([(1, r#""a":1,"#.into()), (after, r#","z":2"#.into())]);
            for message in [
                Outgoing::Result { id: &id, result: &result },
                Outgoing::Completed { id: &id, result: &result, insertions: &insertions },
                Outgoing::Completed { id: &id, result: &result, insertions: &both },
            ] {
                let mut text = message.to_text();
                assert_eq!(text, message.to_json().into());
                assert_eq!(text.len(), message.to_json().len());
                let is_shared = |piece: &Bytes| result.as_bytes().as_ptr_range().contains(&piece.as_ptr());
                let pieces: Vec<_> = std::iter::from_fn(|| text.pop()).collect();
                assert_eq!(pieces.iter().any(is_shared), length >= 33_000, "{length}");
                assert_eq!(pieces.len() > 1, length >= 33_000, "{length}");
                assert!(pieces.iter().all(|piece| !piece.is_empty()) && text.is_empty());
            }
        }
        assert!(Bytes::from(Text::default()).is_empty() && Text::default().pop().is_none());
    }
}
