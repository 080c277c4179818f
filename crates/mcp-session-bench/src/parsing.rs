//! The answer to `echo` of a server that decodes the call with `serde_json`, and encodes what it decoded: the floor for
//! long messages, which no server can answer without looking at them.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    id: u64,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    arguments: Arguments,
}

#[derive(Deserialize)]
struct Arguments {
    message: String,
}

#[derive(Serialize)]
struct Answer {
    jsonrpc: &'static str,
    id: u64,
    result: CallResult,
}

#[derive(Serialize)]
struct CallResult {
    content: [Text; 1],
}

#[derive(Serialize)]
struct Text {
    r#type: &'static str,
    text: String,
}

/// `None` if the body is not a call of `echo`.
pub(crate) fn echo(body: &[u8]) -> Option<Bytes> {
    let Request { jsonrpc, id, params: Params { name, arguments } } = serde_json::from_slice(body).ok()?;
    if jsonrpc != "2.0" || name != "echo" {
        return None;
    }
    let answer = Answer {
        jsonrpc: "2.0",
        id,
        result: CallResult { content: [Text { r#type: "text", text: arguments.message }] },
    };
    serde_json::to_vec(&answer).ok().map(Bytes::from)
}
