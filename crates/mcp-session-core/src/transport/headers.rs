//! What the headers of a request say: media types, the session, the version.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::rejection::Rejection;
use crate::proto::{ProtocolVersion, ResponseMode, SessionId};

/// The session header (E-01). Names of headers are matched without regard to case (B-11).
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// The `Accept` of a POST that the SDKs send, byte for byte: the only one that most servers ever see.
const JSON_AND_EVENTS: &str = "application/json, text/event-stream";

/// The first revision without sessions. Dates compare as text.
const FIRST_MODERN: &str = "2026-07-28";

/// In which form a client takes the answer to its POST: in the one that it accepts, or, if that is `None`, in either (B-45).
/// Without `Accept` it takes anything (RFC 9110, 12.5.1).
pub(crate) fn accepted_form(headers: &HeaderMap) -> Result<Option<ResponseMode>, Rejection> {
    match headers.get(header::ACCEPT) {
        None => return Ok(None),
        // Nothing in a second `Accept` can take back what the first one names in full.
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

/// `Accept` of a GET: it has to name events, because the specification asks for it there, and a GET without it is a
/// browser's or a probe's (B-31).
pub(crate) fn check_get_accept(headers: &HeaderMap) -> Result<(), Rejection> {
    let usual = headers.get(header::ACCEPT).is_some_and(|value| value == EVENTS);
    if usual || accepts(headers, EVENTS) {
        Ok(())
    } else {
        Err(Rejection::NotAcceptable("text/event-stream"))
    }
}

/// `Content-Type` of a POST: exactly JSON, parameters aside (B-15).
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

/// `Content-Encoding` of a POST: not compressed.
pub(crate) fn check_content_encoding(headers: &HeaderMap) -> Result<(), Rejection> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let plain = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.all(|name| name.is_empty() || name.eq_ignore_ascii_case(b"identity"))
    };
    if encodings.into_iter().all(plain) { Ok(()) } else { Err(Rejection::UnsupportedEncoding) }
}

/// Whether `Accept` covers a media type. The most specific range that matches decides (`type/subtype` before `type/*`
/// before `*/*`), and says no with `q=0`.
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
    // Media types are ASCII; what else may stand in a parameter is nobody's business here.
    let ranges = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let ranges = ranges.map(|range| std::str::from_utf8(range).unwrap_or_default());
    ranges.filter_map(matches).max().is_some_and(|(_, accepted)| accepted)
}

/// The session that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionHeader {
    Absent,
    /// Not an id of this server: as unknown as one that was never issued (E-12).
    Foreign,
    Id(SessionId),
}

/// Reads the session header, and makes sure that no header of the protocol comes twice (B-12).
pub(crate) fn session_header(headers: &HeaderMap) -> Result<SessionHeader, Rejection> {
    // Most requests have no header at all that comes twice.
    if headers.len() > headers.keys_len() {
        single(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")?;
        single(headers, &LAST_EVENT_ID, "Last-Event-ID")?;
        single(headers, &METHOD, "Mcp-Method")?;
        single(headers, &NAME, "Mcp-Name")?;
        single(headers, &SESSION_ID, "Mcp-Session-Id")?;
    }
    // An empty one counts as absent: clients and proxies write it for none (E-32).
    Ok(match headers.get(SESSION_ID).filter(|id| !is_blank(id)) {
        None => SessionHeader::Absent,
        Some(id) => match id.to_str().unwrap_or_default().parse() {
            Ok(id) => SessionHeader::Id(id),
            Err(_) => SessionHeader::Foreign,
        },
    })
}

/// The event after which a client wants to go on (D-29). Bytes that are not text name no event of this server; an empty
/// header names none (E-32).
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

/// The version header, where present, names a supported version (B-26). It never changes that of a session (B-29).
pub(crate) fn check_version(headers: &HeaderMap) -> Result<(), Rejection> {
    match headers.get(PROTOCOL_VERSION).map(|value| value.to_str().unwrap_or_default()) {
        None => Ok(()),
        Some(version) if ProtocolVersion::parse(version).is_some() => Ok(()),
        Some(version) => Err(Rejection::UnsupportedVersion(version.to_owned())),
    }
}

/// A request of a revision without sessions, by its version header, cannot be served yet: a clear error tells its
/// client to fall back to `initialize` (G-40, G-49).
pub(crate) fn check_era(headers: &HeaderMap) -> Result<(), Rejection> {
    let modern = headers.get(PROTOCOL_VERSION).filter(|version| is_modern(version.as_bytes()));
    match modern.and_then(|version| version.to_str().ok()) {
        Some(version) => Err(Rejection::UnsupportedVersion(version.to_owned())),
        None => Ok(()),
    }
}

/// Whether a version is of a revision without sessions.
pub(crate) fn is_modern(version: &[u8]) -> bool {
    version.len() == FIRST_MODERN.len() && version.starts_with(b"20") && version >= FIRST_MODERN.as_bytes()
}

#[cfg(test)]
mod tests;
