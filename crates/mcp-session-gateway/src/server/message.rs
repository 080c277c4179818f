//! JSON-RPC as lines: what a child says, and what it is told.

use std::borrow::Cow;

use mcp_session_core::{ErrorCode, Json, RpcError};
use memchr::{memchr2_iter, memmem};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::child::lines::TooLong;

/// A message of a child.
#[derive(Debug)]
pub(crate) enum Message {
    /// The answer to the gateway's request with this id.
    Answer { id: u64, outcome: Result<Json, RpcError> },
    /// A request of the child, with its id as it has written it.
    Request { id: Box<RawValue>, method: String, params: Option<Json> },
    /// A notification.
    Notification { method: String, params: Option<Json> },
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireError<'a> {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

fn json(raw: &RawValue) -> Json {
    raw.to_owned().into()
}

/// The messages on a line: one, usually. Several if the child has not ended its lines, or sends a batch. The second value is
/// the number of things that were no message.
pub(crate) fn read(line: &[u8]) -> (Vec<Message>, usize) {
    let mut messages = Vec::with_capacity(1);
    if let Ok(wire) = serde_json::from_slice::<Wire<'_>>(line) {
        let read = message(wire);
        let wrong = usize::from(read.is_none());
        messages.extend(read);
        return (messages, wrong);
    }
    let mut wrong = 0;
    let mut one = |raw: &RawValue| match serde_json::from_str::<Wire<'_>>(raw.get()).ok().and_then(message) {
        Some(message) => messages.push(message),
        None => wrong += 1,
    };
    let mut failed = false;
    for value in serde_json::Deserializer::from_slice(line).into_iter::<&RawValue>() {
        match value {
            Ok(raw) if raw.get().starts_with('[') => {
                let batch = serde_json::from_str::<Vec<&RawValue>>(raw.get()).unwrap_or_default();
                batch.into_iter().for_each(&mut one);
            }
            Ok(raw) => one(raw),
            Err(_) => failed = true,
        }
    }
    (messages, wrong + usize::from(failed))
}

fn message(wire: Wire<'_>) -> Option<Message> {
    let Wire { id, method, params, result, error } = wire;
    let params = params.map(json);
    match (method, id) {
        (Some(method), Some(id)) => {
            let is_id =
                id.get().starts_with(['"', '-']) || id.get().starts_with(|c: char| c.is_ascii_digit());
            is_id.then(|| Message::Request { id: id.to_owned(), method: method.into_owned(), params })
        }
        (Some(method), None) => Some(Message::Notification { method: method.into_owned(), params }),
        (None, Some(id)) => {
            let id = id.get().parse().ok()?;
            let outcome = match (result, error) {
                (Some(result), _) => Ok(json(result)),
                (None, Some(error)) => Err(rpc_error(error)),
                (None, None) => {
                    Err(RpcError::internal("the server's answer has neither a result nor an error"))
                }
            };
            Some(Message::Answer { id, outcome })
        }
        (None, None) => None,
    }
}

/// An error of the child, unchanged.
fn rpc_error(error: &RawValue) -> RpcError {
    match serde_json::from_str::<WireError<'_>>(error.get()) {
        Ok(WireError { code, message, data }) => {
            let error = RpcError::new(ErrorCode(code), message);
            match data {
                Some(data) => error.with_data(json(data)),
                None => error,
            }
        }
        Err(_) => RpcError::internal("the server's error is none of JSON-RPC"),
    }
}

/// The id of an answer that was too long: it is at the beginning of the line or at its end.
pub(crate) fn id_of(long: &TooLong) -> Option<u64> {
    let number = |text: &[u8]| {
        let text = text.trim_ascii_start();
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let ends = text[digits..].trim_ascii_start().first().is_none_or(|byte| matches!(byte, b',' | b'}'));
        std::str::from_utf8(&text[..digits]).ok().filter(|_| ends)?.parse().ok()
    };
    let after_key = |text: &[u8], at: usize| number(text[at + 4..].trim_ascii_start().strip_prefix(b":")?);
    let result = memmem::find(&long.head, b"\"result\"").unwrap_or(long.head.len());
    let head = memmem::find(&long.head[..result], b"\"id\"").and_then(|at| after_key(&long.head, at));
    // Of what is inside the result, nothing ends with the line.
    let tail = || memmem::rfind(&long.tail, b"\"id\"").and_then(|at| after_key(&long.tail, at));
    head.or_else(tail)
}

/// A request, as a line. `progress` stands in place of the client's token.
pub(crate) fn request(id: u64, method: &str, params: Option<&str>) -> Vec<u8> {
    let mut line = Vec::with_capacity(64 + method.len() + params.map_or(0, str::len));
    line.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    line.extend_from_slice(id.to_string().as_bytes());
    rest(line, method, params)
}

