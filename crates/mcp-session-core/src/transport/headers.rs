//! The headers of a request: media types, session, version.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use mcp_session_proto::{ProtocolVersion, ResponseMode, SessionId};

use super::rejection::Rejection;
use crate::config::Eras;

/// The session header (E-01). Header names are case-insensitive (B-11).
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const NAME: HeaderName = HeaderName::from_static("mcp-name");

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// The `Accept` of a POST exactly as the SDKs send it: the only value that most servers ever see.
const JSON_AND_EVENTS: &str = "application/json, text/event-stream";

/// The first revision without sessions. Dates compare as text.
pub(super) const FIRST_MODERN: &str = "2026-07-28";

/// The only form of answer that the client of a POST accepts; `None` if it accepts both (B-45). Without `Accept` it accepts
/// anything (RFC 9110, 12.5.1).
pub(crate) fn accepted_form(headers: &HeaderMap) -> Result<Option<ResponseMode>, Rejection> {
    match headers.get(header::ACCEPT) {
        None => return Ok(None),
        // A second `Accept` cannot take back what the first one names in full.
        Some(value) if value == JSON_AND_EVENTS => return Ok(None),
        Some(_) => {}
    }
    match (accepts(headers, JSON), accepts(headers, EVENTS)) {
        (true, true) => Ok(None),
        (true, false) => Ok(Some(ResponseMode::Json)),
        (false, true) => Ok(Some(ResponseMode::Sse)),
        (false, false) => Err(Rejection::NotAcceptable("application/json or text/event-stream")),
    }
}

/// Checks the `Accept` of a GET: it must cover events. The specification requires it, and a GET without it comes from a
/// browser or a probe (B-31).
pub(crate) fn check_get_accept(headers: &HeaderMap) -> Result<(), Rejection> {
    let usual = headers.get(header::ACCEPT).is_some_and(|value| value == EVENTS);
    if usual || accepts(headers, EVENTS) {
        Ok(())
    } else {
        Err(Rejection::NotAcceptable("text/event-stream"))
    }
}

/// Checks the `Content-Type` of a POST: exactly JSON, apart from parameters (B-15).
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(JSON)
    };
    match (types.next(), types.next()) {
        (Some(value), None) if value == JSON || is_json(value) => Ok(()),
        _ => Err(Rejection::UnsupportedMediaType),
    }
}

/// Checks the `Content-Encoding` of a POST: the body must not be compressed.
pub(crate) fn check_content_encoding(headers: &HeaderMap) -> Result<(), Rejection> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let plain = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.all(|name| name.is_empty() || name.eq_ignore_ascii_case(b"identity"))
    };
    if encodings.into_iter().all(plain) { Ok(()) } else { Err(Rejection::UnsupportedEncoding) }
}

/// Returns `true` if `Accept` covers a media type. The most specific matching range decides (`type/subtype` before
/// `type/*` before `*/*`); with `q=0` it excludes the type.
fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let family = wanted.split('/').next().unwrap_or_default();
    let matches = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let specificity = if essence.eq_ignore_ascii_case(wanted) {
            2
        } else if essence.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(family)) {
            1
        } else if essence == "*/*" {
            0
        } else {
            return None;
        };
        let refused = parts.any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0_f32)
        });
        Some((specificity, !refused))
    };
    let values = headers.get_all(header::ACCEPT).iter();
    // Media types are ASCII; anything else in a parameter does not matter here.
    let ranges = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let ranges = ranges.map(|range| std::str::from_utf8(range).unwrap_or_default());
    ranges.filter_map(matches).max().is_some_and(|(_, accepted)| accepted)
}

/// The session header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionHeader {
    Absent,
    /// Not an id of this server: handled like an id that was never issued (E-12).
    Foreign,
    Id(SessionId),
}

/// Reads the session header, and checks that no header of the protocol is repeated (B-12).
pub(crate) fn session_header(headers: &HeaderMap) -> Result<SessionHeader, Rejection> {
    // Most requests repeat no header at all.
    if headers.len() > headers.keys_len() {
        single(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")?;
        single(headers, &LAST_EVENT_ID, "Last-Event-ID")?;
        single(headers, &METHOD, "Mcp-Method")?;
        single(headers, &NAME, "Mcp-Name")?;
        single(headers, &SESSION_ID, "Mcp-Session-Id")?;
    }
    // An empty header counts as absent: clients and proxies send it to mean none (E-32).
    Ok(match headers.get(SESSION_ID).filter(|id| !is_blank(id)) {
        None => SessionHeader::Absent,
        Some(id) => match id.to_str().unwrap_or_default().parse() {
            Ok(id) => SessionHeader::Id(id),
            Err(_) => SessionHeader::Foreign,
        },
    })
}

/// The event after which a client wants to resume (D-29). A value that is not text matches no event of this server; an
/// empty header counts as absent (E-32).
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID).filter(|id| !is_blank(id)).map(|id| id.to_str().unwrap_or_default())
}

fn is_blank(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().is_empty()
}

fn single(headers: &HeaderMap, name: &HeaderName, spelled: &'static str) -> Result<(), Rejection> {
    match headers.get_all(name).iter().nth(1) {
        None => Ok(()),
        Some(_) => Err(Rejection::RepeatedHeader(spelled)),
    }
}

/// Checks that the version header, if present, names a supported version (B-26). The header never changes the version of
/// a session (B-29).
pub(crate) fn check_version(headers: &HeaderMap, eras: Eras) -> Result<(), Rejection> {
    match headers.get(PROTOCOL_VERSION).map(|value| value.to_str().unwrap_or_default()) {
        None => Ok(()),
        Some(version) if ProtocolVersion::parse(version).is_some_and(ProtocolVersion::has_handshake) => {
            Ok(())
        }
        Some(version) => Err(Rejection::UnsupportedVersion(version.to_owned(), eras)),
    }
}

/// The version that the header names, if it is supported.
pub(crate) fn version(headers: &HeaderMap) -> Option<ProtocolVersion> {
    ProtocolVersion::parse(headers.get(PROTOCOL_VERSION)?.to_str().ok()?)
}

/// Refuses a request whose version header names a revision without sessions, which cannot be served yet: a clear error
/// tells the client to fall back to `initialize` (G-40, G-49).
pub(crate) fn check_era(headers: &HeaderMap, eras: Eras) -> Result<(), Rejection> {
    let modern = headers.get(PROTOCOL_VERSION).filter(|version| is_modern(version.as_bytes()));
    match modern.and_then(|version| version.to_str().ok()) {
        Some(version) => Err(Rejection::UnsupportedVersion(version.to_owned(), eras)),
        None => Ok(()),
    }
}

/// Returns `true` if the version is a revision without sessions.
pub(crate) fn is_modern(version: &[u8]) -> bool {
    version.len() == FIRST_MODERN.len() && version.starts_with(b"20") && version >= FIRST_MODERN.as_bytes()
}

#[cfg(test)]
mod tests;
