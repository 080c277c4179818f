//! A child of 2026-07-28, which knows no `initialize`: each request says what `initialize` has said once, questions to the client
//! are results, and notifications outside of calls are subscribed to.
//!
//! A client of the same revision speaks to it as without a gateway. For a client of an older one, the gateway does what such a
//! client cannot: it adds the envelope, asks the questions, and keeps the subscriptions.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::{AbortHandle, Abortable, try_join_all};
use mcp_session_core::{ErrorCode, Json, RequestContext, RpcError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use tokio::sync::oneshot;

use super::{
    asking::reply_to_child,
    core::lock,
    link::{Ask, Caller, Item, Link, LinkInner},
};

/// Whether the child has accepted a subscription.
type Accepted = Result<(), RpcError>;

const VERSION: &str = "2026-07-28";
const PREFIX: &str = "io.modelcontextprotocol/";

/// How often a child may ask for input before it answers. 100: each is a question to a person or a model.
const ROUNDS: usize = 100;

/// How long a client may take to answer. A day, as for other children.
const REPLY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the gateway keeps for the clients of older revisions of such a child.
#[derive(Debug, Default)]
pub(crate) struct Modern {
    /// The level of `logging/setLevel`, which is a part of each request here.
    level: Mutex<Option<String>>,
    /// The subscriptions to resources.
    resources: Mutex<HashMap<String, AbortHandle>>,
}

#[derive(Deserialize)]
struct Discovered {
    #[serde(rename = "supportedVersions")]
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct InputRequired {
    #[serde(default, rename = "inputRequests")]
    requests: BTreeMap<String, InputRequest>,
    #[serde(default, rename = "requestState")]
    state: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct InputRequest {
    method: String,
    #[serde(default)]
    params: Option<Box<RawValue>>,
}

/// What a client's request says again, after the child has asked for input.
#[derive(Debug, Default)]
struct Input {
    responses: BTreeMap<String, Json>,
    state: Option<Box<RawValue>>,
}

impl LinkInner {
    /// Asks a child that refuses `initialize` what it is. Returns it in the form of a result of `initialize`.
    ///
    /// # Errors
    ///
    /// If it does not know that either.
    pub(super) async fn discover(&self) -> Result<Json, RpcError> {
        let params = json!({ "_meta": meta(&json!({}), &json!({ "name": "mcp-session-gateway", "version": "" }), None) });
        let discovered = self.ask("server/discover", Some(&params.to_string())).await?;
        let Discovered { versions } = discovered.parse()?;
        if !versions.iter().any(|version| version == VERSION) {
            return Err(self.core.error(format_args!("it speaks none of the revisions up to {VERSION}")));
        }
        let mut info: Value = discovered.parse()?;
        let server_info = info["_meta"][format!("{PREFIX}serverInfo")].take();
        info["serverInfo"] = match server_info {
            Value::Object(_) => server_info,
            _ => json!({ "name": self.core.config.name, "version": "" }),
        };
        if let Some(members) = info.as_object_mut() {
            members.retain(|name, _| matches!(&**name, "capabilities" | "serverInfo" | "instructions"));
        }
        let _ = self.modern.set(Modern::default());
        Ok(info.into())
    }

    /// Whether the child is of 2026-07-28.
    pub(crate) fn is_modern(&self) -> bool {
        self.modern.get().is_some()
    }

    /// Subscribes to what a client of an older revision hears without asking.
    pub(crate) fn listen_to_changes(self: &Arc<Self>) {
        if self.is_modern() {
            let all =
                json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true });
            tokio::spawn(Arc::clone(self).listen(all, None));
        }
    }

    /// Subscribes to a resource. Returns what tells whether the child has accepted it; `None` if that is done already.
    pub(crate) fn listen_to_resource(self: &Arc<Self>, uri: &str) -> Option<oneshot::Receiver<Accepted>> {
        let mut resources = lock(&self.modern.get()?.resources);
        if resources.contains_key(uri) {
            return None;
        }
        let (abort, registration) = AbortHandle::new_pair();
        resources.insert(uri.to_owned(), abort);
        let (told, accepted) = oneshot::channel();
        let listens = Arc::clone(self).listen(json!({ "resourceSubscriptions": [uri] }), Some(told));
        tokio::spawn(Abortable::new(listens, registration));
        Some(accepted)
    }

    /// Ends the subscription to a resource.
    pub(crate) fn ignore_resource(&self, uri: &str) {
        let listens = self.modern.get().and_then(|modern| lock(&modern.resources).remove(uri));
        if let Some(listens) = listens {
            listens.abort();
        }
    }

    /// Keeps a subscription until the child ends it, or this is dropped. What comes with it goes where other notifications go,
    /// except its first message, which says that it was accepted.
    async fn listen(self: Arc<Self>, notifications: Value, mut told: Option<oneshot::Sender<Accepted>>) {
        let info = json!({ "name": "mcp-session-gateway", "version": "" });
        let params = json!({ "notifications": notifications, "_meta": meta(&json!({}), &info, None) });
        let running = self.send(Caller::Gateway, "subscriptions/listen", Some(&params.to_string()), false);
        let Ok(mut running) = running else { return };
        loop {
            let (accepted, ended) = match running.next().await {
                Item::Answer(outcome) => (outcome.map(drop), true),
                Item::Notification { .. } | Item::Ask(_) => (Ok(()), false),
            };
            if let Some(told) = told.take() {
                let _ = told.send(accepted);
            }
            if ended {
                return;
            }
        }
    }
}

impl Link {
    /// Serves a request of a client of an older revision.
    pub(super) async fn call_modern(&self, modern: &Modern, cx: &RequestContext) -> Result<Json, RpcError> {
        #[derive(Deserialize)]
        struct Level {
            level: String,
        }
        #[derive(Deserialize)]
        struct Resource {
            uri: String,
        }
        match cx.method() {
            "logging/setLevel" => {
                let Level { level } = cx.params()?;
                *lock(&modern.level) = Some(level);
                return Ok(json!({}).into());
            }
            "resources/subscribe" => {
                let Resource { uri } = cx.params()?;
                if let Some(accepted) = self.inner().listen_to_resource(&uri) {
                    let gone = |_| Err(self.core.error("it has not accepted the subscription"));
                    accepted.await.unwrap_or_else(gone).inspect_err(|_| self.ignore_resource(&uri))?;
                }
                return Ok(json!({}).into());
            }
            "resources/unsubscribe" => {
                let Resource { uri } = cx.params()?;
                self.ignore_resource(&uri);
                return Ok(json!({}).into());
            }
            _ => {}
        }
        let mut input = Input::default();
        for _ in 0..ROUNDS {
            let level = lock(&modern.level).clone();
            let params = with_envelope(cx, level.as_deref(), &input)?;
            let mut result: Value = self.call_with(cx, Some(&params)).await?.parse()?;
            let kind = result.as_object_mut().and_then(|result| result.remove("resultType"));
            match kind.as_ref().and_then(Value::as_str) {
                Some("input_required") => input = self.ask_for(cx, result).await?,
                Some(_) | None => return Ok(result.into()),
            }
        }
        Err(self.core.error("it asks for input again and again"))
    }

    /// Asks the client for what the child needs.
    async fn ask_for(&self, cx: &RequestContext, result: Value) -> Result<Input, RpcError> {
        let invalid =
            |error: serde_json::Error| self.core.error(format_args!("its `input_required`: {error}"));
        let InputRequired { requests, state } = serde_json::from_value(result).map_err(invalid)?;
        let ask = async |(key, InputRequest { method, params }): (String, InputRequest)| {
            let ask = Ask { id: RawValue::NULL.to_owned(), method, params: params.map(Json::from) };
            let reply = cx.request(&ask.method, ask.params.as_ref(), REPLY).await;
            Ok::<_, RpcError>((key, reply_to_child(&ask, reply)?))
        };
        let responses: Vec<_> = try_join_all(requests.into_iter().map(ask)).await?;
        Ok(Input { responses: responses.into_iter().collect(), state })
    }
}

/// The envelope of a request.
fn meta(capabilities: &impl Serialize, client_info: &impl Serialize, level: Option<&str>) -> Value {
    let mut meta = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
        "io.modelcontextprotocol/clientInfo": client_info,
    });
    if let Some(level) = level {
        meta[format!("{PREFIX}logLevel")] = level.into();
    }
    meta
}

