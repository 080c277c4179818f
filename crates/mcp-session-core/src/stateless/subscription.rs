//! [`Subscription`]: what a `subscriptions/listen` asked for, and the notifications for it (G.6).

use bytes::Bytes;
use mcp_session_proto::{self as proto, Json, RequestId, RpcError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::principal::Principal;

/// The key of the subscription's id in `_meta` (G-53).
const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// The maximum number of resources in one subscription. 1,024: a client that watches more reads a list instead.
const MAX_RESOURCES: usize = 1024;

/// The maximum length in bytes of all their URIs. 128 KiB, some 128 bytes each: they are kept as long as the stream is open.
const MAX_URIS: usize = 128 * 1024;

/// What an open `subscriptions/listen` gets.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The id of the request as JSON, which tags every message.
    id: Bytes,
    pub(crate) principal: Option<Principal>,
    filter: Filter,
}

/// The notifications that a client has opted into (G-51). `false` counts as absent (G-54).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Filter {
    #[serde(skip_serializing_if = "is_false")]
    tools_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    prompts_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    resources_list_changed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_subscriptions: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Filter {
    /// Reads the params of `subscriptions/listen`.
    ///
    /// # Errors
    ///
    /// -32602 with the reason (G-51).
    pub(crate) fn read(params: Option<&Json>) -> Result<Self, RpcError> {
        #[derive(Deserialize)]
        struct Params {
            notifications: Value,
        }
        let invalid = |why: &str| RpcError::invalid_params(format!("`params.notifications` {why}"));
        let Params { notifications } = params
            .ok_or_else(|| invalid("is missing: it must be an object"))?
            .parse()
            .map_err(|_| invalid("is missing: it must be an object"))?;
        if !notifications.is_object() {
            return Err(invalid("must be an object"));
        }
        let filter: Self = serde_json::from_value(notifications)
            .map_err(|_| invalid("must have booleans, and an array of strings as `resourceSubscriptions`"))?;
        if filter.resource_subscriptions.len() > MAX_RESOURCES {
            return Err(invalid(&format!("must name at most {MAX_RESOURCES} resources")));
        }
        if filter.resource_subscriptions.iter().map(String::len).sum::<usize>() > MAX_URIS {
            return Err(invalid(&format!("must name resources with at most {MAX_URIS} bytes in all")));
        }
        Ok(filter)
    }

    /// The part that a server with these capabilities honours (G-52).
    pub(crate) fn honoured(self, capabilities: &Json) -> Self {
        let capabilities: Value = capabilities.parse().unwrap_or_default();
        let declares = |feature: &str, part: &str| capabilities[feature][part] == true;
        let subscribe = declares("resources", "subscribe");
        Self {
            tools_list_changed: self.tools_list_changed && declares("tools", "listChanged"),
            prompts_list_changed: self.prompts_list_changed && declares("prompts", "listChanged"),
            resources_list_changed: self.resources_list_changed && declares("resources", "listChanged"),
            resource_subscriptions: if subscribe { self.resource_subscriptions } else { Vec::new() },
        }
    }

    /// Returns `true` if nothing can ever be sent.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the client has opted into this notification (G-54).
    fn wants(&self, notice: &Notice) -> bool {
        match &*notice.method {
            "notifications/tools/list_changed" => self.tools_list_changed,
            "notifications/prompts/list_changed" => self.prompts_list_changed,
            "notifications/resources/list_changed" => self.resources_list_changed,
            "notifications/resources/updated" => {
                let uri = notice.uri.as_deref();
                uri.is_some_and(|uri| self.resource_subscriptions.iter().any(|part| covers(part, uri)))
            }
            _ => false,
        }
    }
}

/// Whether `uri` is the resource `subscribed`, or one below it.
fn covers(subscribed: &str, uri: &str) -> bool {
    uri.strip_prefix(subscribed)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || subscribed.ends_with('/'))
}

impl Subscription {
    pub(crate) fn new(id: &RequestId, principal: Option<Principal>, filter: Filter) -> Self {
        let mut text = Vec::new();
        id.write_json(&mut text);
        Self { id: text.into(), principal, filter }
    }

    /// The acknowledgement: the first message (G-52).
    pub(crate) fn acknowledgement(&self) -> Bytes {
        let params = serde_json::json!({ "notifications": self.filter });
        Notice::new("notifications/subscriptions/acknowledged", params.as_object().cloned()).event(&self.id)
    }

    /// The event of this notification, if the client has opted into it.
    pub(super) fn event(&self, notice: &Notice) -> Option<Bytes> {
        self.filter.wants(notice).then(|| notice.event(&self.id))
    }

    /// The members of the result with which the server ends the subscription (G-55).
    pub(crate) fn end(&self) -> Json {
        let id = String::from_utf8_lossy(&self.id);
        Json::from_text(format!(r#"{{"_meta":{{"{SUBSCRIPTION_ID}":{id}}}}}"#).into())
            .unwrap_or_else(|_| Json::empty().clone()) // the id is JSON
    }
}

/// A notification for subscribers.
#[derive(Debug)]
pub(crate) struct Notice {
    method: String,
    /// `params.uri`, if there is one.
    uri: Option<String>,
    /// The event up to the subscription's id.
    head: String,
}

impl Notice {
    pub(crate) fn new(method: &str, params: Option<Map<String, Value>>) -> Self {
        let mut params = params.unwrap_or_default();
        let uri = params.get("uri").and_then(Value::as_str).map(str::to_owned);
        let meta = match params.remove("_meta") {
            Some(Value::Object(meta)) => meta,
            Some(_) | None => Map::new(),
        };
        // The id comes last, so that only the end of the event differs between subscribers.
        let open = |object: Map<String, Value>| {
            let mut text = Value::Object(object).to_string();
            text.pop(); // the brace
            if text.len() > 1 {
                text.push(',');
            }
            text
        };
        let head = format!(
            r#"{{"jsonrpc":"2.0","method":{},"params":{}"_meta":{}"{SUBSCRIPTION_ID}":"#,
            Value::from(method),
            open(params),
            open(meta),
        );
        Self { method: method.to_owned(), uri, head }
    }

    /// The event for the subscription with this id (G-53).
    fn event(&self, id: &[u8]) -> Bytes {
        [proto::MESSAGE, self.head.as_bytes(), id, b"}}}\n\n"].concat().into()
    }
}

#[cfg(test)]
mod tests;
