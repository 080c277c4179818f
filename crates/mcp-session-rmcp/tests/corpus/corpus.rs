//! [`Message`]: a line of `messages.jsonl`, and how its answers may differ.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::side::Seen;

/// A message, and what is known of its answers.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) in_session: bool,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    /// What differs, and the name of the reason.
    pub(crate) differs: Option<(BTreeSet<String>, String)>,
}

/// A line of the file. The body is JSON, or a text that may be none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    /// Whether a session is opened first.
    #[serde(default = "yes")]
    session: bool,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    json: Option<Value>,
    text: Option<String>,
    differs: Option<BTreeSet<String>>,
    why: Option<String>,
}

fn yes() -> bool {
    true
}

/// All messages.
pub(crate) fn messages() -> Vec<Message> {
    let lines = include_str!("messages.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Line>(line).unwrap_or_else(|error| panic!("{line}: {error}")));
    lines.map(Message::from).collect()
}

impl From<Line> for Message {
    fn from(line: Line) -> Self {
        let body = match (line.json, line.text) {
            (Some(json), None) => json.to_string(),
            (None, Some(text)) => text,
            _ => panic!("{} is either `json` or `text`", line.name),
        };
        let differs = line.differs.zip(line.why);
        Self { name: line.name, in_session: line.session, headers: line.headers, body, differs }
    }
}

/// What differs between the answers of ours and rmcp.
pub(crate) fn difference(ours: &Seen, rmcp: &Seen) -> BTreeSet<String> {
    let mut parts = BTreeSet::new();
    let mut compare = |part: &str, ours: &Value, rmcp: &Value| {
        if ours != rmcp {
            parts.insert(part.to_owned());
        }
    };
    compare("status", &ours.status.into(), &rmcp.status.into());
    compare("count", &ours.messages.len().into(), &rmcp.messages.len().into());
    for (ours, rmcp) in ours.messages.iter().zip(&rmcp.messages) {
        for part in ["jsonrpc", "id", "method", "params", "result"] {
            compare(part, &ours[part], &rmcp[part]);
        }
        for part in ["code", "message", "data"] {
            compare(part, &ours["error"][part], &rmcp["error"][part]);
        }
    }
    parts
}
