//! What a body is as JSON-RPC: `Message::parse` and `Batch::parse`.

use bytes::Bytes;
use mcp_session_core::{
    Json, RequestId,
    proto::{Batch, Message, Outgoing, ParseError, RpcResponse},
};
use serde_json::value::RawValue;

use super::json::{Members, compact, depth, is_json, respaced};

/// The documented limit of nesting.
const MAX_DEPTH: usize = 128;

/// The most messages of a batch: few, so that inputs stay short.
const MAX_BATCH: usize = 3;

const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// The input is a body.
///
/// # Panics
///
/// If the verdict depends on spacing, disagrees with `serde_json` on what is JSON, or loses an id; or if an accepted message is
/// another one when it is written and parsed again.
pub fn run(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    let parsed = Message::parse(&body);
    let batch = Batch::parse(&body, MAX_BATCH);

    let text = std::str::from_utf8(input).ok().filter(|_| is_json(input));
    let Some(text) = text else {
        // Nesting is bounded before anything is parsed.
        assert!(
            matches!(parsed, Err(ParseError::NotJson(_) | ParseError::Invalid { id: None, .. })),
            "{parsed:?}"
        );
        assert!(batch.is_err(), "{batch:?}");
        return;
    };
    let gaps = [" ", "\n", "", "\r\n\t"];
    let mut next = 0;
    let spaced = respaced(text, || {
        next += 1;
        gaps[next % gaps.len()]
    });
    for other in [compact(text), spaced] {
        let other = Bytes::from(other);
        assert_eq!(verdict(&Message::parse(&other)), verdict(&parsed));
        assert_eq!(batch_verdict(Batch::parse(&other, MAX_BATCH)), batch_verdict(batch.clone()));
    }
    if depth(text) > MAX_DEPTH {
        assert!(matches!(parsed, Err(ParseError::Invalid { id: None, .. })), "{parsed:?}");
        return;
    }
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => check_object(text, &parsed),
        Some(b'[') => {
            assert_eq!(parsed, Err(ParseError::Batch));
            check_batch(text, batch);
        }
        _ => assert_eq!(verdict(&parsed), "invalid None it is not an object"),
    }
    if let Ok(message) = &parsed {
        let written = Bytes::from(written(message));
        assert_eq!(verdict(&Message::parse(&written)), verdict(&parsed));
    }
}

fn check_object(text: &str, parsed: &Result<Message, ParseError>) {
    let Some(members) = Members::of(text) else {
        let reasons = ["the name of a member is not Unicode", "it has a member twice"];
        assert!(
            matches!(parsed, Err(ParseError::Invalid { id: None, reason }) if reasons.contains(reason)),
            "{parsed:?}"
        );
        return;
    };
    if let Err(ParseError::Invalid { id: None, reason: "it has a member twice" }) = parsed {
        assert!(members.repeats(&MEMBERS), "no member is there twice");
        return;
    }
    assert!(!members.repeats(&MEMBERS), "a member is there twice: {parsed:?}");
    let id = members.get("id").and_then(legal_id);
    let is = |own: &RequestId| Some(own) == id.as_ref();
    let same = |own: Option<&Json>, name: &str| {
        let there = members.get(name).filter(|text| name == "result" || *text != "null");
        own.map(|own| compact(own.as_str())) == there.map(compact)
    };
    let named = |own: &str| {
        members.get("method").and_then(|text| serde_json::from_str::<String>(text).ok()).as_deref()
            == Some(own)
    };
    match parsed {
        Ok(Message::Request(it)) => {
            assert!(is(&it.id) && named(&it.method) && same(it.params.as_ref(), "params"), "{it:?}");
        }
        Ok(Message::Notification(it)) => {
            assert!(members.get("id").is_none() && named(&it.method) && same(it.params.as_ref(), "params"));
        }
        Ok(Message::Response(it)) => {
            assert!(it.id == id, "{it:?}");
            assert!(it.outcome.is_err() || same(it.outcome.as_ref().ok(), "result"), "{it:?}");
        }
        Err(ParseError::Invalid { id: echoed, .. }) => assert_eq!(*echoed, id, "an error echoes the id"),
        Err(error) => panic!("an object is not {error:?}"),
    }
}

