//! The ids that a client sends back: events, sessions, requests, nodes.

use std::{fmt::Display, str::FromStr};

use arbitrary::Unstructured;
use mcp_session_core::{
    RequestId, SessionId,
    proto::{EventId, Position},
    store::NodeId,
};

/// The input is the text of an id, and the numbers of one.
///
/// # Panics
///
/// If an id is not read as it was printed, or a text is read that no id prints.
pub fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        is_printed(text, EventId::parse(text));
        is_printed(text, SessionId::from_str(text).ok());
        is_printed(text, NodeId::from_str(text).ok());
        if let Some(id) = RequestId::from_json(text) {
            let mut written = Vec::new();
            id.write_json(&mut written);
            let written = String::from_utf8(written).expect("JSON is UTF-8");
            assert_eq!(RequestId::from_json(&written), Some(id));
        }
    }
    let mut numbers = Unstructured::new(input);
    let Ok((stream, epoch, seq, bits)) = numbers.arbitrary::<(u64, u32, u64, u128)>() else { return };
    let id = EventId { stream, position: Position { epoch, seq } };
    assert_eq!(EventId::parse(&id.to_string()), Some(id));
    let id = SessionId::from_bits(bits);
    assert_eq!(id.to_string().parse(), Ok(id));
    let id = NodeId(stream);
    assert_eq!(id.to_string().parse(), Ok(id));
}

/// What is read prints as the same text.
fn is_printed(text: &str, read: Option<impl Display>) {
    if let Some(id) = read {
        assert_eq!(id.to_string(), text, "this server prints no such id");
    }
}
