//! [`Operation`]: what a request is about, as attributes.

use mcp_session_core::Json;
use opentelemetry::{KeyValue, StringValue};
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
    /// A notification: that nothing failed does not say that the server knows it.
    is_notification: bool,
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
        Self { method: method.to_owned(), target, uri, is_notification: false }
    }

    pub(crate) fn notification(method: &str) -> Self {
        Self { is_notification: true, ..Self::new(method, Params::default()) }
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
        let mut attributes = self.attributes(self.method.clone().into(), true);
        attributes.extend(self.uri.as_ref().map(|uri| KeyValue::new(names::URI, uri.clone())));
        attributes
    }

    /// The attributes of its duration. The target only if the server knows it, and the method if it or MCP does: a client can
    /// make up any number of names.
    pub(crate) fn of_metric(&self, is_known: bool) -> Vec<KeyValue> {
        let is_answered = is_known && !self.is_notification;
        let method = if is_answered { self.method.clone().into() } else { known(&self.method).into() };
        self.attributes(method, is_known)
    }

    fn attributes(&self, method: StringValue, is_known: bool) -> Vec<KeyValue> {
        let mut attributes =
            vec![KeyValue::new(names::METHOD, method), KeyValue::new(names::PROTOCOL, "http")];
        if self.calls_tool() {
            attributes.push(KeyValue::new(names::OPERATION, names::EXECUTE_TOOL));
        }
        if let Some((attribute, target)) = self.target.as_ref().filter(|_| is_known) {
            attributes.push(KeyValue::new(*attribute, target.clone()));
        }
        attributes
    }
}

/// A method as an attribute of a metric: one of MCP, a hook of a handler, or [`names::OTHER`].
pub(crate) fn known(method: &str) -> &'static str {
    const KNOWN: [&str; 28] = [
        "adopted",
        "completion/complete",
        "initialize",
        "initialized",
        "logging/setLevel",
        "notifications/cancelled",
        "notifications/initialized",
        "notifications/progress",
        "notifications/roots/list_changed",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "resources/unsubscribe",
        "server/discover",
        "subscriptions/listen",
        "tasks/cancel",
        "tasks/get",
        "tasks/list",
        "tasks/result",
        "tasks/update",
        "terminated",
        "tools/call",
        "tools/list",
        "notifications/elicitation/complete",
    ];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or(names::OTHER)
}