/// The elements of a batch are what they are alone, and it is refused as a whole for the documented reasons only.
fn check_batch(text: &str, batch: Result<Batch, ParseError>) {
    let elements: Vec<&RawValue> = serde_json::from_str(text).expect("an array");
    let alone = elements.iter().take(MAX_BATCH).map(|element| {
        match Message::parse(&Bytes::copy_from_slice(element.get().as_bytes())) {
            Err(ParseError::Batch) => Err(ParseError::Invalid { id: None, reason: "it is an array" }),
            parsed => parsed,
        }
    });
    let alone: Vec<_> = alone.collect();
    let messages = || alone.iter().flatten();
    let replies = messages().filter(|it| matches!(it, Message::Response(_))).count();
    let requests: Vec<_> = messages()
        .filter_map(|it| if let Message::Request(request) = it { Some(request) } else { None })
        .collect();
    let twice = (1..requests.len()).any(|at| requests[..at].iter().any(|other| other.id == requests[at].id));
    let refused = elements.is_empty()
        || elements.len() > MAX_BATCH
        || (replies > 0 && replies < messages().count())
        || requests.iter().any(|request| request.method == "initialize")
        || twice;
    match batch {
        Ok(batch) => {
            assert!(!refused, "{text}");
            assert_eq!(batch.into_iter().collect::<Vec<_>>(), alone);
        }
        Err(ParseError::InvalidBatch(_)) => assert!(refused, "{text}"),
        Err(error) => panic!("an array is not {error:?}"),
    }
}

/// An id by its documented form.
fn legal_id(text: &str) -> Option<RequestId> {
    if text.starts_with('"') {
        let id = serde_json::from_str::<String>(text).ok()?;
        return (id.len() <= RequestId::MAX_LEN).then(|| id.as_str().into());
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_integer.then(|| text.parse().ok().map(RequestId::Integer))?
}

/// What a parser says, without the whitespace of values and the text of errors.
fn verdict(parsed: &Result<Message, ParseError>) -> String {
    let json = |json: &Json| compact(json.as_str());
    match parsed {
        Ok(Message::Request(it)) => format!("{:?} {:?} {:?}", it.id, it.method, it.params.as_ref().map(json)),
        Ok(Message::Notification(it)) => format!("{:?} {:?}", it.method, it.params.as_ref().map(json)),
        Ok(Message::Response(RpcResponse { id, outcome: Ok(result) })) => format!("{id:?} {}", json(result)),
        Ok(Message::Response(RpcResponse { id, outcome: Err(error) })) => {
            format!("{id:?} {} {:?} {:?}", error.code.0, error.message, error.data.as_ref().map(json))
        }
        Err(ParseError::NotJson(_)) => "not JSON".to_owned(),
        Err(ParseError::Batch) => "batch".to_owned(),
        Err(ParseError::InvalidBatch(reason)) => format!("invalid batch {reason}"),
        Err(ParseError::Invalid { id, reason }) => format!("invalid {id:?} {reason}"),
    }
}

fn batch_verdict(parsed: Result<Batch, ParseError>) -> Vec<String> {
    match parsed {
        Ok(batch) => batch.into_iter().map(|element| verdict(&element)).collect(),
        Err(error) => vec!["refused".to_owned(), verdict(&Err(error))],
    }
}

fn written(message: &Message) -> Vec<u8> {
    match message {
        Message::Request(it) => {
            // `Outgoing` has no request with a client's id: put it before the method.
            let call = Outgoing::Notification { method: &it.method, params: it.params.as_ref() }.to_json();
            let mut text = b"{\"id\":".to_vec();
            it.id.write_json(&mut text);
            text.push(b',');
            text.extend_from_slice(&call[1..]);
            text
        }
        Message::Notification(it) => {
            Outgoing::Notification { method: &it.method, params: it.params.as_ref() }.to_json().into()
        }
        Message::Response(RpcResponse { id: Some(id), outcome: Ok(result) }) => {
            Outgoing::Result { id, result }.to_json().into()
        }
        Message::Response(RpcResponse { id: None, outcome: Ok(_) }) => panic!("a result without an id"),
        Message::Response(RpcResponse { id: Some(id), outcome: Err(error) }) => {
            Outgoing::Error { id: Some(id), error }.to_json().into()
        }
        // Not with `id: null`, which is not an id.
        Message::Response(RpcResponse { id: None, outcome: Err(error) }) => {
            let text = Outgoing::Error { id: None, error }.to_json();
            String::from_utf8_lossy(&text).replacen("\"id\":null,", "", 1).into()
        }
    }
}
