//! `initialize`: its params (C-02) and its result (C-03).

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, Weak},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    handler::InitializeResult,
    proto::{ClientCapabilities, Json, ProtocolVersion, RpcError},
    sync::lock,
    transport::Rejection,
};

/// How many bytes of a client's params are kept with its session. 4 KiB: SDKs send some hundred, and 100,000 sessions of a
/// client that sends more must not take the server's memory.
const KEPT: usize = 4 * 1024;

/// How many characters of its name, version and title are kept of a client that sends more than that. 256: a name is short.
const KEPT_NAME: usize = 256;

/// What a client has said of itself at `initialize`: kept for its handlers, at every node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// All params, as they came.
    pub(crate) params: Json,
    pub(crate) info: Json,
    pub(crate) capabilities: Json,
}

impl Client {
    /// Of these params. Where they are longer than [`KEPT`], of what matters in them.
    pub(crate) fn new(params: &Json) -> Self {
        if params.as_bytes().len() > KEPT { Self::read(&reduced(params)) } else { Self::read(params) }
    }

    fn read(params: &Json) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase")]
        struct Known<'a> {
            #[serde(borrow, default)]
            capabilities: Option<&'a RawValue>,
            #[serde(borrow, default)]
            client_info: Option<&'a RawValue>,
        }
        // A copy: what came is a part of the whole request.
        let params = Json::from_text(Bytes::copy_from_slice(params.as_bytes())).unwrap_or_else(|_| empty());
        let (info, capabilities) = {
            let Known { capabilities, client_info } = params.borrow().unwrap_or_default();
            let part = |raw: Option<&RawValue>| raw.map_or_else(empty, |raw| params.part(raw));
            (part(client_info), part(capabilities))
        };
        Self { params, info, capabilities }
    }
}

/// What is kept of params that are too long to be kept.
fn reduced(params: &Json) -> Json {
    let params: serde_json::Value = params.parse().unwrap_or_default();
    let names = ["name", "version", "title"].into_iter().filter_map(|key| {
        let text = params["clientInfo"][key].as_str()?.chars().take(KEPT_NAME);
        Some((key.to_owned(), serde_json::Value::from(text.collect::<String>())))
    });
    let info = names.collect::<serde_json::Map<_, _>>();
    let capabilities = &params["capabilities"];
    let capabilities =
        if capabilities.to_string().len() > KEPT { serde_json::json!({}) } else { capabilities.clone() };
    let version: String =
        params["protocolVersion"].as_str().unwrap_or_default().chars().take(KEPT_NAME).collect();
    serde_json::json!({ "protocolVersion": version, "capabilities": capabilities, "clientInfo": info }).into()
}

fn empty() -> Json {
    serde_json::json!({}).into()
}

/// What the clients of an endpoint have said of themselves. Most say the same as others, so each text is there once, for as
/// long as a session has it.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    hasher: RandomState,
    /// The one that was asked for last: a server's clients mostly say the same, and a comparison costs less than a hash.
    last: Weak<Client>,
    clients: HashMap<u64, Weak<Client>>,
    /// From this many on, those that no session has any more are looked for.
    limit: usize,
}

impl Clients {
    /// What a client with these params says.
    pub(crate) fn get(&self, params: &Json) -> Arc<Client> {
        let mut known = lock(&self.0);
        if let Some(last) = known.last.upgrade().filter(|last| last.params == *params) {
            return last;
        }
        let hash = known.hasher.hash_one(params.as_bytes());
        let same = known.clients.get(&hash).and_then(Weak::upgrade);
        if let Some(same) = same.filter(|same| same.params == *params) {
            known.last = Arc::downgrade(&same);
            return same;
        }
        let client = Arc::new(Client::new(params));
        known.last = Arc::downgrade(&client);
        known.clients.insert(hash, Arc::downgrade(&client));
        if known.clients.len() > known.limit {
            known.clients.retain(|_, client| client.strong_count() > 0);
            known.limit = known.clients.len() * 2 + 64;
        }
        client
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.0).clients.len()
    }
}

/// What a client opens a session with.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) version: ProtocolVersion,
    /// What the session has to know of them.
    pub(crate) known: ClientCapabilities,
    // Copies, for the handler: it may keep them as long as the session, and not the buffer that they were read into.
    pub(crate) capabilities: Json,
    pub(crate) client_info: Json,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeParams<'a> {
    #[serde(borrow)]
    protocol_version: Cow<'a, str>,
    #[serde(borrow)]
    capabilities: &'a RawValue,
    #[serde(borrow)]
    client_info: &'a RawValue,
}

#[derive(Deserialize)]
struct Capabilities<'a> {
    #[serde(borrow, default)]
    sampling: Option<&'a RawValue>,
    #[serde(borrow, default)]
    elicitation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    roots: Option<&'a RawValue>,
}

