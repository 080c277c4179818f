//! [`Outgoing`]: messages to the client, and their text.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Json, RpcError, Text};
use crate::id::RequestId;

/// A message of the server, ready to be written.
#[derive(Debug, Clone, Copy)]
pub enum Outgoing<'a> {
    /// The answer to a request.
    Result {
        /// The request's id.
        id: &'a RequestId,
        /// The handler's result.
        result: &'a Json,
    },
    /// The answer to a request, with members that are inserted into the result.
    #[doc(hidden)] // for core
    Completed {
        /// The request's id.
        id: &'a RequestId,
        /// The handler's result.
        result: &'a Json,
        /// What is inserted.
        insertions: &'a Insertions<'a>,
    },
    /// The error answer to a request, or to something without a readable id (`null`, A-13).
    Error {
        /// The request's id.
        id: Option<&'a RequestId>,
        /// The error.
        error: &'a RpcError,
    },
    /// A notification.
    Notification {
        /// The method.
        method: &'a str,
        /// An object, if present.
        params: Option<&'a Json>,
    },
    /// A request to the client.
    Request {
        /// The server's own id (F-20).
        id: u64,
        /// The method.
        method: &'a str,
        /// An object, if present.
        params: Option<&'a Json>,
    },
}

/// What every message begins with.
const HEAD: &[u8] = b"{\"jsonrpc\":\"2.0\",";

/// A result of this size is not copied to be sent: pieces cost less.
const LONG: usize = 32 * 1024;

impl Outgoing<'_> {
    /// The message alone, for a body of `application/json`.
    pub fn to_json(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.size_hint());
        self.write(&mut out);
        out.into()
    }

    /// The same, in pieces if it has a long result: what is sent then is the handler's own text.
    pub fn to_text(&self) -> Text {
        let (id, result, insertions) = match self {
            Self::Result { id, result } => (id, result, None),
            Self::Completed { id, result, insertions } => (id, result, Some(insertions)),
            Self::Error { .. } | Self::Notification { .. } | Self::Request { .. } => {
                return self.to_json().into();
            }
        };
        if result.as_bytes().len() < LONG {
            return self.to_json().into();
        }
        let mut front = Vec::with_capacity(33 + id.json_len());
        front.extend_from_slice(HEAD);
        write_result(id, &mut front);
        let result: &Bytes = result.0.as_bytes();
        let pieces = match insertions {
            None => [Bytes::new(), Bytes::new(), Bytes::new(), Bytes::new(), result.clone()],
            Some(Insertions([(first, one), (second, two)])) => [
                result.slice(..*first),
                Bytes::copy_from_slice(one.as_bytes()),
                result.slice(*first..*second),
                Bytes::copy_from_slice(two.as_bytes()),
                result.slice(*second..),
            ],
        };
        let back = Bytes::from_static(b"}");
        Text::of_pieces([front.into()].into_iter().chain(pieces).chain([back]))
    }

    /// The approximate length of the message in bytes; never too small, unless strings have to be escaped. For a result
    /// it is exact, so that the bytes need no second allocation to be shared.
    pub(crate) fn size_hint(&self) -> usize {
        let json_len = |json: Option<&Json>| json.map_or(0, |json| json.as_bytes().len());
        match self {
            Self::Result { id, result } => 33 + id.json_len() + result.as_bytes().len(),
            Self::Completed { id, result, insertions } => {
                33 + id.json_len() + result.as_bytes().len() + insertions.len()
            }
            Self::Error { id, error } => {
                64 + id.map_or(4, RequestId::json_len) + error.message.len() + json_len(error.data.as_ref())
            }
            Self::Notification { method, params } | Self::Request { method, params, .. } => {
                84 + method.len() + json_len(*params)
            }
        }
    }

    /// Appends the message.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(HEAD);
        match self {
            Self::Result { id, result } => {
                write_result(id, out);
                out.extend_from_slice(result.as_bytes());
            }
            Self::Completed { id, result, insertions } => {
                write_result(id, out);
                insertions
                    .pieces(result.as_str())
                    .iter()
                    .for_each(|piece| out.extend_from_slice(piece.as_bytes()));
            }
            Self::Error { id, error } => {
                out.extend_from_slice(b"\"id\":");
                match id {
                    Some(id) => id.write_json(out),
                    None => out.extend_from_slice(b"null"),
                }
                out.extend_from_slice(
                    format!(",\"error\":{{\"code\":{},\"message\":", error.code.0).as_bytes(),
                );
                write_string(&error.message, out);
                if let Some(data) = &error.data {
                    out.extend_from_slice(b",\"data\":");
                    out.extend_from_slice(data.as_bytes());
                }
                out.push(b'}');
            }
            Self::Notification { method, params } => write_call(method, *params, out),
            Self::Request { id, method, params } => {
                out.extend_from_slice(format!("\"id\":{id},").as_bytes());
                write_call(method, *params, out);
            }
        }
        out.push(b'}');
    }
}

/// Texts that are inserted into the text of a result when it is written, each at an offset, in order. So a result that lacks
/// members is copied once.
#[doc(hidden)] // for core
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is a list")]
pub struct Insertions<'a>(pub [(usize, Cow<'a, str>); 2]);

impl Insertions<'_> {
    /// The result with what is inserted.
    pub fn insert_into(&self, result: &Json) -> Json {
        Json(self.pieces(result.as_str()).concat().into())
    }

    /// The bytes that are inserted.
    fn len(&self) -> usize {
        self.0.iter().map(|(_, text)| text.len()).sum()
    }

    /// What is written, piece by piece.
    fn pieces<'t>(&'t self, text: &'t str) -> [&'t str; 5] {
        let [(first, one), (second, two)] = &self.0;
        [&text[..*first], one, &text[*first..*second], two, &text[*second..]]
    }
}

/// What comes before the text of a result.
fn write_result(id: &RequestId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"id\":");
    id.write_json(out);
    out.extend_from_slice(b",\"result\":");
}

fn write_call(method: &str, params: Option<&Json>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"method\":");
    write_string(method, out);
    if let Some(params) = params {
        out.extend_from_slice(b",\"params\":");
        out.extend_from_slice(params.as_bytes());
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    // Writing to a `Vec` cannot fail, nor can a string fail to serialize.
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok());
}
