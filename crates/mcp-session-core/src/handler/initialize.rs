//! The params (C-02) and the result (C-03) of `initialize`.

use mcp_session_proto::{self as proto, ClientCapabilities, Json, Names, ProtocolVersion, RpcError};

use crate::{handler::InitializeResult, transport::Rejection};

const PARAMS: Names<3> = Names::new(["protocolVersion", "capabilities", "clientInfo"]);
const CAPABILITIES: Names<3> = Names::new(["sampling", "elicitation", "roots"]);
/// The sub-capabilities that revision 2025-11-25 distinguishes.
const MODES: Names<3> = Names::new(["form", "url", "tools"]);
const CLIENT_INFO: Names<2> = Names::new(["name", "version"]);

/// The checked params of `initialize`.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) version: ProtocolVersion,
    /// The capabilities that the session uses.
    pub(crate) known: ClientCapabilities,
    /// The text of an object.
    pub(crate) capabilities: &'a str,
    /// The text of an object.
    pub(crate) client_info: &'a str,
}

/// The capabilities that have a meaning in this version (C-12).
///
/// # Errors
///
/// [`ErrorCode::INVALID_PARAMS`](crate::ErrorCode::INVALID_PARAMS) if one of them occurs twice.
pub(super) fn known_capabilities(
    text: &str,
    version: ProtocolVersion,
) -> Result<ClientCapabilities, RpcError> {
    let is_object = |text: &&str| text.starts_with('{');
    let [sampling, elicitation, roots] =
        proto::members(text, &CAPABILITIES)?.map(|text| text.filter(is_object));
    let modes = |capability: Option<&str>| {
        let modes = capability.filter(|_| version >= ProtocolVersion::V2025_11_25);
        let modes = modes.and_then(|text| proto::members(text, &MODES).ok()).unwrap_or_default();
        modes.map(|mode| mode.is_some_and(|text| text != "null"))
    };
    let elicits = elicitation.is_some() && version >= ProtocolVersion::V2025_06_18;
    let [form, url, _] = modes(elicitation);
    let [_, _, tools] = modes(sampling);
    let mut known = ClientCapabilities::default();
    known.sampling = sampling.is_some();
    known.sampling_tools = tools;
    known.elicitation = elicits && (form || !url);
    known.elicitation_url = elicits && url;
    known.roots = roots.is_some();
    Ok(known)
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
pub(crate) fn read(params: &Json) -> Result<Opening<'_>, Rejection> {
    let [version, capabilities, client_info] =
        proto::members(params.as_str(), &PARAMS).map_err(Rejection::InvalidInitialize)?;
    let version = version.and_then(proto::string);
    let version = version.ok_or_else(|| invalid("`params.protocolVersion` must be a string".to_owned()))?;
    let version = ProtocolVersion::negotiate(&version);
    let capabilities = object("capabilities", capabilities)?;
    let client_info = object("clientInfo", client_info)?;
    let known = known_capabilities(capabilities, version)
        .map_err(|error| invalid(format!("`params.capabilities`: {}", error.message)))?;
    let names = proto::members(client_info, &CLIENT_INFO)
        .map_err(|error| invalid(format!("`params.clientInfo`: {}", error.message)))?;
    for (name, text) in CLIENT_INFO.texts().iter().zip(names) {
        if text.and_then(proto::string).is_none() {
            return Err(invalid(format!("`params.clientInfo.{name}` must be a string")));
        }
    }
    Ok(Opening { version, known, capabilities, client_info })
}

fn object<'a>(name: &str, text: Option<&'a str>) -> Result<&'a str, Rejection> {
    let object = text.filter(|text| text.starts_with('{'));
    object.ok_or_else(|| invalid(format!("`params.{name}` must be an object")))
}

fn invalid(why: String) -> Rejection {
    Rejection::InvalidInitialize(RpcError::invalid_params(why))
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
    let parts = [
        r#"{"protocolVersion":""#,
        version,
        r#"","capabilities":"#,
        capabilities,
        r#","serverInfo":"#,
        server_info,
    ];
    let mut text = parts.concat();
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
