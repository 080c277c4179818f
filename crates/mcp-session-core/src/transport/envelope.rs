//! [`Envelope`]: what a request of 2026-07-28 says about itself, in its body and again in its headers.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use mcp_session_proto::{self as proto, Json, Names, Part, ProtocolVersion, RpcRequest};

use super::{
    headers::{METHOD, NAME, PROTOCOL_VERSION},
    level::LogLevel,
    rejection::Rejection,
    values::{bounded, decode, header, quoted},
};
use crate::config::Eras;

const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const CLIENT_INFO_KEY: &str = "io.modelcontextprotocol/clientInfo";
const LOG_LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";

/// What `initialize` calls the version.
const HANDSHAKE: Names<1> = Names::new(["protocolVersion"]);

/// What a request of 2026-07-28 says about itself (G-01).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// A version without a handshake that the endpoint serves.
    pub(crate) version: ProtocolVersion,
    /// An object, if present. Nothing may depend on it (G-02, G-06).
    pub(crate) client_info: Option<Json>,
    /// An object. It shares the memory of the body, as does `client_info`.
    pub(crate) capabilities: Json,
    /// The log messages that the request asks for; `None` if it wants none (G-08).
    pub(crate) log_level: Option<LogLevel>,
    /// `params.name` of `tools/call` and `prompts/get`, `params.uri` of `resources/read`; `None` for all other methods.
    /// The header `Mcp-Name` says the same (G-09).
    pub(crate) name: Option<String>,
}

/// What the params of a request say about it, as JSON texts. Only read, not checked. `null` counts as absent, except for the
/// version: a client that writes that key means the envelope.
pub(super) struct Unchecked<'a> {
    params: Option<&'a Json>,
    name: Option<&'a str>,
    uri: Option<&'a str>,
    version: Option<&'a str>,
    capabilities: Option<&'a str>,
    client_info: Option<&'a str>,
    log_level: Option<&'a str>,
}

impl<'a> Unchecked<'a> {
    /// Reads the params of a request.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidEnvelope`] if a member that it reads occurs twice: two readers might each take another one.
    pub(super) fn read(request: &'a RpcRequest) -> Result<Self, Rejection> {
        let part = |part, place: &str| {
            request.part(part).map_err(|error| {
                Rejection::InvalidEnvelope(format!("`{place}` is invalid: {}", error.message).into())
            })
        };
        part(Part::Meta, "params")?;
        let unless_null = |text: Option<&'a str>| text.filter(|text| *text != "null");
        Ok(Self {
            params: request.params.as_ref(),
            name: unless_null(part(Part::Name, "params")?),
            uri: unless_null(part(Part::Uri, "params")?),
            version: part(Part::Version, "params._meta")?,
            capabilities: unless_null(part(Part::Capabilities, "params._meta")?),
            client_info: unless_null(part(Part::ClientInfo, "params._meta")?),
            log_level: unless_null(part(Part::LogLevel, "params._meta")?),
        })
    }