impl Capabilities<'_> {
    /// What of it the version has a meaning for (C-12).
    fn known_to(&self, version: ProtocolVersion) -> ClientCapabilities {
        let declares =
            |capability: Option<&RawValue>| capability.is_some_and(|raw| raw.get().starts_with('{'));
        let modes = |capability: Option<&RawValue>| {
            let modes = capability.and_then(|raw| serde_json::from_str::<Modes>(raw.get()).ok());
            modes.filter(|_| version >= ProtocolVersion::V2025_11_25).unwrap_or_default()
        };
        let elicitation = declares(self.elicitation) && version >= ProtocolVersion::V2025_06_18;
        let Modes { form, url, .. } = modes(self.elicitation);
        ClientCapabilities {
            sampling: declares(self.sampling),
            sampling_tools: declares(self.sampling) && modes(self.sampling).tools.is_some(),
            elicitation: elicitation && (form.is_some() || url.is_none()),
            elicitation_url: elicitation && url.is_some(),
            roots: declares(self.roots),
        }
    }
}

/// What revision 2025-11-25 tells apart within a capability.
#[derive(Deserialize, Default)]
struct Modes {
    #[serde(default)]
    form: Option<IgnoredAny>,
    #[serde(default)]
    url: Option<IgnoredAny>,
    #[serde(default)]
    tools: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "decoded to be checked")]
struct ClientInfo<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
}

/// An image that stands for the server in the lists of clients.
///
/// See [`InitializeResult::icon`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Icon {
    /// Where it is: an `https:` or a `data:` URL. Clients take only what they trust.
    pub src: String,
    /// Its media type, such as `image/png`, where the source does not say it, or wrongly.
    pub mime_type: Option<String>,
    /// The sizes that it has, such as `48x48`, or `any`. Empty: not said.
    pub sizes: Vec<String>,
    /// `light` or `dark`: the background that it is made for. `None`: any.
    pub theme: Option<String>,
}

impl Icon {
    /// The image at this URL.
    pub fn new(src: impl Into<String>) -> Self {
        Self { src: src.into(), mime_type: None, sizes: Vec::new(), theme: None }
    }

    /// The same with a media type.
    #[must_use]
    pub fn mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// The same with these sizes.
    #[must_use]
    pub fn sizes<S: Into<String>>(mut self, sizes: impl IntoIterator<Item = S>) -> Self {
        self.sizes = sizes.into_iter().map(Into::into).collect();
        self
    }

    /// The same for a `light` or a `dark` background.
    #[must_use]
    pub fn theme(mut self, theme: impl Into<String>) -> Self {
        self.theme = Some(theme.into());
        self
    }
}

/// As the specification writes it.
impl From<Icon> for serde_json::Value {
    fn from(Icon { src, mime_type, sizes, theme }: Icon) -> Self {
        let mut icon = serde_json::json!({ "src": src });
        let rest = [("mimeType", mime_type.map(Self::from)), ("theme", theme.map(Self::from))];
        let sizes = ("sizes", (!sizes.is_empty()).then(|| sizes.into()));
        for (key, value) in rest.into_iter().chain([sizes]) {
            if let Some(value) = value {
                icon[key] = value;
            }
        }
        icon
    }
}

/// Checks the params of `initialize`, negotiates the version, and notes what the client can do.
///
/// # Errors
///
/// [`Rejection::InvalidInitialize`], with -32602 and the reason.
pub(crate) fn read(params: &Json) -> Result<Opening, Rejection> {
    let params: InitializeParams<'_> = params.borrow().map_err(Rejection::InvalidInitialize)?;
    let capabilities: Capabilities<'_> = object("capabilities", params.capabilities)?;
    object::<ClientInfo<'_>>("clientInfo", params.client_info)?;
    let version = ProtocolVersion::negotiate(&params.protocol_version);
    Ok(Opening {
        version,
        known: capabilities.known_to(version),
        capabilities: params.capabilities.to_owned().into(),
        client_info: params.client_info.to_owned().into(),
    })
}

fn object<'a, T: Deserialize<'a>>(name: &str, value: &'a RawValue) -> Result<T, Rejection> {
    let invalid = |why: String| Rejection::InvalidInitialize(RpcError::invalid_params(why));
    if !value.get().starts_with('{') {
        return Err(invalid(format!("`{name}` must be an object")));
    }
    serde_json::from_str(value.get()).map_err(|error| invalid(format!("`{name}`: {error}")))
}

/// What the client is answered.
///
/// # Errors
///
/// [`ErrorCode::INTERNAL_ERROR`](crate::ErrorCode::INTERNAL_ERROR): never, as everything in it is JSON.
pub(crate) fn result(version: ProtocolVersion, result: &InitializeResult) -> Result<Json, RpcError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Text<'a> {
        protocol_version: &'static str,
        capabilities: &'a Json,
        server_info: &'a Json,
        #[serde(skip_serializing_if = "Option::is_none")]
        instructions: Option<&'a str>,
    }
    let InitializeResult { capabilities, server_info, instructions } = result;
    let protocol_version = version.as_str();
    Json::new(&Text { protocol_version, capabilities, server_info, instructions: instructions.as_deref() })
}

#[cfg(test)]
mod tests;