/// A notification, as a line.
pub(crate) fn notification(method: &str, params: Option<&str>) -> Vec<u8> {
    let mut line = Vec::with_capacity(64 + method.len() + params.map_or(0, str::len));
    line.extend_from_slice(br#"{"jsonrpc":"2.0""#);
    rest(line, method, params)
}

fn rest(mut line: Vec<u8>, method: &str, params: Option<&str>) -> Vec<u8> {
    line.extend_from_slice(br#","method":"#);
    line.extend_from_slice(serde_json::Value::from(method).to_string().as_bytes());
    if let Some(params) = params {
        line.extend_from_slice(br#","params":"#);
        line.extend_from_slice(params.as_bytes());
    }
    line.push(b'}');
    one_line(line)
}

/// The answer to a request of the child, as a line.
pub(crate) fn answer(id: &RawValue, outcome: &Result<Json, RpcError>) -> Vec<u8> {
    let mut line = format!(r#"{{"jsonrpc":"2.0","id":{}"#, id.get()).into_bytes();
    match outcome {
        Ok(result) => {
            line.extend_from_slice(br#","result":"#);
            line.extend_from_slice(result.as_bytes());
        }
        Err(error) => {
            let message = serde_json::Value::from(&*error.message);
            line.extend_from_slice(
                format!(r#","error":{{"code":{},"message":{message}"#, error.code.0).as_bytes(),
            );
            if let Some(data) = &error.data {
                line.extend_from_slice(br#","data":"#);
                line.extend_from_slice(data.as_bytes());
            }
            line.push(b'}');
        }
    }
    line.push(b'}');
    one_line(line)
}

/// Makes one line of JSON: line breaks are only between its tokens, never inside of a string.
fn one_line(mut json: Vec<u8>) -> Vec<u8> {
    let breaks: Vec<usize> = memchr2_iter(b'\n', b'\r', &json).collect();
    for at in breaks {
        json[at] = b' ';
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Message {
        let (mut messages, wrong) = read(line.as_bytes());
        assert_eq!((messages.len(), wrong), (1, 0), "{line}");
        messages.remove(0)
    }

    #[test]
    fn each_kind_of_message_is_read() {
        let Message::Answer { id: 7, outcome: Ok(result) } =
            one(r#"{"result":{"a":[1]},"jsonrpc":"2.0","id":7}"#)
        else {
            panic!()
        };
        assert_eq!(result.as_str(), r#"{"a":[1]}"#);
        let Message::Answer { id: 8, outcome: Err(error) } =
            one(r#"{"jsonrpc":"2.0","id":8,"error":{"code":-5,"message":"m","data":[2]}}"#)
        else {
            panic!()
        };
        assert_eq!((error.code.0, &*error.message, error.data.unwrap().as_str()), (-5, "m", "[2]"));
        let Message::Request { id, method, params: None } = one(r#"{"id":"q","method":"roots/list"}"#) else {
            panic!()
        };
        assert_eq!((id.get(), &*method), ("\"q\"", "roots/list"));
        assert!(matches!(
            one(r#"{"method":"n/x","params":{}}"#),
            Message::Notification { params: Some(_), .. }
        ));
    }

    #[test]
    fn joined_messages_and_batches_are_read_and_the_rest_is_counted() {
        let read = |line: &str| {
            let (messages, wrong) = read(line.as_bytes());
            (messages.len(), wrong)
        };
        assert_eq!(read(r#"{"method":"a"}{"method":"b"} {"id":1,"result":{}}"#), (3, 0));
        assert_eq!(read(r#"[{"method":"a"},{"id":1,"result":{}},5]"#), (2, 1));
        for wrong in [
            "Server running on stdio",
            "{\"a\"",
            "12",
            "{}",
            "{\"id\":null,\"method\":1}",
            r#"{"id":"x","result":{}}"#,
        ] {
            assert_eq!(read(wrong), (0, 1), "{wrong}");
        }
        assert_eq!(read(r#"{"method":"a"}oops"#), (1, 1));
    }

    #[test]
    fn what_is_written_is_one_line() {
        let line = request(3, "tools/\"call", Some("{\n\"a\":\r\n\"x\\ny\"}"));
        let text = String::from_utf8(line).unwrap();
        assert!(!text.contains(['\n', '\r']), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["method"], &value["params"]["a"]), (&"tools/\"call".into(), &"x\ny".into()));
        assert_eq!(notification("n", None), br#"{"jsonrpc":"2.0","method":"n"}"#);
        let id: Box<RawValue> = serde_json::from_str("\"a\"").unwrap();
        let error = RpcError::new(ErrorCode(-1), "no \"x\"").with_data(serde_json::json!([1]));
        let text = String::from_utf8(answer(&id, &Err(error))).unwrap();
        assert_eq!(text, r#"{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"no \"x\"","data":[1]}}"#);
    }

    #[test]
    fn the_id_of_a_long_answer_is_found_at_either_end_and_never_inside() {
        let long = |head: &'static str, tail: &'static str| {
            id_of(&TooLong { length: 10_000, head: head.into(), tail: tail.into() })
        };
        assert_eq!(long(r#"{"jsonrpc":"2.0","id":12,"result":{"x":""#, r#"zzz"}}"#), Some(12));
        assert_eq!(long(r#"{"result":{"id":5,"#, r#"zz"},"jsonrpc":"2.0","id": 34}"#), Some(34));
        assert_eq!(long(r#"{"result":{"id":5,"#, r#"zz"}}"#), None);
        assert_eq!(long(r#"{"jsonrpc":"2.0","id":"a","result":"#, "zz"), None);
    }
}