    /// The version in the envelope; `None` if there is no envelope.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidEnvelope`] if it is not a string.
    pub(super) fn version(&self) -> Result<Option<Cow<'a, str>>, Rejection> {
        let read = |raw| proto::string(raw).ok_or_else(|| lacks(VERSION_KEY, "a string"));
        self.version.map(read).transpose()
    }

    /// The version that an `initialize` asks for, if it is a string.
    pub(super) fn handshake(&self) -> Option<Cow<'a, str>> {
        let [version] = proto::members(self.params?.as_str(), &HANDSHAKE).ok()?;
        proto::string(version?)
    }

    /// Checks the envelope, and then the headers that repeat a part of the body, in the order of the ladder (G-40).
    ///
    /// # Errors
    ///
    /// In this order: [`Rejection::InvalidEnvelope`] (G-03), [`Rejection::HeaderMismatch`] for the version (G-19),
    /// [`Rejection::UnsupportedModernVersion`] (G-18), [`Rejection::HeaderMismatch`] for method and name (G-10).
    pub(super) fn check(
        &self,
        version: &str,
        method: &str,
        headers: &HeaderMap,
        eras: Eras,
    ) -> Result<Envelope, Rejection> {
        let Self { params, capabilities, client_info, .. } = self;
        let is_object = |text: &&str| text.starts_with('{');
        let part = |text: &str| params.map(|params| params.part(text));
        let capabilities = capabilities.filter(is_object).and_then(part);
        let capabilities =
            capabilities.ok_or_else(|| lacks(CAPABILITIES_KEY, "an object, which may be empty"))?;
        if !client_info.as_ref().is_none_or(is_object) {
            return Err(lacks(CLIENT_INFO_KEY, "an object, if it is there"));
        }
        let log_level = self.log_level.map(|raw| {
            let level = proto::string(raw).and_then(|name| LogLevel::parse(&name));
            level.ok_or_else(|| lacks(LOG_LEVEL_KEY, "the name of a level such as \"info\", if it is there"))
        });
        let log_level = log_level.transpose()?;

        repeats(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version", VERSION_KEY, version)?;
        let version = supported(version, eras)?;
        repeats(headers, &METHOD, "Mcp-Method", "method", method)?;
        let name = match method {
            "tools/call" | "prompts/get" => Some(("params.name", self.name)),
            "resources/read" => Some(("params.uri", self.uri)),
            _ => None,
        };
        let name = name.map(|(path, raw)| named(headers, path, raw.and_then(proto::string))).transpose()?;
        Ok(Envelope { version, client_info: client_info.and_then(part), capabilities, log_level, name })
    }
}

/// The version with this name, if the endpoint serves it and it has no handshake (G-18).
pub(super) fn supported(version: &str, eras: Eras) -> Result<ProtocolVersion, Rejection> {
    ProtocolVersion::parse(version)
        .filter(|version| eras.has(*version) && !version.has_handshake())
        .ok_or_else(|| Rejection::UnsupportedModernVersion(bounded(version).into_owned(), eras))
}

/// The rejection of a `_meta` in which this key is missing or invalid.
fn lacks(key: &str, what: &str) -> Rejection {
    Rejection::InvalidEnvelope(format!("`params._meta` must have `{key}`: {what}").into())
}

/// The rejection of a request without an envelope, whose header says that it has one (G-20).
pub(super) fn no_envelope() -> Rejection {
    lacks(VERSION_KEY, "the same version as the header MCP-Protocol-Version")
}

/// The rejection of a request without a version header (G-45).
pub(super) fn no_version_header() -> Rejection {
    missing("MCP-Protocol-Version", VERSION_KEY)
}

/// Checks that a header repeats a part of the body (G-10, G-11).
fn repeats(
    headers: &HeaderMap,
    name: &HeaderName,
    spelled: &'static str,
    part: &str,
    body: &str,
) -> Result<(), Rejection> {
    match header(headers, name, spelled)? {
        None => Err(missing(spelled, part)),
        Some(value) if value == body => Ok(()),
        Some(value) => Err(differs(spelled, value, part, body)),
    }
}

/// Checks `Mcp-Name`, and returns the name in the body, which it repeats (G-09, G-12).
fn named(headers: &HeaderMap, path: &str, body: Option<Cow<'_, str>>) -> Result<String, Rejection> {
    let value = header(headers, &NAME, "Mcp-Name")?.ok_or_else(|| missing("Mcp-Name", path))?;
    let value = decode("Mcp-Name", value)?;
    match body {
        None => Err(Rejection::HeaderMismatch(
            format!("the header Mcp-Name must repeat `{path}` of the body, which has no such string").into(),
        )),
        Some(body) if value == body => Ok(body.into_owned()),
        Some(body) => Err(differs("Mcp-Name", &value, path, &body)),
    }
}

fn missing(spelled: &str, part: &str) -> Rejection {
    Rejection::HeaderMismatch(
        format!("the header {spelled} is missing: it must repeat `{part}` of the body").into(),
    )
}

/// The rejection of a header that says something else than the body.
pub(super) fn differs(spelled: &str, value: &str, part: &str, body: &str) -> Rejection {
    let (value, body) = (quoted(value), quoted(body));
    Rejection::HeaderMismatch(
        format!("the header {spelled} is {value}, but `{part}` of the body is {body}: both must be the same")
            .into(),
    )
}

#[cfg(test)]
mod tests;