/// The params of a request as a child of 2026-07-28 expects them.
fn with_envelope(cx: &RequestContext, level: Option<&str>, input: &Input) -> Result<String, RpcError> {
    let mut params: BTreeMap<String, Box<RawValue>> = cx.params()?;
    let mut all: BTreeMap<String, Value> = match params.get("_meta") {
        Some(meta) => {
            serde_json::from_str(meta.get()).map_err(|error| RpcError::invalid_params(error.to_string()))?
        }
        None => BTreeMap::new(),
    };
    if let Value::Object(envelope) = meta(cx.client_capabilities(), cx.client_info(), level) {
        all.extend(envelope);
    }
    let raw = |value: Result<Box<RawValue>, serde_json::Error>| {
        value.map_err(|error| RpcError::new(ErrorCode::INTERNAL_ERROR, error.to_string()))
    };
    params.insert("_meta".to_owned(), raw(serde_json::value::to_raw_value(&all))?);
    if !input.responses.is_empty() {
        params.insert("inputResponses".to_owned(), raw(serde_json::value::to_raw_value(&input.responses))?);
    }
    if let Some(state) = &input.state {
        params.insert("requestState".to_owned(), state.clone());
    }
    serde_json::to_string(&params).map_err(|error| RpcError::internal(error.to_string()))
}
