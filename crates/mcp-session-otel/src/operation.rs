//! [`Operation`]: what a request is about, as attributes.

use mcp_session_core::Json;
use opentelemetry::KeyValue;
use serde::Deserialize;

use crate::names;

/// What is read of the params of a request. What has another form than it should counts as absent: the handler refuses it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    name: Option<String>,
    uri: Option<String>,
    #[serde(rename = "_meta")]
    pub(crate) meta: Option<Meta>,
}

/// The trace context in `_meta` (SEP-414).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Meta {
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
    pub(crate) baggage: Option<String>,
}

impl Params {
    pub(crate) fn read(params: Option<&Json>) -> Self {
        params.and_then(|params| params.parse().ok()).unwrap_or_default()
    }
}

/// A request or a notification.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) method: String,
    /// The tool or the prompt that it names, with the attribute for it.
    target: Option<(&'static str, String)>,
    uri: Option<String>,
}

impl Operation {
    pub(crate) fn new(method: &str, params: Params) -> Self {
        let named = |attribute| params.name.map(|name| (attribute, name));
        let target = match method {
            "tools/call" => named(names::TOOL),
            "prompts/get" => named(names::PROMPT),
            _ => None,
        };
        let uri = params.uri.filter(|_| method.starts_with("resources/"));
        Self { method: method.to_owned(), target, uri }
    }

    /// The name of its span: the method, and what is called.
    pub(crate) fn span_name(&self) -> String {
        match &self.target {
            Some((_, target)) => format!("{} {target}", self.method),
            None => self.method.clone(),
        }
    }

    /// Whether it calls a tool.
    pub(crate) fn calls_tool(&self) -> bool {
        self.method == "tools/call"
    }

    /// The attributes of its span, besides those of its outcome.
    pub(crate) fn of_span(&self) -> Vec<KeyValue> {
        let mut attributes = self.of_metric(true);
        attributes.extend(self.uri.as_ref().map(|uri| KeyValue::new(names::URI, uri.clone())));
        attributes
    }

    /// The attributes of its duration. The target only if the server knows it: a client can make up any number of names.
    pub(crate) fn of_metric(&self, is_known: bool) -> Vec<KeyValue> {
        let mut attributes =
            vec![KeyValue::new(names::METHOD, self.method.clone()), KeyValue::new(names::PROTOCOL, "http")];
        if self.calls_tool() {
            attributes.push(KeyValue::new(names::OPERATION, names::EXECUTE_TOOL));
        }
        if let Some((attribute, target)) = self.target.as_ref().filter(|_| is_known) {
            attributes.push(KeyValue::new(*attribute, target.clone()));
        }
        attributes
    }
}
