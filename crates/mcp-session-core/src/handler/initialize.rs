//! The params (C-02) and the result (C-03) of `initialize`.

use std::borrow::Cow;

use mcp_session_proto::{ClientCapabilities, Json, ProtocolVersion, RpcError};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{handler::InitializeResult, transport::Rejection};

/// The checked params of `initialize`.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) version: ProtocolVersion,
    /// The capabilities that the session uses.
    pub(crate) known: ClientCapabilities,
    // Copies for the handler, which may keep them as long as the session, without the buffer of the request.
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
    /// The capabilities that have a meaning in this version (C-12).
    fn known_to(&self, version: ProtocolVersion) -> ClientCapabilities {
        let declares =
            |capability: Option<&RawValue>| capability.is_some_and(|raw| raw.get().starts_with('{'));
        let modes = |capability: Option<&RawValue>| {
            let modes = capability.and_then(|raw| serde_json::from_str::<Modes>(raw.get()).ok());
            modes.filter(|_| version >= ProtocolVersion::V2025_11_25).unwrap_or_default()
        };
        let elicitation = declares(self.elicitation) && version >= ProtocolVersion::V2025_06_18;
        let Modes { form, url, .. } = modes(self.elicitation);
        let mut known = ClientCapabilities::default();
        known.sampling = declares(self.sampling);
        known.sampling_tools = declares(self.sampling) && modes(self.sampling).tools.is_some();
        known.elicitation = elicitation && (form.is_some() || url.is_none());
        known.elicitation_url = elicitation && url.is_some();
        known.roots = declares(self.roots);
        known
    }
}

/// The capabilities that have a meaning in this version (C-12).
pub(super) fn known_capabilities(capabilities: &Json, version: ProtocolVersion) -> ClientCapabilities {
    capabilities
        .borrow::<Capabilities<'_>>()
        .map_or_else(|_| ClientCapabilities::default(), |all| all.known_to(version))
}

/// The sub-capabilities that revision 2025-11-25 distinguishes.
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

/// An icon of the server, for display in clients: see [`InitializeResult::with_icon`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Icon {
    /// An `https:` or `data:` URL of the image. Clients load it only from sources that they trust.
    pub src: String,
    /// The media type, such as `image/png`, if the source does not give it or gives a wrong one.
    pub mime_type: Option<String>,
    /// The available sizes, such as `48x48`, or `any`. Empty if unspecified.
    pub sizes: Vec<String>,
    /// The background that it is designed for, `light` or `dark`. `None` if any.
    pub theme: Option<String>,
}

impl Icon {
    /// Creates an icon with this URL.
    pub fn new(src: impl Into<String>) -> Self {
        Self { src: src.into(), mime_type: None, sizes: Vec::new(), theme: None }
    }

    /// Sets the media type.
    #[must_use]
    pub fn with_mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Sets the sizes.
    #[must_use]
    pub fn with_sizes<S: Into<String>>(mut self, sizes: impl IntoIterator<Item = S>) -> Self {
        self.sizes = sizes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the background, `light` or `dark`.
    #[must_use]
    pub fn with_theme(mut self, theme: impl Into<String>) -> Self {
        self.theme = Some(theme.into());
        self
    }
}

/// Converts to the JSON form of the specification.
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

/// Checks the params of `initialize`, negotiates the version, and reads the client's capabilities.
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

/// Encodes the result of `initialize`, from whatever handler.
///
/// # Errors
///
/// [`ErrorCode::INTERNAL_ERROR`](crate::ErrorCode::INTERNAL_ERROR), which cannot happen: all parts are JSON.
pub(crate) fn result(version: ProtocolVersion, result: &InitializeResult) -> Result<Json, RpcError> {
    let InitializeResult { capabilities, server_info, instructions, extra } = result;
    let (version, capabilities, server_info) =
        (version.as_str(), capabilities.as_str(), server_info.as_str());
    // Put together from texts: to serialize them would parse them again.
    let mut text = format!(
        r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"serverInfo":{server_info}"#
    );
    if let Some(instructions) = instructions {
        text.push_str(r#","instructions":"#);
        text.push_str(Json::new(instructions)?.as_str());
    }
    // Each member once: these are sent already.
    let sent = ["protocolVersion", "capabilities", "serverInfo", "instructions"];
    for (name, value) in extra.iter().filter(|(name, _)| !sent.contains(&name.as_str())) {
        for part in [",", Json::new(name)?.as_str(), ":", Json::new(value)?.as_str()] {
            text.push_str(part);
        }
    }
    text.push('}');
    Ok(Json::spliced(text))
}

#[cfg(test)]
mod tests;
